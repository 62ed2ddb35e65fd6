"""`Comparison`: hold a report against the probes of its graph, node by node.

In: a report, the probes of the same graph. Out: a `Verification`. Callers: the public functions.

Poison (a NaN in one row of the input, the model as it is) looks at every node; the gradient of the positive
twin looks at outputs, at nodes where branches meet, and wherever poison disagrees. A node whose operands
disagree already is not asked again: it follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rfgraph.errors import InputError, VerificationError
from rfgraph.field import ReceptiveField
from rfgraph.graph import Node
from rfgraph.probe.gradient import GradientProbe
from rfgraph.probe.poison import PoisonProbe
from rfgraph.report import NodeReport, Report
from rfgraph.repro import repro, shown_params
from rfgraph.verify import Blame, Checked, Kind, Mismatch, Row, Verdict, Verification

Progress: TypeAlias = Callable[[str, float], None]
_Marks: TypeAlias = npt.NDArray[np.bool_]

_BOUNDS = frozenset(("data-dependent", "measured", "unknown"))
"""Kinds of whole reads that claim to be upper bounds and no more."""
_WORSE: tuple[Verdict, ...] = ("equal", "inside", "outside")
_LONGEST_PERIOD = 64


@dataclass
class Findings:
    """What has been found so far, node by node; passed from one check to the next."""

    poison: dict[str, Verdict] = field(default_factory=dict)
    gradient: dict[str, Verdict] = field(default_factory=dict)
    poison_positions: dict[str, int] = field(default_factory=dict)
    gradient_positions: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    mismatches: dict[str, Mismatch] = field(default_factory=dict)
    rows: int = 0
    strips: int = 0


class Comparison:
    """One report against the probes of its graph."""

    def __init__(self, report: Report, poison: PoisonProbe, gradient: GradientProbe) -> None:
        self.report, self.graph = report, report.captured
        self._poison, self._gradient = poison, gradient
        self.found = Findings()
        self._suspects: dict[str, tuple[str, int, tuple[int, ...]]] = {}

    # --- poison -----------------------------------------------------------------------------------

    def poison(self, rows: Mapping[int, Sequence[int]], progress: Progress) -> None:
        """Compare every readable node in these rows of each tracked axis (by number)."""
        done, total = 0, sum(map(len, rows.values()))
        for axis, wanted in rows.items():
            tracked = self.report.axes[axis]
            keep = {node.name: self.report[node.name].dims for node in self.graph}
            for chunk in _chunks(wanted, 32):
                seen = self._poison.rows(tracked.input, tracked.dim, chunk, keep)
                for name, numeric in seen.items():
                    self._hold_rows(name, axis, chunk, numeric)
                done += len(chunk)
                progress("poison", done / total)
        self.found.rows = total
        for node in self.graph:
            if node.name in self._poison.unreadable:
                self.found.poison[node.name] = "unreadable"
                self.found.notes[node.name] = self._poison.unreadable[node.name]

    def _hold_rows(self, name: str, axis: int, rows: Sequence[int], numeric: _Marks) -> None:
        """(row, *dims) of a node: the positions that the rows reach, by poison and by the analysis."""
        analytic, exact = self.report.reached(name, axis, rows)
        analytic = np.broadcast_to(analytic, numeric.shape)
        outside, inside = numeric & ~analytic, analytic & ~numeric
        found = self.found
        found.poison_positions[name] = found.poison_positions.get(name, 0) + numeric.size
        if outside.any():
            found.poison[name] = "outside"
            self._suspects[name] = self._suspect("outside", axis, outside)
        elif inside.any() and exact and found.poison.get(name) != "outside":
            found.poison[name] = "inside"
            self._suspects.setdefault(name, self._suspect("inside", axis, inside))
        else:
            found.poison.setdefault(name, "equal" if exact else "inside")

    @staticmethod
    def _suspect(kind: str, axis: int, marks: _Marks) -> tuple[str, int, tuple[int, ...]]:
        first = np.unravel_index(int(marks.argmax()), marks.shape)
        return kind, axis, tuple(int(i) for i in first[1:])

    # --- gradient ---------------------------------------------------------------------------------

    def gradient(
        self, names: Sequence[str], limit: int, progress: Progress, local: bool = True
    ) -> None:
        """Compare these nodes at borders, centre and every phase; whole reads also with them cut."""
        for number, name in enumerate(names):
            node = self.report[name]
            if node.rfs and not self._follows(self.graph[name]):
                positions = list(positions_of(node, limit))
                self._hold_positions(node, positions, local=False)
                if local and any(f.causes and f.local is not None for f in node.rfs.values()):
                    self._hold_positions(node, positions, local=True)
            progress("gradient", (number + 1) / len(names))

    def _hold_positions(
        self, node: NodeReport, positions: Sequence[tuple[int, ...]], local: bool
    ) -> None:
        name, found = node.name, self.found
        causes = {c.node for f in node.rfs.values() for c in f.causes} if local else set()
        try:
            masks = self._gradient.joints(
                name, [dict(zip(node.dims, p, strict=True)) for p in positions], causes
            )
        except VerificationError as error:
            found.gradient.setdefault(name, "unreadable")
            found.notes.setdefault(name, str(error))
            return
        for position, joint in zip(positions, masks, strict=True):
            for verdict, mismatch in self._differences(node, position, joint, local):
                found.gradient[name] = worse(found.gradient.get(name, "equal"), verdict)
                if mismatch is not None:
                    found.mismatches.setdefault(name, mismatch)
        count = len(positions) * len(self.report.axes)
        found.gradient_positions[name] = found.gradient_positions.get(name, 0) + count

    def _differences(
        self,
        node: NodeReport,
        position: tuple[int, ...],
        joint: Mapping[str, _Marks],
        local: bool,
    ) -> Iterator[tuple[Verdict, Mismatch | None]]:
        for input, rf in node.rfs.items():
            dims = [axis.dim for axis in self.report.axes if axis.input == input]
            source = rf.local if local else rf
            for axis, dim in enumerate(dims):
                others = tuple(d for d in range(joint[input].ndim) if d != dim)
                numeric = np.flatnonzero(joint[input].any(axis=others))
                analytic, exact = _analytic(source, axis, node, position)
                verdict = _verdict(numeric, analytic, exact)
                yield verdict, None
                if verdict == "outside" or (verdict == "inside" and not _is_bound(rf)):
                    kind: Kind = "understated" if verdict == "outside" else "overstated"
                    where = (input, axis, position, tuple(map(int, analytic)))
                    seen = tuple(map(int, numeric))
                    yield verdict, Mismatch(node.name, "gradient", kind, *where, seen, local)

    def strip(self, strip: Report, name: str, axis: int, outputs: Sequence[int], seed: int) -> None:
        """Hold the closed form of one axis against the gradient on a strip that holds the whole field."""
        relation = self.report[name].rf.relations[axis]
        node = strip[name]
        assert relation is not None
        (dim,) = self.report[name].rf.dims_of(axis)
        fits = [o for o in outputs[:_LONGEST_PERIOD] if o < node.shape[dim]]
        probe = GradientProbe(strip.captured, seed=seed)
        tracked = strip.axes[axis]
        for output, joint in zip(
            fits, probe.joints(name, [_across(node, dim, o) for o in fits]), strict=True
        ):
            mask = joint[tracked.input]
            others = tuple(d for d in range(mask.ndim) if d != tracked.dim)
            numeric, analytic = np.flatnonzero(mask.any(axis=others)), np.array(relation.at(output))
            verdict = _verdict(numeric, analytic, exact=True)
            self.found.strips += 1
            self.found.gradient[name] = worse(self.found.gradient.get(name, "equal"), verdict)
            if verdict != "equal":
                kind: Kind = "understated" if verdict == "outside" else "overstated"
                sides = tuple(map(int, analytic)), tuple(map(int, numeric))
                where = (tracked.input, axis, tuple(_across(node, dim, output).values()))
                mismatch = Mismatch(name, "gradient", kind, *where, *sides)
                self.found.mismatches.setdefault(name, mismatch)

    # --- what poison leaves open --------------------------------------------------------------------

    def settle(self) -> None:
        """Ask the gradient about every node at which poison disagrees and whose operands agree."""
        for node in self.graph:
            suspect = self._suspects.get(node.name)
            if suspect is None or node.name in self.found.mismatches:
                continue
            if self._follows(node):
                self.found.gradient.setdefault(node.name, "follows")
                continue
            self._settled(self.report[node.name], *suspect)

    def _settled(self, node: NodeReport, kind: str, axis: int, position: tuple[int, ...]) -> None:
        name = node.name
        self._hold_positions(node, [position], local=False)
        if name in self.found.mismatches:
            return
        agreed = self.found.gradient.get(name) == "equal"
        counted_twice = name in self._poison.overcounts
        if kind == "inside" or counted_twice:
            if agreed:
                self.found.poison[name] = "equal"  # the NaN was blocked, or met a weight of zero
                self.found.notes.setdefault(name, "poison differs, the gradient settles it")
            elif counted_twice:
                self.found.poison[name] = "unreadable"
                self.found.notes[name] = self._poison.overcounts[name]
            return
        self.found.mismatches[name] = self._poison_mismatch(node, axis, position)

    def _poison_mismatch(self, node: NodeReport, axis: int, position: tuple[int, ...]) -> Mismatch:
        tracked = self.report.axes[axis]
        rows = self._poison.rows(tracked.input, tracked.dim, None, {node.name: node.dims})
        reaching = np.moveaxis(rows[node.name], 0, -1)[position]
        numeric = np.flatnonzero(reaching)
        own = [n for n, a in enumerate(self.report.axes) if a.input == tracked.input].index(axis)
        analytic, _ = _analytic(node.rfs.get(tracked.input), own, node, position)
        sides = tuple(map(int, analytic)), tuple(map(int, numeric))
        return Mismatch(node.name, "poison", "understated", tracked.input, own, position, *sides)

    def _follows(self, node: Node) -> bool:
        """An operand differs already, so this node will, too."""
        found = self.found
        return any(
            name in found.mismatches or found.gradient.get(name) == "follows"
            for name in node.operands
        )

    # --- the result ---------------------------------------------------------------------------------

    def result(self, faithful: bool) -> Verification:
        """Everything found, as a `Verification`."""
        found = self.found
        rows = tuple(
            Row(
                node.name,
                node.op,
                found.poison.get(node.name, "not probed"),
                found.gradient.get(node.name, "not probed"),
                found.poison_positions.get(node.name, 0),
                found.gradient_positions.get(node.name, 0),
                found.notes.get(node.name, ""),
            )
            for node in self.graph
        )
        mismatches = tuple(
            found.mismatches[node.name] for node in self.graph if node.name in found.mismatches
        )
        checked = Checked(
            len(rows),
            found.rows,
            sum(found.poison_positions.values()),
            sum(found.gradient_positions.values()),
            found.strips,
        )
        blame = self._blame(mismatches)
        return Verification(self.report.model, rows, mismatches, blame, checked, faithful)

    def _blame(self, mismatches: Sequence[Mismatch]) -> Blame | None:
        if not mismatches:
            return None
        node = self.graph[mismatches[0].node]
        return Blame(node.name, node.op, node.module, node.source, shown_params(node), repro(node))


def _across(node: NodeReport, dim: int, output: int) -> dict[int, int]:
    """A position: `output` along one dim, the centre along the others."""
    return {d: output if d == dim else node.shape[d] // 2 for d in node.dims}


def _chunks(rows: Sequence[int], size: int) -> Iterator[list[int]]:
    rest = iter(rows)
    while chunk := list(islice(rest, size)):
        yield chunk


def worse(one: Verdict, other: Verdict) -> Verdict:
    """The worse of two verdicts of one probe."""
    if one not in _WORSE or other not in _WORSE:
        return other if one in _WORSE else one
    return max(one, other, key=_WORSE.index)


def _verdict(numeric: npt.NDArray[Any], analytic: npt.NDArray[Any], exact: bool) -> Verdict:
    if not np.isin(numeric, analytic).all():
        return "outside"
    if exact or not len(analytic):
        return "equal" if len(numeric) == len(analytic) else "inside"
    ends = len(numeric) > 0 and numeric[0] == analytic[0] and numeric[-1] == analytic[-1]
    return "equal" if ends else "inside"


def _analytic(
    rf: ReceptiveField | None, axis: int, node: NodeReport, position: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], bool]:
    """What the analysis says a position reads; False: only its hull is known."""
    if rf is None:
        return np.zeros(0, np.int64), True
    index: list[int | None] = [None] * len(node.shape)
    for dim, place in zip(node.dims, position, strict=True):
        index[dim] = place
    try:
        return rf.members_at(axis, tuple(index)), True
    except InputError:  # an axis so long that hulls alone are kept
        hull = rf.hull_at(axis, tuple(index))
        return (np.zeros(0, np.int64) if hull is None else np.arange(hull[0], hull[1] + 1)), False


def _is_bound(rf: ReceptiveField) -> bool:
    """True where the analysis itself says that fewer positions may be read."""
    return any(cause.kind in _BOUNDS for cause in rf.causes)


def positions_of(node: NodeReport, limit: int) -> Iterator[tuple[int, ...]]:
    """Borders, the centre and every phase behind it, along all dims of a node at a time."""
    period = max((p for rf in node.rfs.values() for p in rf.period if p is not None), default=1)
    phases = range(min(period, _LONGEST_PERIOD))
    places: list[list[int]] = []
    for dim in node.dims:
        size = node.shape[dim]
        around = [0, size - 1, *(size // 2 + phase for phase in phases)]
        places.append(list(dict.fromkeys(min(place, size - 1) for place in around)))
    count = max(map(len, places), default=1)
    mixed = [  # the centre of each dim beside the borders of the others
        tuple(p[2 % len(p)] if number == d else p[0] for number, p in enumerate(places))
        for d in range(len(places))
    ]
    together = [tuple(place[k % len(place)] for place in places) for k in range(count)]
    yield from islice(dict.fromkeys([*together, *mixed]), limit)
