"""Which tensors a call writes into, by its name and its arguments.

In: a function as torch's function modes see it, and its arguments. Out: the arguments it may write into.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch.nn.functional as F
from torch._ops import OpOverload, OpOverloadPacket

_OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
_FIRST = frozenset(
    (
        *("__setitem__", "__set__", *(f"__i{name}__" for name in _OPERATORS)),
        # What they hand out is memory, through which anyone may write:
        *("numpy", "__array__", "data_ptr", "untyped_storage", "storage", "_typed_storage"),
        *("__dlpack__", "apply_", "map_", "register_hook", "register_post_accumulate_grad_hook"),
    )
)
_STATISTICS = frozenset(
    ("batch_norm", "instance_norm", "native_batch_norm", "_native_batch_norm_legit")
)
_TABLES = frozenset(("embedding", "embedding_bag"))


def written(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The arguments, at any depth, that a call may write into; nothing for most calls."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return ()
    found: tuple[Any, ...] = ()
    if name in _FIRST or (name.endswith("_") and not name.endswith("__")):
        found = args[:1]
    elif name in _STATISTICS:
        learns = any(value is True for value in (*args, *kwargs.values()))
        found = (args[1:], *kwargs.values()) if learns else ()
    elif name in _TABLES:
        found = args[:2] if _renormalises(name, args, kwargs) else ()
    elif type(func) in (OpOverload, OpOverloadPacket):
        found = (args, *kwargs.values()) if _is_mutable(func) else ()
    elif not _is_of_torch(func):
        found = (args, *kwargs.values())
    if kwargs:
        out, inplace = kwargs.get("out"), kwargs.get("inplace")
        found = found if out is None else (*found, out)
        found = found if inplace is not True else (*found, *args[:1], kwargs.get("input"))
        found = found if args or not found else (*found, kwargs.get("input"), kwargs.get("self"))
    return found


def _renormalises(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """An embedding scales the rows that it looks up where it has a `max_norm`."""
    function = F.embedding if name == "embedding" else F.embedding_bag
    place = list(inspect.signature(function).parameters).index("max_norm")
    return (kwargs.get("max_norm") if len(args) <= place else args[place]) is not None


def _is_of_torch(func: Callable[..., Any]) -> bool:
    """False for a function of the user's that asks for torch's function modes itself."""
    module = getattr(func, "__module__", None)
    return type(module) is not str or module.partition(".")[0] in ("torch", "_operator", "builtins")


@lru_cache(maxsize=1 << 12)
def _is_mutable(func: Any) -> bool:
    if isinstance(func, OpOverload):
        return bool(func._schema.is_mutable)
    return any(getattr(func, name)._schema.is_mutable for name in func.overloads())
