"""`at`: what a node of a report reads along one tracked axis. No other module here knows an axis by a number.

In: a report, the name of a node, an `Axis`. Out: `AxisReads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rfgraph.field import Cause, ReceptiveField
from rfgraph.graph import Axis, Position
from rfgraph.relation import Relation
from rfgraph.report import Report


@dataclass(frozen=True)
class AxisReads:
    """What one position of a node reads along one axis of an input."""

    _field: ReceptiveField
    _number: int
    _rank: int

    @property
    def whole(self) -> bool:
        """Is the whole axis read?"""
        return self._field.whole[self._number]

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The nodes that read the whole of this axis."""
        return tuple(cause for cause in self._field.causes if self._number in cause.axes)

    @property
    def local(self) -> AxisReads | None:
        """Without the reads of the whole axis; None where nothing is left."""
        local = self._field.local
        return None if local is None else AxisReads(local, self._number, self._rank)

    @property
    def relation(self) -> Relation | None:
        """From positions along the node's own dim, where there is one."""
        return self._field.relations[self._number]

    @property
    def period(self) -> int | None:
        """After how many outputs the reads repeat."""
        return self._field.period[self._number]

    @property
    def closed_form(self) -> bool:
        """Does the answer hold at any size?"""
        return self._field.closed_form[self._number]

    @property
    def dims(self) -> tuple[int, ...]:
        """The node's own dims along which the reads vary."""
        return self._field.dims_of(self._number)

    def hull(self, position: Position) -> tuple[int, int] | None:
        """The extremes of what a position reads at the analysed size; None where it reads nothing."""
        return self._field.hull_at(self._number, self._index(position))

    def members(self, position: Position) -> npt.NDArray[np.int64]:
        """All that a position reads at the analysed size, in ascending order.

        Raises:
            InputError: an axis so long that hulls alone are kept.
        """
        return self._field.members_at(self._number, self._index(position))

    def _index(self, position: Position) -> tuple[int | None, ...]:
        return tuple(position.get(dim) for dim in range(self._rank))


def at(report: Report, name: str, axis: Axis) -> AxisReads | None:
    """What a node reads along an axis; None where it does not read that input."""
    node = report[name]
    field = node.rfs.get(axis.input)
    if field is None:
        return None
    own = [other for other in report.axes if other.input == axis.input]
    return AxisReads(field, own.index(axis), len(node.shape))


def reached(
    report: Report, name: str, axis: Axis, rows: Sequence[int], dims: Sequence[int]
) -> tuple[npt.NDArray[np.bool_], bool]:
    """(row, *dims): which positions of a node read each of these rows; False: by hulls alone."""
    return report.reached(name, report.axes.index(axis), rows, dims)
