"""What torch's meta kernels say of a call, remembered: one that is written in Python takes up to 2 ms.

In: a call on stand-ins, bound to its operator. Out: what its answer depends on; the answer, made again.

An answer is a fact of torch, so it holds for the whole process: of a call of torch's own functions and
modules, described by shapes, strides, dtypes and plain values. No tensor and no module is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeAlias

import torch
from torch import nn

from rfgraph.capture.interception import OWN_CALL
from rfgraph.capture.lowering import Bound, Result
from rfgraph.graph import Operand
from rfgraph.graph.calls import PLAIN, is_of_torch

_ANSWERS: dict[Key, Layout] = {}
"""Key of a call -> layout of what it returns, which shares memory with nothing."""
_MOST_ANSWERS = 1 << 16
Key: TypeAlias = tuple[Hashable, ...]
Layout: TypeAlias = tuple[Any, ...]
_META = torch.device("meta")
_VALUES = PLAIN | {complex, type(Ellipsis), torch.dtype, torch.device, torch.memory_format}
_OF_ALL_MODULES = frozenset((*vars(nn.Module()), OWN_CALL))
_TENSORS = frozenset((torch.Tensor, nn.Parameter))


def answered(
    target: object, bound: Bound, ask: Callable[[], object], shares: Callable[[object], bool]
) -> object:
    """Meta tensors for what a call returns.

    Args:
        ask: makes the call on meta tensors.
        shares: True where a tensor that it returned shares memory with another one: this is asked each time.
    """
    key = _key(target, bound)
    layout = None if key is None else _ANSWERS.get(key)
    if layout is not None:
        return _made(layout)
    result = ask()
    if key is not None and len(_ANSWERS) < _MOST_ANSWERS and not shares(result):
        with suppress(TypeError):
            _ANSWERS[key] = _layout(result)
    return result


# --- what an answer depends on ------------------------------------------------------------------------


def _key(target: object, bound: Bound) -> Key | None:
    """All that the shape, strides and dtype of an answer depend on; None where that is not known."""
    if bound.known is None or not is_of_torch(target):
        return None
    try:
        own = _of_module(target) if isinstance(target, nn.Module) else None
        operands = tuple([_described(operand.meta["val"]) for operand in bound.operands])
        params = tuple([(name, _described(value)) for name, value in bound.params.items()])
    except TypeError:
        return None
    return bound.op, own, operands, params, torch.get_default_dtype()


def _of_module(module: nn.Module) -> Key:
    if module._modules:
        raise TypeError("a module within may hold anything")
    own = [entry for entry in vars(module).items() if entry[0] not in _OF_ALL_MODULES]
    held = (*module._parameters.items(), *module._buffers.items(), *own)
    return type(module), module.training, *((name, _described(value)) for name, value in held)


def _described(value: Any) -> Any:
    kind = type(value)
    if kind in _VALUES:
        return kind, value  # True is no 1
    if kind is Operand:
        return kind, value.index
    if kind in _TENSORS and value.layout is torch.strided:
        return torch.Tensor, value.shape, value.stride(), value.dtype
    if isinstance(value, tuple | list):
        return kind, *map(_described, value)
    if kind is slice:
        return kind, *map(_described, (value.start, value.stop, value.step))
    raise TypeError(f"{kind} may hold anything")


# --- the answer ---------------------------------------------------------------------------------------


def _layout(result: Result) -> Layout:
    kind = type(result)
    if kind is torch.Tensor and result.layout is torch.strided:
        return torch.Tensor, result.shape, result.stride(), result.dtype
    if isinstance(result, tuple | list):
        return kind, *map(_layout, result)
    raise TypeError(f"{kind} is no tensor")


def _made(layout: Layout) -> object:
    kind, *parts = layout
    if kind is torch.Tensor:
        shape, stride, dtype = parts
        return torch.empty_strided(shape, stride, dtype=dtype, device=_META)
    made = map(_made, parts)
    return kind(*made) if hasattr(kind, "_fields") else kind(made)
