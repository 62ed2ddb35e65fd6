"""What differs between two looks at one model, and what it then no longer claims.

In: two `Look`s. Out: the first, in which closed forms that are others in the second hold at this size only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TypeAlias

from rfgraph.graph import Axis, Graph, Node
from rfgraph.propagation.periodic import Periodic
from rfgraph.propagation.shown import Shown
from rfgraph.propagation.trail import Trail, extend, merge
from rfgraph.sizes.look import Look

COMPUTED = "a parameter is computed from the input's size"
RATE = "what is resampled to a given size has a rate of this size"
SOMETIMES = "the model has this node at some sizes only"
_REPEAT = re.compile(r"_\d+$")
Site: TypeAlias = tuple[str, str, str]
"""A place in the model's code: a node's name without the number of its repeat, its operator, its line."""
Sites: TypeAlias = Mapping[Site, Sequence[Node]]
"""The nodes that each place has made, in order."""
Twins: TypeAlias = Mapping[str, str]
"""The node of the second look for each of the first that has one."""


def view(row: Shown | None) -> tuple[object, ...]:
    """All that a closed form says: every view is one of the relation, of whether the axis is read whole."""
    if row is None:
        return (None,)
    dims = {digit.dim for scan in (*row.scans, *row.value.past) for digit in scan.digits}
    return row.value.whole is not None, row.is_closed, dims, row.law, row.end


def sites(graph: Graph) -> Sites:
    """The nodes by the place in the model's code that made them: those of a loop are of one site."""
    found: dict[Site, list[Node]] = {}
    for node in graph:
        key = _REPEAT.sub("", node.name), node.op, node.source
        found.setdefault(key, []).append(node)
    return found


def is_to_a_size(node: Node) -> bool:
    """True for what is resampled to a size, and not by a factor."""
    return node.op == "interpolate" and None in node.params.get("rates", ())


def twins(first: Sites, second: Sites) -> Twins:
    """The node of the second for each of the first, where a site has made as many in both."""
    pairs = ((own, second.get(key, ())) for key, own in first.items())
    return {
        one.name: other.name
        for own, others in pairs
        if len(own) == len(others)
        for one, other in zip(own, others, strict=True)
    }


def demoted(first: Look, second: Look, other: Twins) -> Look:
    """Closed forms that are others in the second, or not there, hold at this size only.

    The limit is that of the first nodes that differ: others that do inherit it.
    """
    inputs, is_alike = first.graph.inputs, cache(_is_alike)
    since: dict[tuple[str, Axis], Trail | None] = {}
    values: dict[str, Mapping[Axis, Periodic]] = {}
    for node in first.graph:
        row = dict(first.values[node.name])
        for axis, value in row.items():
            own, twin = first.shown(node.name, axis), other.get(node.name)
            if own is None or not own.is_closed or inputs[axis.input].shape[axis.dim] == 1:
                continue
            is_twin = twin is not None and is_alike(own, second.shown(twin, axis))
            if is_twin and not _is_picked(own):
                continue
            trail = None
            for name in node.operands:
                trail = merge(trail, since.get((name, axis)))
            if is_twin and trail is None:
                continue
            trail = trail or extend(None, node.name, _reason(node, twin))
            since[node.name, axis] = trail
            row[axis] = replace(value, limits=merge(value.limits, trail))
        values[node.name] = row
    return replace(first, values=values)


def _is_picked(own: Shown) -> bool:
    """Given positions are read, which may be those of two sizes by luck, where what they are of is not."""
    value = own.value
    return value.whole is None and not any(scan.digits for scan in own.scans)


def _is_alike(own: Shown, there: Shown | None) -> bool:
    return view(own) == view(there)


def _reason(node: Node, twin: str | None) -> str:
    if twin is None:
        return SOMETIMES
    return RATE if is_to_a_size(node) else COMPUTED
