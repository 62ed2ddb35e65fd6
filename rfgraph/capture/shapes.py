"""The tensors that a call returns, without running it on data: of the right shape, strides and dtype.

In: a call on stand-ins. Out: meta tensors. An operator that knows its shape says so in a formula
(`formulas`); every other call is made on the stand-ins themselves, which are meta tensors.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.func import functional_call
from torch.fx.node import Target

from rfgraph.capture.answers import answered
from rfgraph.capture.formulas import ASKED, is_tensor
from rfgraph.capture.lowering import Bound, Result
from rfgraph.capture.memory import Traced, storage_of
from rfgraph.capture.recurrent import in_few_steps
from rfgraph.graph.calls import Args, Kwargs, name_of

_NUMBERS = frozenset((int, float, bool, type(None)))
_META = torch.device("meta")
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")
Find: TypeAlias = "Callable[[object], Traced | None]"


class Shapes:
    """Asks torch's meta kernels.

    Args:
        find: the stand-in of a tensor of the graph.
    """

    def __init__(self, find: Find) -> None:
        self._find = find

    def run(self, target: Target, args: Args, kwargs: Kwargs, bound: Bound) -> object:
        """What a call returns, made on the stand-ins themselves: what shares memory with them, shares it."""
        moved, named = self._moved(_plainly(args, bound), kwargs)
        is_plain = bound.op in ASKED and not _may_copy(bound)
        ask = called if is_plain else partial(in_few_steps, on_meta)

        def asked() -> object:
            try:
                return ask(target, moved, named)
            except (RuntimeError, TypeError) as error:
                try:
                    return ask(target, *self._with_numbers(args, kwargs))
                except Exception:
                    raise error from None  # which speaks of what was passed

        if is_plain:
            return asked()
        return answered(target, bound, asked, lambda result: _shares(result, (moved, named)))

    def apart(self, target: Target, args: Args, kwargs: Kwargs) -> object:
        """What a call returns, made on other meta tensors than the stand-ins: it may write into them."""
        moved, named = self._moved(args, kwargs)
        return on_meta(target, like(moved), {name: like(value) for name, value in named.items()})

    def _moved(self, args: Args, kwargs: Kwargs) -> tuple[Args, dict[str, object]]:
        named = {name: self.to_meta(value) for name, value in kwargs.items()}
        return tuple([arg if type(arg) in _NUMBERS else self.to_meta(arg) for arg in args]), named

    def _with_numbers(self, args: Args, kwargs: Kwargs) -> tuple[Args, dict[str, object]]:
        """Arguments in which constants are the whole numbers that they are.

        Torch takes them for such, as of a dim or of sizes, and asks for values, which a meta tensor has not.
        """
        numbers, named = self._numbers(args), self._numbers(dict(kwargs))
        return self._moved(numbers, named)

    def _numbers(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            whole = value.ndim < 2 and not value.is_floating_point() and not value.is_meta
            return value.tolist() if whole and self._find(value) is None else value
        if type(value) in (tuple, list):
            return type(value)(map(self._numbers, value))
        if type(value) is dict:
            return {name: self._numbers(entry) for name, entry in value.items()}
        return value

    def tried(self, target: Target, args: Args, kwargs: Kwargs) -> object:
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
        if type(value) in _NUMBERS:
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

    def without_values(self, value: Any) -> Any:
        """`value` with a tensor of the same shape, dtype and device in the place of each stand-in."""
        found = self._find(value)
        if found is not None:
            with torch._C.DisableTorchFunction():
                own = found.tensor
                return torch.empty((), dtype=own.dtype, device=found.device).expand(own.shape)
        if type(value) in (tuple, list):
            return type(value)(map(self.without_values, value))
        if type(value) is dict:
            return {name: self.without_values(entry) for name, entry in value.items()}
        return value

    def _random(self, value: Any) -> object:
        """Stand-ins replaced by random tensors of their shape."""
        traced = self._find(value) if isinstance(value, torch.Tensor) else None
        if traced is not None:
            own = traced.tensor
            drawn = torch.rand if own.dtype.is_floating_point else torch.zeros
            return drawn(own.shape, dtype=own.dtype, device=traced.device)
        if type(value) in (tuple, list):
            return type(value)(map(self._random, value))
        return value


def _plainly(args: Args, bound: Bound) -> Args:
    """Arguments of a call, in which a constant index without dims is the number whose value it has."""
    if bound.op != "getitem" or any(map(is_tensor, bound.params["index"])):
        return args
    return args[0], bound.params["index"]


def called(target: Target, args: Args, kwargs: Kwargs) -> object:
    """`target(*args, **kwargs)`; a `str` target is a method of the first argument."""
    if isinstance(target, str):
        return getattr(args[0], target)(*args[1:], **kwargs)
    return target(*args, **kwargs)


def _of_all_dims(target: Target, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """Sums over no dims are of all; torch's meta kernels of these two take them for sums of nothing."""
    if name_of(target) not in ("nansum", "nanmean"):
        return args, kwargs
    place = "axis" if "axis" in kwargs else "dim"
    if kwargs.get(place, args[1] if len(args) > 1 else None) not in ((), []):
        return args, kwargs
    given: Any = args[0] if args else kwargs["input"]
    dims = tuple(range(given.dim()))
    if place in kwargs:
        return args, {**kwargs, place: dims}
    return (args[0], dims, *args[2:]), kwargs


def on_meta(target: Target, args: Args, kwargs: Kwargs) -> object:
    """The call on meta tensors; a module's own are meta, too. Without warnings: no user made it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not isinstance(target, nn.Module):
            return called(target, *_of_all_dims(target, args, kwargs))
        state = {**dict(target.named_parameters()), **dict(target.named_buffers())}
        state = {name: tensor.to(_META) for name, tensor in state.items()}
        before = [(vars(module), dict(vars(module))) for module in target.modules()]
        try:
            return functional_call(target, state, args, dict(kwargs))
        finally:  # recurrent layers keep lists of their weights, which are others here
            for own, kept in before:
                own.update(kept)


def tensors_in(value: object) -> list[torch.Tensor]:
    """Every tensor in arguments, at any depth."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        return tensors_in(list(value.values()))
    if isinstance(value, tuple | list):
        return [tensor for entry in value for tensor in tensors_in(entry)]
    return []


def _may_copy(bound: Bound) -> bool:
    """True for a reshape that may have to lay its elements out anew, which takes a kernel long."""
    return bound.op in ("reshape", "flatten") and not all(
        operand.meta["val"].is_contiguous() for operand in bound.operands
    )


def _shares(result: object, given: object) -> bool:
    """True where a returned tensor shares memory with one that was given, or with another one."""
    storages = list(map(storage_of, tensors_in(result)))
    return len(set(storages)) < len(storages) or not set(storages).isdisjoint(
        map(storage_of, tensors_in(given))
    )


def like(result: Result) -> Result:
    """Other meta tensors of the same shapes, strides and dtypes."""
    if isinstance(result, torch.Tensor):  # torch.empty_like takes 50 us on the meta device
        return torch.empty_strided(result.shape, result.stride(), dtype=result.dtype, device=_META)
    if isinstance(result, tuple | list):
        entries = map(like, result)
        return type(result)(*entries) if hasattr(result, "_fields") else type(result)(entries)
    return result
