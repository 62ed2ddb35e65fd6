"""`Verification`: whether numbers agreed with the analysis, where they did not, and which node to blame.

In: verdicts of phases. Out: frozen plain data, text, JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from rfgraph.errors import VerificationError
from rfgraph.graph import Axis, Position, Shape
from rfgraph.language.vocabulary import Params
from rfgraph.report.figures import PlainData, plain_data

Verdict: TypeAlias = Literal["equal", "inside", "outside", "unreadable", "follows", "not probed"]
"""What a probe says of a node: the numeric sets equal the analytic ones, lie inside of them, or do not."""

Kind: TypeAlias = Literal["understated", "overstated", "size-dependent"]
Probe: TypeAlias = Literal["poison", "gradient"]


@dataclass(frozen=True)
class Mismatch:
    """A node and a position at which numbers, or a second size, contradict the analysis.

    Attributes:
        probe: `"poison"` or `"gradient"`; `"second size"`: the analysis of the same model at another size.
        kind: `"understated"`: the probe sees more than the analysis says; `"overstated"`: less;
            `"size-dependent"`: what was said to hold at any size does not at a second one.
        axis: of which input, and which dim of it.
        position: dim of the node -> index; what any element of its other dims reads counts.
        analytic, numeric: the positions read along that axis, by the analysis and by the probe.
        local: the reads of a whole axis were cut.
    """

    node: str
    probe: Probe | Literal["second size"]
    kind: Kind
    axis: Axis
    position: Position
    analytic: tuple[int, ...]
    numeric: tuple[int, ...]
    local: bool = False

    def __str__(self) -> str:
        part = "local part of the reads" if self.local else "reads"
        where = f"{tuple(self.position.values())} over its dims {tuple(self.position)}"
        by = "by the analysis", f"by {self.probe}"
        if self.kind == "size-dependent":
            by = "at the analysed size", "at a second one"
        return (
            f"{self.node!r} at {where}: "
            f"the {part} along dim {self.axis.dim} of {self.axis.input!r} are "
            f"{self.kind}: {spans(self.analytic)} {by[0]}, {spans(self.numeric)} {by[1]}"
        )

    def to_dict(self) -> PlainData:
        """Plain data for JSON: `axis` as `{"input": "x", "dim": 2}`, `position` as `{"2": 5}`."""
        position = {str(dim): index for dim, index in self.position.items()}
        plain = {name: plain_data(value) for name, value in vars(self).items()}
        return {**plain, "axis": self.axis._asdict(), "position": position}


@dataclass(frozen=True)
class Blame:
    """The first node, in topological order, whose operands agree and whose own answer does not.

    Attributes:
        repro: code that verifies the operator of the node alone. It was run before it is shown here: where
            it does not show the fault, or cannot be run, its first line says so.
    """

    node: str
    op: str
    module: str
    source: str
    params: Params
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
        all agree. faithful: the captured graph computes what the model computes; differs: how it does not.
        second_size: the shapes at which the model was analysed again, by input; none where it takes none.
        notes: what was not held, or not as exactly as it might be, and why.
    """

    model: str
    rows: tuple[Row, ...]
    mismatches: tuple[Mismatch, ...]
    blame: Blame | None
    checked: Checked
    faithful: bool = True
    differs: str = ""
    second_size: Mapping[str, Shape] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

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
        counted = (
            f"{self.model}: {seen.nodes} nodes; poison {seen.rows} rows, {seen.poison_positions} positions; "
            f"gradient {seen.gradient_positions} positions, {seen.strips} strips"
        )
        lines = [f"{counted}: {self._verdict()}"]
        lines += [f"  not read by any probe: {row.node!r}: {row.note}" for row in self.unread[:3]]
        if len(self.unread) > 3:
            lines.append(f"  and {len(self.unread) - 3} more not read")
        if not self.faithful:
            told = f": {self.differs}" if self.differs else ""
            lines.append(f"  the captured graph does not compute what the model computes{told}")
        if self.blame is not None:
            lines.append(f"  {self.mismatches[0]}")
            lines += [f"  {self.blame}"]
        lines += [f"  {note}" for note in self.notes]
        if self.blame is not None:
            lines += ["", self.blame.repro]
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

    def to_dict(self) -> PlainData:
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
            "mismatches": [mismatch.to_dict() for mismatch in self.mismatches],
            "blame": blame,
            "differs": self.differs,
            "second_size": {name: list(shape) for name, shape in self.second_size.items()},
            "notes": list(self.notes),
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


def plain_params(params: Params) -> PlainData:
    """Parameters as text: what JSON does not know is shown as it prints."""
    return {name: plain_data(v) if _is_plain(v) else repr(v) for name, v in params.items()}


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def spans(members: Sequence[int]) -> str:
    """`{0-4, 7}`: sorted integers, runs written short."""
    runs: list[list[int]] = []
    for member in members:
        if runs and member == runs[-1][1] + 1:
            runs[-1][1] = member
        else:
            runs.append([member, member])
    shown = [f"{a}" if a == b else f"{a}-{b}" for a, b in runs[:6]]
    return "{" + ", ".join(shown + ["..."] * (len(runs) > 6)) + "}"
