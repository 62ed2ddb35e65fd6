"""Masks that go with the elements that they are of, through calls that only move elements.

In: a call that was captured, some of whose operands have fixed positions. Out: the fixed positions of what it
returns: the call itself is made on numbers that stand for fixed and for other elements.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod
from typing import Any

import torch
from torch.fx.node import map_aggregate

from rfgraph.capture.interception import passed_by
from rfgraph.capture.lowering import Bound, fixed
from rfgraph.capture.memory import Traced
from rfgraph.capture.shapes import called
from rfgraph.graph import Masked, Operand
from rfgraph.graph.calls import outputs_of, plain

_MOVES = frozenset(
    "getitem setitem narrow select index_select unbind chunk tensor_split split split_with_sizes t pad "
    "constant_pad roll flip fliplr flipud repeat tile repeat_interleave diagonal cat concat concatenate "
    "stack hstack vstack dstack rot90".split()
)
_LARGEST = 1 << 26  # elements of an operand


def masked(
    bound: Bound,
    meta: torch.Tensor,
    number: int,
    call: tuple[Any, tuple[Any, ...], dict[str, Any]],
    find: Callable[[Any], Traced | None],
) -> Masked | None:
    """What is fixed in output `number` of a call, a tensor like `meta`: its operator says it, or the call."""
    return fixed(bound, tuple(meta.shape)) or _carried(bound, number, call, find)


def _carried(
    bound: Bound,
    number: int,
    call: tuple[Any, tuple[Any, ...], dict[str, Any]],
    find: Callable[[Any], Traced | None],
) -> Masked | None:
    """What is fixed in output `number` of a call: its target, args and kwargs.

    None where nothing is, or the call does more than move elements.
    """
    if bound.op not in _MOVES:
        return None
    operands = [leaf for leaf in outputs_of(list(bound.params.values())) if type(leaf) is Operand]
    sizes = (prod(operand.shape) for operand in operands)
    is_new = any(operand.masked for operand in operands) or _fills(bound)
    if not is_new or max(sizes, default=0) > _LARGEST:
        return None

    def told(value: Any) -> Any:
        traced = find(value)
        if traced is not None:
            return _numbers(tuple(traced.tensor.shape), traced.masked)
        is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
        return torch.ones(value.shape) if is_float else value

    args, kwargs = map_aggregate(call[1], told), map_aggregate(call[2], told)
    with passed_by(), torch._C.DisableTorchFunction():
        made = called(call[0], tuple(map(plain, args)), {k: plain(v) for k, v in kwargs.items()})
    found = outputs_of(made)[number]
    for kind, where in ((-inf, found == -inf), (0.0, found == 0)):
        if bool(where.any()):
            return Masked(_slim(where), kind)
    return None


def _fills(bound: Bound) -> bool:
    """True for a number that is put where a constant mask, or another tensor of the model, says."""
    if bound.op != "setitem" or not isinstance(bound.params["value"], int | float):
        return False
    index = outputs_of(bound.params["index"])
    return any(isinstance(entry, torch.Tensor) for entry in index)


def _numbers(shape: tuple[int, ...], masked: Masked | None) -> torch.Tensor:
    """1, and what is fixed where it is fixed."""
    ones = torch.ones(shape)
    return ones if masked is None else ones.masked_fill(masked.where, masked.value)


def _slim(where: torch.Tensor) -> torch.Tensor:
    """Size 1 along the dims along which it does not vary."""
    for dim in range(where.ndim):
        first = where.narrow(dim, 0, 1)
        where = first if bool((where == first).all()) else where
    return where
