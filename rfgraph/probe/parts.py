"""The positive twin of a graph without the reads of a whole axis, part by part.

In: a graph, twins of its inputs, how each node carries the parts of its operands. Out: a twin of every node,
through whose gradient only what is left can be seen.

An axis may lie along several dims of a tensor, as attention scores have it along queries and along keys: a
softmax over keys reads one part whole and leaves the other local. So every part is a tensor of its own, and a
call is made once for each, with all else held constant. Which parts there are, and which a node reads whole,
is a definition (theory: parts), and told; what they read is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import torch
from torch import fx
from torch.fx.node import map_aggregate

from rfgraph.graph import Axis, Carry, Graph, Node
from rfgraph.graph.calls import plain
from rfgraph.graph.replay import Replay, Unreadable
from rfgraph.probe.twins.encoding import average, lowered
from rfgraph.probe.twins.twin import Part, Setting, Twin

Carries: TypeAlias = Mapping[str, Sequence[Carry]]
"""Node -> how it reads the parts of its operands, along one axis."""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """The reads of a whole axis, which are left out: those that `carries` gives no target."""

    axis: Axis
    carries: Carries


class _Made(NamedTuple):
    """What a call returns for one part of its arguments; `cut`: without the reads of a whole axis."""

    part: Part
    cut: bool
    result: Any


class ByParts(Replay):
    """A replay on twins in which every part of a value is a tensor of its own: `Twin.parts`."""

    def __init__(
        self,
        graph: Graph,
        left_out: LeftOut,
        setting: Setting,
        visit: Callable[[Node, Any], None],
    ) -> None:
        super().__init__(graph, self._visited, until=next(reversed(graph.names.values()), None))
        self._left_out = left_out
        self._setting = setting
        self._then = visit
        self._is_apart = False
        self._chosen: tuple[int, Part | None] = (-1, None)

    def _visited(self, node: Node, value: object) -> None:
        if isinstance(value, Twin) and value.fixed is None:
            value.node = node.name
            if node.op == "input":
                value.parts = tuple(self._source(node, value))
            else:
                value.parts = tuple(_together(map(self._carried(node), value.parts)))
        self._then(node, value)

    def _source(self, node: Node, value: Twin) -> Iterator[Part]:
        axis = self._left_out.axis
        if node.name == axis.input:
            yield Part(frozenset((frozenset((axis.dim,)),)), value.value)

    def _carried(self, node: Node) -> Callable[[Part], Part]:
        """A part of an argument as one of the node: by the dims that carry it there."""

        def carried(part: Part) -> Part:
            targets = (carry.target for carry in self._carries(node, part))
            return Part(frozenset(dims for dims in targets if dims is not None), part.value)

        return carried

    def _carries(self, node: Node, part: Part) -> list[Carry]:
        """How a node reads a part of one of its arguments."""
        name, number = part.entry
        operands = [i for i, operand in enumerate(node.operands) if operand == name]
        return [
            carry
            for carry in self._left_out.carries.get(node.name, ())
            if carry.operand in operands[number : number + 1] and carry.source in part.carried
        ]

    # --- one call -------------------------------------------------------------------------------

    def _value(self, n: fx.Node) -> object:
        maker = self._makers.get(n)
        if maker is None:
            return super()._value(n)
        made: list[_Made] = []
        for number, part in self._arguments(n):
            whole = self._whole(maker, part)
            if len(whole) > 1:
                return Unreadable(maker.name, "reads one of two parts whole that came together")
            made.append(_Made(part, True in whole, self._called(n, number, part, True in whole)))
        kept = [each.result for each in made if not each.cut]
        held = kept[0] if kept else self._called(n)
        return held if type(held) is Unreadable else _joined(held, made)

    def _arguments(self, n: fx.Node) -> Iterator[tuple[int, Part]]:
        """The parts of the arguments, each with the number of its argument among those that are traced."""
        if any(type(self.env[operand]) is Unreadable for operand in n.all_input_nodes):
            return
        seen: Counter[str] = Counter()
        for number, twin in enumerate(
            filter(_is_traced, _leaves(super().fetch_args_kwargs_from_env(n)))
        ):
            for part in twin.parts:
                yield number, Part(part.carried, part.value, (twin.node, seen[twin.node]))
            seen[twin.node] += 1

    def _whole(self, node: Node, part: Part) -> set[bool]:
        """Are the parts that came together here read whole? One answer, or both."""
        carries = self._carries(node, part)
        return {
            any(carry.target is None for carry in carries if carry.source == dims)
            for dims in part.carried
        }

    def _called(
        self, n: fx.Node, number: int = -1, part: Part | None = None, cut: bool = False
    ) -> object:
        """What a call returns, all but one part of its arguments held constant."""
        self._is_apart, self._chosen, self._setting.cut = True, (number, part), cut
        try:
            return super()._value(n)
        finally:
            self._is_apart = self._setting.cut = False

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments; the gradient of the chosen part alone."""
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        if not self._is_apart:
            return args, kwargs
        numbers, (chosen, part) = count(), self._chosen

        def apart(value: Any) -> Any:
            if not _is_traced(value):
                return value
            is_chosen = next(numbers) == chosen
            own = part.value if part is not None and is_chosen else value.value.detach()
            return Twin.make(own, value.dtype, value.setting)

        args, kwargs = map_aggregate((args, kwargs), apart)
        return tuple(map(plain, args)), {name: plain(value) for name, value in kwargs.items()}


def _is_traced(value: object) -> TypeGuard[Twin]:
    return isinstance(value, Twin) and value.fixed is None


def _leaves(value: Any) -> list[object]:
    found: list[object] = []
    map_aggregate(value, found.append)
    return found


def _joined(held: object, made: Sequence[_Made]) -> object:
    """Results of one call, for each part of its arguments, as one result whose parts these are."""
    if isinstance(held, tuple | list):
        return tuple(
            _joined(entry, [each._replace(result=each.result[number]) for each in made])
            for number, entry in enumerate(held)
        )
    if not _is_traced(held):
        return held
    parts = [
        Part(each.part.carried, _masked_as(each.result.value, held.value), each.part.entry)
        for each in made
        if each.result.value.requires_grad
    ]
    joined = Twin.make(
        average(*(p.value for p in parts)) if parts else held.value, held.dtype, held.setting
    )
    joined.parts = tuple(parts)
    return joined


def _masked_as(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values matter where they are 0 or low: what is left of a call is so where the call is."""
    if value is like:
        return value
    return lowered(torch.where(like == 0, torch.zeros_like(value), value), like)


def _together(parts: Iterator[Part]) -> Iterator[Part]:
    """One part for equal dims."""
    found: dict[frozenset[frozenset[int]], list[torch.Tensor]] = {}
    for part in parts:
        found.setdefault(part.carried, []).append(part.value)
    for carried, values in found.items():
        yield Part(carried, values[0] if len(values) == 1 else average(*values))
