"""`Channels`: what some positions of a tensor read, along dims that carry no axis, as channels.

In: a walk of a domain that holds all channels of a tensor together. Out: values of some of them, found by
going back to where tensors were put side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as Collection
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from rfgraph.graph import Axis, Node
from rfgraph.language.readings import Readings
from rfgraph.language.reads import Place, Read, unmoved
from rfgraph.propagation.domain import United
from rfgraph.propagation.laid_out import Ints, Marks, read_at

Value = TypeVar("Value")

_MOST_MARKS = 1 << 16
_MOST_LOOKED_AT = 1 << 10
_BEYOND = 1 << 62  # more positions than any dim has
_DEEPEST = 200
_MOST_KNOWN = 1 << 12


@dataclass(frozen=True, eq=False)
class Some:
    """Some positions of a tensor: those marked, over a few of its dims; along the others all of them."""

    dims: tuple[int, ...]
    marks: Marks

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal positions."""
        return self.dims, self.marks.shape, self.marks.tobytes()


_NONE: frozenset[int] = frozenset()
_EVERY = Some((), np.ones((), np.bool_))


class Channels(Generic[Value]):
    """The values of some channels: `values` are those of all channels together, of the nodes visited."""

    def __init__(
        self,
        readings: Readings,
        values: Mapping[str, Mapping[Axis, Value]],
        domain: United[Value],
    ) -> None:
        self._readings = readings
        self._values = values
        self._domain = domain
        self._known: dict[tuple[object, ...], Value | None] = {}
        self._apart: dict[str, frozenset[int]] = {}
        self._nodes = iter(readings.graph)

    def read(self, node: Node, read: Read, axis: Axis) -> Value | None:
        """What a read takes of an operand: of the channels that it picks alone."""
        name = node.operands[read.operand]
        value = self._values[name].get(axis)
        apart = self._apart_in(name)
        if value is None or not apart:
            return value
        shape, carrying = read.sizes(node.operand_shapes), self._domain.carrying(value)
        dims = [
            dim
            for dim, (place, size) in enumerate(zip(read.dims, shape, strict=True))
            if dim not in carrying and not place.is_whole and not _is_same(place, size, node)
        ]
        if apart.isdisjoint(dims):
            return value
        some = _taken(read, dims, node, _EVERY) if _apart(read, dims, carrying) else _EVERY
        if some is None or not some.dims:
            return None if some is None else value
        found = self._value(name, axis, some, 0)
        if found is None or self._domain.alike(found, value):
            return found
        cut = {d for dim in dims for d in _cut(read.dims[dim], shape[dim], node)}
        return self._domain.of_this_size(found, node, cut) if cut else found

    def of(self, name: str, axis: Axis, some: Some) -> Value | None:
        """What some positions of a node read; what all do, where that is not known."""
        return self._value(name, axis, some, 0)

    def _value(self, name: str, axis: Axis, some: Some, depth: int) -> Value | None:
        """What these positions of a node read."""
        key = (name, axis, *some.key)
        if key not in self._known:
            if len(self._known) > _MOST_KNOWN:
                return self._values[name].get(axis)
            self._known[key] = self._found(name, axis, some, depth)
        return self._known[key]

    def _found(self, name: str, axis: Axis, some: Some, depth: int) -> Value | None:
        value, node = self._values[name].get(axis), self._readings.graph[name]
        if value is None or depth > _DEEPEST or self._apart_in(name).isdisjoint(some.dims):
            return value
        parts: list[Value] = []
        is_less = False
        sized, beyond = set[int](), set[int]()
        for read in self._readings[name]:
            operand = node.operands[read.operand]
            own = self._values[operand].get(axis)
            if own is None:
                continue
            there = _read_of(read, node, some, self._domain.carrying(own))
            sized.update(_of_this_size(read, node, some))
            if there is None:
                is_less = True
                beyond.update(_beyond(read, node, some))
                continue
            found = self._value(operand, axis, there, depth + 1) if there.dims else own
            is_less |= found is not own
            part = None if found is None else self._domain.compose(found, read, node)
            if part is not None:
                parts.append(part)
        longer = self._domain.of_this_size(value, node, beyond) if beyond else value
        if longer is not value:  # what is read there is the tensor's own, wherever it is
            return longer
        value = self._domain.join(parts, node) if is_less else value
        return self._domain.of_this_size(value, node, sized) if sized and value else value

    def _apart_in(self, name: str) -> frozenset[int]:
        """The dims of a node along which positions may read what others do not: of tensors side by side."""
        while name not in self._apart:
            node = next(self._nodes)
            is_made = node.op != "input" and self._values[node.name]
            self._apart[node.name] = self._apart_at(node) if is_made else _NONE
        return self._apart[name]

    def _apart_at(self, node: Node) -> frozenset[int]:
        found: set[int] = set()
        reads = self._readings[node.name]
        for read in reads:
            for dim in self._apart[node.operands[read.operand]]:
                found.update(read.dims[dim].dims)
            if len(reads) > 1:
                found.update(d for place in read.dims if place.at is not None for d in place.dims)
            elif node.shape != read.sizes(node.operand_shapes):
                found.update(_padded(read, node))
        return frozenset(found) if found else _NONE


def _padded(read: Read, node: Node) -> Iterator[int]:
    """The dims of which a node has more than its operand, each of one position or none."""
    for place, size in zip(read.dims, read.sizes(node.operand_shapes), strict=True):
        law = place.law
        is_shift = law is not None and law.extent is None and law.relation.period == 1
        if is_shift and len(place.dims) == 1 and node.shape[place.dims[0]] > size:
            yield place.dims[0]


def _read_of(read: Read, node: Node, some: Some, carrying: Collection[int]) -> Some | None:
    """What some positions of a node read of an operand; None: nothing.

    `carrying`: the operand's dims that carry the axis, of which all is taken.
    """
    dims = [d for d, place in enumerate(read.dims) if not set(place.dims).isdisjoint(some.dims)]
    if not dims or not carrying.isdisjoint(dims):
        return _EVERY
    return _taken(read, dims, node, some)


def _of_this_size(read: Read, node: Node, some: Some) -> Iterator[int]:
    """The node's dims along which no law says which of some of its positions read anything."""
    for place, size in zip(read.dims, read.sizes(node.operand_shapes), strict=True):
        dims = set(place.dims).intersection(some.dims)
        if dims and not (place.at is None or place.settled or _is_by_law(place, some, size)):
            yield from dims


def _beyond(read: Read, node: Node, some: Some) -> Iterator[int]:
    """The node's dims along which some positions that read nothing read what a longer operand has there."""
    for place, size in zip(read.dims, read.sizes(node.operand_shapes), strict=True):
        law = place.law
        if law is None or law.extent is not None or len(place.dims) != 1:
            continue
        if place.dims[0] in some.dims:
            others = tuple(n for n, dim in enumerate(some.dims) if dim not in place.dims)
            here = np.flatnonzero(some.marks.any(others)).tolist()
            if any(i >= size for o in here for i in law.at((o,), place.dims)):
                yield place.dims[0]


def _cut(place: Place, size: int, node: Node) -> Iterable[int]:
    """The node's dim along which it leaves out what it would read if it were longer, as `[3:-3]` does."""
    law = place.law
    if place.bounded or law is None or law.extent is not None or not law.digits:
        return ()
    beyond = [node.shape[dim] for dim in place.dims]
    is_cut = len(beyond) == 1 and any(0 <= i < size for i in law.at(beyond, place.dims))
    return place.dims if is_cut else ()


def _is_by_law(place: Place, some: Some, size: int) -> bool:
    law = place.law
    if law is None or place.reason or len(place.dims) > 1:
        return False
    others = tuple(n for n, dim in enumerate(some.dims) if dim not in place.dims)
    here = np.flatnonzero(some.marks.any(others)).tolist()
    at_borders = (set(place.positions((o,))) for o in here)
    return all(
        own == {i for i in law.at((o,), place.dims) if 0 <= i < size}
        for o, own in zip(here, at_borders, strict=True)
    )


def _apart(read: Read, dims: Sequence[int], carrying: Collection[int]) -> bool:
    """Are positions along `dims` read by another law than those that carry the axis?"""
    own = {dim for carrier in carrying for dim in read.dims[carrier].dims}
    return all(own.isdisjoint(read.dims[dim].dims) for dim in dims)


def _taken(read: Read, dims: Sequence[int], node: Node, some: Some) -> Some | None:
    """The positions along the operand's `dims` that some of the node read; None: none.

    All of them, where it is not known which.
    """
    over = tuple(sorted({*some.dims, *(d for dim in dims for d in read.dims[dim].dims)}))
    counts = [node.shape[dim] for dim in over]
    if not dims or prod(counts) > _MOST_MARKS:
        return _EVERY
    kept = [n if dim in some.dims else 1 for dim, n in zip(over, counts, strict=True)]
    marks = np.broadcast_to(some.marks.reshape(kept), counts)
    index = dict(zip(over, np.nonzero(marks), strict=True)) if over else {}
    found = [positions_of(read.dims[dim], index, node) for dim in dims]
    if None in found or (len(found) > 1 and not all(each.in_order for each in found if each)):
        return _EVERY
    sizes = [read.sizes(node.operand_shapes)[dim] for dim in dims]
    columns = np.broadcast_arrays(*(each.positions for each in found if each))
    table = np.stack(columns)
    taken = np.zeros(sizes, np.bool_)
    inside = ((table >= 0) & (table < np.array(sizes)[:, None])).all(axis=0)
    taken[tuple(table[:, inside])] = True
    if not taken.any():
        return None
    return _EVERY if taken.all() else Some(tuple(dims), taken)


def _is_same(place: Place, size: int, node: Node) -> bool:
    """The place is the output's own, along all of a dim."""
    return (
        bool(place.dims) and place is unmoved(place.dims[0]) and size == node.shape[place.dims[0]]
    )


class _Found(NamedTuple):
    """What is read along one dim: a position for each index, or one for all; else all, not `in_order`."""

    positions: Ints
    in_order: bool = True


def positions_of(place: Place, index: Mapping[int, Ints], node: Node) -> _Found | None:
    """What is read at every index along the place's dims; -1 for nothing. None where it is not known."""
    if not place.dims:
        members = np.array(list(place.positions(())), np.int64)
        return _Found(members, len(members) == 1)
    indices = np.stack([index[dim] for dim in place.dims])
    if place.exact is not None:
        read = read_at(place, indices, _BEYOND)
        if len(read) == 1:
            return _Found(np.where(read[0] < _BEYOND, read[0], -1))
    if len(place.dims) == 1:
        reads = table_of(place, node.shape[place.dims[0]])
        here = [reads[output] for output in indices[0].tolist()]
    elif indices.shape[1] <= _MOST_LOOKED_AT:
        here = [tuple(place.positions(tuple(each))) for each in indices.T.tolist()]
    else:
        return None
    if all(len(each) <= 1 for each in here):
        return _Found(np.array([each[0] if each else -1 for each in here], np.int64))
    return _Found(np.array(sorted(set().union(*here)), np.int64), False)


@lru_cache(maxsize=256)  # a dense block puts the same pieces side by side again and again
def table_of(place: Place, count: int) -> list[tuple[int, ...]]:
    """What each position along the place's one dim reads."""
    return [tuple(place.positions((output,))) for output in range(count)]
