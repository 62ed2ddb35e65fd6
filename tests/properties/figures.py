"""What each node reads, found by changing the input, and the figures of it as `docs/theory.md` defines them.

In: a description. Out: counts of the rows that were held against the report, or an AssertionError.

Nothing of the analysis takes part: the model is run, one slab of the input is changed at a time, and the figures
are worked out from the sets of positions whose change is seen. Where a border is read is followed in
`agreement.py`, from the reads of each operator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import ceil, floor
from typing import NamedTuple

import networkx as nx
import numpy as np
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph import Axis, CaptureError, Report
from rfgraph.graph.replay import replay
from rfgraph.report import NodeReport
from rfgraph.testing.describe import (
    Description,
    Loop,
    Recurrent,
)
from tests.float64 import in_float64
from tests.properties.agreement import Inner, inner_of, read_less
from tests.properties.past import Sets, past_differs
from tests.properties.replaced import goes_back, smooth, without_past

_MORE = {1: (30, 19, 8, 3), 2: (13, 9, 5, 2), 3: (4, 2, 1)}
"""By how many positions a description is enlarged: the first that it takes."""
_FEWER = (9, 3)  # over time, where each position has its own nodes, or what is far back fades
_TRIALS, _ROUNDS = 3, 12
_SCALES = (1.0, 20.0)
_NOISE = 1e-13  # relative

# --- figures from sets ----------------------------------------------------------------------------


class Law(NamedTuple):
    """`sets[o + period] = sets[o] + advance`: the sets of one period, from output 0 on."""

    period: int
    advance: int
    sets: tuple[frozenset[int], ...]


def law_of(sets: Sets) -> Law | None:
    """The law with the smallest period that all these outputs, side by side, keep; None where they keep none."""
    outputs = sorted(sets)
    for period in range(1, len(outputs) // 2 + 1):
        pairs = [(sets[o], sets[o + period]) for o in outputs[:-period]]
        steps = {min(after) - min(before) for before, after in pairs if before and after}
        if len(steps) == 1 and all(_moved(before, *steps) == after for before, after in pairs):
            (advance,) = steps
            first = next(o for o in outputs if o % period == 0)
            turns = first // period
            return Law(
                period,
                advance,
                tuple(_moved(sets[first + r], -turns * advance) for r in range(period)),
            )
    return None


def _moved(positions: frozenset[int], distance: int) -> frozenset[int]:
    return frozenset(position + distance for position in positions)


def figures(law: Law) -> dict[str, object]:
    """The figures of section 3 of the theory, by their definitions."""
    q, p, sets = law
    ends = [(r, min(read), max(read)) for r, read in enumerate(sets) if read]
    here = [floor(Fraction(p * r, q)) for r, _, _ in ends]
    hop = [ceil(Fraction(p * (r + 1), q)) - 1 for r, _, _ in ends]
    found: dict[str, object] = {
        "stride": Fraction(p, q),
        "size": max(hi - lo + 1 for _, lo, hi in ends),
        "halo": (max(-lo for _, lo, _ in ends), max(hi - (p - 1) for _, _, hi in ends)),
        "reach": (
            max(at - lo for at, (_, lo, _) in zip(here, ends, strict=True)),
            max(hi - at for at, (_, _, hi) in zip(here, ends, strict=True)),
        ),
        "lookahead": max(0, *(hi - last for last, (_, _, hi) in zip(hop, ends, strict=True))),
        "center": [Fraction(min(s) + max(s), 2) if s else None for s in sets],
    }
    if sets[0]:
        found["offset"] = min(sets[0])
    return found


def reported(row: rfgraph.AxisReads, names: Mapping[str, object]) -> dict[str, object]:
    """The same figures, as the report has them."""
    found: dict[str, object] = {name: getattr(row, name) for name in names if name != "center"}
    centers = names["center"]
    assert isinstance(centers, list)
    return {**found, "center": [row.center(output) for output in range(len(centers))]}


# --- sets by changing the input -------------------------------------------------------------------


class Changes:
    """Which elements of every node change with each position of an axis, over more and more trials.

    All runs of a trial are one, side by side in the batch; they are many where some node has no batch, as the memory
    that a write goes through has none.
    """

    def __init__(self, report: Report, description: Description) -> None:
        self._one, self._seen = report.captured, dict[Axis, dict[str, np.ndarray]]()
        shapes = {name: node.shape for name, node in self._one.inputs.items()}
        self._shapes = shapes
        self._runs = 1 + max(max(shape[2:]) for shape in shapes.values())
        batch = _TRIALS * self._runs
        many = replace(description, shape=(batch, *description.shape[1:]))
        self._many, self._is_side_by_side = self._one, False
        with suppress(CaptureError):  # of a write whose value fits one run alone
            self._many = rfgraph.analyze(_lively(many), many.input_shapes).captured
            same = ((node.shape, (batch, *self._one[node.name].shape[1:])) for node in self._many)
            self._is_side_by_side = all(one == other for one, other in same)

    def more(self, axis: Axis, trial: int) -> dict[str, np.ndarray]:
        """Name -> (position of the axis, *dims of the node), after one more trial."""
        inputs = {name: self._repeated(shape, trial) for name, shape in self._shapes.items()}
        self._change(inputs[axis.input], axis.dim, trial)
        seen = self._seen.setdefault(axis, {})
        for name, value in self._values(inputs).items():
            changed = _changed(value, self._shapes[axis.input][axis.dim])
            seen[name] = seen[name] | changed if name in seen else changed
        return seen

    def _values(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Name -> (trial, run, *dims of the node)."""
        with torch.no_grad():
            if self._is_side_by_side:
                found = replay(self._many, inputs)
                found = {name: value.unsqueeze(1) for name, value in found.items()}
            else:
                rows = [
                    {name: t[i : i + 1] for name, t in inputs.items()}
                    for i in range(_TRIALS * self._runs)
                ]
                each = [replay(self._one, row) for row in rows]
                found = {name: torch.stack([run[name] for run in each]) for name in each[0]}
        return {name: t.double().unflatten(0, (_TRIALS, self._runs)) for name, t in found.items()}

    def _repeated(self, shape: tuple[int, ...], trial: int) -> Tensor:
        """Random numbers for each trial, the same in all of its runs."""
        generator = torch.Generator().manual_seed(trial)
        base = torch.randn((_TRIALS, *shape[1:]), generator=generator, dtype=torch.float64)
        return base.repeat_interleave(self._runs, dim=0)

    def _change(self, tensor: Tensor, dim: int, trial: int) -> None:
        """In run 0 nothing, in run `1 + i` what lies at position `i`."""
        generator = torch.Generator().manual_seed(1000 + trial)
        scale = _SCALES[trial % len(_SCALES)]
        for position in range(tensor.shape[dim]):
            slabs = tensor[1 + position :: self._runs].select(dim, position)
            slabs += scale * torch.randn(slabs.shape, generator=generator, dtype=torch.float64)


def _changed(value: Tensor, length: int) -> np.ndarray:
    before, after = value[:, :1], value[:, 1 : 1 + length]
    gap = (after - before).abs()
    differs = gap > _NOISE * torch.maximum(after.abs(), before.abs())
    return differs.any(dim=0).numpy()


def _lively(description: Description) -> nn.Module:
    """The model, with recurrent weights by which what is far back does not fade."""
    model = description.build()
    for module in model.modules():
        if isinstance(module, nn.RNN):
            nn.init.orthogonal_(module.weight_hh_l0)
    return model


def enlarged(description: Description) -> Description:
    """The model at a size of which much is interior."""
    dims = len(description.shape) - 2
    is_slow = any(isinstance(layer, Loop | Recurrent) for layer in description.walk())
    for more in _FEWER if is_slow else _MORE[dims]:
        sizes = (n + more + axis for axis, n in enumerate(description.shape[2:]))
        longer = replace(description, shape=(*description.shape[:2], *sizes))
        with suppress(ValueError, RuntimeError), torch.no_grad():
            longer.build()(*map(torch.zeros, longer.input_shapes.values()))
            return longer
    return description


# --- held against the report ----------------------------------------------------------------------


def held_by_definition(description: Description) -> Counter[str]:
    """Every row that claims a closed form has the figures of the sets that are found by changing the input.

    Counted: rows that were held (`held`), past reads among them (`past`), and what is left of these where they are
    left out (`local`); those of parts of the channels, and those without interior, which may say more than is read (`less`);
    those of fewer inner positions than two periods (`short`); those that read the whole axis (`whole`).
    """
    with in_float64():
        longer = enlarged(replace(description, layers=smooth(description.layers)))
        counts = _held_by_definition(longer)
        if goes_back(longer.layers):
            counts["local"] += _locally_held(longer)
        return counts


def _locally_held(longer: Description) -> int:
    """What outputs read where past reads are left out is what the model without these reads, which is held."""
    local = replace(longer, layers=without_past(longer.layers))
    _held_by_definition(local)
    report, other = (rfgraph.analyze(each.build(), each.input_shapes) for each in (longer, local))
    count = 0
    for name, axis in product(report.outputs, report.axes):
        row, its = report.outputs[name].at(axis), other.outputs[name].at(axis)
        if row.unbounded and row.closed_form:
            mine = (row.bounded.relation, row.bounded.dims)
            assert mine == (its.relation, its.dims), f"{name!r}, locally: {mine}, without: {its}"
            count += 1
    return count


def _held_by_definition(longer: Description) -> Counter[str]:
    report = rfgraph.analyze(_lively(longer), longer.input_shapes)
    changes, counts = Changes(report, longer), Counter[str]()
    inside = {axis: inner_of(report, axis) for axis in report.axes}
    for axis in report.axes:
        less = read_less(report, axis)
        pending = [node for node in report.nodes if _claims(node.at(axis))]
        told: dict[str, str] = {}
        for trial in range(_ROUNDS):
            seen = changes.more(axis, trial) if pending else {}
            for node in pending:
                told[node.name] = _held(
                    report, node, axis, inside, seen[node.name], node.name in less
                )
            pending = [node for node in pending if told[node.name] not in OUTCOMES]
        counts.update(told.values())
        for node in pending:
            raise AssertionError(f"{node.name!r} along {tuple(axis)}: {told[node.name]}")
    return counts


OUTCOMES = ("held", "past", "less", "short", "whole", "constant")


def _claims(row: rfgraph.AxisReads) -> bool:
    return row.is_connected and row.closed_form


def _may_be_constant(report: Report, node: NodeReport) -> bool:
    """Behind a norm over one value, zeros in what is 0, or what is taken from itself: only a NaN shows."""
    names = nx.ancestors(report.graph, node.name) | {node.name}
    before = (report[name] for name in names)
    return any(
        each.op in ("masked_fill", "sub") or (each.op == "layer_norm" and each.shape[-1] == 1)
        for each in before
    )


def _reads_all(seen: np.ndarray) -> bool:
    """Does some position read all that any does? What lies between may have been left out before."""
    flat = seen.reshape(len(seen), -1)
    return bool(flat[flat.any(axis=1)].all(axis=0).any())


def _channels_together(report: Report, node: NodeReport, seen: np.ndarray) -> np.ndarray:
    """Dims along which no axis lies before the node, united: parts of the channels may read other positions."""
    before = [report[name] for name in node.operands]
    axes = {dim for each in before for axis in report.axes for dim in each.at(axis).dims}
    if any(len(each.shape) != len(node.shape) for each in before):
        return seen
    return seen.any(axis=tuple(1 + d for d in range(len(node.shape)) if d not in axes))


def _held(
    report: Report,
    node: NodeReport,
    axis: Axis,
    inside: Mapping[Axis, Mapping[str, Inner]],
    seen: np.ndarray,
    may_be_less: bool,
) -> str:
    """One of the outcomes, or what differs."""
    row = node.at(axis)
    if row.whole:
        is_all = _reads_all(seen) or _reads_all(_channels_together(report, node, seen))
        return "whole" if is_all else f"whole, and {_along(seen, 0, 0)} is seen"
    if not row.dims and row.relation is not None:
        fixed = _along(seen, 0, 0)
        is_hidden = fixed < set(row.relation.at(0)) and _may_be_constant(report, node)
        return "constant" if is_hidden else _fixed(row, fixed)
    if len(row.dims) != 1:
        return "short"
    found = {o: _along(seen, row.dims[0], o) for o in _run(inside[axis].get(node.name))}
    if row.unbounded:
        if not any(found.values()) and _may_be_constant(report, node):
            return "constant"
        differs = past_differs(row, found) if not may_be_less else None
        return {None: "short", "": "past"}.get(differs, differs or "")
    relation = row.relation
    assert relation is not None
    if not any(found.values()) and found:
        if not any(relation.phases):
            return "held"
        if _may_be_constant(report, node):
            return "constant"
    if may_be_less:
        return _less(found, relation)
    if len(found) < 2 * relation.period:
        return "short"
    if row.interior is None:
        reached = [o for o, read in found.items() if read == set(relation.at(o))]
        told = _less(found, relation)
        return f"all is read at {reached}, and there is no interior" if reached else told
    law = law_of(found)
    if law is None:
        return f"what is read does not repeat itself: {found}"
    mine = figures(law)
    its = reported(row, mine)
    differ = {name: (its[name], mine[name]) for name in mine if its[name] != mine[name]}
    if differ:
        return f"(reported, by definition): {differ}; read: {found}"
    return _apart(node, axis, inside, seen) or "held"


def _less(found: Mapping[int, frozenset[int]], relation: rfgraph.Relation) -> str:
    wrong = [o for o, read in found.items() if not read <= set(relation.at(o))]
    return f"at {wrong}, more is read" if wrong else "less"


def _fixed(row: rfgraph.AxisReads, found: frozenset[int]) -> str:
    """Of what does not move. At this size it may be another thing: that of a border."""
    assert row.relation is not None
    its = set(row.relation.at(0))
    if its != set(row.members({}).tolist()):
        return "short"
    return "held" if found == its else f"{set(found)} is read, not {its}"


def _along(seen: np.ndarray, dim: int, position: int) -> frozenset[int]:
    """What any element at a position of a dim of the node reads."""
    here = seen.take(position, axis=1 + dim)
    return frozenset(np.flatnonzero(here.reshape(len(seen), -1).any(axis=1)).tolist())


def _run(inner: Inner) -> list[int]:
    """The longest run of positions that read no border."""
    runs: list[list[int]] = [[]]
    for position, is_inner in enumerate(inner or ()):
        if is_inner:
            runs[-1].append(position)
        elif runs[-1]:
            runs.append([])
    return max(runs, key=len)


def _apart(
    node: NodeReport, axis: Axis, inside: Mapping[Axis, Mapping[str, Inner]], seen: np.ndarray
) -> str:
    """What is said where reads vary along a dim that is none of `dims`, and carries another axis."""
    for other, inner in inside.items():
        dims = node.at(other).dims
        if len(dims) == 1 and dims != node.at(axis).dims:
            run = _run(inner.get(node.name))
            if len({_along(seen, *dims, position) for position in run}) > 1:
                return f"reads vary along dim {dims[0]} of the node, and dims are {node.dims}"
    return ""
