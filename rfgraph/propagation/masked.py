"""Along which dims of a node a mask of the model varies."""

from __future__ import annotations

from rfgraph.graph import Node


def masked_dims(node: Node) -> frozenset[int]:
    """The dims along which it varies which positions the model fixes."""
    if node.masked is None:
        return frozenset()
    shape = tuple(node.masked.where.shape)
    lead = len(node.shape) - len(shape)
    return frozenset(lead + dim for dim, size in enumerate(shape) if size > 1)
