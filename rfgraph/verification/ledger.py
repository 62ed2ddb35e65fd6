"""`Ledger`: what the phases say of each node, and what that comes to.

In: entries. Out: a `Verification`. Nothing else in this room changes once it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rfgraph.graph import Graph, Node
from rfgraph.verification.verdicts import Mismatch, Probe, Row, Verdict

_WORSE: tuple[Verdict, ...] = ("equal", "inside", "outside")


@dataclass(frozen=True)
class Entry:
    """What a phase says of a node.

    Attributes:
        probe: by which probe. verdict: None where the entry says none.
        positions: how many (position, axis) pairs were compared. mismatch, note: where there is one.
        settles: it stands in the place of what was said before.
    """

    node: str
    probe: Probe
    verdict: Verdict | None = None
    positions: int = 0
    mismatch: Mismatch | None = None
    note: str = ""
    settles: bool = False


@dataclass(frozen=True)
class Standing:
    """How things stand after a phase: the verdicts of both probes, and the mismatches by node."""

    poison: Mapping[str, Verdict]
    gradient: Mapping[str, Verdict]
    mismatches: Mapping[str, Mismatch]

    def follows(self, node: Node) -> bool:
        """An operand differs already, so this node will, too."""
        return any(
            name in self.mismatches or self.gradient.get(name) == "follows"
            for name in node.operands
        )


class Ledger:
    """The worst verdict of each probe on each node, how much was compared, the first mismatch and note."""

    def __init__(self, graph: Graph, entries: Iterable[Entry] = ()) -> None:
        self._graph = graph
        self._verdicts: dict[Probe, dict[str, Verdict]] = {"poison": {}, "gradient": {}}
        self._positions: dict[Probe, dict[str, int]] = {"poison": {}, "gradient": {}}
        self._mismatches: dict[str, Mismatch] = {}
        self._notes: dict[str, str] = {}
        self.add(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Enter what a phase says."""
        for entry in entries:
            verdicts, positions = self._verdicts[entry.probe], self._positions[entry.probe]
            if entry.verdict is not None:
                verdicts[entry.node] = _stands(verdicts.get(entry.node), entry)
            positions[entry.node] = positions.get(entry.node, 0) + entry.positions
            if entry.mismatch is not None:
                self._mismatches.setdefault(entry.node, entry.mismatch)
            if entry.note and (entry.settles or entry.node not in self._notes):
                self._notes[entry.node] = entry.note

    def standing(self) -> Standing:
        """How things stand now; later entries do not change it."""
        verdicts = {probe: dict(each) for probe, each in self._verdicts.items()}
        return Standing(verdicts["poison"], verdicts["gradient"], dict(self._mismatches))

    def positions(self, probe: Probe) -> int:
        """How many (position, axis) pairs a probe compared."""
        return sum(self._positions[probe].values())

    def mismatches(self) -> tuple[Mismatch, ...]:
        """The mismatch of every node that has one, in topological order."""
        names = (node.name for node in self._graph)
        return tuple(self._mismatches[name] for name in names if name in self._mismatches)

    def rows(self) -> tuple[Row, ...]:
        """One row for each node, in topological order."""
        return tuple(map(self._row, self._graph))

    def _row(self, node: Node) -> Row:
        name = node.name
        return Row(
            name,
            node.op,
            self._verdicts["poison"].get(name, "not probed"),
            self._verdicts["gradient"].get(name, "not probed"),
            self._positions["poison"].get(name, 0),
            self._positions["gradient"].get(name, 0),
            self._notes.get(name, ""),
        )


def _stands(before: Verdict | None, entry: Entry) -> Verdict:
    """Of what was said of a node and what is said now: the worse, but that a node cannot be read stands."""
    assert entry.verdict is not None
    if before is None or entry.settles:
        return entry.verdict
    if before not in _WORSE or entry.verdict not in _WORSE:
        return before
    return max(before, entry.verdict, key=_WORSE.index)
