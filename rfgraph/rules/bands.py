"""Bands: which constant masks let a query see what moves along with it, as triangles, windows and chunks do.

In: a boolean matrix, (queries, keys). Out: the relation of a query and the keys that it sees, if any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation

_LONGEST = 64  # a mask with more phases than this is a table, not a law
Rows = npt.NDArray[np.bool_]


class Band(NamedTuple):
    """What each query sees: `relation`, and with `past` all keys before, borders aside."""

    relation: Relation
    past: bool


def band_of(allowed: Rows) -> Band | None:
    """The law of a mask that repeats itself along its diagonal, and is that law at every query; else None.

    At one size alone it may be another's beginning: a window as wide as the tensor is a triangle.
    """
    queries = len(allowed)
    for period in range(1, min(_LONGEST, queries // 2) + 1):
        if np.array_equal(allowed[period:, period:], allowed[:-period, :-period]):
            return _past(allowed, period) or _window(allowed, period)
    return None


def _past(allowed: Rows, period: int) -> Band | None:
    """All keys up to one that moves along: every row begins at the first key and has no hole."""
    queries, keys = allowed.shape
    ends = allowed.sum(1)
    if not np.array_equal(allowed, np.arange(keys) < ends[:, None]):
        return None
    found = []
    for phase in range(period):
        last = ends[phase::period] - 1
        inside = np.flatnonzero((last >= 0) & (last < keys - 1))
        if not len(inside):
            return None
        turns = int(inside[0])
        found.append(Positions.of([int(last[turns]) - turns * period]))
    relation = Relation(period, period, found)
    claimed = [max(min(relation.at(o)[-1], keys - 1), -1) for o in range(queries)]
    return Band(relation, True) if claimed == (ends - 1).tolist() else None


def _window(allowed: Rows, period: int) -> Band | None:
    """As many keys as fit, at any query that is far enough from the borders."""
    queries, keys = allowed.shape
    members: list[set[int]] = [set() for _ in range(period)]
    for query, row in enumerate(allowed):
        members[query % period].update(
            int(key) - query + query % period for key in np.flatnonzero(row)
        )
    relation = Relation(period, period, tuple(map(Positions.of, map(sorted, members))))
    is_law = all(
        _clipped(relation.at(o), keys) == np.flatnonzero(allowed[o]).tolist()
        for o in range(queries)
    )
    return Band(relation, False) if is_law and _is_short(members, keys) else None


def _clipped(reads: Sequence[int], keys: int) -> list[int]:
    return [int(key) for key in reads if 0 <= key < keys]


def _is_short(members: Sequence[set[int]], keys: int) -> bool:
    """Some query sees all of its window: what ends where the tensor does has no end that is known."""
    return all(max(own, default=0) - min(own, default=0) < keys - 1 for own in members)
