"""`Shapes`: the shape and dtype of what a call returns, without running it on data.

In: a call on proxies. Out: shapes and dtypes. Callers: the tracer. An operator that knows its shape says
so in a formula, because a formula costs a microsecond and a meta kernel up to a millisecond; every
other call is asked of torch itself. Tests hold the formulas against torch.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from rfgraph.capture.proxy import TensorProxy
from rfgraph.operators import Operator, Params
from rfgraph.reads import Shape

_META = torch.device("meta")
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of a tensor that a formula describes."""

    shape: Shape
    dtype: torch.dtype


class Shapes:
    """Remembers what torch answered within one capture: deep models repeat themselves."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def of(
        self,
        known: Operator,
        params: Params,
        operands: Sequence[TensorProxy],
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """The shape and dtype of the tensor(s) that a call of a known operator returns."""
        sizes = [operand.sizes for operand in operands]
        shapes: Any = None if known.infer is None else known.infer(params, sizes)
        if shapes is None:
            return self.run(target, args, kwargs)
        dtype = operands[0].dtype
        if shapes and isinstance(shapes[0], tuple):
            return tuple(None if shape is None else Meta(shape, dtype) for shape in shapes)
        return Meta(shapes, dtype)

    def run(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        complain: Callable[[Exception], Exception] | None = None,
    ) -> Any:
        """What torch's meta kernels answer. Raises `complain(error)` where they refuse."""
        key = _key(target, args, kwargs)
        if key is not None and key in self._known:
            return self._known[key]
        try:
            result = _on_meta(target, args, kwargs)
        except Exception as error:
            if complain is None:
                raise
            raise complain(error) from error
        if key is not None:
            self._known[key] = result
        return result

    def tried(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call returns on random tensors, as shapes: for operators that no meta kernel describes."""
        moved = tuple(map(_random, args))
        return _described(_called(target, moved, {k: _random(v) for k, v in kwargs.items()}))


def _random(value: Any) -> Any:
    """Proxies replaced by random tensors of their shape."""
    if type(value) is TensorProxy:
        floats = value.dtype.is_floating_point
        made = torch.rand if floats else torch.zeros
        return made(value.sizes, dtype=value.dtype, device=value.device)
    if type(value) in (tuple, list):
        return type(value)(map(_random, value))
    return value


def _described(value: Any) -> Any:
    """Tensors replaced by their shapes and dtypes."""
    if isinstance(value, torch.Tensor):
        return Meta(tuple(value.shape), value.dtype)
    if isinstance(value, tuple | list):
        return tuple(map(_described, value))
    return value


def _called(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`target(*args, **kwargs)`; a `str` target is a method or attribute of the first argument."""
    if not isinstance(target, str):
        return target(*args, **kwargs)
    found = getattr(args[0], target)
    return found(*args[1:], **kwargs) if callable(found) else found


def _on_meta(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    moved = tuple(_to_meta(arg) for arg in args)
    named = {name: _to_meta(value) for name, value in kwargs.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the user did not call this
        if isinstance(target, nn.Module):
            state = {**dict(target.named_parameters()), **dict(target.named_buffers())}
            state = {name: tensor.to(_META) for name, tensor in state.items()}
            return functional_call(target, state, moved, named)
        return _called(target, moved, named)


def _to_meta(value: Any) -> Any:
    if type(value) is TensorProxy:
        return torch.empty(value.sizes, dtype=value.dtype, device=_META)
    if isinstance(value, torch.Tensor):
        return value.to(_META)
    if type(value) in (tuple, list):
        return type(value)(_to_meta(entry) for entry in value)
    if isinstance(value, torch.device) or (isinstance(value, str) and _DEVICE.fullmatch(value)):
        return _META
    if type(value) is slice:
        return slice(*(_to_meta(end) for end in (value.start, value.stop, value.step)))
    return value


def _key(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A hashable description of a call, or None: modules differ in more than their arguments."""
    if isinstance(target, nn.Module):
        return None
    try:
        key = (target, _describe(args), tuple((k, _describe(v)) for k, v in kwargs.items()))
        hash(key)
    except TypeError:
        return None
    return key


def _describe(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return "tensor", tuple(value.shape), value.stride(), value.dtype
    if type(value) in (tuple, list):
        return type(value), tuple(map(_describe, value))
    if type(value) is slice:
        return "slice", _describe(value.start), _describe(value.stop), _describe(value.step)
    return type(value), value
