"""Crops whose ends the forward computes from a size: these are longer where the axis is.

In: looks. Out: the same, in which such a crop is none, so that reading it whole reads the axis whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from rfgraph.graph import Graph
from rfgraph.language.reads import Read, Reads, opened
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
    if second is None:
        crops = _crops(first.graph, first.readings)
        asked = _asked(first, {crop.node for crop in crops})
        grown = {c for c, ends in crops.items() if not asked[c.node].isdisjoint(ends)}
        return _without(first, grown, first.readings), None
    mine, its = map(_bounded, (first, second))
    own, there = _crops(first.graph, mine), _crops(second.graph, its)
    twin = {crop: crop._replace(node=other.get(crop.node, crop.node)) for crop in own}
    alike = [c for c in own if twin[c] in there and there[twin[c]].length == own[c].length]
    kept = {twin[crop] for crop in alike}
    return _without(first, own.keys() - {*alike}, mine), _without(second, there.keys() - kept, its)


def _bounded(one: Look) -> Mapping[str, Reads]:
    """The reads in which a slice that ends with its tensor has as many positions at any size."""
    return {**one.readings, **one.readings.bounded}


def _crops(graph: Graph, reads: Mapping[str, Reads]) -> dict[_Crop, _Ends]:
    """The crops among the reads of a graph."""
    found: dict[_Crop, _Ends] = {}
    for name in reads:
        for read in reads[name]:
            for dim, place in enumerate(read.dims):
                if place.bounded:
                    length = graph[name].shape[place.dims[0]]
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


def _without(one: Look, crops: Collection[_Crop], reads: Mapping[str, Reads]) -> Look:
    """The look with these reads, in which these are no crops."""
    names = {crop.node for crop in crops} | one.readings.bounded.keys()
    found = {name: tuple(_opened(name, read, crops) for read in reads[name]) for name in names}
    other = {name: each for name, each in found.items() if each != tuple(one.readings[name])}
    return look_again(one, other) if other else one


def _opened(name: str, read: Read, crops: Collection[_Crop]) -> Read:
    """The read of a node in which these are no crops."""
    dims = (
        opened(place) if _Crop(name, dim) in crops else place for dim, place in enumerate(read.dims)
    )
    return replace(read, dims=tuple(dims))
