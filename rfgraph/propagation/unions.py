"""`Unions`: which rows hold channels that read differently, so that their figures are a bound for each.

In: readings, the values of all nodes. Out: whether some positions along dims that carry no axis, as channels,
read less than all of them together do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Final, TypeAlias

import numpy as np

from rfgraph.graph import Axis, Node, Shape
from rfgraph.language.readings import Readings
from rfgraph.language.reads import Place, Read, unmoved
from rfgraph.propagation.channels import Channels, Some, positions_of, table_of
from rfgraph.propagation.growth import Growth, is_unmoved
from rfgraph.propagation.laid_out import Ints
from rfgraph.propagation.periodic import Periodic, PeriodicDomain
from rfgraph.propagation.scans import among_channels

_MOST_POSITIONS = 1 << 14


@dataclass(frozen=True, eq=False)
class Kinds:
    """The kind of every position over some dims: those of one kind read alike."""

    dims: tuple[int, ...]
    labels: Ints


@dataclass(frozen=True)
class Unknown:
    """Some positions may read what others do not; which is not known."""


UNKNOWN: Final = Unknown()
Apart: TypeAlias = Kinds | Unknown | None
"""Which channels may read differently; None where all read alike."""


class Unions:
    """Which nodes unite channels that read differently, axis by axis."""

    def __init__(
        self, readings: Readings, values: Mapping[str, Mapping[Axis, Periodic]], growth: Growth
    ) -> None:
        self._readings = readings
        self._values = values
        self._domain = PeriodicDomain(growth)
        self._channels = Channels(readings, values, self._domain)
        self._apart: dict[str, Apart] = {}
        self._known: dict[tuple[str, Axis], bool] = {}
        self._nodes = iter(readings.graph)

    def unites(self, name: str, axis: Axis) -> bool:
        """True where some channel of a node reads less of an axis than its row says, or may do so."""
        name = self._since(name, axis)
        value, shape = self._values[name].get(axis), self._readings.graph[name].shape
        if value is None:
            return False
        if any(among_channels(scan, shape) for scan in value.local):
            return True
        apart = self._apart_in(name)
        if not isinstance(apart, Kinds):
            return apart is not None
        if (name, axis) not in self._known:
            kinds = (Some(apart.dims, apart.labels == kind) for kind in np.unique(apart.labels))
            parts = (self._channels.of(name, axis, some) for some in kinds)
            self._known[name, axis] = any(_differs(part, value) for part in parts)
        return self._known[name, axis]

    def _since(self, name: str, axis: Axis) -> str:
        """The first of the nodes, one behind another, at which each position reads the same one."""
        while (node := self._readings.graph[name]).op != "input":
            reads = self._readings[name]
            if len(reads) != 1 or not _is_same(reads[0], node):
                return name
            operand = node.operands[reads[0].operand]
            if self._values[operand].get(axis) is not self._values[name].get(axis):
                return name  # a mask
            name = operand
        return name

    def _apart_in(self, name: str) -> Apart:
        while name not in self._apart:
            node = next(self._nodes)
            is_made = node.op != "input" and self._values[node.name]
            self._apart[node.name] = self._apart_at(node) if is_made else None
        return self._apart[name]

    def _carriers(self, name: str) -> frozenset[int]:
        """The dims of a node that carry any axis."""
        return frozenset().union(*map(self._domain.carrying, self._values[name].values()))

    def _apart_at(self, node: Node) -> Apart:
        reads = [r for r in self._readings[node.name] if self._values[node.operands[r.operand]]]
        if len(reads) == 1 and _is_same(reads[0], node):
            return self._apart[node.operands[reads[0].operand]]
        carriers = self._carriers(node.name)
        taken = [self._taken(read, node, carriers) for read in reads]
        told = [each for each in taken if isinstance(each, Kinds)]
        if UNKNOWN in taken:
            return UNKNOWN
        dims = tuple(sorted({dim for each in told for dim in each.dims}))
        return _together(told, dims, node.shape) if dims else None

    def _taken(self, read: Read, node: Node, carriers: frozenset[int]) -> Apart:
        """What a read takes of an operand, by position over the node's dims that carry no axis."""
        name, sizes = node.operands[read.operand], read.sizes(node.operand_shapes)
        apart, carrying = self._apart[name], self._carriers(name)
        own = apart.dims if isinstance(apart, Kinds) else ()
        picked: list[int] = []
        for dim, place in enumerate(read.dims):
            moving = {d for d in place.dims if node.shape[d] > 1}
            if dim in carrying and not moving <= carriers:
                return UNKNOWN  # they read other positions of the axis
            if dim in carrying or place.is_whole:
                continue
            if apart is not None and not moving.isdisjoint(carriers):
                return UNKNOWN  # channels that a reshape has laid together with an axis
            if dim in own or not (moving <= carriers or _is_all(place, sizes[dim], node)):
                picked.append(dim)
        if isinstance(apart, Unknown):
            channels = (place.dims for d, place in enumerate(read.dims) if d not in carrying)
            return apart if any(channels) else None
        return _picked(read, node, picked, apart)


def _differs(part: Periodic | None, value: Periodic) -> bool:
    """Is what some channels read another thing than what all do, or can that not be told?"""
    if part is None or (part.whole is None) != (value.whole is None):
        return True
    if any(scan.relation is None for scan in value.scans):
        return True
    if not any(scan.digits for scan in (*part.scans, *value.scans)):  # near a border it may be less
        return not _fixed(value) <= _fixed(part)
    return {*_bare(part)} != {*_bare(value)}


def _bare(value: Periodic) -> list[tuple[object, ...]]:
    return [(scan.relation, scan.digits, scan.past) for scan in value.scans]


def _fixed(value: Periodic) -> set[int]:
    """What is read at given positions."""
    return {i for scan in value.scans if scan.relation for i in scan.relation.at(0)}


def _is_same(read: Read, node: Node) -> bool:
    """Every position reads the same one."""
    return is_unmoved(read, node.shape) and read.sizes(node.operand_shapes) == node.shape


def _is_all(place: Place, size: int, node: Node) -> bool:
    """The place is the output's own, along all of a dim."""
    return place is unmoved(place.dims[0]) and size == node.shape[place.dims[0]]


def _together(told: list[Kinds], dims: tuple[int, ...], shape: Shape) -> Apart:
    """Positions over `dims` of a tensor that are of one kind by all of what is told."""
    sizes = [shape[dim] for dim in dims]
    if prod(sizes) > _MOST_POSITIONS:
        return UNKNOWN
    columns = [_laid_out(each, dims, sizes) for each in told]
    labels = np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(sizes)
    return Kinds(dims, labels) if labels.any() else None


def _laid_out(kinds: Kinds, dims: tuple[int, ...], sizes: list[int]) -> Ints:
    own = [size if dim in kinds.dims else 1 for dim, size in zip(dims, sizes, strict=True)]
    return np.broadcast_to(kinds.labels.reshape(own), sizes).ravel()


def _picked(read: Read, node: Node, picked: list[int], apart: Kinds | None) -> Apart:
    """The kinds of what is read along the operand's dims `picked`, over the dims of the output that pick."""
    places = [read.dims[dim] for dim in picked]
    over = tuple(sorted({d for place in places for d in place.dims if node.shape[d] > 1}))
    sizes = [node.shape[dim] for dim in over]
    if not over or prod(sizes) > _MOST_POSITIONS:
        return UNKNOWN if over else None
    index = dict(zip(over, np.indices(sizes).reshape(len(over), -1), strict=True))
    nowhere = np.zeros(prod(sizes), np.int64)
    index |= {d: nowhere for place in places for d in place.dims if d not in index}
    found = [positions_of(place, index, node) for place in places]
    labels = _labels(read.sizes(node.operand_shapes), picked, apart)
    if all(each is not None and each.in_order for each in found):
        columns = np.stack(
            [np.broadcast_to(each.positions, nowhere.shape) for each in found if each]
        )
        return Kinds(over, _looked_up(labels, columns).reshape(sizes))
    if len(picked) > 1 or len(over) > 1:
        return UNKNOWN
    return Kinds(over, _united(labels, table_of(places[0], sizes[0])))


def _labels(shape: Shape, picked: list[int], apart: Kinds | None) -> Ints:
    """The kinds of an operand's positions over the dims `picked`, all along its others together."""
    labels = np.zeros([shape[dim] for dim in picked], np.int64)
    if apart is None:
        return labels
    kept = [n for n, dim in enumerate(apart.dims) if dim in picked]
    rest = [n for n in range(len(apart.dims)) if n not in kept]
    counts = [apart.labels.shape[n] for n in kept]
    rows = apart.labels.transpose(*kept, *rest).reshape(prod(counts), -1)
    numbers = np.unique(rows, axis=0, return_inverse=True)[1]
    own = [shape[dim] if dim in apart.dims else 1 for dim in picked]
    return labels + numbers.reshape(own)


def _looked_up(labels: Ints, columns: Ints) -> Ints:
    """The labels at positions, one column for each; -1 outside."""
    inside = ((columns >= 0) & (columns < np.array(labels.shape)[:, None])).all(axis=0)
    found: Ints = np.full(columns.shape[1], -1)
    found[inside] = labels[tuple(columns[:, inside])]
    return found


def _united(labels: Ints, rows: list[tuple[int, ...]]) -> Ints:
    """A number for each set of labels that is read."""
    numbers: dict[frozenset[int], int] = {}
    seen = (frozenset(int(labels[i]) for i in row if 0 <= i < len(labels)) for row in rows)
    return np.array([numbers.setdefault(each, len(numbers)) for each in seen])
