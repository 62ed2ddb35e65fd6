"""The oracle of "untouched": a deep picture of objects, and a hunt for stand-ins. It shares no code with the guard.

In: objects. Out: a picture that compares by identity where identity counts, and by value where values do.
"""

from __future__ import annotations

import copyreg
import functools
import gc
import random
import types
from collections import defaultdict, deque
from typing import Any

import numpy as np
import torch
from torch import nn

_KEPT_APART = (types.ModuleType, types.FrameType, types.TracebackType, types.CodeType)


def picture(*roots: Any) -> dict[str, Any]:
    """What every object that is reachable from `roots` holds: path -> description."""
    found: dict[str, Any] = {
        "torch": bytes(torch.get_rng_state().numpy()),
        "numpy": np.random.get_state()[1].tobytes(),
        "python": random.getstate(),
        "modes": (
            torch.is_grad_enabled(),
            torch._C._len_torch_function_stack(),
            nn.Module.__call__,
        ),
    }
    alive: dict[int, Any] = {}
    for number, root in enumerate(roots):
        _look(f"{number}", root, found, alive)
    found["alive"] = list(alive.values())  # so that no identity is given twice
    return found


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = {
        path: (before.get(path), after.get(path))
        for path in {**before, **after}
        if path != "alive" and before.get(path) != after.get(path)
    }
    assert not changed, changed


def _look(path: str, thing: Any, found: dict[str, Any], alive: dict[int, Any]) -> None:
    if thing is None or isinstance(thing, (bool, int, float, str, bytes)):
        found[path] = thing
        return
    found[path] = (id(thing), type(thing))
    if id(thing) in alive or isinstance(thing, _KEPT_APART):
        return
    alive[id(thing)] = thing
    for name, inside in _parts(thing):
        _look(f"{path}.{name}", inside, found, alive)


def _parts(thing: Any) -> list[tuple[str, Any]]:
    if isinstance(thing, torch.Tensor):
        return _of_tensor(thing)
    if isinstance(thing, np.ndarray):
        inside = list(enumerate(thing.ravel())) if thing.dtype.hasobject else []
        about = [("values", thing.tobytes()), ("writeable", thing.flags.writeable)]
        return [*about, *((f"[{i}]", value) for i, value in inside)]
    if isinstance(thing, types.FunctionType):
        return _of_function(thing)
    if isinstance(thing, property):
        return [("fget", thing.fget)]
    if isinstance(thing, (staticmethod, functools.cached_property)):
        return [("func", thing.__func__ if isinstance(thing, staticmethod) else thing.func)]
    if isinstance(thing, types.MethodType):
        return [("self", thing.__self__), ("func", thing.__func__)]
    if isinstance(thing, functools.partial):
        return [("func", thing.func), ("args", thing.args), ("keywords", thing.keywords)]
    if isinstance(thing, type):
        own = thing.__module__.startswith("tests.")
        return [(n, v) for n, v in vars(thing).items() if own and n[:2] != "__"] + [
            ("len", len(vars(thing)))
        ]
    parts: list[tuple[str, Any]] = [("class", type(thing))]
    if isinstance(thing, dict):
        parts += [("order", [id(key) for key in thing].__repr__())]
        parts += [(f"key {i}", key) for i, key in enumerate(thing)]
        parts += [
            (f"[{key!r}]" if isinstance(key, (str, int)) else f"[{i}]", v)
            for i, (key, v) in enumerate(thing.items())
        ]
        parts += [("factory", thing.default_factory if isinstance(thing, defaultdict) else None)]
    elif isinstance(thing, (list, tuple, deque)):
        parts += [("len", len(thing)), *((f"[{i}]", value) for i, value in enumerate(thing))]
    elif isinstance(thing, (set, frozenset)):
        parts += [("members", repr(sorted(map(id, thing))))]
    elif isinstance(thing, (bytearray, torch.Generator)):
        parts += [
            ("bytes", bytes(thing if isinstance(thing, bytearray) else thing.get_state().numpy()))
        ]
    if hasattr(type(thing), "cache_info"):
        parts += [("currsize", thing.cache_info().currsize)]
    parts += [
        (f"slot {name}", getattr(thing, name, "unset")) for name in copyreg._slotnames(type(thing))
    ]
    if type(thing).__dictoffset__:
        parts += [
            ("id of dict", id(thing.__dict__)),
            *((str(n), v) for n, v in vars(thing).items()),
        ]
    return parts


def _of_tensor(tensor: torch.Tensor) -> list[tuple[str, Any]]:
    if type(tensor).__name__.startswith("Uninitialized"):
        with torch._C.DisableTorchFunctionSubclass():
            about = repr(
                (tensor.size(), tensor.dtype, tensor.device, tensor.untyped_storage()._cdata)
            )
        return [("about", about), *vars(tensor).items()]
    return [
        ("about", repr((tensor.shape, tensor.stride(), tensor.dtype, tensor.requires_grad))),
        ("memory", tensor.untyped_storage()._cdata),
        ("version", tensor._version),
        (
            "values",
            ""
            if tensor.is_meta
            else bytes(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy()),
        ),
        ("grad", tensor.grad if tensor.is_leaf else None),
        ("hooks", repr(tensor._backward_hooks)),
        *vars(tensor).items(),
    ]


def _of_function(function: types.FunctionType) -> list[tuple[str, Any]]:
    cells = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells.append((f"cell {name}", cell.cell_contents))
        except ValueError:
            cells.append((f"cell {name}", "empty"))
    return [*cells, ("defaults", function.__defaults__), ("kwdefaults", function.__kwdefaults__)]


def _is_meta(tensor: torch.Tensor) -> bool:
    with torch._C.DisableTorchFunction():  # while a forward runs, a stand-in says it is none
        return tensor.is_meta


def stand_ins(*roots: Any) -> list[Any]:
    """Every meta tensor that can be reached from `roots`, by what the collector follows."""
    seen: dict[int, Any] = {}
    stack, found = list(roots), []
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, _KEPT_APART):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, torch.Tensor) and _is_meta(thing):
            found.append(thing)
        if isinstance(thing, (type, types.FunctionType)) and not thing.__module__.startswith(
            "tests."
        ):
            continue
        inside = vars(thing).values() if isinstance(thing, type) else gc.get_referents(thing)
        if isinstance(thing, types.FunctionType):  # its globals are roots where they are wanted
            inside = [*(thing.__closure__ or ()), thing.__defaults__, thing.__kwdefaults__]
        stack += [x for x in inside if x is not None]
    return found
