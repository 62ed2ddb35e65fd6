"""What of a running forward comes by the tracer: every torch function and call of a module, in this thread.

In: a tracer. Out: a context in which the model may run. Other threads pass by: functions are seen by a mode,
which is a thread's own, and modules by a call that asks for this thread's tracer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import nn
from torch.overrides import TorchFunctionMode

from rfgraph.graph.calls import Args, Kwargs


class Interceptor(Protocol):
    """What the calls come by."""

    def function(self, function: Callable[..., object], args: Args, kwargs: Kwargs) -> object:
        """A torch function, a tensor's method or attribute."""

    def module(
        self, module: nn.Module, original: Callable[..., object], args: Args, kwargs: Kwargs
    ) -> object:
        """A call of a module."""


class _Functions(TorchFunctionMode):
    """Hands every torch function on."""

    def __init__(self, interceptor: Interceptor) -> None:
        super().__init__()
        self._interceptor = interceptor

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: Args = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        if _thread.interceptor is not self._interceptor:  # it is passed by
            return func(*args, **(kwargs or {}))
        return self._interceptor.function(func, args, kwargs or {})


class _Thread(threading.local):
    """What this thread's calls come by."""

    interceptor: Interceptor | None = None


_thread = _Thread()
_lock = threading.Lock()
_users = 0
_original: Callable[..., object] = nn.Module.__call__


def _call(module: nn.Module, *args: object, **kwargs: object) -> object:
    interceptor = _thread.interceptor
    if interceptor is None:
        return _original(module, *args, **kwargs)
    return interceptor.module(module, _original, args, kwargs)


@contextmanager
def intercepted(interceptor: Interceptor) -> Iterator[None]:
    """Let this thread's calls of torch functions and of modules come by."""
    global _users, _original
    before, entered = _thread.interceptor, False
    try:
        with _lock:
            if not _users:
                _original = nn.Module.__call__
                nn.Module.__call__ = _call  # type: ignore[method-assign]
            _users += 1
            entered = True
        _thread.interceptor = interceptor
        with _Functions(interceptor):
            yield
    finally:
        _thread.interceptor = before
        with _lock:
            _users -= entered
            if not _users and nn.Module.__call__ is _call:
                nn.Module.__call__ = _original  # type: ignore[method-assign]


class passed_by:
    """Let this thread's calls run as if nobody looked: a context, entered for every call of a kernel."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before, _thread.interceptor = _thread.interceptor, None

    def __exit__(self, *_: object) -> None:
        _thread.interceptor = self._before
