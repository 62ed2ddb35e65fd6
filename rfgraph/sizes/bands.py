"""What a rule proposes and a second size confirms: constant masks that are one law, dims that do not grow.

In: two looks at one model. Out: the same, by readings in which such laws hold at any size.
"""

from __future__ import annotations

from dataclasses import replace

from rfgraph.language.reads import Place, Read, Reads
from rfgraph.sizes.compare import Twins
from rfgraph.sizes.look import Look, look_again


def banded(first: Look, second: Look | None, other: Twins) -> tuple[Look, Look | None]:
    """The looks, with what is proposed in both alike said to hold at any size."""
    if second is None:
        return first, None
    own: dict[str, Reads] = {}
    there: dict[str, Reads] = {}
    for name, reads in first.readings.items():
        twin = other.get(name)
        if twin is not None and any(any(_laws(read)) for read in reads):
            theirs = second.readings[twin]
            if list(map(_laws, reads)) == list(map(_laws, theirs)):
                own[name], there[twin] = tuple(map(_held, reads)), tuple(map(_held, theirs))
    return (look_again(first, own), look_again(second, there)) if own else (first, second)


def _laws(read: Read) -> tuple[object, ...]:
    """What is proposed for each dim; of a reshape, whose digits count by the size, that something is."""
    laws = (place.proposed for place in read.dims)
    return tuple(law and (law if law.extent is None else "a reshape") for law in laws)


def _held(read: Read) -> Read:
    """The same by the laws that are proposed."""
    return replace(read, dims=tuple(map(_by_law, read.dims)))


def _by_law(place: Place) -> Place:
    law = place.proposed
    return place if law is None else replace(place, law=law, reason="", proposed=None)
