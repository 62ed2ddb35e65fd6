"""`Look`: what a model reads at one size.

In: the readings of a graph, the tracked axes. Out: the abstract values of its nodes, by the periodic domain.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rfgraph.graph import Axis, Graph, Shape
from rfgraph.language.readings import Readings
from rfgraph.language.reads import Reads
from rfgraph.propagation.growth import Growth
from rfgraph.propagation.periodic import Periodic, PeriodicDomain
from rfgraph.propagation.shown import Shown
from rfgraph.propagation.unrolled import UnrolledDomain
from rfgraph.propagation.walk import propagate


@dataclass(frozen=True, eq=False)
class Look:
    """What the nodes of a graph read: `values[name][axis]`, for the axes that a node reads.

    Attributes:
        tables: the nodes that put positions of an unrolled loop side by side, and the dims along which.
    """

    readings: Readings
    axes: Sequence[Axis]
    values: Mapping[str, Mapping[Axis, Periodic]]
    growth: Growth
    tables: Mapping[str, frozenset[int]] = field(default_factory=dict)
    _rows: dict[tuple[Periodic, Shape, frozenset[int]], Shown] = field(
        default_factory=dict, init=False, repr=False
    )

    def shown(self, name: str, axis: Axis) -> Shown | None:
        """What a node reads of an axis, as its row shows it; None where it reads nothing of it.

        Nodes of one value, such as pointwise ones, have one row.
        """
        value = self.values[name].get(axis)
        if value is None:
            return None
        key = value, self.graph[name].shape, self.growth.own(name)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Shown(value, key[1], lambda: key[2])
        return row

    @property
    def graph(self) -> Graph:
        """The graph, with the sizes that it was captured at."""
        return self.readings.graph


def rows(one: Look) -> Collection[Mapping[Axis, Periodic]]:
    """What the nodes read, each once: pointwise nodes share what they read with what they read it of."""
    return {id(row): row for row in one.values.values()}.values()


def look(readings: Readings, axes: Sequence[Axis]) -> Look:
    """What the nodes read along these axes."""
    growth = Growth(readings, axes)
    return Look(readings, axes, propagate(readings, axes, PeriodicDomain(growth)), growth)


def look_again(one: Look, reads: Mapping[str, Reads]) -> Look:
    """The look with other reads of some nodes."""
    return look(replace(one.readings, _reads={**one.readings, **reads}), one.axes)


def unrolled_look(
    readings: Readings, axes: Sequence[Axis], picks: Mapping[str, str], layouts: Container[str]
) -> Look:
    """The same where loops over positions are unrolled; see `UnrolledDomain`."""
    growth = Growth(readings, axes)
    domain = UnrolledDomain(picks, layouts, growth)
    return Look(readings, axes, propagate(readings, axes, domain), growth, domain.tables)
