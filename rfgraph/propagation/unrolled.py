"""Unrolled loops: what rests on positions that a Python loop has picked one by one.

In: reads, and which nodes pick. Out: `Periodic` values that hold at the analysed size only, in which a stack
of such positions is a table along the dim that they are stacked along.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice, product

from rfgraph.algebra.digits import Digit
from rfgraph.graph import Node, Shape
from rfgraph.language.reads import Place, Read
from rfgraph.propagation.growth import Growth
from rfgraph.propagation.periodic import Periodic, PeriodicDomain
from rfgraph.propagation.scans import Scan
from rfgraph.propagation.trail import extend

UNROLLED = "a loop over positions is unrolled at this size"
_MOST_LOOKED_AT = 1 << 14


class UnrolledDomain(PeriodicDomain):
    """The periodic domain, for a graph in which loops over positions are unrolled.

    Args:
        picks: the nodes that pick what a loop is over -> the first of that loop, which is named.
        layouts: the nodes that lay out what loops make, side by side.
        growth: see `PeriodicDomain`.

    Attributes:
        tables: node -> the dims along which it chooses among positions of a loop, which carry the axis.
    """

    def __init__(
        self, picks: Mapping[str, str], layouts: Container[str], growth: Growth | None = None
    ) -> None:
        super().__init__(growth)
        self.tables: dict[str, frozenset[int]] = {}
        self._picks = picks
        self._layouts = layouts

    def keeps(self, read: Read, node: Node) -> bool:
        is_of_loop = node.name in self._picks or node.name in self._layouts
        return not is_of_loop and super().keeps(read, node)

    def compose(self, value: Periodic, read: Read, node: Node) -> Periodic | None:
        found = super().compose(value, read, node)
        if found is None:
            return None
        if node.name in self._layouts and value.limits is not None:
            found = self._tabled(found, read, node)
        first = self._picks.get(node.name)
        if first is None:
            return found
        return replace(found, limits=extend(found.limits, first, UNROLLED), unmasked=None)

    def _tabled(self, found: Periodic, read: Read, node: Node) -> Periodic:
        """Single positions that stand in one place each vary along the dims that tell the places apart."""
        if all(scan.digits for scan in found.local):
            return found
        dims = chosen(read.dims, read.sizes(node.operand_shapes), node.shape)
        if not dims:
            return found
        self.tables[node.name] = self.tables.get(node.name, frozenset()) | dims
        table = Scan(None, tuple(map(Digit, sorted(dims))))
        local = tuple(dict.fromkeys(scan if scan.digits else table for scan in found.local))
        meetings = found.meetings if len({scan.digits for scan in local}) > 1 else None
        return replace(found, local=local, meetings=meetings, unmasked=None)


def chosen(places: Sequence[Place], operand_shape: Shape, shape: Shape) -> frozenset[int]:
    """The output dims along which it changes whether anything is read, as where tensors are stacked."""
    found: set[int] = set()
    for place, size in zip(places, operand_shape, strict=True):
        if place.at is None or place.total:
            continue
        reads = partial(_reads, place, size)
        known = set() if place.law is None else {digit.dim for digit in place.law.digits}
        counts = [shape[dim] for dim in place.dims]
        indices = islice(product(*map(range, counts)), _MOST_LOOKED_AT)
        reading = next(filter(reads, indices), None)
        if reading is None:
            continue
        for number, dim in enumerate(place.dims):
            others = ((*reading[:number], i, *reading[number + 1 :]) for i in range(counts[number]))
            if dim not in known and not all(map(reads, others)):
                found.add(dim)
    return frozenset(found)


def _reads(place: Place, size: int, index: tuple[int, ...]) -> bool:
    """Is anything read there of an operand's dim of this size?"""
    return any(0 <= position < size for position in place.positions(index))
