"""Calls on proxies as plain data: arguments with `Operand`s or `Value`s in the place of proxies.

In: what the model's code passed. Out: params and `Call`s for nodes. Callers: the tracer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket

from rfgraph.capture.proxy import TensorProxy, first_proxy
from rfgraph.capture.shapes import Meta
from rfgraph.graph import Call, Operand, Value
from rfgraph.operators import Operator, Params


def bound(value: Any, operands: list[TensorProxy]) -> Any:
    """`value` with each proxy replaced by an `Operand`, and appended to `operands`."""
    if type(value) is TensorProxy:
        operands.append(value)
        return Operand(len(operands) - 1, value.sizes, value.dtype, value.masked)
    if type(value) in (tuple, list):  # x[[0, 1]] picks rows, x[0, 1] an element
        return type(value)(bound(entry, operands) for entry in value)
    if type(value) is slice:
        return slice(*(bound(end, operands) for end in (value.start, value.stop, value.step)))
    return value


def settled(known: Operator, params: Params) -> bool:
    """True for a call that uses the values of a tensor of the model, and of no traced one.

    `kernel.to(x)` is a constant of the model, as is a mask that is expanded to the shape of `x`.
    """
    used = tuple(known.used(params).values())
    return known.values is not None and first_proxy(used) is None and has_tensor(used)


def without_values(value: Any) -> Any:
    """`value` with a tensor of the same shape, dtype and device in the place of each proxy."""
    kind = type(value)
    if kind is TensorProxy:
        return torch.empty((), dtype=value.dtype, device=value.device).expand(value.sizes)
    if kind is tuple or kind is list:
        return kind(map(without_values, value))
    if kind is dict:
        return {name: without_values(entry) for name, entry in value.items()}
    return value


def as_call(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """The call, with the nodes' names in place of proxies."""
    named = {name: with_names(value) for name, value in kwargs.items()} if kwargs else kwargs
    return Call(target, tuple(map(with_names, args)), named)


def with_names(value: Any) -> Any:
    kind = type(value)
    if kind is TensorProxy:
        return Value(value.name_of_node)
    if kind is tuple or kind is list:
        return kind(map(with_names, value))
    if kind is dict:
        return {key: with_names(entry) for key, entry in value.items()}
    if kind is slice:
        return slice(with_names(value.start), with_names(value.stop), with_names(value.step))
    return value


def qualified(target: OpOverload | OpOverloadPacket) -> str:
    """`library::operator`, of an operator in `torch.ops` and of its overloads alike."""
    if isinstance(target, OpOverloadPacket):
        return str(target._qualified_op_name)
    return str(target._schema.name)


def name_of(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def has_tensor(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(has_tensor, value))
    return isinstance(value, torch.Tensor | Meta)
