"""`untouched`: run the model's own code and leave what it can reach, and every random state, as it was.

In: a module. Out: a context in which its forward may run. Written into, and put back: the contents of
containers and objects (`kept`), the state of the process (`process`). Tensors are never written into: a
write is made on a shadow that later reads see (`shadows`). What cannot be put back is refused first.

Not seen: memory of a tensor that code outside Python writes into, `numpy.memmap`s, files, and the
attributes of objects that torch, numpy and Python's own library define.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from rfgraph.graph.calls import Args
from rfgraph.graph.guard.changes import Began
from rfgraph.graph.guard.kept import Kept
from rfgraph.graph.guard.process import Process
from rfgraph.graph.guard.refusals import (
    lazy,
    on_meta,
    quantised,
    refuse_scripted,
    refuse_without_numbers,
)
from rfgraph.graph.guard.shadows import Shadows
from rfgraph.graph.guard.wrappers import bypass, tree, unwrapped

__all__ = [
    "Began",
    "Snapshot",
    "begin",
    "held_before",
    "lazy",
    "on_meta",
    "quantised",
    "refuse_without_numbers",
    "tree",
    "untouched",
    "unwrapped",
]

_LOCK = threading.RLock()
_entered: list[_Before] = []  # by the thread that holds the lock


class Snapshot:
    """What a model holds, found when it is first run: runs that begin alike need it once.

    To find it takes seconds where a model's code names a library of thousands of functions.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._kept: Kept | None = None

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """Those of the tree by path; in the place of a wrapper is what it runs."""
        return tree(self.model)

    def kept(self) -> Kept:
        """It holds this now, and after every run."""
        if self._kept is None:
            self._kept = Kept(self.model, list(self.modules.values()))
        return self._kept


def untouched(model: nn.Module | Snapshot, training: bool) -> AbstractContextManager[None]:
    """Run the body with every module's training flag set to `training`; put everything back after.

    Everything that is reachable from the model, and from the globals that its code names, is as before
    after an error, too, and after an interrupt wherever it comes. One thread at a time: others wait.
    A snapshot says what was there before: of its model nothing else may have changed since it was first used.

    Raises:
        InputError: on entry, for a model that could not be put back.
    """
    snapshot = model if isinstance(model, Snapshot) else Snapshot(model)
    return _Context(_steps(snapshot, training))


def begin(modules: Iterable[nn.Module], everywhere: bool) -> Began:
    """What the modules of the tree hold now; `everywhere`: and those that are reached in other ways."""
    if not (everywhere and _entered):
        return Began(modules)
    tree = list(modules)
    known = set(map(id, tree))
    others = (module for module in _entered[-1].modules() if id(module) not in known)
    return Began(tree, others, _entered[-1].training)


def held_before(module: nn.Module, name: str) -> Mapping[str, torch.Tensor | None]:
    """The `_parameters` or `_buffers` that a module held before the run, if it was there."""
    before: Mapping[int, Any] = _entered[-1].held if _entered else {}
    own = before.get(id(module.__dict__))
    held: Mapping[str, torch.Tensor | None] = (
        module.__dict__[name] if own is None else before.get(id(own[name]), {})
    )
    return held


class _Context(io.IOBase):
    """A generator with one `yield`, as a context.

    `contextlib.contextmanager` leaves by a function of its own: an interrupt at its first line would
    leave the generator where it is. `io.IOBase` leaves by a C function, which calls `close`, which is
    the generator's: the first line that runs is within its `try`.
    """

    def __init__(self, steps: Generator[None, None, None]) -> None:
        self._steps = steps
        self.close = steps.close  # type: ignore[method-assign]

    def __enter__(self) -> None:  # type: ignore[override]
        try:
            next(self._steps)
        except BaseException:
            self._steps.close()
            raise


def _steps(snapshot: Snapshot, training: bool) -> Generator[None, None, None]:
    inside = _is_held()
    before: _Before | None = None
    try:
        try:
            if not inside:
                _LOCK.acquire()
            refuse_scripted(snapshot.modules)
            before = _Before(snapshot)
            before.change(list(snapshot.modules.values()), training)
            _entered.append(before)
            yield
        finally:
            _leave(before, inside)
    finally:  # once more: an interrupt may have come in the first
        _leave(before, inside)


def _leave(before: _Before | None, inside: bool) -> None:
    if before is not None:
        before.put_back()
        _entered[:] = [other for other in _entered if other is not before]
    if not inside and _is_held():
        _LOCK.release()


def _is_held() -> bool:
    """True where this thread holds the lock: asked, not remembered, as an interrupt may come between."""
    return bool(_LOCK._is_owned())  # type: ignore[attr-defined]


class _Before:
    """All that was there before the run.

    Attributes:
        training: the flag that the run gives every module of the tree.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._process = Process()
        self._kept = snapshot.kept()
        self._flags: list[tuple[nn.Module, bool]] = []
        self._is_back = False
        self.training = False

    def change(self, modules: list[nn.Module], training: bool) -> None:
        self.training = training
        flags = [(module, module.__dict__.get("training")) for module in modules]
        self._flags = [(module, flag) for module, flag in flags if flag is not None]
        for module, _ in self._flags:
            module.__dict__["training"] = training
        bypass(modules)
        self._process.without_gradients()
        torch._C._push_on_torch_function_stack(_Redirect(Shadows(self._kept)))

    def modules(self) -> list[nn.Module]:
        """Those of the tree, and those that are reached in other ways."""
        return self._kept.modules()

    @cached_property
    def held(self) -> Mapping[int, Mapping[Any, Any]]:
        """What every dict held, by its id; empty ones are left out."""
        return self._kept.dicts()

    def put_back(self) -> None:
        """May be interrupted anywhere and called again."""
        if not self._is_back:
            self._process.put_back()
            for module, flag in self._flags:  # most dicts are then as they were, which is seen fast
                module.__dict__["training"] = flag
            self._kept.put_back()
            self._is_back = True


class _Redirect(TorchFunctionMode):
    """Calls that write into the model's tensors write into their shadows; later calls read these."""

    def __init__(self, shadows: Shadows) -> None:
        super().__init__()
        self._shadows = shadows

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: Args = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        args, kwargs = self._shadows.arguments(func, args, kwargs or {})
        return self._shadows.result(func(*args, **kwargs))
