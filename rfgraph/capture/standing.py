"""What is fixed of the tensors of a graph: which entries are, whatever the input.

In: calls that were captured. Out: their masks, in the meta of fx nodes. An operator says what it fixes; where
it only moves elements, what is fixed goes with them: the call itself is made on numbers that stand for fixed
and for other elements.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_aggregate

from rfgraph.capture.interception import passed_by
from rfgraph.capture.known import MAKES, Call, known
from rfgraph.capture.lowering import Bound, fixed
from rfgraph.capture.memory import Traced
from rfgraph.capture.shapes import called
from rfgraph.graph import LOW, Masked, Operand
from rfgraph.graph.calls import outputs_of, plain

_MOVES = frozenset(
    "getitem setitem narrow select index_select unbind chunk tensor_split split split_with_sizes t pad "
    "constant_pad roll flip fliplr flipud repeat tile repeat_interleave diagonal cat concat concatenate "
    "stack hstack vstack dstack rot90 index_fill".split()
)
_PUTS = frozenset(("setitem", "index_fill"))
"""What may put a number, its `value`, at positions that are the same along all other dims, at any size."""
_ALONE = frozenset(("tril", "triu"))
_LARGEST = 1 << 26  # elements of an operand


class Standing:
    """What is fixed, or known, of the tensors of one graph.

    Args:
        find: the stand-in of a tensor of the graph.
    """

    def __init__(self, find: Callable[[Any], Traced | None]) -> None:
        self._find = find
        self._told: set[fx.Node] = set()  # those of which anything is fixed or known

    def learn(self, bound: Bound, value: fx.Node, number: int, call: Call) -> Masked | None:
        """What is fixed in output `number` of a call, which is `value`; put down in its meta, if any is.

        So is what gives the tensor, where it depends on no input.
        """
        is_plain = self._told.isdisjoint(bound.operands)
        made = None if is_plain and bound.op not in MAKES else known(bound, value, call, self._find)
        if made is not None:
            value.meta["known"], value.meta["masked"] = lambda: made(number), None
            self._told.add(value)
            return None  # rules look at the tensor itself
        masked = None if is_plain and not fixes(bound) else self._masked(bound, value, number, call)
        value.meta["masked"] = masked
        if masked is not None:
            self._told.add(value)
        return masked

    def _masked(self, bound: Bound, value: fx.Node, number: int, call: Call) -> Masked | None:
        """Its operator says it, or the call itself, where it but moves elements."""
        found = fixed(bound, tuple(value.meta["val"].shape))
        return found if found or bound.op not in _MOVES else self._carried(bound, number, call)

    def _carried(self, bound: Bound, number: int, call: Call) -> Masked | None:
        operands = [e for e in outputs_of(list(bound.params.values())) if type(e) is Operand]
        if max((prod(operand.shape) for operand in operands), default=0) > _LARGEST:
            return None
        args, kwargs = (map_aggregate(given, self._numbers) for given in call[1:])
        try:
            with passed_by(), torch._C.DisableTorchFunction():
                named = {name: plain(value) for name, value in kwargs.items()}  # type: ignore[union-attr]
                made = called(call[0], tuple(map(plain, args)), named)
        except (RuntimeError, TypeError, ValueError, IndexError):
            return None
        found = outputs_of(made)[number]
        low, zero = found <= LOW, found == 0
        if bool(low.any()):
            is_least = bool((found[low] == -inf).all())
            masks = [each.masked for each in operands if each.masked is not None]
            hides = all(masked.hides for masked in masks)
            return Masked(_slim(low), -inf if is_least else LOW, is_least or hides)
        return Masked(_slim(zero), 0.0) if bool(zero.any()) else None

    def _numbers(self, value: Any) -> Any:
        """1 for every element, and what is fixed where it is fixed; what is known is itself."""
        traced = self._find(value)
        if traced is None:
            return _number(value) if isinstance(value, torch.Tensor) else value
        known = traced.node.meta.get("known")
        held = None if known is None else known()
        if held is not None and not held.is_complex():
            return held.float().cpu() if held.is_floating_point() else held.cpu()
        ones, masked = torch.ones(traced.tensor.shape), traced.masked
        return ones if masked is None else ones.masked_fill(masked.where, masked.value)


def _number(value: torch.Tensor) -> torch.Tensor:
    """Of a tensor of the model."""
    return torch.ones(value.shape) if value.is_floating_point() else value.cpu()


def fixes(bound: Bound) -> bool:
    """True for a call that may fix something though nothing is fixed in its operands."""
    operator = bound.known
    if operator is None or operator.masks is None:
        return bound.op in _PUTS and _fills(bound)
    if bound.op in _ALONE:
        return True
    held = [*bound.params.get("operands", ()), *bound.params.values()]
    return any(isinstance(value, torch.Tensor) for value in held)


def computes_zeros(module: nn.Module) -> bool:
    """True where a parametrisation gives a weight that is 0 in places, which it may fix."""
    held = module._modules.get("parametrizations")
    if not isinstance(held, nn.ModuleDict):
        return False
    weights = (getattr(module, name) for name in held)
    return any(not weight.is_meta and bool((weight == 0).any()) for weight in weights)


def _fills(bound: Bound) -> bool:
    """True for a number that is put where a constant mask, or another tensor of the model, says."""
    if not isinstance(bound.params["value"], int | float):
        return False
    index = outputs_of([bound.params["index"]])
    return any(isinstance(entry, torch.Tensor) for entry in index)


def _slim(where: torch.Tensor) -> torch.Tensor:
    """Size 1 along the dims along which it does not vary."""
    for dim in range(where.ndim):
        first = where.narrow(dim, 0, 1)
        where = first if bool((where == first).all()) else where
    return where
