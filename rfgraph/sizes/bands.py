"""Constant masks that are the same law at two sizes, as triangles and windows are, and so at any.

In: two looks at one model. Out: the same, by readings in which such laws hold at any size.
"""

from __future__ import annotations

from dataclasses import replace

from rfgraph.language.reads import BY_MASK, Place, Read, Reads
from rfgraph.sizes.compare import twins
from rfgraph.sizes.look import Look, look_again


def banded(first: Look, second: Look | None) -> tuple[Look, Look | None]:
    """The looks, with the masks of both that are one law said to hold at any size."""
    if second is None:
        return first, None
    other = twins(first.graph, second.graph)
    own: dict[str, Reads] = {}
    there: dict[str, Reads] = {}
    for name, reads in first.readings.items():
        twin = other.get(name)
        if twin is not None and any(map(_laws, reads)):
            theirs = second.readings[twin]
            if list(map(_laws, reads)) == list(map(_laws, theirs)):
                own[name], there[twin] = tuple(map(_freed, reads)), tuple(map(_freed, theirs))
    return (look_again(first, own), look_again(second, there)) if own else (first, second)


def _laws(read: Read) -> dict[int, Place]:
    """The dims that are read by the law of a mask: those laws."""
    return {
        dim: replace(place, at=None)
        for dim, place in enumerate(read.dims)
        if place.reason == BY_MASK and place.law is not None
    }


def _freed(read: Read) -> Read:
    free = _laws(read)
    return Read(
        read.operand,
        tuple(replace(p, reason="") if dim in free else p for dim, p in enumerate(read.dims)),
    )
