"""The poison phase: a NaN in one row of the input, the model as it is, and every node looked at.

In: a report, the probe, the rows of each axis. Out: `Poison`: entries, and where to ask the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

import numpy as np

from rfgraph.graph import Axis, Marks, Position
from rfgraph.probe.poison import PoisonProbe
from rfgraph.report import Report
from rfgraph.verification.compare import views_of
from rfgraph.verification.ledger import Entry

Progress: TypeAlias = Callable[[str, float], None]

_CHUNK = 32
_FEW = 4


@dataclass(frozen=True)
class Suspect:
    """A position of a node at which poison has seen more (`"outside"`) or less than the analysis says.

    `others`: a few more of these, where it has seen more, which may be for a fixed zero at some of them.
    """

    kind: Literal["outside", "inside"]
    axis: Axis
    position: Position
    others: tuple[Position, ...] = ()


@dataclass(frozen=True)
class Poison:
    """What poison says.

    Attributes:
        suspects: node -> the position that the gradient is to be asked about.
        rows: of each axis, those that were poisoned.
    """

    entries: tuple[Entry, ...]
    suspects: Mapping[str, Suspect]
    rows: Mapping[Axis, frozenset[int]]

    @property
    def count(self) -> int:
        """How many rows were poisoned."""
        return sum(map(len, self.rows.values()))


def poison(
    report: Report, probe: PoisonProbe, rows: Mapping[Axis, Sequence[int]], progress: Progress
) -> Poison:
    """Hold every node that poison can read in these rows of each tracked axis."""
    views = {node.name: views_of(report, node.name) for node in report.captured}
    keep = {name: sorted(set().union(*dims)) for name, dims in views.items()}
    total, done = sum(map(len, rows.values())), 0
    entries: list[Entry] = []
    suspects: dict[str, Suspect] = {}
    for axis, wanted in rows.items():
        for chunk in _chunks(wanted):
            for name, seen in probe.rows(axis.input, axis.dim, chunk, keep).items():
                for dims in views[name]:
                    others = tuple(i for i, dim in enumerate(keep[name], 1) if dim not in dims)
                    marks = np.asarray(seen.any(axis=others) if others else seen)
                    entry, suspect = _hold(report, name, axis, chunk, dims, marks)
                    entries.append(entry)
                    if suspect is not None and (suspect.kind == "outside" or name not in suspects):
                        suspects[name] = suspect
            done += len(chunk)
            progress("poison", done / total)
    entries += _unreadable(report, probe)
    return Poison(tuple(entries), suspects, {axis: frozenset(each) for axis, each in rows.items()})


def _hold(
    report: Report,
    name: str,
    axis: Axis,
    rows: Sequence[int],
    dims: tuple[int, ...],
    seen: Marks,
) -> tuple[Entry, Suspect | None]:
    """(row, *dims) of a node: the positions that the rows reach, by poison and by the analysis."""
    claimed, exact = report.reached(name, axis, rows, dims)
    claimed = np.broadcast_to(claimed, seen.shape)
    if np.array_equal(seen, claimed):
        return Entry(name, "poison", "equal" if exact else "inside", seen.size), None
    outside, inside = seen & ~claimed, claimed & ~seen
    if outside.any():
        first, *others = _spread(outside, dims)
        suspect = Suspect("outside", axis, first, tuple(others))
        return Entry(name, "poison", "outside", seen.size), suspect
    suspect = Suspect("inside", axis, _spread(inside, dims)[0])
    return Entry(name, "poison", "inside", seen.size), suspect if exact else None


def _unreadable(report: Report, probe: PoisonProbe) -> list[Entry]:
    return [
        Entry(node.name, "poison", "unreadable", note=probe.unreadable[node.name], settles=True)
        for node in report.captured
        if node.name in probe.unreadable
    ]


def _spread(marks: Marks, dims: Sequence[int]) -> list[Position]:
    """Positions over dims, without the row: of the first mark, and of a few as far apart as there are."""
    found = np.flatnonzero(marks)
    chosen = found[np.linspace(0, len(found) - 1, min(len(found), _FEW)).astype(int)]
    places = np.transpose(np.unravel_index(chosen, marks.shape))[:, 1:].tolist()
    return [dict(zip(dims, place, strict=True)) for place in places]


def _chunks(rows: Sequence[int]) -> Iterator[list[int]]:
    rest = iter(rows)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
