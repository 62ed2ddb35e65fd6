"""`Comparison`: hold a report against the probes of its graph, node by node.

In: a report, the probes of the same graph. Out: a `Verification`.

Poison (a NaN in one row of the input, the model as it is) looks at every node; the gradient of the positive
twin looks at outputs, at nodes where branches meet, at those that poison cannot read, and wherever poison
disagrees. A node whose operands disagree already is not asked again: it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeAlias

import networkx as nx
import numpy as np
import numpy.typing as npt

from rfgraph.errors import InputError, VerificationError
from rfgraph.findings import Findings, verdict_of
from rfgraph.graph import Position
from rfgraph.probe.gradient import GradientProbe
from rfgraph.probe.poison import PoisonProbe
from rfgraph.report import NodeReport, Report
from rfgraph.report.field import ReceptiveField
from rfgraph.verify import Kind, Mismatch, Verification

Progress: TypeAlias = Callable[[str, float], None]
Indices: TypeAlias = "npt.NDArray[np.int64]"
Masks: TypeAlias = "Sequence[Mapping[str, npt.NDArray[np.bool_]]]"

_BOUNDS = frozenset(("data-dependent", "measured", "unknown"))
"""Kinds of whole reads that claim to be upper bounds and no more."""
_CHUNK = 32
_FEW, _MANY = 6, 64
"""Positions at which a node is asked that poison cannot read, and one that is held to blame."""


class Comparison:
    """One report against the probes of its graph."""

    def __init__(self, report: Report, poison: PoisonProbe, gradient: GradientProbe) -> None:
        self.report, self.graph = report, report.captured
        self._poison, self._gradient = poison, gradient
        self.found = Findings(report.captured)
        self._suspects: dict[str, tuple[str, int, Position]] = {}
        self._poisoned: dict[int, frozenset[int]] = {}

    # --- poison -----------------------------------------------------------------------------------

    def poison(self, rows: Mapping[int, Sequence[int]], progress: Progress) -> None:
        """Compare every readable node in these rows of each tracked axis (by number)."""
        total, unreadable = sum(map(len, rows.values())), self._poison.unreadable
        keep = {
            node.name: sorted(set().union(*views_of(self.report[node.name]))) for node in self.graph
        }
        done = 0
        for axis, wanted in rows.items():
            tracked = self.report.axes[axis]
            self._poisoned[axis] = frozenset(wanted)
            for chunk in _chunks(wanted, _CHUNK):
                seen = self._poison.rows(tracked.input, tracked.dim, chunk, keep)
                for name, numeric in seen.items():
                    for dims in views_of(self.report[name]):
                        others = tuple(i for i, d in enumerate(keep[name], 1) if d not in dims)
                        marks = np.asarray(numeric.any(axis=others) if others else numeric)
                        self._hold_rows(name, axis, chunk, dims, marks)
                done += len(chunk)
                progress("poison", done / total)
        self.found.rows = total
        for node in self.graph:
            if node.name in unreadable:
                self.found.poison[node.name] = "unreadable"
                self.found.notes[node.name] = unreadable[node.name]

    def _hold_rows(
        self,
        name: str,
        axis: int,
        rows: Sequence[int],
        dims: tuple[int, ...],
        numeric: npt.NDArray[np.bool_],
    ) -> None:
        """(row, *dims) of a node: the positions that the rows reach, by poison and by the analysis."""
        analytic, exact = self.report.reached(name, self.report.axes[axis], rows, dims)
        analytic = np.broadcast_to(analytic, numeric.shape)
        self.found.count("poison", name, numeric.size)
        if np.array_equal(numeric, analytic):
            self.found.say("poison", name, "equal" if exact else "inside")
            return
        outside = numeric & ~analytic
        if outside.any():
            self.found.say("poison", name, "outside")
            self._suspects[name] = ("outside", axis, _first(outside, dims))
        else:
            self.found.say("poison", name, "inside")
            if exact:
                inside = analytic & ~numeric
                self._suspects.setdefault(name, ("inside", axis, _first(inside, dims)))

    # --- gradient ---------------------------------------------------------------------------------

    def gradient(self, names: Sequence[str], limit: int, progress: Progress) -> None:
        """Compare these nodes at borders, centre and every phase, and those that poison cannot read."""
        unread = [
            node.name
            for node in self.graph
            if node.op != "input" and self.found.poison.get(node.name) in (None, "unreadable")
        ]
        limits = {**dict.fromkeys(unread, _FEW), **dict.fromkeys(names, limit)}
        wanted = [(node, limits[node.name]) for node in self.graph if node.name in limits]
        for number, (node, most) in enumerate(wanted):
            if not self.found.follows(node):
                self._hold(self.report[node.name], most)
            progress("gradient", (number + 1) / len(wanted))

    def _hold(self, node: NodeReport, limit: int) -> None:
        positions = list(positions_of(node, limit))
        masks = self._hold_positions(node, positions)
        for cut, axes in self._cuts(node).items() if masks else ():
            self._hold_local(node, positions, masks or (), cut, axes)

    def _hold_positions(self, node: NodeReport, positions: Sequence[Position]) -> Masks | None:
        """Hold all that a node reads against the gradient; None where the gradient cannot be read."""
        masks = self._joints(node, positions, frozenset())
        for position, joint in zip(positions, masks or (), strict=False):  # none: unreadable
            for axis in range(len(self.report.axes)):
                self._hold_set(node, axis, position, self._numeric(joint, axis))
                self.found.count("gradient", node.name, 1)
        return masks

    def _hold_set(
        self, node: NodeReport, axis: int, position: Position, numeric: Indices, local: bool = False
    ) -> None:
        input, own = self._own(axis)
        rf = node.rfs.get(input)
        source = rf.local if local and rf is not None else rf
        analytic, exact = _analytic(source, own, position)
        verdict = verdict_of(numeric, analytic, exact)
        self.found.say("gradient", node.name, verdict)
        lost = set(map(int, analytic)) - set(map(int, numeric))
        if verdict == "inside" and not local and self._is_shown_by_poison(node.name, axis, lost):
            note = "a factor is exactly 0 there, which the gradient sees and poison does not"
            self.found.notes.setdefault(node.name, note)
        elif verdict == "outside" or (verdict == "inside" and exact and not _is_bound(rf, own)):
            kind: Kind = "understated" if verdict == "outside" else "overstated"
            sides = tuple(map(int, analytic)), tuple(map(int, numeric))
            where = (input, own, tuple(position.values()), tuple(position))
            self.found.differs(Mismatch(node.name, "gradient", kind, *where, *sides, local))

    def _is_shown_by_poison(self, name: str, axis: int, rows: set[int]) -> bool:
        """Poison was put into these rows and came out as the analysis says, not by a fixed zero."""
        agrees = self.found.poison.get(name) == "equal" and name not in self._poison.overcounts
        return agrees and rows <= self._poisoned.get(axis, frozenset())

    def _hold_local(
        self,
        node: NodeReport,
        positions: Sequence[Position],
        masks: Masks,
        cut: frozenset[str],
        axes: Sequence[int],
    ) -> None:
        """Hold what is left without the reads of a whole axis against a twin without them.

        Where the twin reads the same without them it knows no way to cut them: that shows nothing.
        """
        cut_masks = self._joints(node, positions, cut)
        for position, one, other in zip(positions, masks, cut_masks or masks, strict=True):
            for axis in axes:
                numeric = self._numeric(other, axis)
                if not np.array_equal(numeric, self._numeric(one, axis)):
                    self._hold_set(node, axis, position, numeric, local=True)
                    self.found.count("gradient", node.name, 1)

    def _cuts(self, node: NodeReport) -> dict[frozenset[str], list[int]]:
        """The nodes that read a whole axis -> the numbers of the axes that they alone read whole."""
        cuts: dict[frozenset[str], list[int]] = {}
        for axis in range(len(self.report.axes)):
            input, own = self._own(axis)
            causes = node.rfs[input].causes if input in node.rfs else ()
            cut = frozenset(cause.node for cause in causes if own in cause.axes)
            if cut:
                cuts.setdefault(cut, []).append(axis)
        return cuts

    def _joints(
        self, node: NodeReport, positions: Sequence[Position], cut: frozenset[str]
    ) -> Masks | None:
        try:
            return self._gradient.joints(node.name, positions, cut)
        except VerificationError as error:
            self.found.gradient.setdefault(node.name, "unreadable")
            self.found.notes.setdefault(node.name, str(error))
            return None

    def _own(self, axis: int) -> tuple[str, int]:
        """The input of a tracked axis, and its number among those of that input."""
        input = self.report.axes[axis].input
        own = [n for n, other in enumerate(self.report.axes) if other.input == input]
        return input, own.index(axis)

    def _numeric(self, joint: Mapping[str, npt.NDArray[np.bool_]], axis: int) -> Indices:
        tracked = self.report.axes[axis]
        return projected(joint[tracked.input], tracked.dim)

    # --- what poison leaves open --------------------------------------------------------------------

    def settle(self) -> None:
        """Ask the gradient about every node at which poison disagrees and whose operands agree."""
        for node in self.graph:
            suspect = self._suspects.get(node.name)
            if suspect is None or node.name in self.found.mismatches:
                continue
            if self.found.follows(node):
                self.found.gradient.setdefault(node.name, "follows")
            else:
                self._settled(self.report[node.name], *suspect)

    def _settled(self, node: NodeReport, kind: str, axis: int, position: Position) -> None:
        name, found = node.name, self.found
        counted_twice = name in self._poison.overcounts
        if name in found.gradient or not counted_twice:
            self._hold_positions(node, [position])
        else:  # the gradient stands alone: one position is not enough
            self._hold_positions(node, [position, *positions_of(node, _FEW)])
        if name in found.mismatches:
            return
        agreed = found.gradient.get(name) == "equal"
        if agreed and (kind == "inside" or counted_twice):
            found.poison[name] = "equal"  # the NaN was blocked, or met a weight of zero
            found.notes.setdefault(name, "poison differs, the gradient settles it")
        elif kind == "outside" and counted_twice:
            found.poison[name] = "unreadable"
            found.notes[name] = self._poison.overcounts[name]
        elif kind == "outside":
            found.differs(self._poison_mismatch(node, axis, position))

    def _poison_mismatch(self, node: NodeReport, axis: int, position: Position) -> Mismatch:
        tracked, name = self.report.axes[axis], node.name
        rows = self._poison.rows(tracked.input, tracked.dim, None, {name: tuple(position)})
        numeric = np.flatnonzero(np.moveaxis(rows[name], 0, -1)[tuple(position.values())])
        input, own = self._own(axis)
        analytic, _ = _analytic(node.rfs.get(input), own, position)
        sides = tuple(map(int, analytic)), tuple(map(int, numeric))
        where = (input, own, tuple(position.values()), tuple(position))
        return Mismatch(name, "poison", "understated", *where, *sides)

    # --- the node to blame ----------------------------------------------------------------------------

    def trace(self) -> None:
        """Ask the gradient about every node before the first that differs: the fault may begin there."""
        first = self.found.first()
        if first is None:
            return
        before = nx.ancestors(self.graph.networkx, first)
        for node in self.graph:
            if node.name in before and node.op != "input":
                self._hold(self.report[node.name], _MANY)
                if node.name in self.found.mismatches:
                    return

    def result(self, faithful: bool) -> Verification:
        """Everything found, as a `Verification`."""
        return self.found.result(self.report.model, faithful)


def _first(marks: npt.NDArray[np.bool_], dims: Sequence[int]) -> Position:
    """The position over dims, without the row, of the first mark."""
    first = np.unravel_index(int(marks.argmax()), marks.shape)[1:]
    return {dim: int(place) for dim, place in zip(dims, first, strict=True)}


def _chunks(rows: Sequence[int], size: int) -> Iterator[list[int]]:
    rest = iter(rows)
    while chunk := list(islice(rest, size)):
        yield chunk


def projected(mask: npt.NDArray[np.bool_], dim: int) -> Indices:
    """The positions along one dim at which a mask holds anything."""
    others = tuple(d for d in range(mask.ndim) if d != dim)
    return np.flatnonzero(mask.any(axis=others))


def views_of(node: NodeReport) -> list[tuple[int, ...]]:
    """The dims over which positions are told apart: those that carry an axis, all others united.

    Where the analysis says that an axis is read whole, and carried by no dim, the numbers could show it
    along any dim: each of them in turn, too.
    """
    own = tuple(sorted({dim for rf in node.rfs.values() for dim in rf.dims}))
    spread = any(reads.whole and not reads.dims for rf in node.rfs.values() for reads in rf)
    if not spread:
        return [node.dims]
    each = [(dim,) for dim, size in enumerate(node.shape) if size > 1]
    return list(dict.fromkeys([own, *each]))


def _analytic(rf: ReceptiveField | None, axis: int, position: Position) -> tuple[Indices, bool]:
    """What the analysis says a position reads; False: only its hull is known."""
    if rf is None:
        return np.zeros(0, np.int64), True
    try:
        return rf[axis].members(position), True
    except InputError:  # an axis so long that hulls alone are kept
        hull = rf[axis].hull(position)
        return (np.zeros(0, np.int64) if hull is None else np.arange(hull[0], hull[1] + 1)), False


def _is_bound(rf: ReceptiveField | None, axis: int) -> bool:
    """True where the analysis itself says that fewer positions may be read."""
    causes = rf.causes if rf is not None else ()
    return any(cause.kind in _BOUNDS and axis in cause.axes for cause in causes)


def positions_of(node: NodeReport, limit: int) -> Iterator[Position]:
    """Borders, the centre and every phase behind it, along all dims of a view at a time."""
    period = max((p for rf in node.rfs.values() for p in rf.period if p is not None), default=1)
    for dims in views_of(node):
        found = _corners_and_phases([node.shape[dim] for dim in dims], min(period, limit))
        for position in islice(found, limit):
            yield dict(zip(dims, position, strict=True))


def _corners_and_phases(sizes: Sequence[int], period: int) -> Iterator[tuple[int, ...]]:
    places = [
        list(dict.fromkeys([0, n - 1, *((n // 2 + phase) % n for phase in range(period))]))
        for n in sizes
    ]
    mixed = [  # the centre of each dim beside the borders of the others
        tuple(p[2 % len(p)] if number == d else p[0] for number, p in enumerate(places))
        for d in range(len(places))
    ]
    count = max(map(len, places), default=1)
    together = [tuple(place[k % len(place)] for place in places) for k in range(count)]
    yield from dict.fromkeys([*mixed, *together])
