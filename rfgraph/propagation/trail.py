"""`Trail`: where in the model something came about, as a set that grows without being copied.

In: origins. Out: their union, in the order of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

_MOST_KNOWN = 32


class Origin(NamedTuple):
    """A node, and what came about there: a kind of whole read, or why a closed form ended."""

    node: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """A persistent set of origins: deep models share the trails of their shallow parts.

    `own`: the one that came last, or none.
    """

    own: tuple[Origin] | tuple[()] = ()
    parents: tuple[Trail, ...] = ()

    def __iter__(self) -> Iterator[Origin]:
        """Every origin once, those furthest up the model first."""
        ordered: list[Trail] = []
        seen: set[int] = set()
        stack: list[tuple[Trail, bool]] = [(self, False)]
        while stack:
            trail, parents_done = stack.pop()
            if parents_done:
                ordered.append(trail)
            elif id(trail) not in seen:
                seen.add(id(trail))
                stack.append((trail, True))
                stack.extend((parent, False) for parent in reversed(trail.parents))
        return iter(dict.fromkeys(origin for trail in ordered for origin in trail.own))


class Whence(NamedTuple):
    """Where in a model came about what a row says: its causes, limits and marks."""

    causes: tuple[Trail, ...]
    limits: tuple[Trail, ...]
    marks: tuple[Trail, ...]

    @classmethod
    def of(cls, *trails: Sequence[Trail | None]) -> Whence:
        """Without those that are None."""
        return cls(*(tuple(trail for trail in each if trail is not None) for each in trails))


class Origins:
    """The origins of trails, as `Trail` lists them, of the few asked for last.

    Neighbours in a model have the same, or all but one in common: a list is made of that of its parent.
    """

    def __init__(self) -> None:
        self._known: dict[Trail, tuple[Origin, ...]] = {}

    def of_all(self, trails: Sequence[Trail]) -> tuple[Origin, ...]:
        """Every origin of some trails once, in the order of the trails."""
        if len(trails) == 1:
            return self.of(trails[0])
        return tuple(dict.fromkeys(chain(*map(self.of, trails))))

    def of(self, trail: Trail) -> tuple[Origin, ...]:
        """Every origin once."""
        found = self._known.get(trail)
        if found is None:
            found = self._made(trail)
            if len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[trail] = found
        return found

    def _made(self, trail: Trail) -> tuple[Origin, ...]:
        parent = self._known.get(trail.parents[0]) if len(trail.parents) == 1 else None
        if parent is None:
            return tuple(trail)
        return parent + tuple(origin for origin in trail.own if origin not in parent)


def extend(trail: Trail | None, node: str, text: str) -> Trail:
    """`trail` and one more origin."""
    return Trail((Origin(node, text),), (trail,) if trail is not None else ())


def merge(one: Trail | None, other: Trail | None) -> Trail | None:
    """The union of two trails."""
    if one is other or other is None:
        return one
    if one is None:
        return other
    if one in other.parents:
        return other
    return one if other in one.parents else Trail((), (one, other))
