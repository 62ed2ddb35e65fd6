"""Along which dims of a node a mask of the model varies."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np

from rfgraph.graph import Node

Marks: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


def masked_dims(node: Node) -> frozenset[int]:
    """The dims along which it varies which positions the model fixes."""
    if node.masked is None:
        return frozenset()
    shape = tuple(node.masked.where.shape)
    lead = len(node.shape) - len(shape)
    return frozenset(lead + dim for dim, size in enumerate(shape) if size > 1)


def hides(node: Node, dims: Collection[int]) -> bool:
    """True where what varies along `dims` is another thing for what the model fixes.

    It is none where the same is fixed at every position along them, and something is not (channels of a
    scale that are 0). Whole slices at either end of a dim, as a taper or a table of sines at 0 has them, do
    not count as long as the middle half is free: they lie at the border, of which a closed form says nothing.
    """
    if node.masked is None:
        return False
    where = np.asarray(node.masked.where)
    if not where.any():  # at this size
        return True
    lead = len(node.shape) - where.ndim
    for dim in (dim for dim in range(where.ndim) if lead + dim in dims):
        front = np.moveaxis(where, dim, 0)
        fixed = np.asarray(front.reshape(len(front), -1).all(axis=1))
        front = front[_between_ends(fixed)]
        if bool((front != front[:1]).any()):
            return True
        where = np.moveaxis(front[:1], 0, dim)
    return bool(where.all())


def _between_ends(marks: Marks) -> slice:
    """What is left where runs of marks are cut off at both ends; all of it, where one reaches far in."""
    size = len(marks)
    free = np.flatnonzero(~marks)
    if not len(free) or free[0] > size // 4 or size - 1 - free[-1] > size // 4:
        return slice(None)
    return slice(int(free[0]), int(free[-1]) + 1)
