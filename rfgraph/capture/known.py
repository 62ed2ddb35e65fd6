"""What tensors of the graph hold that depend on no input: masks that are made in the image of an input.

In: a call that was captured. Out: what gives the tensor that it returns, where its operands are asked for
their shape, dtype or device alone (`torch.ones_like(x)`), or are known themselves. Nothing is computed until
a rule asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import torch
from torch import fx
from torch.fx.node import Target, map_aggregate

from rfgraph.capture.interception import passed_by
from rfgraph.capture.lowering import Bound
from rfgraph.capture.memory import Traced
from rfgraph.capture.shapes import called
from rfgraph.graph import Operand
from rfgraph.graph.calls import outputs_of, plain

Value: TypeAlias = "Callable[[], torch.Tensor | None]"

Call: TypeAlias = "tuple[Target, tuple[Any, ...], Any]"
"""The target, args and kwargs of a call."""

MAKES = frozenset("zeros_like ones_like full_like new_zeros new_ones new_full new_tensor".split())
_DRAWS = frozenset("bernoulli bernoulli_ dropout multinomial".split())
_LARGEST = 1 << 22  # elements, which are kept as long as the graph is


@dataclass(frozen=True, slots=True)
class _Operand:
    """A tensor of the graph as it was when the call was made; `value` None: its form alone is known."""

    value: Value | None
    like: torch.Tensor
    device: torch.device

    def tensor(self) -> torch.Tensor | None:
        if self.value is not None:
            return self.value()
        own = self.like
        return torch.empty((), dtype=own.dtype, device=self.device).expand(own.shape)


def known(
    bound: Bound, value: fx.Node, call: Call, find: Callable[[Any], Traced | None]
) -> Callable[[int], torch.Tensor | None] | None:
    """What gives an output of a call, one of which is `value`, by its number; None where an input is read."""
    if bound.op not in MAKES and not all("known" in node.meta for node in bound.operands):
        return None
    if bound.op in _DRAWS or _reads(bound) or prod(value.meta["val"].shape) > _LARGEST:
        return None

    def told(leaf: Any) -> Any:
        traced = find(leaf)
        if traced is None:
            return leaf
        return _Operand(traced.node.meta.get("known"), traced.tensor, traced.device)

    args: Any = map_aggregate(call[1], told)
    kwargs: Any = map_aggregate(call[2], told)

    return _Made((call[0], args, kwargs)).output


class _Made:
    """What a call returns on tensors that are known, once it is asked for."""

    __slots__ = ("_call", "_outputs")

    def __init__(self, call: Call) -> None:
        self._call: Call | None = call
        self._outputs: list[torch.Tensor] = []

    def output(self, number: int) -> torch.Tensor | None:
        """Output `number`; None where the call cannot be made."""
        if self._call is not None:
            with suppress(RuntimeError, TypeError, ValueError):  # then nothing is known of it
                self._outputs = _returned(*self._call)
            self._call = None
        return self._outputs[number] if self._outputs else None


def _returned(target: Target, args: Any, kwargs: Any) -> list[torch.Tensor]:
    """What a call gives, with tensors in the place of operands."""
    with passed_by(), torch._C.DisableTorchFunction(), torch.no_grad():
        given = tuple(map(plain, map_aggregate(args, _held)))
        named = {name: plain(map_aggregate(v, _held)) for name, v in kwargs.items()}
        return outputs_of(called(target, given, named))


def _reads(bound: Bound) -> bool:
    """True for a tensor that is made in another's image, and filled with what is computed."""
    if bound.op not in MAKES or bound.known is None:
        return False
    used = outputs_of(list(bound.known.used(bound.params).values()))
    return any(isinstance(leaf, Operand) for leaf in used)


def _held(leaf: Any) -> Any:
    """The tensor that an operand is; `ValueError`: the call that makes it cannot be made."""
    if type(leaf) is not _Operand:
        return leaf
    if (tensor := leaf.tensor()) is None:
        raise ValueError("nothing is known of an operand")
    return tensor
