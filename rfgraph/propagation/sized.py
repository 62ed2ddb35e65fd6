"""The sized domain: at one input size, what every single position reads, borders included.

In: reads. Out: `Sized` values: arrays of sets over the tensor's own dims.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from math import prod

import numpy as np

from rfgraph.algebra.digits import plain
from rfgraph.algebra.positions import Positions
from rfgraph.errors import RfgraphError
from rfgraph.graph import Carry, Masked, Node, Shape
from rfgraph.language.reads import Place, Read, unmoved
from rfgraph.propagation.crops import bounds
from rfgraph.propagation.lattice import Array, Lattice
from rfgraph.propagation.masked import leaves_out
from rfgraph.propagation.parts import Part, carried_on, is_unbounded
from rfgraph.propagation.trail import Trail, extend, merge


class TooLargeError(MemoryError):
    """The sets exceed the budget of the domain."""


@dataclass(frozen=True, eq=False)
class Sized:
    """What each position of a tensor reads of one axis.

    Attributes:
        parts: whole-axis reads left out, each with dims of its own: attention scores carry an axis along
            the queries and along the keys.
        added: sets as in a part, what whole-axis reads added; None where there are none.
        whole: the nodes that read the whole axis, with the kind of read.
        carries: what the node made of the parts of its operands.
        masked: the node, where the model fixes positions of it.
    """

    parts: tuple[Part, ...]
    added: Array | None = None
    whole: Trail | None = None
    carries: tuple[Carry, ...] = ()
    masked: Node | None = None

    def local(self, lattice: Lattice) -> Array | None:
        """What is read, whole-axis reads left out; None where nothing is left."""
        return _united([part.sets for part in self.parts], lattice)

    def sets(self, lattice: Lattice) -> Array | None:
        """All that is read."""
        arrays = [part.sets for part in self.parts]
        return _united(arrays if self.added is None else [*arrays, self.added], lattice)


_NO_TABLES: Mapping[str, frozenset[int]] = {}


class SizedDomain:
    """Composes reads into sets (theory: sized answers).

    Raises `TooLargeError` where the sets of all tensors together exceed `budget` bytes (None: no limit).

    Args:
        tables: the nodes that put positions that were picked one by one side by side, and the dims along
            which, which carry the axis from there on.
        growing: the dims of a node that are longer where an axis is.
    """

    def __init__(
        self,
        lattice: Lattice,
        budget: int | None = None,
        tables: Mapping[str, frozenset[int]] = _NO_TABLES,
        growing: Callable[[str], Collection[int]] = lambda name: (),
    ) -> None:
        self.lattice = lattice
        self._growing = growing
        self._left = budget
        self._tables = tables

    def initial(self, node: Node, dim: int) -> Sized:
        length, width = self.lattice.length, self.lattice.width
        if self._left is not None and length * width * 8 > self._left:
            raise TooLargeError(f"the sets of {length} positions exceed the budget")
        shape = [1] * len(node.shape)
        shape[dim] = length
        sets = self.lattice.singletons().reshape(*shape, width)
        dims = frozenset((dim,))
        return Sized((Part(dims, dims, sets),))

    def keeps(self, read: Read, node: Node) -> bool:
        return False  # each node's value says what it is carried by

    def compose(self, value: Sized, read: Read, node: Node) -> Sized | None:
        step = _Step(self.lattice, read.dims, node.operand_shapes[read.operand], node.shape)
        image = partial(self._image, step, node)
        whole = value.whole
        added = [] if value.added is None else [image(value.added)]
        parts: list[Part] = []
        carries: list[Carry] = []
        masked = node if node.masked is not None else None
        is_left = value.masked is not None and leaves_out(read, value.masked, node)
        for source in value.parts:
            part = replace(source, dims=source.unmasked) if is_left else source
            sets = image(part.sets)
            growing = partial(self._growing, node.operands[read.operand])
            is_crop = part.bounded or bounds(part.dims, read.dims, growing)
            if not part.bounded and is_unbounded(part, read.dims):
                added.append(sets)
                whole = extend(whole, node.name, read.dims[min(part.dims)].kind)
                carries.append(Carry(read.operand, source.unmasked, None))
            else:
                laid = frozenset() if part.dims else self._tables.get(node.name, frozenset())
                carried = carried_on(part, sets, read.dims, node, laid)
                parts.append(replace(carried, bounded=True) if is_crop and not laid else carried)
                carries.append(Carry(read.operand, source.unmasked, parts[-1].unmasked))
        return Sized(self._merged(parts), self._union(added), whole, tuple(carries), masked)

    def join(self, values: Sequence[Sized], node: Node) -> Sized | None:
        if not values:
            return None
        return Sized(
            self._merged([part for value in values for part in value.parts]),
            self._union([value.added for value in values if value.added is not None]),
            reduce(merge, (value.whole for value in values)),
            tuple(carry for value in values for carry in value.carries),
            values[0].masked,
        )

    def _merged(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """One part for equal dims."""
        together: dict[tuple[frozenset[int], frozenset[int]], list[Part]] = {}
        for part in parts:
            together.setdefault((part.dims, part.unmasked), []).append(part)
        merged: list[Part] = []
        for (dims, unmasked), alike in together.items():
            sets = self._union([part.sets for part in alike])
            if sets is not None:
                merged.append(Part(dims, unmasked, sets, all(part.bounded for part in alike)))
        return tuple(merged)

    def _image(self, step: _Step, node: Node, sets: Array) -> Array:
        """What the node reads of these sets of its operand, but where the model fixes its value."""
        image = step.image(sets)
        if node.masked is not None:
            image = self._unmasked(image, node.masked)
        self._charge(image)
        return image

    def _unmasked(self, sets: Array, masked: Masked) -> Array:
        where = np.asarray(masked.where)
        where = where.reshape(*(1,) * (sets.ndim - 1 - where.ndim), *where.shape)
        shape = np.broadcast_shapes(where.shape, sets.shape[:-1])
        result: Array = np.broadcast_to(sets, (*shape, self.lattice.width)).copy()
        result[np.broadcast_to(where, shape)] = self.lattice.empty()
        return result

    def _union(self, arrays: Sequence[Array]) -> Array | None:
        """The union of some arrays; None of none."""
        united = _united(arrays, self.lattice)
        if united is not None and len(arrays) > 1:
            self._charge(united)
        return united

    def _charge(self, sets: Array) -> None:
        if self._left is not None:
            self._left -= sets.nbytes
            if self._left < 0:
                raise TooLargeError("the sets of this model exceed the budget")


def _united(arrays: Sequence[Array], lattice: Lattice) -> Array | None:
    """The union of arrays, broadcast to each other; None of none."""
    return reduce(lattice.union, arrays) if arrays else None


def _is_split(place: Place) -> bool:
    """The place of a number, as one dim of a reshape is."""
    return place.at is None and place.law is not None and place.law.extent is not None


@dataclass(frozen=True)
class _Step:
    """One read, applied to arrays of sets over the operand's dims."""

    lattice: Lattice
    places: tuple[Place, ...]
    operand_shape: Shape
    shape: Shape

    def image(self, sets: Array) -> Array:
        """The sets over the output's dims: each dim of the operand is replaced in turn."""
        labels: list[int | None] = []  # of each dim of `sets` so far: the output dim it has become
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
            if len(place.dims) > 1 or any(target in labels for target in place.dims):
                sets, labels = self._looked_up(sets, labels, place, size)
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
        if place.is_whole:
            united: Array = self.lattice.union.reduce(sets, axis=axis, keepdims=True)
            return united
        if place.dims and place is unmoved(place.dims[0]) and size == self.shape[place.dims[0]]:
            return sets
        front = np.moveaxis(sets, axis, 0)
        if not place.dims:
            row = [i for i in place.positions(()) if 0 <= i < size]
            front = self._rows([row if len(front) > 1 else [0] if row else []], front)
        elif front.shape[0] == 1 != size:  # it does not vary along this dim, but may read nothing
            front = self._where_anything(front, place, size)
        else:
            front = self._gathered(front, place)
        return np.moveaxis(front, 0, axis)

    def _gathered(self, front: Array, place: Place) -> Array:
        """For each position along one output dim, the union of the sets at the positions that it reads."""
        count = self.shape[place.dims[0]]
        law = place.law
        if place.at is not None or law is None or law.digits != plain(place.dims[0]):
            return self._rows([place.positions((o,)) for o in range(count)], front)
        result = self.lattice.empty(count, *front.shape[1:-1])
        relation = law.relation
        for phase, reads in enumerate(relation.sets[:count]):
            turns = -(-(count - phase) // relation.period)
            result[phase :: relation.period] = self._slid(front, reads, relation.advance, turns)
        return result

    def _slid(self, front: Array, reads: Positions, advance: int, turns: int) -> Array:
        """The union over `reads + advance * k`, for k in 0 .. turns - 1."""
        runs = [reads] if reads.mask is None else [Positions.of([i]) for i in reads.members()]
        parts = (self._window(front, run, advance, turns) for run in runs if run.length)
        return reduce(self.lattice.union, parts, self.lattice.empty(turns, *front.shape[1:-1]))

    def _window(self, front: Array, run: Positions, advance: int, turns: int) -> Array:
        """Sliding union of an arithmetic progression, by doubling: a union twice is a union once."""
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

    def _rows(self, rows: Sequence[Iterable[int]], front: Array, *at: Array) -> Array:
        """The union of given rows of `front[at]`; a row that does not exist is empty."""
        size = front.shape[len(at)]
        kept = [[i for i in row if 0 <= i < size] for row in rows]
        result = self.lattice.empty(len(rows), *front.shape[len(at) + 1 : -1])
        nothing = self.lattice.empty(*front.shape[: len(at)], 1, *front.shape[len(at) + 1 : -1])
        padded = np.concatenate([front, nothing], axis=len(at))
        for place in range(max(map(len, kept), default=0)):
            taken = np.array([row[place] if place < len(row) else size for row in kept])
            place_of = (*at, taken)
            result = self.lattice.union(result, padded[place_of])
        return result

    def _looked_up(
        self, sets: Array, labels: list[int | None], place: Place, size: int
    ) -> tuple[Array, list[int | None]]:
        """The next dim of `sets`, read along output dims some of which earlier dims have become already."""
        if sets.shape[len(labels)] == 1 != size and place.total:
            return sets, [*labels, None]  # it does not vary along this dim, and is read everywhere
        targets = place.dims
        grid = list(np.ndindex(*(self.shape[target] for target in targets)))
        rows: list[list[int]] = [[i for i in place.positions(o) if 0 <= i < size] for o in grid]
        axis = len(labels)
        if sets.shape[axis] == 1 != size:  # it does not vary along this dim, but may read nothing
            if all(rows):
                return sets, [*labels, None]
            rows = [row and [0] for row in rows]
        there = [labels.index(target) for target in targets if target in labels]
        front = np.moveaxis(sets, (*there, axis), tuple(range(len(there) + 1)))
        position = dict(zip(targets, np.array(grid, int).reshape(-1, len(targets)).T, strict=True))
        at = (
            position[target] if front.shape[i] > 1 else np.zeros(len(grid), int)
            for i, target in enumerate(target for target in targets if target in labels)
        )
        found = self._rows(rows, front, *at)
        shaped = found.reshape(*(self.shape[target] for target in targets), *found.shape[1:])
        rest = [label for i, label in enumerate(labels) if i not in there]
        # What has been replaced comes first; dims still to come keep their place behind it.
        return shaped, [*targets, *rest]

    def _where_anything(self, front: Array, place: Place, size: int) -> Array:
        """What does not vary along a dim does so only where some output reads nothing there."""
        ones = Lattice(1, True)
        probe = _Step(ones, (), (), self.shape)
        reached = probe._gathered(np.broadcast_to(ones.singletons(), (size, 1)), place)
        nothing = ones.is_empty(reached)
        if not nothing.any():
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
        sets = np.squeeze(sets, tuple(axis for axis, label in enumerate(labels) if label is None))
        kept = [label for label in labels if label is not None]
        order = sorted(range(len(kept)), key=lambda axis: kept[axis])
        sets = np.transpose(sets, (*order, sets.ndim - 1))
        missing = tuple(dim for dim in range(len(self.shape)) if dim not in kept)
        return np.expand_dims(sets, missing)
