"""What one operator depends on, by changing one element at a time; and what its reads claim, read plainly.

In: a module and operands; the reads of a node. Out: boolean arrays over output and operand positions.
No domain, no composition and no gradient is involved.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rfgraph.algebra.relation import Relation
from rfgraph.graph import Shape
from rfgraph.language.reads import Place, Reads

Marks: TypeAlias = npt.NDArray[np.bool_]
"""Over the output's dims, then an operand's: True where the output depends on the element."""

Stop: TypeAlias = Callable[[list[list[Marks]]], bool]
_NOISE = 1e-12  # relative: what a changed order of summation may do in double precision


# --- what is claimed ----------------------------------------------------------------------------


def claimed(reads: Reads, operands: Sequence[Shape], shape: Shape) -> list[Marks]:
    """The reads of a node, position by position, for each operand."""
    found = [np.zeros((*shape, *own), bool) for own in operands]
    for read in reads:
        own = read.sizes(operands)
        for output in product(*map(range, shape)):
            chosen = [_inside(_at(place, output), own[d]) for d, place in enumerate(read.dims)]
            if operands[read.operand]:
                found[read.operand][output + np.ix_(*chosen)] = True
            else:
                found[read.operand][output] |= all(chosen)
    return found


def _at(place: Place, output: Shape) -> Iterable[int] | None:
    """The positions of one operand dim that an output reads; None: all of them."""
    if place.at is not None:
        return place.at(tuple(output[dim] for dim in place.dims))
    law = place.law
    if law is None:
        return None
    z = 0
    for dim, coefficient, weight, extent, shift, *_ in law.digits:
        turn = (output[dim] - shift) // weight
        z += coefficient * (turn if extent is None else turn % extent)
    return _rows(law.relation, z) if law.extent is None else (z // law.weight % law.extent,)


def _rows(relation: Relation, output: int) -> list[int]:
    """`R(output)`, from `R(o + Q) = R(o) + P`."""
    turns, phase = divmod(output, relation.period)
    return [position + turns * relation.advance for position in relation.phases[phase]]


def _inside(positions: Iterable[int] | None, size: int) -> list[int]:
    if positions is None:
        return list(range(size))
    return sorted({position for position in positions if 0 <= position < size})


# --- what is seen -------------------------------------------------------------------------------


def in_double(operator: nn.Module, seed: int) -> nn.Module:
    """A copy to be run: eval mode, double precision, weights of exactly 0 replaced by random ones."""
    made = copy.deepcopy(operator).double().eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        parameter.requires_grad_(False)
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.copy_(torch.where(parameter == 0, drawn, parameter))
    return made


def depended(
    operator: nn.Module, shapes: Sequence[Shape], stop: Stop, fewest: int, most: int, seed: int
) -> list[list[Marks]]:
    """[output][operand]: what changed with what, over `fewest` base points or more, until `stop`."""
    found: list[list[Marks]] = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        run = in_double(operator, seed)
        for trial in range(most):
            base, other = (_drawn(shapes, seed + 2 * trial + n) for n in (0, 1))
            before = outputs_of(run, base)
            found = found or [
                [np.zeros((*output.shape, *own), bool) for own in shapes] for output in before
            ]
            _change_each(run, base, other, before, found)
            if trial + 1 >= fewest and stop(found):
                break
    return found


def outputs_of(operator: nn.Module, operands: Sequence[Tensor]) -> list[Tensor]:
    """Every tensor that the operator returns. The operands are copied: it may write into them."""
    torch.default_generator.manual_seed(0)
    returned: object = operator(*(operand.clone() for operand in operands))
    listed = returned if isinstance(returned, tuple | list) else (returned,)
    return [tensor for tensor in listed if isinstance(tensor, Tensor)]


def _drawn(shapes: Sequence[Shape], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _change_each(
    operator: nn.Module,
    base: Sequence[Tensor],
    other: Sequence[Tensor],
    before: Sequence[Tensor],
    found: list[list[Marks]],
) -> None:
    for number, operand in enumerate(base):
        for position in np.ndindex(*operand.shape):
            operands = list(base)
            operands[number] = operand.clone()
            operands[number][position] = other[number][position]
            after = outputs_of(operator, operands)
            index = (Ellipsis, *position)
            for output, (old, new) in enumerate(zip(before, after, strict=True)):
                found[output][number][index] |= _differs(old, new)


def _differs(before: Tensor, after: Tensor) -> Marks:
    old, new = before.numpy(), after.numpy()
    if not np.issubdtype(old.dtype, np.inexact):
        return np.asarray(old != new)
    close: Marks = np.isclose(old, new, rtol=_NOISE, atol=1e-14, equal_nan=True)
    return ~close
