"""Along which dims of a node a mask of the model varies, and which reads leave out what it hides."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np

from rfgraph.graph import Node, Shape
from rfgraph.language.reads import Place, Read, unmoved

Marks: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


def masked_dims(node: Node) -> frozenset[int]:
    """The dims along which it varies which positions the model fixes."""
    if node.masked is None:
        return frozenset()
    shape = tuple(node.masked.where.shape)
    lead = len(node.shape) - len(shape)
    return frozenset(lead + dim for dim, size in enumerate(shape) if size > 1)


def hides(node: Node, dims: Collection[int]) -> bool:
    """True where what varies along `dims` is another thing for what the model fixes, and so hides.

    It is none where the same is fixed at every position along them, and something is not (channels of a
    scale that are 0). Whole slices at either end of a dim, as a taper or a table of sines at 0 has them, do
    not count as long as the middle half is free: they lie at the border, of which a closed form says nothing.
    """
    hiding = None if node.masked is None else node.masked.hiding
    if hiding is None:
        return False
    where = np.asarray(hiding)
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


def leaves_out(read: Read, operand: Node, node: Node) -> bool:
    """True where what `node` reads of a masked operand, at any size, is what the mask leaves.

    What the node's own mask hides does not count. False, too, where that is not known: the read is then
    one of a tensor of which some positions, at this size, read nothing.
    """
    found = _hidden(read, operand, node.shape)
    if found is None:
        return False
    hidden, dims = found
    if node.masked is not None and node.masked.hiding is not None:
        live = ~_laid_out(np.asarray(node.masked.hiding), len(node.shape))
        hidden = hidden & live.any(axis=tuple(d for d in range(live.ndim) if d not in dims))
    return not hidden.any()


def _hidden(read: Read, operand: Node, shape: Shape) -> tuple[Marks, list[int]] | None:
    """Where a read takes what the operand's mask hides, over some dims of an output of `shape`; these dims.

    None where the mask varies along dims that are read in other ways: all where they are, or all but one, of
    which those positions are read that a law of one of the others says.
    """
    assert operand.masked is not None
    masked, where = sorted(masked_dims(operand)), np.asarray(operand.masked.where)
    if not where.size:
        return None
    where = where.reshape([operand.shape[dim] for dim in masked])
    places = [read.dims[dim] for dim in masked]
    summed = [number for number, place in enumerate(places) if not _is_unmoved(place)]
    targets = [place.dims[0] for place in places if _is_unmoved(place)]
    if summed:
        place = places[summed[0]]
        if place.law is None or place.reason or place.dims not in [(dim,) for dim in targets]:
            return None
        where = np.moveaxis(where, summed[0], 0)
    sizes = [shape[dim] for dim in targets]
    if len(summed) > 1 or len({*targets}) < len(targets) or sizes != [*where.shape[len(summed) :]]:
        return None
    if summed:
        where = _taken(where, place, targets.index(place.dims[0]))
    order = sorted(range(len(targets)), key=targets.__getitem__)
    return where.transpose(order), sorted(targets)


def _taken(where: Marks, place: Place, along: int) -> Marks:
    """Where some mark along the first dim is read, by a law of one of the others, number `along`."""
    taken = []
    for output, row in enumerate(np.moveaxis(where, 1 + along, 0)):
        reads = np.fromiter(place.positions((output,)), np.int64)
        taken.append(row[reads[(reads >= 0) & (reads < len(row))]].any(axis=0))
    found: Marks = np.moveaxis(np.array(taken), 0, along)
    return found


def _is_unmoved(place: Place) -> bool:
    return bool(place.dims) and place is unmoved(place.dims[0])


def _laid_out(where: Marks, rank: int) -> Marks:
    """With as many dims as the tensor has."""
    laid: Marks = where.reshape((1,) * (rank - where.ndim) + where.shape)
    return laid
