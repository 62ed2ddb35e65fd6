"""The strips phase: fields larger than the input, on inputs long on one axis and short on the others.

In: a report, how to analyse the model at other shapes, what is known to differ. Out: `Strips`.

The cost grows with the field and not with its square. What is held against the gradient is the closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import ceil
from typing import TypeAlias

import networkx as nx
import numpy as np

from rfgraph.algebra.relation import Relation
from rfgraph.errors import CaptureError, InputError, VerificationError
from rfgraph.graph import Axis, Position, Shape
from rfgraph.probe.gradient import GradientProbe
from rfgraph.probe.parts import LeftOut
from rfgraph.report import Report
from rfgraph.report.axis import AxisReads
from rfgraph.sizes import grid_of as common_grid
from rfgraph.verification.compare import Claim, at, hold, projected
from rfgraph.verification.ledger import Entry

Analyse: TypeAlias = Callable[[dict[str, Shape]], Report]
"""The model's report at other shapes, with the same tracked axes."""

_LONGEST = 1 << 15
_NODES = 4  # the ends of closed forms that are looked at along one axis, beside outputs
_PHASES = 64
_WIDTHS = (1, 2, 3, 4, 8)  # of the short sides, in grids
_LENGTHS = (1, 3)  # of the long side, in fields: maps that are cropped on the way need more


@dataclass(frozen=True)
class Law:
    """The closed form of one node along one axis, without the reads of a whole axis.

    Attributes:
        dim: of the node, along which it goes. is_local: reads of the whole axis are left out.
    """

    node: str
    relation: Relation
    dim: int
    is_local: bool

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


@dataclass(frozen=True)
class Strips:
    """What strips say, and at how many outputs they agree."""

    entries: tuple[Entry, ...] = ()
    outputs: int = 0


def law_of(report: Report, name: str, axis: Axis) -> Law | None:
    """The closed form of a node along an axis; None where it has none."""
    reads = at(report, name, axis)
    is_local = reads is not None and reads.is_endless
    if reads is not None and is_local:
        reads = reads.local
    if reads is None or not reads.closed_form or len(reads.dims) != 1:
        return None
    relation = reads.relation
    return None if relation is None else Law(name, relation, reads.dims[0], is_local)


def strips(
    report: Report,
    analyse: Analyse,
    differing: Collection[str],
    seed: int,
    progress: Callable[[str, float], None],
) -> Strips:
    """Check the closed forms whose field the input does not hold: of outputs, and of where they end.

    Args:
        differing: nodes that are known to differ, which are left out.
    """
    if len(report.captured.inputs) != 1:
        return Strips()
    entries: list[Entry] = []
    for number, axis in enumerate(report.axes):
        laws = [law for law in _too_wide(report, axis) if law.node not in differing]
        fit = [law for law in laws if law.needed <= _LONGEST]
        entries += [
            _note(law, f"no strip holds its field of {law.relation.size}")
            for law in laws
            if law not in fit
        ]
        if fit:
            entries += _hold(report, axis, fit, _strips(report, axis, fit, analyse), seed)
        progress("strips", (number + 1) / len(report.axes))
    agree = (entry.positions for entry in entries if entry.verdict == "equal")
    return Strips(tuple(entries), sum(agree))


def _note(law: Law, note: str) -> Entry:
    return Entry(law.node, "gradient", note=note)


def _too_wide(report: Report, axis: Axis) -> list[Law]:
    """The closed forms wider than the input, of outputs and of nodes after which there is none."""
    length = report.captured.inputs[axis.input].shape[axis.dim]
    laws = (law_of(report, node.name, axis) for node in report.captured)
    wide = {law.node: law for law in laws if law is not None and law.needed > length}
    outputs = set(report.captured.outputs.values())
    ends = [
        law
        for name, law in wide.items()
        if name not in outputs and not any(after in wide for after in report.graph[name])
    ]
    ends = sorted(ends, key=lambda law: law.needed)[-_NODES:]
    return [law for name, law in wide.items() if name in outputs or law in ends]


def grid_of(report: Report) -> int:
    """The least common multiple of the advances of all nodes: a size is taken again that much further."""
    reads = (at(report, node.name, axis) for node in report.captured for axis in report.axes)
    return common_grid(each.relation for each in reads if each is not None)


def _strips(report: Report, axis: Axis, laws: Sequence[Law], analyse: Analyse) -> Iterator[Report]:
    """The model analysed on strips that hold these fields, the narrowest that it takes first."""
    shape = report.captured.inputs[axis.input].shape
    grid = grid_of(report)
    field = max(law.needed for law in laws)
    for fields, grids in product(_LENGTHS, _WIDTHS):
        sizes = list(shape)
        for dim in (other.dim for other in report.axes):
            short = min(grid * grids, shape[dim])
            sizes[dim] = ceil(fields * field / grid) * grid if dim == axis.dim else short
        try:
            strip = analyse({axis.input: tuple(sizes)})
        except (CaptureError, InputError):
            continue
        is_same = _nodes(strip) == _nodes(report)  # by the size, a model may take other steps
        if is_same and all(size > 0 for other in strip.captured for size in other.shape):
            yield strip


def _nodes(report: Report) -> list[tuple[str, str]]:
    return [(node.name, node.op) for node in report.captured]


def _hold(
    report: Report, axis: Axis, laws: Sequence[Law], strips: Iterable[Report], seed: int
) -> list[Entry]:
    """Hold each closed form on the first strip that shows it; what differs there is held on wider ones."""
    left = {law.node: law for law in laws}
    wrong: dict[str, tuple[Entry, Strip]] = {}
    entries: list[Entry] = []
    for report_of_strip in strips:
        try:
            strip = Strip(report_of_strip, axis, GradientProbe(report_of_strip.captured, seed=seed))
            for law in filter(strip.shows, list(left.values())):
                entry = strip.hold(law)
                if entry.mismatch is not None:
                    wrong[law.node] = entry, strip
                else:
                    entries.append(entry)
                    wrong.pop(law.node, None)
                    del left[law.node]
        except (RuntimeError, VerificationError):  # torch, or the twin, refuses a strip so narrow
            continue
        if not left:
            break
    for name, law in left.items():
        if name in wrong:
            entry, strip = wrong[name]
            entries += [entry, *_before(report, axis, law, strip)]
        else:
            entries.append(_note(law, f"no strip shows its field of {law.relation.size}"))
    return entries


def _before(report: Report, axis: Axis, law: Law, strip: Strip) -> Iterator[Entry]:
    """The fault may begin at an earlier node: those that are held on the strip, to the first that differs."""
    before = nx.ancestors(report.graph, law.node)
    for node in report.captured:
        earlier = law_of(report, node.name, axis) if node.name in before else None
        if earlier is not None:
            entry = strip.hold(earlier)
            yield entry
            if entry.mismatch is not None:
                return


@dataclass(frozen=True)
class Strip:
    """A strip along one axis, and its gradients."""

    report: Report
    axis: Axis
    probe: GradientProbe

    @cached_property
    def _left_out(self) -> LeftOut:
        return LeftOut(self.axis, self.report.carries(self.axis))

    def shows(self, law: Law) -> bool:
        """Every phase of the law has an output on this strip that reads no border."""
        return len(list(self._inner(law))) == len(law.outputs) > 0

    def hold(self, law: Law) -> Entry:
        """The closed form against the gradient, at one period of outputs that read no border."""
        outputs = list(self._inner(law))
        places = [self._place(law, output) for output in outputs]
        joints = self.probe.joints(law.node, places, self._left_out if law.is_local else None)
        for output, place, joint in zip(outputs, places, joints, strict=True):
            claimed = Claim(np.array(law.relation.at(output), np.int64), local=law.is_local)
            seen = projected(joint[self.axis.input], self.axis.dim)
            entry = hold(law.node, self.axis, place, claimed, seen)
            if entry.mismatch is not None:
                return replace(entry, verdict="outside", positions=0)
        return Entry(law.node, "gradient", "equal", len(outputs))

    def _inner(self, law: Law) -> Iterator[int]:
        """For each phase, the first output that reads no border, of the input or of a map on the way."""
        reads = at(self.report, law.node, self.axis)
        if reads is not None and law.is_local:
            reads = reads.local
        if reads is None:
            return
        length = self.report[law.node].shape[law.dim]
        for start in law.outputs:
            for output in range(start, length, law.relation.period):
                if _agrees(reads, self._place(law, output), law.relation.at(output)):
                    yield output
                    break

    def _place(self, law: Law, output: int) -> Position:
        """`output` along the law's dim, the centre along the others that index space."""
        node = self.report[law.node]
        dims = sorted({law.dim, *node.dims})
        return {d: output if d == law.dim else node.shape[d] // 2 for d in dims}


def _agrees(reads: AxisReads, position: Position, wanted: Sequence[int]) -> bool:
    """A position reads these positions and no others; by its hull, where sets would be too large."""
    try:
        return bool(reads.members(position).tolist() == list(wanted))
    except InputError:
        return bool(wanted) and reads.hull(position) == (wanted[0], wanted[-1])
