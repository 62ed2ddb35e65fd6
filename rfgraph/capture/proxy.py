"""`TensorProxy`: stands for a tensor while the model's forward runs; its sizes are real integers.

In: a captured tensor's name, shape and dtype. Out: what model code asks of a tensor. Callers: the
tracer creates them, the model's forward uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.overrides import is_tensor_method_or_property

from rfgraph.errors import CaptureError

if TYPE_CHECKING:
    from rfgraph.capture.tracer import Tracer

_VALUE_READERS = frozenset(
    {"item", "tolist", "numpy", "__array__", "__bool__", "__int__", "__float__"}
)
_VIEWS = {"T": ("T", ()), "mT": ("transpose", (-2, -1)), "data": ("detach", ())}


class DataDependentError(CaptureError):
    """The graph depends on values, so no other input shape will do better."""


class TensorProxy(fx.Proxy):
    """A tensor of known shape, dtype and device, and unknown values.

    `isinstance(proxy, torch.Tensor)` is true, for models that ask. Whatever would need the values
    (`if x.sum() > 0`, `x.item()`) raises `DataDependentError`.
    """

    node: Any  # the node's name: fx's Proxy reads it for its repr alone
    tracer: Any  # a Tracer; fx would have one of its own

    def __init__(self, name: str, meta: torch.Tensor, tracer: Tracer) -> None:
        self.node = name
        self.tracer = tracer
        self.meta = meta

    def __repr__(self) -> str:
        return f"TensorProxy({self.node!r}, shape={tuple(self.meta.shape)})"

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        proxy = first_proxy((args, kwargs))
        assert proxy is not None  # torch calls this only because an argument is a proxy
        if is_tensor_method_or_property(func):
            return proxy.tracer.create_proxy("call_method", func.__name__, args, kwargs or {})
        return proxy.tracer.create_proxy("call_function", func, args, kwargs or {})

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return torch.Tensor

    @property
    def shape(self) -> torch.Size:
        return self.meta.shape

    @property
    def ndim(self) -> int:
        return self.meta.ndim

    @property
    def device(self) -> torch.device:
        found: torch.device = self.tracer.device
        return found

    def size(self, dim: int | None = None) -> Any:
        return self.meta.size() if dim is None else self.meta.size(dim)

    def dim(self) -> int:
        return self.meta.ndim

    def __len__(self) -> int:
        return len(self.meta)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tracer.create_proxy("call_method", "unbind", (self, 0), {}))

    def __bool__(self) -> bool:
        return bool(self._value("a branch"))

    def __int__(self) -> int:
        return int(self._value("int()"))

    def __float__(self) -> float:
        return float(self._value("float()"))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_method", "__setitem__", (self, index, value), {})

    def __getattr__(self, name: str) -> Any:
        if name in _VALUE_READERS:
            return partial(self._value, f".{name}()")
        if name in _VIEWS:
            method, arguments = _VIEWS[name]
            return self.tracer.create_proxy("call_method", method, (self, *arguments), {})
        found = getattr(self.meta, name)  # AttributeError: as a tensor's
        if callable(found):
            return self._method(name)
        return found

    def _method(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.tracer.create_proxy("call_method", name, (self, *args), kwargs)

        return call

    def _value(self, use: str, *_: Any, **__: Any) -> Any:
        raise DataDependentError(
            f"the model's Python code needs the values of {self.node!r} ({use}"
            f"{self.tracer.at_source()}), so its graph depends on the data; pass a part of the model "
            "without that branch, or decide the branch by an argument or attribute"
        )


def first_proxy(value: Any) -> TensorProxy | None:
    """The first proxy in nested tuples, lists and dicts."""
    kind = type(value)
    if kind is TensorProxy:
        found: TensorProxy = value
        return found
    if kind is tuple or kind is list:
        return next((p for p in map(first_proxy, value) if p is not None), None)
    if kind is dict:
        return first_proxy(tuple(value.values()))
    return None
