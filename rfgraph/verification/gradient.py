"""The gradient phase: the positive twin, at outputs, where branches meet, and where poison cannot read.

In: a report, the probe, what poison says. Out: entries. A node whose operands disagree already is not asked:
it follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from rfgraph.errors import VerificationError
from rfgraph.graph import Axis, Indices, Marks, Position
from rfgraph.probe.gradient import GradientProbe
from rfgraph.probe.parts import LeftOut
from rfgraph.report import Report
from rfgraph.verification.compare import at, claim, hold, positions_of, projected
from rfgraph.verification.ledger import Entry, Standing
from rfgraph.verification.poison import Progress

Masks: TypeAlias = Sequence[Mapping[str, Marks]]
"""The marks of several positions: of each, input -> which of its elements are read."""

FEW = 6
"""Positions at which a node is asked that poison cannot read."""
_MOST = 72
_ZERO = "a factor is exactly 0 there, which the gradient sees and poison does not"


@dataclass(frozen=True)
class Gradients:
    """The gradients of one report's graph.

    Attributes:
        shown: (node, axis) -> the rows that poison has shown to come out as the analysis says.
    """

    report: Report
    probe: GradientProbe
    shown: Mapping[tuple[str, Axis], frozenset[int]]

    @cached_property
    def _left_out(self) -> dict[Axis, LeftOut]:
        """What a whole axis is read by, which the local part leaves out."""
        return {axis: LeftOut(axis, self.report.carries(axis)) for axis in self.report.axes}

    def at_limit(self, name: str, limit: int) -> list[Entry]:
        """Hold a node at borders, centre and phases, and what is left of it without reads of a whole axis."""
        return self.at(name, list(positions_of(self.report, name, limit)), True)

    def at(self, name: str, positions: Sequence[Position], local: bool = False) -> list[Entry]:
        """Hold a node at these positions along every axis; `local`: without reads of a whole axis, too."""
        try:
            masks = self.probe.joints(name, positions)
            entries = list(self._all(name, positions, masks))
        except VerificationError as error:
            return [Entry(name, "gradient", "unreadable", note=str(error))]
        for axis in self.report.axes if local else ():
            reads = at(self.report, name, axis)
            if reads is not None and reads.is_endless:
                entries += self._local(name, positions, masks, axis)
        return entries

    def _all(self, name: str, positions: Sequence[Position], masks: Masks) -> Iterator[Entry]:
        """All that a node reads."""
        for position, joint in zip(positions, masks, strict=True):
            for axis in self.report.axes:
                claimed = claim(at(self.report, name, axis), position)
                entry = hold(name, axis, position, claimed, _seen(joint, axis))
                if entry.verdict == "inside":
                    lost = set(map(int, claimed.members)) - set(map(int, _seen(joint, axis)))
                    if lost <= self.shown.get((name, axis), frozenset()):
                        entry = replace(entry, mismatch=None, note=_ZERO)
                yield entry

    def _local(
        self, name: str, positions: Sequence[Position], masks: Masks, axis: Axis
    ) -> Iterator[Entry]:
        """What is left without the reads of the whole axis, against a twin without them.

        Where the twin reads the same without them it knows no way to cut them: that shows nothing.
        """
        try:
            left = self.probe.joints(name, positions, self._left_out[axis])
        except VerificationError as error:
            yield Entry(name, "gradient", "unreadable", note=str(error))
            return
        for position, one, other in zip(positions, masks, left, strict=True):
            seen = _seen(other, axis)
            if not np.array_equal(seen, _seen(one, axis)):
                claimed = claim(at(self.report, name, axis), position, local=True)
                yield hold(name, axis, position, claimed, seen)


def _seen(joint: Mapping[str, Marks], axis: Axis) -> Indices:
    return projected(joint[axis.input], axis.dim)


def shown_rows(
    standing: Standing, overcounts: Mapping[str, str], rows: Mapping[Axis, frozenset[int]]
) -> dict[tuple[str, Axis], frozenset[int]]:
    """The rows in which poison, by no fixed zero, comes out at a node as the analysis says."""
    agree = [name for name, verdict in standing.poison.items() if verdict == "equal"]
    return {
        (name, axis): each
        for name in agree
        if name not in overcounts
        for axis, each in rows.items()
    }


def gradient(gradients: Gradients, poisoned: Standing, progress: Progress) -> tuple[Entry, ...]:
    """Hold outputs and meetings of branches at many positions; at a few what poison cannot read."""
    report = gradients.report
    unread = [
        node.name
        for node in report.captured
        if node.op != "input" and poisoned.poison.get(node.name) in (None, "unreadable")
    ]
    limits = {**dict.fromkeys(unread, FEW), **dict.fromkeys(_meetings(report), _MOST)}
    wanted = [node for node in report.captured if node.name in limits]
    entries: list[Entry] = []
    differing: set[str] = set()
    for number, node in enumerate(wanted):
        if differing.isdisjoint(node.operands):
            said = gradients.at_limit(node.name, limits[node.name])
            differing |= {entry.node for entry in said if entry.mismatch is not None}
            entries += said
        progress("gradient", (number + 1) / len(wanted))
    return tuple(entries)


def _meetings(report: Report) -> list[str]:
    """Outputs, and nodes where branches meet."""
    graph = report.captured
    wanted = set(graph.outputs.values())
    wanted |= {node.name for node in graph if len(set(node.operands)) > 1}
    return [node.name for node in graph if node.name in wanted and report[node.name].rfs]
