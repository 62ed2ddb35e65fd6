"""`settled`: a look at a model that asks for its size, held against one at another size.

In: a `Look`, how to take others. Out: the look in which nothing is claimed of any size that holds at this one
only, and what to know of how that was found out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rfgraph.errors import RfgraphError
from rfgraph.graph import Shape
from rfgraph.sizes.bands import banded
from rfgraph.sizes.choice import asks, fit, second_shapes
from rfgraph.sizes.compare import demoted
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
        return first, ""
    second = _second(first, look_at)
    first, second = pooled(*banded(*uncropped(first, second)))
    unrolled = loops(first, second)
    if unrolled.picks:
        first = unrolled_look(first.readings, first.axes, unrolled.picks, unrolled.layouts)
    if second is None:
        return first, _ONE
    return demoted(first, second), ""


def _second(first: Look, look_at: LookAt) -> Look | None:
    for shapes in second_shapes(first):
        try:
            second = look_at(shapes)
        except RfgraphError:
            continue
        if fit(first.graph, second.graph):
            return second
    return None
