"""Reads -> a boolean tensor, position by position: the plainest reading of `rfgraph/reads.py`.

In: a node's Reads and shapes. Out: for each operand, which output positions read which of its
positions. Callers: `tests/test_registry.py`. Nothing of the library's own interpretation (domains,
composition, `Relation.at`) is used: a relation is read off its period, advance and phases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from math import prod

import numpy as np

from rfgraph.reads import Along, DimRead, Fixed, Lookup, Read, Regroup, Table, Whole
from rfgraph.relation import Relation

Position = tuple[int, ...]


def lowered(
    reads: Sequence[Read], operands: Sequence[Position], shape: Position
) -> list[np.ndarray]:
    """One array `[*shape, *operand_shape]` for each operand: True where the output reads the operand."""
    found = [np.zeros((*shape, *own), dtype=bool) for own in operands]
    for read in reads:
        own = operands[read.operand]
        for output in product(*map(range, shape)):
            chosen = [inside(at(dim, d, output), own[d]) for d, dim in enumerate(read.dims)]
            found[read.operand][(*output, *np.ix_(*chosen))] = True
    return found


def at(read: DimRead, operand_dim: int, output: Position) -> Iterable[int] | None:
    """The positions that `output` reads of an operand dim; None: all of them."""
    match read:
        case Along():
            return rows(read.relation, output[read.dim])
        case Whole():
            return None
        case Fixed():
            return (read.index,)
        case Table():
            return read.at(output[read.dim])
        case Lookup():
            return read.at(tuple(output[dim] for dim in read.dims))
        case Regroup():
            return (_same_element(read, operand_dim, output),)
    raise AssertionError(f"no reading of {read}")


def rows(relation: Relation, output: int) -> list[int]:
    """`R(output)`, from `R(o + Q) = R(o) + P`."""
    turns, phase = divmod(output, relation.period)
    return [position + turns * relation.advance for position in relation.phases[phase]]


def inside(positions: Iterable[int] | None, size: int) -> list[int]:
    """The positions that exist; those outside the operand are padding."""
    if positions is None:
        return list(range(size))
    return sorted({position for position in positions if 0 <= position < size})


def _same_element(group: Regroup, operand_dim: int, output: Position) -> int:
    flat = 0
    for dim, size in zip(group.dims, group.shape, strict=True):
        flat = flat * size + output[dim]
    place = group.operand_dims.index(operand_dim)
    return flat // prod(group.operand_shape[place + 1 :]) % group.operand_shape[place]
