"""The settling phase: what poison leaves open is asked of the gradient.

In: a report, the probes, what poison and the gradient said. Out: entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rfgraph.probe.poison import PoisonProbe
from rfgraph.verification.compare import at, claim, positions_of
from rfgraph.verification.gradient import FEW, Gradients
from rfgraph.verification.ledger import Entry, Ledger, Standing
from rfgraph.verification.poison import Suspect
from rfgraph.verification.verdicts import Mismatch

_SETTLED = "poison differs, the gradient settles it"


def settle(
    gradients: Gradients,
    probe: PoisonProbe,
    suspects: Mapping[str, Suspect],
    standing: Standing,
) -> tuple[Entry, ...]:
    """Ask the gradient about every node at which poison disagrees and whose operands agree."""
    entries: list[Entry] = []
    gradient, mismatches = dict(standing.gradient), dict(standing.mismatches)
    now = replace(standing, gradient=gradient, mismatches=mismatches)
    for node in gradients.report.captured:
        suspect = suspects.get(node.name)
        if suspect is None or node.name in mismatches:
            continue
        if now.follows(node):
            gradient.setdefault(node.name, "follows")
            entries.append(Entry(node.name, "gradient", "follows"))
        else:
            said = _settled(gradients, probe, node.name, suspect, standing)
            mismatches.update({e.node: e.mismatch for e in said if e.mismatch is not None})
            entries += said
    return tuple(entries)


def _settled(
    gradients: Gradients, probe: PoisonProbe, name: str, suspect: Suspect, standing: Standing
) -> list[Entry]:
    counted_twice = name in probe.overcounts
    positions = [suspect.position, *(suspect.others if counted_twice else ())]
    if counted_twice and name not in standing.gradient:  # the gradient stands alone: ask it more
        positions += positions_of(gradients.report, name, FEW)
    said = gradients.at(name, positions)
    if any(entry.mismatch is not None for entry in said):
        return said
    agreed = _verdict(gradients, name, standing, said) == "equal"
    if agreed and (suspect.kind == "inside" or counted_twice):  # NaN was blocked, or met a zero
        said.append(Entry(name, "poison", "equal", settles=True))
        said.append(Entry(name, "poison", note=_SETTLED))
    elif suspect.kind == "outside" and counted_twice:
        note = probe.overcounts[name]
        said.append(Entry(name, "poison", "unreadable", note=note, settles=True))
    elif suspect.kind == "outside":
        said.append(Entry(name, "poison", mismatch=_mismatch(gradients, probe, name, suspect)))
    return said


def _verdict(gradients: Gradients, name: str, standing: Standing, said: list[Entry]) -> str:
    """The gradient's, with what it says now."""
    before = standing.gradient.get(name)
    known = [] if before is None else [Entry(name, "gradient", before)]
    ledger = Ledger(gradients.report.captured, [*known, *said])
    return ledger.standing().gradient.get(name, "not probed")


def _mismatch(gradients: Gradients, probe: PoisonProbe, name: str, suspect: Suspect) -> Mismatch:
    axis, position = suspect.axis, suspect.position
    rows = probe.rows(axis.input, axis.dim, None, {name: tuple(position)})
    seen = np.flatnonzero(np.moveaxis(rows[name], 0, -1)[tuple(position.values())])
    claimed = claim(at(gradients.report, name, axis), position)
    sides = tuple(map(int, claimed.members)), tuple(map(int, seen))
    return Mismatch(name, "poison", "understated", axis, dict(position), *sides)
