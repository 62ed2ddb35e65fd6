"""What a place reads at many output positions at once, as an array.

In: a place, positions. Out: for each of them what is read, `size` where there is nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from rfgraph.language.reads import Law, Place

Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Marks: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
_AT_ONCE = 1 << 16  # positions asked of a function one by one, as lists
_ALL: Marks = np.ones((), np.bool_)


def read_at(place: Place, index: Ints, size: int) -> Ints:
    """[:, n]: what is read of a dim of `size` at the output position `index[:, n]` along the place's dims.

    What lies outside of the dim is `size`. There are as many rows as the most that one position reads.
    """
    exact = place.exact
    if exact is None:
        return _one_by_one(place, index, size)
    rows, is_read = _by_law(exact.law, dict(zip(place.dims, index, strict=True)), index.shape[1])
    if exact.clamped:
        rows = np.clip(rows, 0, exact.clamped - 1)
    return _inside(np.where(is_read, rows, size), size)


def is_one_each(place: Place) -> bool:
    """A law says one position for each output position."""
    exact = place.exact
    return exact is not None and (
        exact.law.extent is not None or [s.length for s in exact.law.relation.sets] == [1]
    )


def _by_law(law: Law, index: dict[int, Ints], count: int) -> tuple[Ints, Marks]:
    """What is read, and whether that is anything: there are as many rows as the most that are read."""
    digits: Sequence[Any] = law.digits  # of arrays, too
    z = np.zeros(count, np.int64) + sum(digit.at(index[digit.dim]) for digit in digits)
    if law.extent is not None:
        return (z // law.weight % law.extent)[None], _ALL
    relation = law.relation
    if relation.period == 1 and relation.sets[0].length == 1:
        return (relation.advance * z + relation.sets[0].base)[None], _ALL
    turns, phases = np.divmod(z, relation.period)
    used = np.unique(phases).tolist()
    most = max((relation.sets[phase].cardinality for phase in used), default=0)
    table = np.zeros((most, relation.period), np.int64)
    there = np.zeros((most, relation.period), np.bool_)
    for phase in used:
        members = list(relation.sets[phase].members())
        table[: len(members), phase] = members
        there[: len(members), phase] = True
    return table[:, phases] + relation.advance * turns, there[:, phases]


def _one_by_one(place: Place, index: Ints, size: int) -> Ints:
    parts = [
        _listed(place, index[:, i : i + _AT_ONCE], size) for i in range(0, index.shape[1], _AT_ONCE)
    ]
    if len(parts) == 1:
        return parts[0]
    most = max(map(len, parts), default=0)
    padded = [np.pad(p, ((0, most - len(p)), (0, 0)), constant_values=size) for p in parts]
    return np.concatenate(padded, axis=1) if padded else np.empty((0, 0), np.int64)


def _listed(place: Place, index: Ints, size: int) -> Ints:
    read = [list(place.positions(tuple(each))) for each in index.T.tolist()]
    rows = np.full((max(map(len, read), default=0), len(read)), size)
    for number, each in enumerate(read):
        rows[: len(each), number] = each
    return _inside(rows, size)


def _inside(rows: Ints, size: int) -> Ints:
    return np.where((rows >= 0) & (rows < size), rows, size)
