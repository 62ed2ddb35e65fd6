"""`TensorProxy`: stands for a tensor while the model's forward runs; its sizes are real, its values none.

In: a node's name, a shape, a dtype. Out: what model code asks of a tensor. Callers: the tracer creates
proxies, the model's forward uses them.

A proxy is a tensor subclass without storage, so `isinstance(x, torch.Tensor)`, `x.shape` and `x.dtype`
are what the model expects, also in compiled code. Calls come by `__torch_function__`; one that reaches
the dispatcher unseen is refused there: nothing is computed behind the tracer's back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import is_tensor_method_or_property

from rfgraph.errors import CaptureError
from rfgraph.graph import Masked
from rfgraph.reads import Shape

if TYPE_CHECKING:
    from rfgraph.capture.tracer import Tracer

_VALUE_READERS = frozenset(
    (
        *("item", "tolist", "numpy", "is_nonzero", "equal", "allclose", "data_ptr"),
        *("__bool__", "__int__", "__float__", "__complex__", "__index__", "__contains__"),
        *("__array__", "__cuda_array_interface__", "__dlpack__"),
    )
)
_METADATA = frozenset(
    (
        *("size", "dim", "ndimension", "numel", "nelement", "element_size", "stride", "__len__"),
        *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "get_device"),
        *("storage_offset", "is_conj", "is_neg", "is_inference", "__hash__", "is_shared"),
        *("requires_grad_", "has_names", "is_same_size", "is_pinned"),
    )
)
_TENSOR_ATTRIBUTES: dict[str, tuple[str, tuple[int, ...]]] = {
    **{name: (name, ()) for name in ("T", "real", "imag")},
    "data": ("detach", ()),
    "H": ("T", ()),
    **dict.fromkeys(("mT", "mH"), ("transpose", (-2, -1))),
}
_SAME_TENSOR = frozenset(("aten::alias", "aten::detach", "aten::view", "aten::_unsafe_view"))


class DataDependentError(CaptureError):
    """The graph depends on values, so no other input shape will do better."""


class TensorProxy(torch.Tensor):
    """A tensor of known shape, dtype and device, and unknown values.

    Whatever would need the values (`if x.sum() > 0`, `x.item()`) raises `DataDependentError`.
    """

    name_of_node: str
    tracer: Tracer
    sizes: Shape
    masked: Masked | None

    @staticmethod
    def make(
        name: str,
        shape: Shape,
        dtype: torch.dtype,
        tracer: Tracer,
        masked: Masked | None = None,
    ) -> TensorProxy:
        """A proxy for the node called `name`."""
        proxy: TensorProxy = torch.Tensor._make_wrapper_subclass(
            TensorProxy, shape, dtype=dtype, device=tracer.device
        )
        proxy.name_of_node = name
        proxy.tracer = tracer
        proxy.sizes = shape
        proxy.masked = masked
        return proxy

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"TensorProxy({self.name_of_node!r}, shape={self.sizes})"

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.__name__
        if name == "__get__":
            return _attribute(func, args)
        proxy = first_proxy((args, kwargs))
        if proxy is None or name in _METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        if name in _VALUE_READERS:
            raise needs_values(proxy, name)
        if name == "__iter__":
            return iter(proxy.tracer.call("unbind", (proxy, 0), {}))
        if name == "__deepcopy__":
            return proxy
        if hasattr(func, "__objclass__") or is_tensor_method_or_property(func):
            return proxy.tracer.call(name, args, kwargs)
        return proxy.tracer.call(func, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func._schema.name in _SAME_TENSOR and isinstance(args[0], TensorProxy):
            return args[0]  # autograd aliases what a custom Function returns unchanged
        proxy = first_proxy((args, kwargs))
        at = proxy.tracer.at_source() if proxy is not None else ""
        raise CaptureError(
            f"{func._schema.name} is called from compiled code{at}, where it cannot be followed; "
            "put that part into a module of its own and teach it with @rfgraph.rule"
        )


def _attribute(getter: Any, args: Any) -> Any:
    """`x.shape`, `x.device`: what the subclass itself knows; `x.T`: an operator."""
    name = getter.__self__.__name__
    if name in _TENSOR_ATTRIBUTES:
        method, arguments = _TENSOR_ATTRIBUTES[name]
        return args[0].tracer.call(method, (args[0], *arguments), {})
    with torch._C.DisableTorchFunctionSubclass():
        return getter(*args)


def needs_values(proxy: TensorProxy, use: str) -> DataDependentError:
    """The error for model code that decides by data."""
    asked = {"__bool__": "a branch or assertion"}.get(use, f"{use.strip('_')}()")
    return DataDependentError(
        f"the model's Python code needs the values of {proxy.name_of_node!r} ({asked}"
        f"{proxy.tracer.at_source()}), so its graph depends on the data; pass a part of the model "
        "without that branch, decide the branch by an argument or attribute, or measure the module that "
        "holds it with on_unknown='measure'"
    )


def first_proxy(value: Any) -> TensorProxy | None:
    """The first proxy in nested tuples, lists, dicts and slices."""
    kind = type(value)
    if kind is TensorProxy:
        found: TensorProxy = value
        return found
    if kind is tuple or kind is list:
        for entry in value:
            proxy = first_proxy(entry)
            if proxy is not None:
                return proxy
    if kind is dict:
        return first_proxy(tuple(value.values()))
    if kind is slice:
        return first_proxy((value.start, value.stop, value.step))
    return None
