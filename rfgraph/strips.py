"""Strips: the whole of a field larger than the input, on inputs long on one axis and short on the others.

In: a model and its report. Out: verdicts in the findings of a comparison.

The cost grows with the field and not with its square. What is held against the gradient is the closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, lcm
from typing import TypeAlias

import networkx as nx
import numpy as np

from rfgraph.algebra.relation import Relation
from rfgraph.compare import projected
from rfgraph.errors import CaptureError, InputError, VerificationError
from rfgraph.findings import Findings, verdict_of
from rfgraph.graph import Position
from rfgraph.probe.gradient import GradientProbe
from rfgraph.report import NodeReport, Report
from rfgraph.report.axis import AxisReads
from rfgraph.report.field import ReceptiveField
from rfgraph.verify import Kind, Mismatch

Analyse: TypeAlias = Callable[[dict[str, tuple[int, ...]], list[int]], Report]

_LONGEST = 1 << 15
_NODES = 4  # the ends of closed forms that are looked at along one axis, beside outputs
_PHASES = 64
_WIDTHS = (1, 2, 3, 4, 8)  # of the short sides, in grids
_TRIES = 3  # of those that the model takes
_LENGTHS = (1, 3)  # of the long side, in fields: maps that are cropped on the way need more


@dataclass(frozen=True)
class Law:
    """The closed form of one node along one axis, without the reads of a whole axis.

    Attributes:
        dim: of the node, along which it goes. cut: the nodes whose reads are left out.
    """

    node: str
    relation: Relation
    dim: int
    cut: frozenset[str]

    @property
    def outputs(self) -> list[int]:
        """One period of outputs, the first that read nothing left of the input."""
        relation = self.relation
        if relation.advance <= 0:
            return []
        lowest = min((phase.lo for phase in relation.sets if phase.length), default=0)
        first = max(ceil(-lowest / relation.advance), 0) * relation.period
        return list(range(first, first + min(relation.period, _PHASES)))

    @property
    def needed(self) -> int:
        """The shortest input on which those outputs read no border."""
        return max((max(self.relation.at(o), default=0) for o in self.outputs), default=0) + 1


def law_of(node: NodeReport, axis: int) -> Law | None:
    """The closed form of a node of a model with one input; None where it has none."""
    rf: ReceptiveField | None = next(iter(node.rfs.values()), None)
    cut: frozenset[str] = frozenset()
    if rf is not None and rf.whole[axis]:
        cut = frozenset(cause.node for cause in rf.causes if axis in cause.axes)
        rf = rf.local
    relation = rf.relations[axis] if rf is not None else None
    if rf is None or relation is None or not rf.closed_form[axis] or len(rf[axis].dims) != 1:
        return None
    return Law(node.name, relation, rf[axis].dims[0], cut)


def check_strips(
    report: Report, found: Findings, analyse: Analyse, seed: int, progress: Callable[[float], None]
) -> None:
    """Check the closed forms whose field the input does not hold: of outputs, and of where they end."""
    if len(report.captured.inputs) != 1:
        return
    for axis in range(len(report.axes)):
        laws = [law for law in _too_wide(report, axis) if law.node not in found.mismatches]
        fit = [law for law in laws if law.needed <= _LONGEST]
        for law in laws:
            if law not in fit:
                found.notes.setdefault(law.node, f"no strip holds its field of {law.relation.size}")
        if fit:
            _hold(report, axis, fit, _strips(report, axis, fit, analyse), found, seed)
        progress((axis + 1) / len(report.axes))


def _too_wide(report: Report, axis: int) -> list[Law]:
    """The closed forms wider than the input, of outputs and of nodes after which there is none."""
    tracked = report.axes[axis]
    length = report.captured.inputs[tracked.input].shape[tracked.dim]
    laws = {node.name: law for node in report.nodes if (law := law_of(node, axis)) is not None}
    wide = {name: law for name, law in laws.items() if law.needed > length}
    outputs = set(report.captured.outputs.values())
    ends = [
        law
        for name, law in wide.items()
        if name not in outputs and not any(after in wide for after in report.graph[name])
    ]
    ends = sorted(ends, key=lambda law: law.needed)[-_NODES:]
    return [law for name, law in wide.items() if name in outputs or law in ends]


def _strips(report: Report, axis: int, laws: Sequence[Law], analyse: Analyse) -> Iterator[Report]:
    """The model analysed on strips that hold these fields, the narrowest that it takes first."""
    tracked = report.axes[axis]
    ((name, node),) = report.captured.inputs.items()
    advances = (
        relation.advance
        for other in report.nodes
        for rf in other.rfs.values()
        for relation in rf.relations
        if relation is not None and relation.advance > 0
    )
    grid = lcm(*advances)
    field = max(law.needed for law in laws)
    dims = [other.dim for other in report.axes]
    for fields, grids in product(_LENGTHS, _WIDTHS):
        shape = list(node.shape)
        for dim in dims:
            short = min(grid * grids, node.shape[dim])
            shape[dim] = ceil(fields * field / grid) * grid if dim == tracked.dim else short
        try:
            strip = analyse({name: tuple(shape)}, dims)
        except (CaptureError, InputError):
            continue
        if all(size > 0 for other in strip.nodes for size in other.shape):
            yield strip


def _hold(
    report: Report,
    axis: int,
    laws: Sequence[Law],
    strips: Iterable[Report],
    found: Findings,
    seed: int,
) -> None:
    """Hold each closed form on the first strip that shows it; what differs there is held on wider ones."""
    left = {law.node: law for law in laws}
    seen: dict[str, tuple[Mismatch, Held]] = {}
    for strip in strips:
        try:
            held = Held(strip, axis, GradientProbe(strip.captured, seed=seed))
            for law in list(left.values()):
                if held.shows(law):
                    wrong = held.mismatch(law, found)
                    if wrong is None:
                        seen.pop(law.node, None)
                        del left[law.node]
                    else:
                        seen[law.node] = wrong, held
        except (RuntimeError, VerificationError):  # torch, or the twin, refuses a strip so narrow
            continue
        if not left:
            return
    for name, law in left.items():
        if name not in seen:
            found.notes.setdefault(name, f"no strip shows its field of {law.relation.size}")
            continue
        mismatch, held = seen[name]
        found.differs(mismatch)
        found.say("gradient", name, "outside")
        _trace(report, axis, law, held, found)


def _trace(report: Report, axis: int, law: Law, held: Held, found: Findings) -> None:
    """The fault may begin at an earlier node: the first that differs on the strip."""
    before = nx.ancestors(report.graph, law.node)
    for node in report.nodes:
        earlier = law_of(node, axis) if node.name in before else None
        wrong = held.mismatch(earlier, found) if earlier is not None else None
        if wrong is not None:
            found.differs(wrong)
            found.say("gradient", node.name, "outside")
            return


@dataclass(frozen=True)
class Held:
    """A strip along one axis, and its gradients."""

    strip: Report
    axis: int
    probe: GradientProbe

    def shows(self, law: Law) -> bool:
        """Every phase of the law has an output on this strip that reads no border."""
        return len(list(self._inner(self.strip[law.node], law))) == len(law.outputs) > 0

    def mismatch(self, law: Law, found: Findings) -> Mismatch | None:
        """Where the closed form differs from the gradient, at one period of outputs that read no border."""
        node, tracked = self.strip[law.node], self.strip.axes[self.axis]
        outputs = list(self._inner(node, law))
        places = [self._place(node, law, o) for o in outputs]
        joints = self.probe.joints(law.node, places, law.cut)
        for output, place, joint in zip(outputs, places, joints, strict=True):
            numeric = projected(joint[tracked.input], tracked.dim)
            analytic = law.relation.at(output)
            verdict = verdict_of(numeric, np.array(analytic), exact=True)
            if verdict != "equal":
                kind: Kind = "understated" if verdict == "outside" else "overstated"
                where = (tracked.input, self.axis, tuple(place.values()), tuple(place))
                sides = tuple(analytic), tuple(map(int, numeric))
                return Mismatch(law.node, "gradient", kind, *where, *sides, bool(law.cut))
        found.say("gradient", law.node, "equal")
        found.count("gradient", law.node, len(outputs))
        found.strips += len(outputs)
        return None

    def _inner(self, node: NodeReport, law: Law) -> Iterator[int]:
        """For each phase, the first output that reads no border, of the input or of a map on the way."""
        rf = node.rf.local if law.cut else node.rf
        if rf is None:
            return
        for start in law.outputs:
            for output in range(start, node.shape[law.dim], law.relation.period):
                place = self._place(node, law, output)
                if _reads(rf[self.axis], place, law.relation.at(output)):
                    yield output
                    break

    @staticmethod
    def _place(node: NodeReport, law: Law, output: int) -> dict[int, int]:
        """`output` along the law's dim, the centre along the others that index space."""
        dims = sorted({law.dim, *node.dims})
        return {d: output if d == law.dim else node.shape[d] // 2 for d in dims}


def _reads(reads: AxisReads, position: Position, wanted: Sequence[int]) -> bool:
    """A position reads these positions and no others; by its hull, where sets would be too large."""
    try:
        return bool(reads.members(position).tolist() == list(wanted))
    except InputError:
        return bool(wanted) and reads.hull(position) == (wanted[0], wanted[-1])
