"""`Shadows`: what a forward writes into the model's tensors, kept beside them.

In: the model's tensors, and every call. Out: the call's arguments, with a shadow in the place of each
tensor whose memory was written into. A shadow copies the memory once: views of one memory stay views of
one memory, and every later read, through any of them, sees what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch

from rfgraph.errors import CaptureError
from rfgraph.graph.calls import Args
from rfgraph.graph.guard.contents import has_memory
from rfgraph.graph.guard.kept import Kept
from rfgraph.graph.guard.writes import written
from rfgraph.graph.wrapped import within

_Key: TypeAlias = tuple[str, int]
_Memory: TypeAlias = torch.Tensor | torch.UntypedStorage


class Shadows:
    """The shadows of one run."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._owned: frozenset[_Key] | None = None
        self._memory: dict[_Key, _Memory] = {}
        self._shadows: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._originals: dict[int, torch.Tensor] = {}

    def arguments(
        self, func: Callable[..., object], args: Args, kwargs: dict[str, object]
    ) -> tuple[Args, dict[str, object]]:
        """What to call `func` with, so that it writes into shadows alone and reads what was written."""
        for value in written(func, args, kwargs):
            for tensor in _tensors(value):
                self._write(tensor)
        if getattr(func, "__name__", "") == "backward":
            self._kept.keep_gradients()
        if not self._memory:
            return args, kwargs
        return tuple(map(self._read, args)), {name: self._read(x) for name, x in kwargs.items()}

    def result(self, result: object) -> object:
        """A call that returns what it wrote into returns the model's own tensor."""
        return self._originals.get(id(result), result) if self._originals else result

    def _write(self, tensor: torch.Tensor) -> None:
        key = _key(tensor)
        if key in self._memory:
            return
        if self._owned is None:
            self._owned = frozenset(map(_key, self._kept.tensors))
        if key in self._owned:
            _refuse_wrapped(tensor)
            self._memory[key] = _copied(tensor)

    def _read(self, value: Any) -> Any:
        kind = type(value)
        if kind is tuple or kind is list:
            return kind(map(self._read, value))
        if kind is dict:
            return {key: self._read(entry) for key, entry in value.items()}
        if isinstance(value, torch.Tensor) and has_memory(kind):
            return self._shadow(value)
        return value

    def _shadow(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor's shadow, if its memory has one. One object for each: `t_()` turns it for good."""
        known = self._shadows.get(id(tensor))
        if known is not None:
            return known[1]
        memory = self._memory.get(_key(tensor))
        if memory is None:
            return tensor
        _refuse_wrapped(tensor)
        shadow = _seen_as(tensor, memory)
        self._shadows[id(tensor)] = tensor, shadow
        self._originals[id(shadow)] = tensor
        return shadow


def _tensors(value: object) -> Iterator[torch.Tensor]:
    """The tensors in an argument that have memory of their own."""
    if isinstance(value, tuple | list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _tensors(entry)
    elif isinstance(value, torch.Tensor) and has_memory(type(value)):
        yield value


def _has_storage(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_quantized


def _key(tensor: torch.Tensor) -> _Key:
    """Equal for tensors that share memory."""
    tensor = within(tensor)
    if not _has_storage(tensor):
        return "tensor", id(tensor)
    return "storage", int(tensor.untyped_storage()._cdata)


def _refuse_wrapped(tensor: torch.Tensor) -> None:
    """A function that `torch.func` transforms cannot be given a shadow: it has wrapped the tensor before."""
    if within(tensor) is not tensor:
        raise CaptureError(
            "torch.func transforms a function that writes into a tensor of the model, or reads one that was "
            "written, which cannot be followed; write it for all of the tensor at once, or clone() it first"
        )


def _copied(tensor: torch.Tensor) -> _Memory:
    """A copy of all the memory that a tensor is a view of."""
    with torch.no_grad():
        if not _has_storage(tensor):
            return tensor.detach().clone()
        whole = torch.empty(0, dtype=torch.uint8, device=tensor.device)
        whole.set_(tensor.untyped_storage())
        return whole.clone().untyped_storage()


def _seen_as(tensor: torch.Tensor, memory: _Memory) -> torch.Tensor:
    """What `tensor` is, on other memory."""
    if isinstance(memory, torch.Tensor):
        return memory
    with torch.no_grad():
        shadow = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        shadow.set_(memory, tensor.storage_offset(), tensor.size(), tensor.stride())
        shadow = shadow.conj() if tensor.is_conj() else shadow
        shadow = torch._neg_view(shadow) if tensor.is_neg() else shadow
    if tensor.is_leaf:
        shadow.requires_grad_(tensor.requires_grad)
        shadow.grad = tensor.grad
    return shadow
