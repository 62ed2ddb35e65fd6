"""`Step`: what one read makes of arrays of sets, dim by dim.

In: sets over an operand's dims, a place for each. Out: sets over the output's dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import prod

import numpy as np

from rfgraph.algebra.digits import plain
from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.errors import RfgraphError
from rfgraph.graph import Shape
from rfgraph.language.reads import Place, unmoved
from rfgraph.propagation.laid_out import Ints, is_one_each, read_at
from rfgraph.propagation.lattice import Array, Lattice

_FEW = 4  # members of a set, for which shifting is no slower than doubling


def _is_split(place: Place) -> bool:
    """The place of a number, as one dim of a reshape is."""
    return place.at is None and place.law is not None and place.law.extent is not None


@dataclass(frozen=True)
class Step:
    """One read, applied to arrays of sets over the operand's dims.

    `untold`: output dims over which what does not vary in the operand need not be told apart.
    """

    lattice: Lattice
    places: tuple[Place, ...]
    operand_shape: Shape
    shape: Shape
    untold: frozenset[int] = frozenset()

    def image(self, sets: Array) -> Array:
        """The sets over the output's dims: each dim of the operand is replaced in turn."""
        if sets.ndim <= len(self.places):
            sets = sets[None]  # of a tensor without dims, which is read as one of one
        labels: list[int | None] = []  # of each dim of `sets` so far: the output dim it has become
        done = 0
        for dim, place in enumerate(self.places):
            axis = len(labels)
            if _is_split(place):
                group = self._group(place)
                if dim == group[0]:
                    sets = self._regrouped(sets, axis, group, place.dims)
                    labels += place.dims
                else:
                    sets = np.squeeze(sets, axis)  # it went with the first dim of its group
                continue
            size = self.operand_shape[dim]
            if dim < done:
                continue  # it went with one before it
            if len(place.dims) > 1 or any(target in labels for target in place.dims):
                group = self._alike(dim)
                sets, labels = self._looked_up(sets, labels, group)
                done = dim + len(group)
                continue
            sets = self._along(sets, axis, place, size)
            labels.append(place.dims[0] if place.dims else None)
        return self._laid_out(sets, labels)

    def _group(self, place: Place) -> list[int]:
        """The operand dims that are places of the same number, which together are all of it."""
        group = [d for d, p in enumerate(self.places) if _is_split(p) and p.dims == place.dims]
        count = prod(self.operand_shape[dim] for dim in group)
        if count != prod(self.shape[dim] for dim in place.dims):
            raise RfgraphError(f"a reshape of dims {group}, {count} elements: others are missing")
        return group

    def _along(self, sets: Array, axis: int, place: Place, size: int) -> Array:
        """The dim at `axis` replaced by one output dim, or by size 1."""
        if place.is_whole and place.at is None:
            united: Array = self.lattice.union.reduce(sets, axis=axis, keepdims=True)
            return united
        if place.dims and place is unmoved(place.dims[0]) and size == self.shape[place.dims[0]]:
            return sets
        front = np.moveaxis(sets, axis, 0)
        if not place.dims:
            rows = read_at(place, np.empty((0, 1), np.int64), size)
            rows = rows if len(front) > 1 else np.where(rows < size, 0, 1)
            front = self._rows(rows, front)
        elif front.shape[0] == 1 != size:  # it does not vary along this dim, but may read nothing
            front = self._where_anything(front, place, size)
        else:
            front = self._gathered(front, place)
        return np.moveaxis(front, 0, axis)

    def _gathered(self, front: Array, place: Place) -> Array:
        """For each position along one output dim, the union of the sets at the positions that it reads."""
        count = self.shape[place.dims[0]]
        law = place.law
        if place.is_past and law is not None and law.digits == plain(place.dims[0]):
            return self._passed(front, law.relation, count)
        if place.is_onward:
            behind: Array = self.lattice.union.accumulate(front[::-1], axis=0)[::-1]
            return behind
        if place.at is not None or law is None or law.digits != plain(place.dims[0]):
            return self._rows(read_at(place, np.arange(count)[None], front.shape[0]), front)
        result = self.lattice.empty(count, *front.shape[1:-1])
        relation = law.relation
        for phase, reads in enumerate(relation.sets[:count]):
            turns = -(-(count - phase) // relation.period)
            result[phase :: relation.period] = self._slid(front, reads, relation.advance, turns)
        return result

    def _passed(self, front: Array, relation: Relation, count: int) -> Array:
        """For each of `count` outputs, the union of all up to the last position that it reads."""
        outputs = np.arange(count)
        ends = np.array([reads.hi if reads.length else -1 for reads in relation.sets])
        last = ends[outputs % relation.period] + relation.advance * (outputs // relation.period)
        last = np.minimum(last, len(front) - 1)
        if not len(front):
            return self.lattice.empty(count, *front.shape[1:-1])
        passed = self.lattice.union.accumulate(front, axis=0)
        found: Array = passed[np.maximum(last, 0)]
        found[last < 0] = self.lattice.empty(*front.shape[1:-1])
        return found

    def _slid(self, front: Array, reads: Positions, advance: int, turns: int) -> Array:
        """The union over `reads + advance * k`, for k in 0 .. turns - 1."""
        found = self.lattice.empty(turns, *front.shape[1:-1])
        if advance > 0 and (reads.mask is not None or reads.length <= _FEW):
            for member in reads.members():
                here, there = _met(member, advance, turns, front.shape[0])
                self.lattice.union(found[here], front[there], out=found[here])
            return found
        runs = [reads] if reads.mask is None else [Positions.of([i]) for i in reads.members()]
        for run in runs:
            if run.length:
                self.lattice.union(found, self._window(front, run, advance, turns), out=found)
        return found

    def _window(self, front: Array, run: Positions, advance: int, turns: int) -> Array:
        """Sliding union of an arithmetic progression, by doubling: a union twice is a union once."""
        run = _within(run, advance * (turns - 1), front.shape[0])
        if not run.length:
            return self.lattice.empty(turns, *front.shape[1:-1])
        starts = run.base + advance * np.arange(turns)
        low = min(int(starts.min()), 0)
        high = max(int(starts.max()) + run.span, front.shape[0])
        padded = self.lattice.empty(high - low, *front.shape[1:-1])
        padded[-low : -low + front.shape[0]] = front
        covered = 1
        while covered < run.length:
            more = min(covered, run.length - covered)
            shifted = padded[run.step * more :]
            padded[: len(shifted)] = self.lattice.union(padded[: len(shifted)], shifted)
            covered += more
        found: Array = padded[starts - low]
        return found

    def _rows(self, rows: Ints, front: Array, *at: Array) -> Array:
        """[:, n]: the union of rows of `front[at]` for each n; a row that does not exist is empty."""
        result = self.lattice.empty(rows.shape[1], *front.shape[len(at) + 1 : -1])
        nothing = self.lattice.empty(*front.shape[: len(at)], 1, *front.shape[len(at) + 1 : -1])
        padded = np.concatenate([front, nothing], axis=len(at))
        for taken in rows:
            place_of = (*at, taken)
            result = self.lattice.union(result, padded[place_of])
        return result

    def _alike(self, first: int) -> list[int]:
        """The dims from `first` on that are read along the same output dims, one position each, by laws."""
        dims = self.places[first].dims
        if len(dims) < 2 or not is_one_each(self.places[first]):
            return [first]
        rest = range(first, len(self.places))
        places = self.places
        return list(takewhile(lambda d: places[d].dims == dims and is_one_each(places[d]), rest))

    def _looked_up(
        self, sets: Array, labels: list[int | None], group: Sequence[int]
    ) -> tuple[Array, list[int | None]]:
        """The next dims of `sets`, read along output dims some of which earlier dims have become already.

        Together, so that none is laid out along the output's dims beside all positions of the others.
        """
        places, axis = [self.places[dim] for dim in group], len(labels)
        sizes = [self.operand_shape[dim] for dim in group]
        axes = range(axis, axis + len(group))
        varies = [sets.shape[a] > 1 or size == 1 for a, size in zip(axes, sizes, strict=True)]
        nowhere = [None] * len(group)
        if not any(varies) and all(place.total for place in places):
            return sets, [*labels, *nowhere]  # it does not vary along these, and is read everywhere
        targets = places[0].dims
        counts = [self.shape[target] for target in targets]
        index = np.indices(counts).reshape(len(counts), -1)
        rows = [read_at(p, index, size) for p, size in zip(places, sizes, strict=True)]
        read = [(row < size).any(axis=0) for row, size in zip(rows, sizes, strict=True)]
        if not any(varies) and np.logical_and.reduce(read).all():
            return sets, [*labels, *nowhere]
        there = [labels.index(target) for target in targets if target in labels]
        front = np.moveaxis(sets, (*there, *axes), tuple(range(len(there) + len(group))))
        position = dict(zip(targets, index, strict=True))
        at = [
            position[target] if front.shape[i] > 1 else np.zeros_like(index[0])
            for i, target in enumerate(target for target in targets if target in labels)
        ]
        is_read = np.logical_and.reduce(read)
        for row, varying in zip(rows[:-1], varies[:-1], strict=True):
            at.append(np.where(is_read, row[0], 0) if varying else np.zeros_like(index[0]))
        last = np.where(is_read, rows[-1] if varies[-1] else 0, front.shape[len(at)])
        found = self._rows(np.atleast_2d(last), front, *at)
        shaped = found.reshape(*counts, *found.shape[1:])
        rest = [label for i, label in enumerate(labels) if i not in there]
        # What has been replaced comes first; dims still to come keep their place behind it.
        return shaped, [*targets, *rest]

    def _where_anything(self, front: Array, place: Place, size: int) -> Array:
        """What does not vary along a dim does so only where some output reads nothing there."""
        ones = Lattice(1, True)
        probe = Step(ones, (), (), self.shape)
        reached = probe._gathered(np.broadcast_to(ones.singletons(), (size, 1)), place)
        nothing = ones.is_empty(reached)
        if not nothing.any() or (not nothing.all() and place.dims[0] in self.untold):
            return front
        result = np.repeat(front, len(nothing), axis=0)
        result[nothing] = self.lattice.empty(*front.shape[1:-1])
        return result

    def _regrouped(
        self, sets: Array, axis: int, group: Sequence[int], dims: Sequence[int]
    ) -> Array:
        """The operand dims of a group reshaped to output `dims`; where none varies, sizes stay 1.

        The first dim of the group is at `axis`; the others, still to come, follow at their distance and
        are left behind at size 1.
        """
        places = [axis + dim - group[0] for dim in group]
        if all(sets.shape[place] == 1 for place in places):
            ones = (1,) * len(dims)
            return sets.reshape(*sets.shape[:axis], *ones, *sets.shape[axis + 1 :])
        full = list(sets.shape)
        for place, dim in zip(places, group, strict=True):
            full[place] = self.operand_shape[dim]
        whole = np.broadcast_to(sets, full)
        for step, place in enumerate(places[1:], start=1):
            whole = np.moveaxis(whole, place, axis + step)
        rest = whole.shape[axis + len(places) :]
        shape = tuple(self.shape[dim] for dim in dims)
        shaped = whole.reshape(*whole.shape[:axis], *shape, *rest)
        for place in places[1:]:  # a dim of size 1 where each of the others stood
            shaped = np.expand_dims(shaped, place + len(dims) - 1)
        return shaped

    def _laid_out(self, sets: Array, labels: Sequence[int | None]) -> Array:
        """The dims in the output's order, size 1 where the output has a dim that the operand lacks."""
        gone = tuple(axis for axis, label in enumerate(labels) if label is None)
        if any(sets.shape[axis] == 0 for axis in gone):  # of what has no positions, nothing is read
            sets = self.lattice.empty(
                *(1 if axis in gone else count for axis, count in enumerate(sets.shape[:-1]))
            )
        sets = np.squeeze(sets, gone)
        kept = [label for label in labels if label is not None]
        order = sorted(range(len(kept)), key=lambda axis: kept[axis])
        sets = np.transpose(sets, (*order, sets.ndim - 1))
        missing = tuple(dim for dim in range(len(self.shape)) if dim not in kept)
        return np.expand_dims(sets, missing)


def _met(start: int, advance: int, turns: int, size: int) -> tuple[slice, slice]:
    """The k of `0 .. turns - 1` with `start + advance * k` in `0 .. size - 1`, and what these are."""
    first = min(max(0, -(start // advance)), turns)
    end = min(turns, (size - 1 - start) // advance + 1)
    if end <= first:
        return slice(0, 0), slice(0, 0)
    low = start + advance * first
    return slice(first, end), slice(low, low + advance * (end - first), advance)


def _within(run: Positions, moved: int, size: int) -> Positions:
    """Of a run that moves by up to `moved`, what may come to lie in `0 .. size - 1`.

    What is dilated far beyond a short axis would else be laid out with all that lies between.
    """
    first = max(0, -((run.base + max(moved, 0)) // run.step))
    last = min(run.length - 1, (size - 1 - run.base - min(moved, 0)) // run.step)
    return Positions.progression(run.base + run.step * first, run.step, last - first + 1)
