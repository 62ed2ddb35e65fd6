"""Reads -> a boolean tensor, position by position: the plainest reading of `rfgraph/reads.py`.

In: a node's Reads and shapes. Out: for each operand, which output positions read which of its
positions. Nothing of the library's own interpretation (domains,
composition, `Relation.at`) is used: a relation is read off its period, advance and phases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from rfgraph.algebra.relation import Relation
from rfgraph.language.reads import Law, Place, Read

Position = tuple[int, ...]


def lowered(
    reads: Sequence[Read], operands: Sequence[Position], shape: Position
) -> list[np.ndarray]:
    """One array `[*shape, *operand_shape]` for each operand: True where the output reads the operand."""
    found = [np.zeros((*shape, *own), dtype=bool) for own in operands]
    for read in reads:
        own = operands[read.operand]
        for output in product(*map(range, shape)):
            if own:
                chosen = [inside(at(place, output), own[d]) for d, place in enumerate(read.dims)]
                found[read.operand][(*output, *np.ix_(*chosen))] = True
            elif all(inside(at(place, output), 1) for place in read.dims):  # one, or none
                found[read.operand][output] = True
    return found


def at(place: Place, output: Position) -> Iterable[int] | None:
    """The positions that `output` reads of an operand dim; None: all of them."""
    chosen = tuple(output[dim] for dim in place.dims)
    match place:
        case Place(at=None, law=None):
            return None
        case Place(at=None, law=Law(digits, relation, _, None)):
            return rows(relation, sum(digit.coefficient * output[digit.dim] for digit in digits))
        case Place(at=None, law=Law(digits, _, weight, extent)):
            flat = sum(digit.coefficient * output[digit.dim] for digit in digits)
            return (flat // weight % extent,)
    return place.at(chosen)


def rows(relation: Relation, output: int) -> list[int]:
    """`R(output)`, from `R(o + Q) = R(o) + P`."""
    turns, phase = divmod(output, relation.period)
    return [position + turns * relation.advance for position in relation.phases[phase]]


def inside(positions: Iterable[int] | None, size: int) -> list[int]:
    """The positions that exist; those outside the operand are padding."""
    if positions is None:
        return list(range(size))
    return sorted({position for position in positions if 0 <= position < size})
