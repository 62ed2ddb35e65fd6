"""`Verification`: whether numbers agreed with the analysis, where they did not, and which node to blame.

In: what a comparison found. Out: frozen plain data, text, JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rfgraph.errors import VerificationError
from rfgraph.report.figures import plain_data

Verdict: TypeAlias = Literal["equal", "inside", "outside", "unreadable", "follows", "not probed"]
"""What a probe says of a node: the numeric sets equal the analytic ones, lie inside of them, or do not."""

Kind: TypeAlias = Literal["understated", "overstated"]


@dataclass(frozen=True)
class Mismatch:
    """A node and a position at which a probe contradicts the analysis.

    Attributes:
        probe: `"poison"` or `"gradient"`.
        kind: `"understated"`: the probe finds more than the analysis says; `"overstated"`: less.
        input, axis: the input, and the tracked axis by its number within it.
        position: over the dims `dims` of the node; what any element of its other dims reads counts.
        analytic, numeric: the positions read along that axis, by the analysis and by the probe.
        local: the reads of a whole axis were cut.
    """

    node: str
    probe: str
    kind: Kind
    input: str
    axis: int
    position: tuple[int, ...]
    dims: tuple[int, ...]
    analytic: tuple[int, ...]
    numeric: tuple[int, ...]
    local: bool = False

    def __str__(self) -> str:
        part = "local part of the reads" if self.local else "reads"
        return (
            f"{self.node!r} at {self.position} over its dims {self.dims}: "
            f"the {part} along axis {self.axis} of {self.input!r} are "
            f"{self.kind}: {spans(self.analytic)} by the analysis, {spans(self.numeric)} by {self.probe}"
        )


@dataclass(frozen=True)
class Blame:
    """The first node, in topological order, whose operands agree and whose own answer does not."""

    node: str
    op: str
    module: str
    source: str
    params: Mapping[str, Any]
    repro: str

    def __str__(self) -> str:
        where = f" ({self.op}{', ' + self.source if self.source else ''})"
        listed = ", ".join(f"{name}={value}" for name, value in self.params.items())
        return f"the first node to differ is {self.node!r}{where}, with {listed or 'no parameters'}"


@dataclass(frozen=True)
class Row:
    """One node: what each probe said of it, and at how many (position, axis) pairs."""

    node: str
    op: str
    poison: Verdict
    gradient: Verdict
    poison_positions: int
    gradient_positions: int
    note: str = ""

    @property
    def is_compared(self) -> bool:
        """True where a probe could read the node."""
        return bool({self.poison, self.gradient} & {"equal", "inside", "outside"})


@dataclass(frozen=True)
class Checked:
    """How much was compared."""

    nodes: int
    rows: int
    poison_positions: int
    gradient_positions: int
    strips: int


@dataclass(frozen=True)
class Verification:
    """Did the numbers agree with the analysis? True where no probe contradicts it anywhere.

    A verification that compared nothing agrees with nothing: it is False.

    Attributes:
        rows: one for each node. checked: how much was compared. mismatches: where the probes contradict
        the analysis, in topological order. blame: the first node to differ, with a repro; None where
        all agree. faithful: the captured graph computes what the model computes.
    """

    model: str
    rows: tuple[Row, ...]
    mismatches: tuple[Mismatch, ...]
    blame: Blame | None
    checked: Checked
    faithful: bool = True

    @property
    def agrees(self) -> bool:
        """True where something was compared and no probe contradicts the analysis."""
        return self.faithful and not self.mismatches and self.compared > 0

    @property
    def exact(self) -> bool:
        """True where every node was read by a probe, and every set is equal."""
        return self.agrees and all("equal" in (row.poison, row.gradient) for row in self._own)

    @property
    def compared(self) -> int:
        """How many nodes a probe could read; the inputs themselves do not count."""
        return sum(row.is_compared for row in self._own)

    @property
    def unread(self) -> tuple[Row, ...]:
        """The nodes that no probe could read: nothing is shown of them. Notes say why."""
        return tuple(row for row in self._own if not row.is_compared and row.gradient != "follows")

    @property
    def _own(self) -> tuple[Row, ...]:
        """The nodes that the model computes; of a model that computes nothing, its inputs."""
        return tuple(row for row in self.rows if row.op != "input") or self.rows

    def __bool__(self) -> bool:
        return self.agrees

    def __str__(self) -> str:
        seen = self.checked
        told = (
            f"{self.model}: {seen.nodes} nodes; poison {seen.rows} rows, {seen.poison_positions} positions; "
            f"gradient {seen.gradient_positions} positions, {seen.strips} strips"
        )
        lines = [f"{told}: {self._verdict()}"]
        lines += [f"  not read by any probe: {row.node!r}: {row.note}" for row in self.unread[:3]]
        if len(self.unread) > 3:
            lines.append(f"  and {len(self.unread) - 3} more not read")
        if not self.faithful:
            lines.append("  the captured graph does not compute what the model computes")
        if self.blame is not None:
            lines.append(f"  {self.mismatches[0]}")
            lines += [f"  {self.blame}", "", self.blame.repro]
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.mismatches:
            count = len(self.mismatches)
            return f"{count} mismatch{'es' if count > 1 else ''}"
        if not self.faithful:
            return "the graph differs from the model"
        if not self.compared:
            return "nothing could be compared"
        return "equal everywhere" if self.exact else "no contradiction"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        blame = self.blame and {**vars(self.blame), "params": plain_params(self.blame.params)}
        return {
            "model": self.model,
            "agrees": self.agrees,
            "exact": self.exact,
            "faithful": self.faithful,
            "compared": self.compared,
            "checked": dict(vars(self.checked)),
            "rows": [dict(vars(row)) for row in self.rows],
            "mismatches": [{k: plain_data(v) for k, v in vars(m).items()} for m in self.mismatches],
            "blame": blame,
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """`to_dict` as JSON text, also written to `path` where one is given."""
        text = json.dumps(self.to_dict(), indent=2)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def require(self) -> None:
        """Raise `VerificationError`, with everything that is known, where the numbers do not agree."""
        if not self.agrees:
            raise VerificationError(str(self))


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as text: what JSON does not know is shown as it prints."""
    return {name: plain_data(v) if _is_plain(v) else repr(v) for name, v in params.items()}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def spans(members: Sequence[int]) -> str:
    """`{0-4, 7}`: sorted integers, runs written short."""
    found: list[list[int]] = []
    for member in members:
        if found and member == found[-1][1] + 1:
            found[-1][1] = member
        else:
            found.append([member, member])
    shown = [f"{a}" if a == b else f"{a}-{b}" for a, b in found[:6]]
    return "{" + ", ".join(shown + ["..."] * (len(found) > 6)) + "}"
