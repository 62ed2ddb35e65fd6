"""The tensors that a call returns, without running it on data: of the right shape, strides and dtype.

In: a call on stand-ins. Out: meta tensors. An operator that knows its shape says so in a
formula, because a formula costs a microsecond and a meta kernel up to a millisecond; every other call is
made on the stand-ins themselves, which are meta tensors. Tests hold the formulas against torch.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch.func import functional_call

from rfgraph.calls import outputs_of
from rfgraph.capture.lowering import Bound, shape_of
from rfgraph.capture.memory import Traced, storage_of
from rfgraph.graph import Operand

_META = torch.device("meta")
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")
_ASKED = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze view_as reshape_as permute transpose t T swapaxes "
    "swapdims movedim moveaxis expand expand_as narrow select getitem chunk split unbind tensor_split".split()
)
"""Operators whose result may share memory: their kernels take a microsecond, and tell."""
SAME = frozenset(
    "identity cpu cuda dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split()
)
"""Operators that return their operand itself, where they do nothing."""

Find: TypeAlias = "Callable[[Any], Traced | None]"


def formula(call: fx.Node, bound: Bound) -> Any:
    """Meta tensors by the operator's own formula; None where torch has to be asked.

    A formula knows shapes. The dtype is the operands' where all are of one floating dtype, and the strides
    are torch's default where all of theirs are.
    """
    known = bound.known
    if known is None or known.infer is None:
        return None
    own = bound.operands[0].meta["val"]
    dtype = own.dtype
    if known.name in _ASKED:
        return _indexed(bound) if known.name == "getitem" else None
    if does_nothing(bound):
        return own.detach()
    if not dtype.is_floating_point or bound.params.get("dtype") is not None:
        return None
    if bound.params.get("return_indices"):  # the second output is of another dtype
        return None
    for value in call.all_input_nodes if call.op != "call_module" else bound.operands:
        if not _alike(value.meta["val"], dtype):
            return None
    shapes: Any = known.infer(bound.params, [shape_of(operand) for operand in bound.operands])
    if shapes is None:
        return None
    if shapes and isinstance(shapes[0], tuple):
        return tuple(None if shape is None else _fresh(shape, dtype) for shape in shapes)
    return _fresh(shapes, dtype)


def does_nothing(bound: Bound) -> bool:
    """True for a call that returns its operand itself, such as dropout in eval mode."""
    return bound.op in SAME and bound.known is not None and bound.params.get("training") is not True


def _indexed(bound: Bound) -> torch.Tensor | None:
    """What an index tensor picks, whose values a meta kernel might ask for; None for a plain index."""
    known, index = bound.known, bound.params["index"]
    if known is None or known.infer is None or not any(map(_is_tensor, index)):
        return None
    shape: Any = known.infer(bound.params, [shape_of(operand) for operand in bound.operands])
    return None if shape is None else _fresh(shape, bound.params["input"].dtype)


def _is_tensor(entry: Any) -> bool:
    if isinstance(entry, tuple | list):
        return any(map(_is_tensor, entry))
    return isinstance(entry, torch.Tensor | Operand)


def _alike(value: Any, dtype: torch.dtype) -> bool:
    """A tensor that leaves dtype and strides of what it is combined with as they are."""
    if not isinstance(value, torch.Tensor):
        return True
    return value.is_contiguous() and (value.dtype is dtype or not value.dtype.is_floating_point)


def _fresh(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=_META)


class Shapes:
    """Asks torch's meta kernels, and remembers what they answered: deep models repeat themselves.

    Args:
        find: the stand-in of a tensor of the graph.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self._known: dict[Any, Any] = {}

    def run(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], bound: Bound) -> Any:
        """What a call returns, made on the stand-ins themselves: what shares memory with them, shares it."""
        key = None if bound.op in _ASKED else _key(bound)
        if key is not None and key in self._known:
            return like(self._known[key])
        moved = tuple([self.to_meta(arg) for arg in args])
        named = {name: self.to_meta(value) for name, value in kwargs.items()}
        if bound.op in _ASKED:
            return called(target, moved, named)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the user did not call this
            result = on_meta(target, moved, named)
        if key is not None and not _shares(result, (moved, named)):
            self._known[key] = result
            return like(result)
        return result

    def tried(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call returns on random tensors, as meta tensors: for operators without a meta kernel.

        Raises:
            ValueError: it writes into what it is given.
        """
        moved = tuple(map(self._random, args))
        named = {name: self._random(value) for name, value in kwargs.items()}
        result = called(target, moved, named)
        if any(tensor._version for tensor in tensors_in((moved, named))):
            raise ValueError("it writes into its arguments")
        return like(result)

    def to_meta(self, value: Any) -> Any:
        """An argument with meta tensors in the place of all tensors."""
        if type(value) is int:
            return value
        if isinstance(value, torch.Tensor):
            traced = self._find(value)
            return value.to(_META) if traced is None else traced.tensor
        if isinstance(value, tuple | list):
            entries = [self.to_meta(entry) for entry in value]
            return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
        if isinstance(value, torch.device) or (isinstance(value, str) and _DEVICE.fullmatch(value)):
            return _META
        if type(value) is slice:
            return slice(*(self.to_meta(end) for end in (value.start, value.stop, value.step)))
        return value

    def _random(self, value: Any) -> Any:
        """Stand-ins replaced by random tensors of their shape."""
        traced = self._find(value) if isinstance(value, torch.Tensor) else None
        if traced is not None:
            own = traced.tensor
            drawn = torch.rand if own.dtype.is_floating_point else torch.zeros
            return drawn(own.shape, dtype=own.dtype, device=traced.device)
        if type(value) in (tuple, list):
            return type(value)(map(self._random, value))
        return value


def called(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`target(*args, **kwargs)`; a `str` target is a method of the first argument."""
    if isinstance(target, str):
        return getattr(args[0], target)(*args[1:], **kwargs)
    return target(*args, **kwargs)


def on_meta(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The call on meta tensors; a module's own tensors are meta, too."""
    if isinstance(target, nn.Module):
        state = {**dict(target.named_parameters()), **dict(target.named_buffers())}
        state = {name: tensor.to(_META) for name, tensor in state.items()}
        return functional_call(target, state, args, kwargs)
    return called(target, args, kwargs)


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Every tensor in arguments, at any depth."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        return tensors_in(list(value.values()))
    if isinstance(value, tuple | list):
        return [tensor for entry in value for tensor in tensors_in(entry)]
    return []


def _shares(result: Any, given: Any) -> bool:
    """True where a returned tensor shares memory with one that was given."""
    storages = set(map(storage_of, tensors_in(given)))
    tensors = (one for one in outputs_of(result) if isinstance(one, torch.Tensor))
    return any(storage_of(one) in storages for one in tensors)


def like(result: Any) -> Any:
    """Other meta tensors of the same shapes, strides and dtypes."""
    if isinstance(result, torch.Tensor):  # torch.empty_like takes 50 us on the meta device
        return torch.empty_strided(result.shape, result.stride(), dtype=result.dtype, device=_META)
    if isinstance(result, tuple | list):
        entries = map(like, result)
        return type(result)(*entries) if hasattr(result, "_fields") else type(result)(entries)
    return result


def _key(bound: Bound) -> Any:
    """A hashable description of a call: its operator, params, and the tensors that it is given.

    None where there is none: what no operator describes may differ in more than its arguments.
    """
    if bound.known is None:
        return None
    operands = tuple(_describe(operand.meta["val"]) for operand in bound.operands)
    try:
        key = bound.op, operands, tuple((k, _describe(v)) for k, v in bound.params.items())
        hash(key)
    except TypeError:
        return None
    return key


def _describe(value: Any) -> Any:
    if isinstance(value, Operand):
        return "operand", value.index
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided:
            raise TypeError("no key for other layouts")
        return "tensor", tuple(value.shape), value.stride(), value.dtype
    if isinstance(value, tuple | list):
        return type(value), tuple(map(_describe, value))
    if isinstance(value, slice):
        return "slice", tuple(map(_describe, (value.start, value.stop, value.step)))
    return type(value), value
