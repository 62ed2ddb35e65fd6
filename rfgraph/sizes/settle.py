"""`settled`: a look at a model that asks for its size, held against one at another size.

In: a `Look`, how to take others. Out: the look in which nothing is claimed of any size that holds at this one
only, and what to know of how that was found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from rfgraph.errors import RfgraphError
from rfgraph.graph import Shape
from rfgraph.sizes.bands import banded
from rfgraph.sizes.borders import bordered
from rfgraph.sizes.choice import (
    asks,
    double_shapes,
    far_shapes,
    fit,
    near_shapes,
    tells,
    unlike_shapes,
)
from rfgraph.sizes.compare import demoted, sites, twins
from rfgraph.sizes.crops import uncropped
from rfgraph.sizes.look import Look, unrolled_look
from rfgraph.sizes.loops import loops
from rfgraph.sizes.pooling import pooled

LookAt: TypeAlias = Callable[[dict[str, Shape]], Look]
"""The shapes of the inputs -> what the model reads there."""
_ONE = (
    "the forward asks for its size and takes no second one: closed forms are those of its operators"
)


def settled(first: Look, look_at: LookAt) -> tuple[Look, str]:
    """The look in which closed forms that are others at a second size hold at this size only; a note.

    A forward that asks for no size is not looked at again.
    """
    if not asks(first):
        return bordered(first), ""
    seconds = _seconds(first, look_at)
    second = seconds[0] if seconds else None
    own, there = sites(first.graph), None if second is None else sites(second.graph)
    other = {} if there is None else twins(own, there)
    for each in (uncropped, banded, pooled):
        first, second = each(first, second, other)
    unrolled = loops(first, own, there)
    if unrolled.picks:
        first = unrolled_look(first.readings, first.axes, unrolled.picks, unrolled.layouts)
    first = bordered(first)
    if second is None:
        return first, _ONE
    first = demoted(first, bordered(second), other)
    for further in seconds[1:]:
        first = demoted(first, bordered(further), twins(own, sites(further.graph)))
    return first, ""


def _seconds(first: Look, look_at: LookAt) -> list[Look]:
    """At larger sizes, two at most; several inputs that do not grow alike are tried at others, too.

    Sizes of several inputs may fit by luck. Those of one are what the model makes of it, be it that one
    position, such as a pool of the whole axis makes of any size, is repeated there.
    """
    is_one = len(first.graph.inputs) == 1
    near = _looked(first, look_at, near_shapes(first))
    other = None
    if near is None or not tells(first, near):
        shapes = double_shapes if near is None else far_shapes
        other = _looked(first, look_at, shapes(first))
    for each in filter(None, (other, near)):
        if is_one or fit(first.graph, each.graph):
            return [each]
    if is_one:
        return []
    unlike = (_looked(first, look_at, [shapes]) for shapes in unlike_shapes(first))
    return [each for each in unlike if each is not None and fit(first.graph, each.graph)]


def _looked(first: Look, look_at: LookAt, shapes: Iterable[dict[str, Shape]]) -> Look | None:
    """The first of these shapes that the model takes."""
    for each in shapes:
        try:
            return look_at(each)
        except RfgraphError:
            continue
    return None
