"""What an operator depends on, found by changing one operand element at a time.

In: an example. Out: for each operand, which outputs changed with which of its elements; and the shapes
of the outputs. No rule, no graph and no gradient is involved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.rules.examples import DRAWS, Example

FEWEST, MOST = 6, 200  # base points: a few show what is smooth; rare events take more
MOST_IF_CONSERVATIVE = 25  # all that is claimed will never be seen
_NOISE = 1e-12  # relative: what a changed order of summation may do in double precision

Found = list[list[np.ndarray]]  # [output][operand] -> [*output_shape, *operand_shape]


class OneOperator(nn.Module):
    """A model of one operator; capture reads the number of its inputs off `forward`."""

    def __init__(self, build: Callable[..., Any]) -> None:
        super().__init__()
        self.build = build


class OneOperand(OneOperator):
    def forward(self, a: Tensor) -> Any:
        return self.build(a)


class TwoOperands(OneOperator):
    def forward(self, a: Tensor, b: Tensor) -> Any:
        return self.build(a, b)


class ThreeOperands(OneOperator):
    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Any:
        return self.build(a, b, c)


class FourOperands(OneOperator):
    def forward(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Any:
        return self.build(a, b, c, d)


def model_of(example: Example, real: bool = False) -> nn.Module:
    """The example as a model; `real`: the one to run, which may differ from the one to capture."""
    kinds = (OneOperand, TwoOperands, ThreeOperands, FourOperands)
    build = example.reference if real and example.reference is not None else example.build
    return kinds[len(example.shapes) - 1](build).train(example.training)


def drawn(example: Example, seed: int) -> list[Tensor]:
    """Operands of the example."""
    generator = torch.Generator().manual_seed(seed)
    pairs = zip(example.draws, example.shapes, strict=True)
    return [DRAWS[draw](shape, generator) for draw, shape in pairs]


def outputs_of(model: nn.Module, operands: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Every tensor that the model returns. The operands are copied: an operator may write into them."""
    torch.manual_seed(seed)  # dropout and its like: the same draw for every element that is changed
    returned = model(*(operand.clone() for operand in operands))
    listed = returned if isinstance(returned, tuple | list) else (returned,)
    return [tensor for tensor in listed if isinstance(tensor, Tensor)]


def changed(before: Tensor, after: Tensor) -> np.ndarray:
    """Where two outputs differ by more than noise; NaN equals NaN."""
    if before.dtype is torch.bfloat16:  # numpy has none
        before, after = before.double(), after.double()
    old, new = (tensor.resolve_conj().resolve_neg().numpy() for tensor in (before, after))
    differ: np.ndarray = (old != new) & ~((old != old) & (new != new))
    if differ.any() and before.dtype in (torch.float64, torch.complex128):
        with np.errstate(over="ignore", invalid="ignore"):
            differ &= ~np.isclose(old, new, rtol=_NOISE, atol=1e-14)
    return differ


def dependence(example: Example, until: Found | None = None) -> Found:
    """Which output elements change with which operand elements, over many base points.

    Stops at `FEWEST` base points or later, as soon as all of `until` was seen: more of them can only
    show more. (What is not in `until` is thus looked for at the first `FEWEST` in any case.)
    """
    model = model_of(example, real=True)
    most = MOST_IF_CONSERVATIVE if example.conservative else MOST
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        found = _nothing(outputs_of(model, drawn(example, 0), 0), example)
        for trial in range(most):
            _probe(model, example, trial, found)
            if trial + 1 >= FEWEST and until is not None and _covers(found, until):
                break
    return found


def _nothing(outputs: Sequence[Tensor], example: Example) -> Found:
    return [
        [np.zeros((*output.shape, *own), dtype=bool) for own in example.shapes]
        for output in outputs
    ]


def _probe(model: nn.Module, example: Example, trial: int, found: Found) -> None:
    """Change every operand element once, and add to `found` which outputs changed."""
    base, other = drawn(example, 2 * trial + 1), drawn(example, 2 * trial + 2)
    before = outputs_of(model, base, trial)
    for number, operand in enumerate(base):
        for position in np.ndindex(*operand.shape):
            operands = list(base)
            operands[number] = operand.clone()
            operands[number][position] = other[number][position]
            after = outputs_of(model, operands, trial)
            for output, (old, new) in enumerate(zip(before, after, strict=True)):
                found[output][number][(..., *position)] |= changed(old, new)


def _covers(found: Found, wanted: Found) -> bool:
    pairs = zip(found, wanted, strict=True)
    return all((f | ~w).all() for ours, theirs in pairs for f, w in zip(ours, theirs, strict=True))
