"""`Findings`: what a comparison has found so far, node by node, and what it comes to.

In: verdicts and mismatches. Out: a `Verification`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rfgraph.graph import Graph, Node
from rfgraph.repro import repro, shown_params
from rfgraph.verify import Blame, Checked, Mismatch, Row, Verdict, Verification

_WORSE: tuple[Verdict, ...] = ("equal", "inside", "outside")


class Findings:
    """The verdicts of both probes, how much each compared, and the first mismatch of every node."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.poison: dict[str, Verdict] = {}
        self.gradient: dict[str, Verdict] = {}
        self.notes: dict[str, str] = {}
        self.mismatches: dict[str, Mismatch] = {}
        self.rows = 0
        self.strips = 0
        self._counts: dict[str, dict[str, int]] = {"poison": {}, "gradient": {}}

    def say(self, probe: Literal["poison", "gradient"], name: str, verdict: Verdict) -> None:
        """A verdict of a probe; the worst one of a node stands."""
        verdicts = self.poison if probe == "poison" else self.gradient
        verdicts[name] = worse(verdicts.get(name, "equal"), verdict)

    def count(self, probe: Literal["poison", "gradient"], name: str, positions: int) -> None:
        """So many more (position, axis) pairs of a node were compared."""
        counts = self._counts[probe]
        counts[name] = counts.get(name, 0) + positions

    def differs(self, mismatch: Mismatch) -> None:
        """A probe contradicts the analysis; the first mismatch of a node stands."""
        self.mismatches.setdefault(mismatch.node, mismatch)

    def follows(self, node: Node) -> bool:
        """An operand differs already, so this node will, too."""
        return any(
            name in self.mismatches or self.gradient.get(name) == "follows"
            for name in node.operands
        )

    def first(self) -> str | None:
        """The first node, in topological order, that differs."""
        return next((node.name for node in self._graph if node.name in self.mismatches), None)

    def result(self, model: str, faithful: bool) -> Verification:
        """Everything found, as a `Verification`."""
        rows = tuple(map(self._row, self._graph))
        ordered = [node.name for node in self._graph if node.name in self.mismatches]
        mismatches = tuple(self.mismatches[name] for name in ordered)
        poison, gradient = (sum(self._counts[probe].values()) for probe in ("poison", "gradient"))
        checked = Checked(len(rows), self.rows, poison, gradient, self.strips)
        return Verification(model, rows, mismatches, self._blame(ordered), checked, faithful)

    def _row(self, node: Node) -> Row:
        name = node.name
        return Row(
            name,
            node.op,
            self.poison.get(name, "not probed"),
            self.gradient.get(name, "not probed"),
            self._counts["poison"].get(name, 0),
            self._counts["gradient"].get(name, 0),
            self.notes.get(name, ""),
        )

    def _blame(self, ordered: Sequence[str]) -> Blame | None:
        if not ordered:
            return None
        node = self._graph[ordered[0]]
        return Blame(
            node.name,
            node.op,
            node.module,
            node.source,
            shown_params(node),
            repro(node, self._graph),
        )


def worse(one: Verdict, other: Verdict) -> Verdict:
    """The worse of two verdicts of one probe."""
    if one not in _WORSE or other not in _WORSE:
        return other if one in _WORSE else one
    return max(one, other, key=_WORSE.index)


def verdict_of(numeric: npt.NDArray[Any], analytic: npt.NDArray[Any], exact: bool) -> Verdict:
    """How the positions found by a probe lie in those of the analysis (`exact` False: in their hull)."""
    if not np.isin(numeric, analytic).all():
        return "outside"
    if exact or not len(analytic):
        return "equal" if len(numeric) == len(analytic) else "inside"
    ends = len(numeric) > 0 and numeric[0] == analytic[0] and numeric[-1] == analytic[-1]
    return "equal" if ends else "inside"
