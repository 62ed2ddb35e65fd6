"""The walk over the graph: a domain composes what the nodes read.

In: readings, the tracked axes, a domain. Out: for every node the abstract value of each axis.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from typing import Generic, TypeVar

from rfgraph.graph import Axis, Node
from rfgraph.language.readings import Readings
from rfgraph.language.reads import Read, Reads
from rfgraph.propagation.channels import Channels
from rfgraph.propagation.domain import Domain, United

Value = TypeVar("Value")


class Walk(Generic[Value]):
    """The abstract values of the nodes visited so far: `values[name][axis]`, for the axes a node reads."""

    def __init__(
        self,
        readings: Readings,
        axes: Sequence[Axis],
        domain: Domain[Value],
    ) -> None:
        self.values: dict[str, dict[Axis, Value]] = {}
        self._readings = readings
        self._axes = axes
        self._domain = domain

    @cached_property
    def _channels(self) -> Channels[Value] | None:
        """Asked for by what picks of channels alone."""
        if isinstance(self._domain, United):
            return Channels(self._readings, self.values, self._domain)
        return None

    def visit(self, names: Container[str] | None = None) -> None:
        """Visit the nodes called `names` (None: all), which must include what they read."""
        for node in self._readings.graph:
            if node.name not in self.values and (names is None or node.name in names):
                self.values[node.name] = self._enter(node) if node.op == "input" else self._at(node)

    def _enter(self, node: Node) -> dict[Axis, Value]:
        """An input: every position reads itself along the input's own axes."""
        mine = (axis for axis in self._axes if axis.input == node.name)
        return {axis: self._domain.initial(node, axis.dim) for axis in mine}

    def _at(self, node: Node) -> dict[Axis, Value]:
        reads = self._readings[node.name]
        if len(reads) == 1 and self._domain.keeps(reads[0], node):  # as most nodes do
            return self.values[node.operands[reads[0].operand]]
        taken = [self._taken(node, read) for read in reads]
        values: dict[Axis, Value] = {}
        for axis in self._axes:
            value = self._along(node, axis, reads, taken)
            if value is not None:
                values[axis] = value
        return values

    def _taken(self, node: Node, read: Read) -> Mapping[Axis, Value]:
        """What a read takes of an operand: of the channels that it picks alone.

        What reads nothing of an input along one axis reads nothing of it along any.
        """
        operand = self.values[node.operands[read.operand]]
        if not read.picks or self._channels is None:
            return operand
        found = {axis: self._channels.read(node, read, axis) for axis in operand}
        unread = {axis.input for axis, value in found.items() if value is None}
        kept = ((axis, value) for axis, value in found.items() if axis.input not in unread)
        return {axis: value for axis, value in kept if value is not None}

    def _along(
        self, node: Node, axis: Axis, reads: Reads, taken: Sequence[Mapping[Axis, Value]]
    ) -> Value | None:
        parts: list[Value] = []
        for read, values in zip(reads, taken, strict=True):
            value = values.get(axis)
            part = None if value is None else self._domain.compose(value, read, node)
            if part is not None:
                parts.append(part)
        return parts[0] if len(parts) == 1 else self._domain.join(parts, node)


def propagate(
    readings: Readings, axes: Sequence[Axis], domain: Domain[Value]
) -> dict[str, dict[Axis, Value]]:
    """The abstract value of every node for every axis that it reads: `[name][axis]`."""
    walk = Walk(readings, axes, domain)
    walk.visit()
    return walk.values
