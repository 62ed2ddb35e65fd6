"""`untouched`: run the model's own code and leave the model, and every random state, as they were.

In: a module. Out: a context in which its forward may run. Callers: capture alone.
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
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
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
    if len(now) == len(before) and all(now.get(k) is v for k, v in before.items() if k in now):
        if now.keys() == before.keys():
            return
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
        if args and _writes(name) and type(args[0]) in (torch.Tensor, nn.Parameter):
            if self._owns(args[0]):
                args = (args[0].detach().clone(), *args[1:])
        return func(*args, **(kwargs or {}))

    def _owns(self, tensor: torch.Tensor) -> bool:
        """True where the tensor shares memory with the model. Asked only where something is written."""
        if self._owned is None:
            tensors = (*self._model.parameters(), *self._model.buffers())
            self._owned = frozenset(t.untyped_storage().data_ptr() for t in tensors)
        return tensor.untyped_storage().data_ptr() in self._owned


def _writes(name: str) -> bool:
    """True for `add_`, `__iadd__`, `__setitem__`, `__set__`: calls that write into their first argument."""
    if name.startswith("__"):
        return name.startswith("__i") and name != "__invert__" or name.startswith("__set")
    return name.endswith("_")
