"""`untouched`: run the model's own code and leave the model, and every random state, as they were.

In: a module. Out: a context in which its forward may run. Callers: capture, and whoever runs a probe.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_OPERATORS = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]
_WRITERS = frozenset(("__setitem__", "__set__", *(f"__i{name}__" for name in _OPERATORS)))
_CONTAINERS = ("_parameters", "_buffers", "_modules")


@contextmanager
def untouched(model: nn.Module, training: bool) -> Iterator[None]:
    """Run the body with every module's training flag set to `training`; put everything back after.

    Put back, also on an error: the attributes, parameters, buffers and flags of every module, and the
    random states of torch, numpy and Python. Writes into the model's own tensors are made on copies.
    """
    modules = list(model.modules())
    attributes = [dict(vars(module)) for module in modules]
    containers = [{name: dict(vars(module)[name]) for name in _CONTAINERS} for module in modules]
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        for module in modules:
            vars(module)["training"] = training
        with _CopyOnWrite(model), torch.no_grad():
            yield
    finally:
        for module, before, inside in zip(modules, attributes, containers, strict=True):
            _restore(vars(module), before)
            for name, entries in inside.items():
                _restore(before[name], entries)
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def _restore(now: dict[str, Any], before: dict[str, Any]) -> None:
    """Give a dict back its entries, without touching it where nothing changed."""
    same = now.keys() == before.keys() and all(now[name] is before[name] for name in before)
    if not same:
        now.clear()
        now.update(before)


class _CopyOnWrite(TorchFunctionMode):
    """In-place calls on a parameter or buffer (`self.steps += 1`) work on a copy of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._owned: frozenset[int] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if args and _writes(name) and self._owns(args[0]):
            args = (args[0].detach().clone(), *args[1:])
        return func(*args, **(kwargs or {}))

    def _owns(self, tensor: Any) -> bool:
        """True where a tensor shares memory with the model. Asked only where something is written."""
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            return False
        if self._owned is None:
            tensors = (*self._model.parameters(), *self._model.buffers())
            self._owned = frozenset(t.untyped_storage().data_ptr() for t in tensors)
        return tensor.untyped_storage().data_ptr() in self._owned


def _writes(name: str) -> bool:
    """True for `add_`, `__iadd__`, `__setitem__`: calls that write into their first argument."""
    return name in _WRITERS or (name.endswith("_") and not name.startswith("__"))
