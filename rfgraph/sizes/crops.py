"""Crops whose ends the forward computes from a size: these are longer where the axis is.

In: looks. Out: the same, in which such a crop is none, so that reading it whole reads the axis whole.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

from rfgraph.language.readings import Readings
from rfgraph.language.reads import Read, opened
from rfgraph.sizes.compare import Twins
from rfgraph.sizes.look import Look, look_again


class _Crop(NamedTuple):
    """A bounded read, by a node, of a dim of its operand."""

    node: str
    dim: int


class _Ends(NamedTuple):
    """How many positions a crop has, and the one before which it ends."""

    length: int
    stop: int


def uncropped(first: Look, second: Look | None, other: Twins) -> tuple[Look, Look | None]:
    """Both looks, in which what has another number of positions in the other is no crop.

    Where there is no second, what ends at a size that the forward had asked for by then.
    """
    mine = _crops(first.readings)
    if second is None:
        asked = _asked(first, {crop.node for crop in mine})
        grown = {c for c, ends in mine.items() if not asked[c.node].isdisjoint(ends)}
        return _without(first, grown), None
    its = _crops(second.readings)
    twin = {crop: crop._replace(node=other.get(crop.node, crop.node)) for crop in mine}
    alike = [c for c in mine if twin[c] in its and its[twin[c]].length == mine[c].length]
    kept = {twin[crop] for crop in alike}
    return _without(first, mine.keys() - {*alike}), _without(second, its.keys() - kept)


def _crops(readings: Readings) -> dict[_Crop, _Ends]:
    """The crops of a graph."""
    found: dict[_Crop, _Ends] = {}
    for name, reads in readings.items():
        for read in reads:
            for dim, place in enumerate(read.dims):
                if place.bounded:
                    length = readings.graph[name].shape[place.dims[0]]
                    last = max(place.positions((length - 1,))) if length else -1
                    found[_Crop(name, dim)] = _Ends(length, last + 1)
    return found


def _asked(one: Look, names: Collection[str]) -> dict[str, set[int]]:
    """For each of some nodes, the sizes that the forward has asked for of what comes before it.

    An exported program does not tell: there, all of them.
    """
    asked, sizes = one.graph.asked, set[int]()
    is_told = all(name in one.graph for name, _ in asked)
    found: dict[str, set[int]] = {}
    for node in one.graph:
        if node.name in names:
            found[node.name] = set(sizes)
        for dim in one.growth.growing(node.name):
            if not is_told or not asked.isdisjoint({(node.name, dim), (node.name, None)}):
                sizes.add(node.shape[dim])
    return found


def _without(one: Look, crops: Collection[_Crop]) -> Look:
    """The look in which these are no crops."""
    if not crops:
        return one
    names = {crop.node for crop in crops}
    reads = {name: [_opened(name, read, crops) for read in one.readings[name]] for name in names}
    return look_again(one, reads)


def _opened(name: str, read: Read, crops: Collection[_Crop]) -> Read:
    """The read of a node in which these are no crops."""
    dims = (
        opened(place) if _Crop(name, dim) in crops else place for dim, place in enumerate(read.dims)
    )
    return replace(read, dims=tuple(dims))
