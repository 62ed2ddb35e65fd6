"""`AtSize`: what every position of every node reads at the analysed size, worked out when it is asked for.

In: readings, a tracked axis. Out: sets of positions of that axis.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import networkx as nx
import numpy as np

from rfgraph.algebra.relation import Relation
from rfgraph.graph import Axis, Carry, Indices, Position, Shape
from rfgraph.language.readings import Readings
from rfgraph.language.reads import Place, unmoved
from rfgraph.propagation.growth import Growth
from rfgraph.propagation.lattice import WORD, Array, Lattice
from rfgraph.propagation.periodic import Periodic
from rfgraph.propagation.sized import Sized, SizedDomain
from rfgraph.propagation.trail import Origins
from rfgraph.propagation.unions import Unions
from rfgraph.propagation.walk import Walk

BUDGET = 1 << 28
"""Bytes of sets kept for one axis before they give way to hulls."""


_MOST_STRETCHES = 64  # of an axis, which take a second each
_NOWHERE: Indices = np.zeros(0, np.int64)
_NONE: Mapping[str, frozenset[int]] = {}


def varies(lattice: Lattice, sets: Array, dim: int) -> bool:
    """Do the sets differ along a dim? Of hulls, which do not show it, it is taken that they do."""
    first = (slice(None),) * dim + (slice(1),)
    return not lattice.exact or bool((sets != sets[first]).any())


def sets_of(lattice: Lattice, law: Relation, count: int) -> Array:
    """What positions `0 .. count - 1` read by a law; what lies outside of the axis is left out."""
    sets, axis = lattice.empty(count), lattice.singletons()
    for phase, reads in enumerate(law.sets[:count]):
        here = np.arange(phase, count, law.period)
        starts = law.advance * (here // law.period)
        for member in reads.members():
            read = starts + member
            inside = (read >= 0) & (read < lattice.length)
            sets[here[inside]] = lattice.union(sets[here[inside]], axis[read[inside]])
    return sets


def longest_run(marks: Array) -> tuple[int, int] | None:
    """The first and the last of the most marks in a row; None where there are none."""
    edges = np.flatnonzero(np.diff(marks, prepend=False, append=False))
    if not edges.size:
        return None
    first, end = max(edges.reshape(-1, 2).tolist(), key=lambda run: run[1] - run[0])
    return int(first), int(end) - 1


def _along(lattice: Lattice, sets: Array, dims: Collection[int]) -> Array:
    """United over all dims but these."""
    others = tuple(dim for dim in range(sets.ndim - 1) if dim not in dims)
    united: Array = lattice.union.reduce(sets, axis=others, keepdims=True) if others else sets
    return united


def _one(lattice: Lattice, sets: Array, position: Position) -> Array:
    """Those of one position, united over the dims that it leaves out."""
    sets = _along(lattice, sets, position)
    index = (position.get(dim, 0) if n > 1 else 0 for dim, n in enumerate(sets.shape[:-1]))
    found: Array = sets[tuple(index)]
    return found


def _is_lost(place: Place, size: int, shape: Shape, untold: frozenset[int]) -> bool:
    """All of a dim of `size` is read together: by each output, or along a dim that is untold itself."""
    if place.is_whole or not place.dims:
        return place.is_whole
    target = place.dims[0]
    return target in untold and place is unmoved(target) and shape[target] == size


class AtSize:
    """Answers per position, one walk an axis: exact sets, or hulls where those exceed the budget.

    Args:
        readings: of all nodes. budget: bytes of sets for one axis. tables: see `SizedDomain`.
    """

    def __init__(
        self,
        readings: Readings,
        budget: int = BUDGET,
        growth: Growth | None = None,
        tables: Mapping[str, frozenset[int]] = _NONE,
    ) -> None:
        self._growth = growth or Growth(readings, ())
        self._readings = readings
        self._tables = tables
        self._budget = budget
        self.origins = Origins()
        # By axis, and whether all positions are told apart.
        self._windows: dict[tuple[Axis, bool], tuple[Lattice, Walk[Sized]]] = {}
        self._walks: dict[tuple[Axis, bool], tuple[Lattice, Walk[Sized]]] = {}

    def length(self, axis: Axis) -> int:
        """How many positions an axis has."""
        return self._readings.graph[axis.input].shape[axis.dim]

    def shape(self, name: str) -> Shape:
        """Of a node."""
        return self._readings.graph[name].shape

    def own(self, name: str) -> frozenset[int]:
        """The dims of a node that one tracked axis has for itself."""
        return self._growth.own(name)

    def unions(self, values: Mapping[str, Mapping[Axis, Periodic]]) -> Unions:
        """Which nodes unite channels that read differently, by the closed forms of all nodes."""
        return Unions(self._readings, values, self._growth)

    @cached_property
    def order(self) -> dict[str, int]:
        """The number of each node in the order of the model."""
        return {node.name: number for number, node in enumerate(self._readings.graph)}

    @cached_property
    def _untold(self) -> Mapping[str, frozenset[int]]:
        """Of each node, the dims that carry no axis and that are read whole in the end, as features are.

        Over these, positions are told apart where somebody asks for one.
        """
        nodes = list(self._readings.graph)
        every = {node.name: frozenset(range(len(node.shape))) for node in nodes}
        untold = {name: every[name] - set(self._growth.growing(name)) for name in every}
        for node in reversed(nodes):
            for read in () if node.op == "input" else self._readings[node.name]:
                operand = node.operands[read.operand]
                places = enumerate(zip(read.dims, read.sizes(node.operand_shapes), strict=True))
                own = untold[node.name] if node.masked is None else frozenset[int]()
                untold[operand] -= {
                    d for d, (p, n) in places if not _is_lost(p, n, node.shape, own)
                }
        return untold

    def sets(
        self, name: str, axis: Axis, local: bool = False, dims: Collection[int] | None = None
    ) -> tuple[Lattice, Array] | None:
        """What each position of a node reads along an axis; None where it reads nothing, or has no element.

        The array has the node's dims, of size 1 where the sets do not vary, and one for the set.
        `local` leaves whole-axis reads out. `dims`: those along which positions are told apart; None: all.
        """
        if 0 in self.shape(name):
            return None
        lattice, walk = self._walk(name, axis, self._is_told(name, dims))
        value = walk.values[name].get(axis)
        if value is None:
            return None
        sets = value.local(lattice) if local else value.sets(lattice)
        return None if sets is None else (lattice, sets)

    def _is_told(self, name: str, dims: Collection[int] | None) -> bool:
        """Are positions along dims asked for over which a walk need not tell them apart?"""
        untold = self._untold[name]
        return bool(untold) if dims is None else not untold.isdisjoint(dims)

    def carries(self, axis: Axis) -> dict[str, tuple[Carry, ...]]:
        """What every node makes of the parts of its operands."""
        _, walk = self._walk(None, axis, told=False)
        values = {name: value.get(axis) for name, value in walk.values.items()}
        return {name: value.carries for name, value in values.items() if value is not None}

    def _walk(self, name: str | None, axis: Axis, told: bool) -> tuple[Lattice, Walk[Sized]]:
        """The walk of an axis, which has come as far as the node (None: to the end): in sets, or in hulls.

        `told`: all positions are told apart.
        """
        try:
            return self._walked(name, axis, told, exact=True)
        except MemoryError:  # of the budget, or of what there is; the sets go with the error
            del self._walks[axis, told]
        return self._walked(name, axis, told, exact=False)

    def sets_at(
        self, name: str, axis: Axis, position: Position, local: bool = False
    ) -> tuple[Lattice, Array] | None:
        """What one position reads: united over the dims that it leaves out."""
        everywhere = self.sets(name, axis, local, position)
        if everywhere is None:
            return None
        lattice, sets = everywhere
        return lattice, _one(lattice, sets, position)

    def members(
        self, name: str, axis: Axis, position: Position, local: bool = False
    ) -> Indices | None:
        """All that one position reads, in ascending order; None where that would take too long to tell.

        Where sets exceed the budget, stretch by stretch of the axis, each in as many words as fit.
        """
        found = self.sets_at(name, axis, position, local)
        if found is None:
            return _NOWHERE
        lattice, sets = found
        if lattice.exact:
            return lattice.members(sets)
        lo, hi = (int(end) for end in lattice.hull(sets))
        told = self._is_told(name, position)
        step = self._stretch(axis, told)
        if lo > hi:
            return _NOWHERE
        if not step or hi // step - lo // step >= _MOST_STRETCHES:
            return None
        stretches = (range(n * step, (n + 1) * step) for n in range(lo // step, hi // step + 1))
        parts = [self._within(name, axis, position, local, each, told) for each in stretches]
        return np.concatenate(parts)

    def _stretch(self, axis: Axis, told: bool) -> int:
        """Of how many positions the sets of all tensors fit into the budget, by the hulls of these; or 0."""
        walk = self._walks[axis, told][1]
        values = (value[axis] for value in walk.values.values() if axis in value)
        count = sum(part.sets.size // 2 for value in values for part in value.parts)
        return self._budget // (8 * max(count, 1)) * WORD

    def _within(
        self, name: str, axis: Axis, position: Position, local: bool, window: range, told: bool
    ) -> Indices:
        """All that one position reads of one stretch."""
        window = range(window.start, min(window.stop, self.length(axis)))
        key = axis, told
        if key not in self._windows or self._windows[key][0].window != window:
            lattice = Lattice(self.length(axis), True, window)
            self._windows[key] = lattice, self._started(axis, lattice, None, told)
        lattice, walk = self._windows[key]
        self._visit(walk, name)
        value = walk.values[name][axis]
        sets = value.local(lattice) if local else value.sets(lattice)
        return _NOWHERE if sets is None else lattice.members(_one(lattice, sets, position))

    def sets_along(
        self, name: str, axis: Axis, dims: Collection[int], local: bool = False
    ) -> tuple[Lattice, Array] | None:
        """What each position over `dims` reads: united over all others, such as channels."""
        everywhere = self.sets(name, axis, local, dims)
        if everywhere is None:
            return None
        lattice, sets = everywhere
        return lattice, _along(lattice, sets, dims)

    def interior(
        self, name: str, axis: Axis, law: Relation, dims: Sequence[int], local: bool = False
    ) -> tuple[int, int] | None:
        """Between which positions along the one dim of `dims`, if any, all sets are those of a law."""
        count = self.shape(name)[dims[0]] if dims else 1
        along = self.sets_along(name, axis, dims, local)
        lattice = Lattice(self.length(axis), True) if along is None else along[0]
        own = lattice.empty(count) if along is None else along[1].reshape(-1, lattice.width)
        return longest_run((own == sets_of(lattice, law, count)).all(axis=-1))

    def reached(
        self, name: str, axis: Axis, rows: Sequence[int], dims: Sequence[int]
    ) -> tuple[Array, bool]:
        """[row, *dims]: which positions over `dims` of a node read each row; False: by hulls alone."""
        along = self.sets_along(name, axis, dims)
        if along is None:
            return np.zeros((len(rows), *(1,) * len(dims)), bool), True
        lattice, sets = along
        others = tuple(dim for dim in range(sets.ndim - 1) if dim not in dims)
        sets = np.squeeze(sets, others)
        return np.stack([lattice.holds(sets, row) for row in rows]), lattice.exact

    def _walked(
        self, name: str | None, axis: Axis, told: bool, exact: bool
    ) -> tuple[Lattice, Walk[Sized]]:
        key = axis, told
        if key not in self._walks:
            lattice = Lattice(self.length(axis), exact)
            budget = self._budget if exact else None
            self._walks[key] = lattice, self._started(axis, lattice, budget, told)
        self._visit(self._walks[key][1], name)
        return self._walks[key]

    def _started(self, axis: Axis, lattice: Lattice, budget: int | None, told: bool) -> Walk[Sized]:
        untold = {} if told else self._untold
        domain = SizedDomain(lattice, budget, self._tables, self._growth.growing, untold)
        return Walk(self._readings, [axis], domain)

    def _visit(self, walk: Walk[Sized], name: str | None) -> None:
        """Let a walk come as far as a node; None: to the end."""
        if name is None:
            walk.visit()
        elif name not in walk.values:
            walk.visit({name, *nx.ancestors(self._readings.graph.networkx, name)})
