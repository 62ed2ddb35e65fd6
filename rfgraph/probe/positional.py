"""Arguments that come by name, by position: `torch.add(input=a, other=b)` as `torch.add(a, b)`.

In: a function of torch and the arguments of a call. Out: the same call, its tensors by position where torch
knows a position for them. The order is torch's own: the signature of a Python function, else the schemas.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch


def by_position(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The call with all arguments up to its last tensor by position, as far as they follow each other."""
    named = dict(kwargs)
    tensors = [name for name, value in named.items() if _holds_tensor(value)]
    if not tensors:
        return args, named
    orders = _orders(function)
    if hasattr(function, "__objclass__"):  # a method's own tensor is the first
        orders = tuple(("input", *(name for name in o if name != "input")) for o in orders)
    order = next((o for o in orders if set(tensors) <= set(o[len(args) :])), ())
    last = max((order.index(name) for name in tensors if name in order), default=-1)
    moved = list(args)
    for name in order[len(args) : last + 1]:
        if name not in named:
            break
        moved.append(named.pop(name))
    return tuple(moved), named


@lru_cache(maxsize=4096)
def _orders(function: Callable[..., Any]) -> tuple[tuple[str, ...], ...]:
    """The names of a function's arguments by position, for each of its forms."""
    if isinstance(function, types.FunctionType):
        return (tuple(inspect.signature(function).parameters),)
    schemas = torch._C._jit_get_schemas_for_operator(f"aten::{function.__name__}")
    return tuple(
        tuple("input" if a.name == "self" else a.name for a in schema.arguments if not a.kwarg_only)
        for schema in schemas
    )


def _holds_tensor(value: object) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_holds_tensor, value))
    return isinstance(value, torch.Tensor)
