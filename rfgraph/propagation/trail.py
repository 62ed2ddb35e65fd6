"""`Trail`: where in the model something came about, as a set that grows without being copied.

In: origins. Out: their union, in the order of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Origin(NamedTuple):
    """A node, and what came about there: a kind of whole read, or why a closed form ended."""

    node: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """A persistent set of origins: deep models share the trails of their shallow parts."""

    own: tuple[Origin, ...] = ()
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
