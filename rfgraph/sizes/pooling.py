"""Pooling by the size: `F.avg_pool1d(x, x.shape[-1])` is a pooling of the whole axis, and says so.

In: looks. Out: looks in which such a pool reads its axis whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from rfgraph.graph import Node
from rfgraph.language.readings import Readings
from rfgraph.language.reads import Place, Read, Reads, every
from rfgraph.sizes.compare import Twins
from rfgraph.sizes.look import Look, look_again


def pooled(first: Look, second: Look | None, other: Twins) -> tuple[Look, Look | None]:
    """Both looks, in which a pool that reads all there is, in both, reads the axis whole.

    Where there is no second, one that pools all of a tensor that the forward has asked for its size.
    """
    asked = {name for name, _ in first.graph.asked}
    mine: dict[str, Reads] = {}
    its: dict[str, Reads] = {}
    for node in first.graph:
        dims = _pools(node, first.readings)
        if not dims:
            continue
        if second is None:
            dims = dims if node.operands[0] in asked else {}
        else:
            twin = other.get(node.name)
            there = {} if twin is None else _pools(second.graph[twin], second.readings)
            dims = {dim: n for dim, n in dims.items() if dim in there and there[dim] != n}
            if twin is not None and dims:
                its[twin] = _whole(second.readings[twin], dims)
        if dims:
            mine[node.name] = _whole(first.readings[node.name], dims)
    if not mine:
        return first, second
    return look_again(first, mine), None if second is None else look_again(second, its)


def _pools(node: Node, readings: Readings) -> dict[int, int]:
    """The dims of several positions that a pool's one output reads all of, with their sizes."""
    if "pool" not in node.op:
        return {}
    found: dict[int, int] = {}
    for read in readings[node.name]:
        for dim, (place, size) in enumerate(
            zip(read.dims, read.sizes(node.operand_shapes), strict=True)
        ):
            if size > 1 and _is_all(place, size, node.shape):
                found[dim] = size
    return found


def _is_all(place: Place, size: int, shape: tuple[int, ...]) -> bool:
    """The one output position along a dim reads every position of the operand's, by a law."""
    if place.law is None or len(place.dims) != 1 or shape[place.dims[0]] != 1:
        return False
    return set(range(size)) <= set(place.positions((0,)))


def _whole(reads: Reads, dims: Mapping[int, int]) -> Reads:
    return tuple(
        Read(
            read.operand,
            tuple(every("pooling") if d in dims else place for d, place in enumerate(read.dims)),
        )
        for read in reads
    )
