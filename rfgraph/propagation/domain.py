"""The protocol of a domain: three operations, and a rule never sees any of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from rfgraph.graph import Node
from rfgraph.language.reads import Read

Value = TypeVar("Value")


class Domain(Protocol[Value]):
    """Abstract values for one tracked axis. `None` stands for a tensor that reads nothing of it."""

    def initial(self, node: Node, dim: int) -> Value:
        """The value of an input whose dim `dim` is the tracked axis: every position reads itself."""

    def compose(self, value: Value, read: Read, node: Node) -> Value | None:
        """What `node` reads of the axis through one read of an operand with `value`."""

    def keeps(self, read: Read, node: Node) -> bool:
        """True where `compose` gives any value back as it is, so that it need not be asked."""

    def join(self, values: Sequence[Value], node: Node) -> Value | None:
        """The union of what `node` reads through all its reads."""


@runtime_checkable
class United(Domain[Value], Protocol[Value]):
    """A domain in which positions along dims that carry no axis, as channels, are held together."""

    def carrying(self, value: Value) -> frozenset[int]:
        """The dims of a tensor along which it reads the axis."""

    def alike(self, one: Value, other: Value) -> bool:
        """Do two values read the same, at this size and at any?"""

    def of_this_size(self, value: Value, node: Node, dims: Collection[int]) -> Value:
        """The value of positions that are picked along `dims` of a node, as the analysed size has them."""
