"""Which tensors a call writes into, by its name and its arguments.

In: a function as torch's function modes see it, and its arguments. Out: the arguments it may write into.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from types import MethodWrapperType

import torch.nn.functional as F
from torch._ops import OpOverload, OpOverloadPacket

from rfgraph.graph.calls import STATISTICS, TABLES, Args, Kwargs, is_inplace, is_of_torch

# What these hand out is memory, through which anyone may write.
_FIRST = frozenset(
    "__set__ numpy __array__ data_ptr untyped_storage storage _typed_storage __dlpack__ apply_ map_ "
    "register_hook register_post_accumulate_grad_hook".split()
)


def written(func: Callable[..., object], args: Args, kwargs: Kwargs) -> Args:
    """The arguments, at any depth, that a call may write into; nothing for most calls."""
    found = _by_kind(_kind(func), args, kwargs)
    if not kwargs:
        return found
    if kwargs.get("inplace") is True:
        found = (*found, *(args[:1] or kwargs.values()))
    return found if kwargs.get("out") is None else (*found, kwargs["out"])


def _by_kind(kind: str, args: Args, kwargs: Kwargs) -> Args:
    if kind == "":
        return ()
    if kind == "first":
        return args[:1] or tuple(kwargs.values())
    if kind == "all":
        return args, *kwargs.values()
    if kind == "statistics":
        learns = any(value is True for value in (*args, *kwargs.values()))
        return (args[1:], *kwargs.values()) if learns else ()
    return (args, *kwargs.values()) if _renormalises(kind, args, kwargs) else ()


def _kind(func: Callable[..., object]) -> str:
    """What a function may write into, by its name: nothing, its `first` argument, `all`, or by its flags."""
    if type(func) is MethodWrapperType:  # `x.shape`, `x.data = y`: a new one each time
        return "first" if func.__name__ == "__set__" else ""
    return _kind_of(func)


@lru_cache(maxsize=1 << 12)
def _kind_of(func: Callable[..., object]) -> str:
    name = getattr(func, "__name__", "")
    if name in _FIRST or is_inplace(name):
        return "first"
    if name in STATISTICS:
        return "statistics"
    if name in TABLES:
        return name
    if isinstance(func, OpOverload | OpOverloadPacket):
        return "all" if _is_mutable(func) else ""
    return "" if is_of_torch(func) else "all"


def _renormalises(name: str, args: Args, kwargs: Kwargs) -> bool:
    """An embedding scales the rows that it looks up where it has a `max_norm`."""
    place = list(inspect.signature(getattr(F, name)).parameters).index("max_norm")
    return (kwargs.get("max_norm") if len(args) <= place else args[place]) is not None


def _is_mutable(func: OpOverload | OpOverloadPacket) -> bool:
    if isinstance(func, OpOverload):
        return bool(func._schema.is_mutable)
    return any(getattr(func, name)._schema.is_mutable for name in func.overloads())  # type: ignore[no-untyped-call]
