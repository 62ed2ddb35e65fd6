"""What of a running forward comes by the tracer: every torch function and call of a module, in this thread.

In: a tracer, the modules of its model. Out: a context in which the model may run. Other threads pass by:
functions are seen by a mode, which is a thread's own, and modules by a call that asks for this thread's
tracer.

Modules are given that call one by one: to set it on the class empties the method caches of every module
class, which takes a tenth of a short model's trace. But only the class shows a module outside the module tree
(made in the forward, held in a list): a forward that calls one has to run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Protocol

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
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
OWN_CALL = "_compiled_call_impl"
"""The attribute that `nn.Module.__call__` looks for first: what `nn.Module.compile` sets."""


class OutsideTheTree(BaseException):
    """A module outside the module tree was called, and has not come by.

    No `Exception`, so that the model's own code does not handle it.
    """


@contextmanager
def intercepted(interceptor: Interceptor, modules: Iterable[nn.Module] | None) -> Iterator[None]:
    """Let this thread's calls of torch functions, and of these modules, come by; None: of all modules.

    Raises:
        OutsideTheTree: a module that is not one of them was called.
    """
    before = _thread.interceptor
    with ExitStack() as stack:
        stack.enter_context(_all_modules() if modules is None else _these(modules))
        try:
            _thread.interceptor = interceptor
            with _Functions(interceptor):
                yield
        finally:
            _thread.interceptor = before


@contextmanager
def functions(interceptor: Interceptor) -> Iterator[None]:
    """Let torch functions come by that are called where one has come by already."""
    with _Functions(interceptor):
        yield


@contextmanager
def _these(modules: Iterable[nn.Module]) -> Iterator[None]:
    owns = [(module, module.__dict__) for module in modules]
    had = [OWN_CALL in own for _, own in owns]
    missed: list[nn.Module] = []

    def look(module: nn.Module, _: object) -> None:
        if _thread.interceptor is not None and OWN_CALL not in module.__dict__:
            missed.append(module)
            raise OutsideTheTree

    hook = register_module_forward_pre_hook(look)
    try:
        for module, own in owns:
            own[OWN_CALL] = partial(_call, _without_own_call, module)
        yield
    finally:
        hook.remove()
        for (_, own), is_kept in zip(owns, had, strict=True):
            if is_kept:  # the guard has emptied it
                own[OWN_CALL] = None
            else:
                own.pop(OWN_CALL, None)
    if missed:  # the forward has handled what was raised
        raise OutsideTheTree


@contextmanager
def _all_modules() -> Iterator[None]:
    global _users, _original
    entered = False
    try:
        with _lock:
            if not _users:
                _original = nn.Module.__call__
                nn.Module.__call__ = _call_of_any  # type: ignore[method-assign]
            _users += 1
            entered = True
        yield
    finally:
        with _lock:
            _users -= entered
            if not _users and nn.Module.__call__ is _call_of_any:
                nn.Module.__call__ = _original  # type: ignore[method-assign]


def _call(
    original: Callable[..., object], module: nn.Module, /, *args: object, **kwargs: object
) -> object:
    interceptor = _thread.interceptor
    if interceptor is None:
        return original(module, *args, **kwargs)
    return interceptor.module(module, original, args, kwargs)


def _without_own_call(module: nn.Module, /, *args: object, **kwargs: object) -> object:
    return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]


def _call_of_any(module: nn.Module, /, *args: object, **kwargs: object) -> object:
    return _call(_original, module, *args, **kwargs)


class passed_by:
    """Let this thread's calls run as if nobody looked: a context, entered for every call of a kernel."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before, _thread.interceptor = _thread.interceptor, None

    def __exit__(self, *_: object) -> None:
        _thread.interceptor = self._before
