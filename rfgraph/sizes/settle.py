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
from rfgraph.sizes.choice import asks, fit, nearest_shapes, second_shapes
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
    second = _second(first, look_at)
    own, there = sites(first.graph), None if second is None else sites(second.graph)
    other = {} if there is None else twins(own, there)
    for each in (uncropped, banded, pooled):
        first, second = each(first, second, other)
    unrolled = loops(first, own, there)
    if unrolled.picks:
        first = unrolled_look(first.readings, first.axes, unrolled.picks, unrolled.layouts)
    if second is None:
        return bordered(first), _ONE
    return demoted(bordered(first), bordered(second), other), ""


def _second(first: Look, look_at: LookAt) -> Look | None:
    """At larger sizes; inputs that do not grow alike may fit at one position more, which pools drop."""
    second, is_taken = _first_that_fits(first, look_at, second_shapes(first))
    if second is None and (is_taken or len(first.graph.inputs) > 1):
        second, _ = _first_that_fits(first, look_at, nearest_shapes(first))
    return second


def _first_that_fits(
    first: Look, look_at: LookAt, shapes: Iterable[dict[str, Shape]]
) -> tuple[Look | None, bool]:
    """The first that the model takes, and whether it took any."""
    is_taken = False
    for each in shapes:
        try:
            second = look_at(each)
        except RfgraphError:
            continue
        is_taken = True
        if fit(first.graph, second.graph):
            return second, True
    return None, is_taken
