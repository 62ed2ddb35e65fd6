"""`verify` and `effective`: what numbers say of a model, beside what the analysis says.

In: a model, inputs, options. Out: a `Verification`; an `Effective`. Callers: users and the CLI.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch.utils import _pytree as pytree

from rfgraph.analysis import Axes, analyze
from rfgraph.capture.inputs import given
from rfgraph.compare import Comparison, Progress
from rfgraph.errors import InputError
from rfgraph.graph import Graph
from rfgraph.guard import untouched
from rfgraph.probe import Effective, GradientProbe, PoisonProbe
from rfgraph.probe import effective as probe_effective
from rfgraph.probe.replay import example_inputs, replay
from rfgraph.report import NodeReport, Report
from rfgraph.strips import check_strips
from rfgraph.verify import Verification

Rows: TypeAlias = Literal["auto", "all"] | int

_CHEAP = 1 << 31  # elements that all forward passes together may look at before rows are sampled
_SAMPLE = 16
_POSITIONS = 24
_TOLERANCE = 1e-3


def _silent(stage: str, share: float) -> None:
    pass


def verify(
    model: Any,
    inputs: Any = None,
    *,
    axes: Axes = None,
    on_unknown: Literal["raise", "whole", "measure"] = "raise",
    rows: Rows = "auto",
    seed: int = 0,
    progress: Progress = _silent,
) -> Verification:
    """Hold the analysis of `model` against numbers from the same model, at every node.

    A poison probe (NaN in one row of the input, the model in eval mode) looks at every node; the gradient
    of a positive linearised twin looks at outputs and at nodes where branches meet, at borders, centre and
    phases, and decides where poison differs. Fields larger than the input are checked on strips: long on
    one axis, short on the others. The model is left as it was, also on an error and on an interrupt.

    Args:
        inputs, axes, on_unknown: as in `analyze`. Tensors are used as they are by the poison probe.
        rows: of each tracked axis to poison: `"all"`; a number: borders, centre and a seeded sample of
            so many in all; `"auto"`: all where that is cheap.
        seed: of the sample and of the twin's weights.
        progress: called with the stage and the share of it that is done.

    Raises:
        InputError, CaptureError, UnsupportedOperatorError: as `analyze`.
    """
    report = analyze(model, inputs, axes=axes, on_unknown=on_unknown)
    graph = report.captured
    tensors = _tensors(model, graph, inputs)
    comparison = Comparison(
        report, PoisonProbe(graph, tensors), GradientProbe(graph, tensors, seed=seed)
    )
    chosen = {axis: _rows(report, axis, rows, seed) for axis in range(len(report.axes))}
    comparison.poison(chosen, progress)
    comparison.gradient(_looked_at(report), _POSITIONS, progress)
    comparison.settle()

    def strip(shapes: dict[str, tuple[int, ...]], dims: list[int]) -> Report:
        return analyze(model, shapes, axes=dims, on_unknown=on_unknown)

    check_strips(report, comparison.found, strip, seed, partial(progress, "strips"))
    comparison.trace()
    return comparison.result(_is_faithful(model, graph, tensors))


def effective(model: Any, inputs: Any = None, node: str | None = None, **options: Any) -> Effective:
    """The effective receptive field: where the gradient mass of a node's centre lies (Luo et al. 2016).

    Args:
        inputs: as in `analyze`; tensors are used as they are, shapes are filled with noise.
        node: default: the model's only output.
        options: of the protocol; see `rfgraph.probe.effective.effective`.

    Raises:
        InputError: an unknown node; several outputs and no node named.
    """
    report = analyze(model, inputs)
    name = report.output.name if node is None else report[node].name
    return probe_effective(
        report.captured, _tensors(model, report.captured, inputs), name, **options
    )


def _tensors(model: Any, graph: Graph, inputs: Any) -> dict[str, torch.Tensor] | None:
    """The caller's own tensors, where all inputs are tensors with values."""
    if isinstance(inputs, torch.Tensor):
        inputs = (inputs,)
    values = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs or ())
    if not values or not all(isinstance(v, torch.Tensor) and not v.is_meta for v in values):
        return None
    names = list(inputs) if isinstance(inputs, Mapping) else list(given(model, inputs))
    return dict(zip(names, values, strict=True))


def _rows(report: Report, axis: int, rows: Rows, seed: int) -> list[int]:
    """The rows of one axis to poison."""
    tracked = report.axes[axis]
    length = report.captured.inputs[tracked.input].shape[tracked.dim]
    if rows == "auto":
        elements = sum(_size(node) for node in report.nodes)
        rows = "all" if elements * length * len(report.axes) <= _CHEAP else _SAMPLE
    if rows == "all" or (isinstance(rows, int) and rows >= length):
        return list(range(length))
    if not isinstance(rows, int) or rows < 1:
        raise InputError(f"rows must be 'auto', 'all' or a positive number, got {rows!r}")
    firm = dict.fromkeys([0, length - 1, length // 2, 1 % length, max(length - 2, 0)])
    rest = [row for row in range(length) if row not in firm]
    sample = random.Random(seed).sample(rest, max(min(rows - len(firm), len(rest)), 0))
    return sorted([*firm, *sample][: max(rows, 1)])


def _size(node: NodeReport) -> int:
    return int(torch.Size(node.shape).numel())


def _looked_at(report: Report) -> list[str]:
    """Outputs, and nodes where branches meet."""
    graph = report.captured
    wanted = set(graph.outputs.values())
    wanted |= {node.name for node in graph if len(set(node.operands)) > 1}
    return [node.name for node in graph if node.name in wanted and report[node.name].rfs]


def _is_faithful(model: Any, graph: Graph, tensors: Mapping[str, torch.Tensor] | None) -> bool:
    """The captured graph computes what the model computes."""
    inputs = example_inputs(graph, tensors)
    with untouched(model, training=False):
        expected = model(**{name: tensor.clone() for name, tensor in inputs.items()})
        values = replay(graph, inputs, keep=set(graph.outputs.values()))
    leaves = [leaf for leaf in pytree.tree_leaves(expected) if isinstance(leaf, torch.Tensor)]
    found = [values[name] for name in graph.outputs.values()]
    return len(leaves) == len(found) and all(map(_close, leaves, found))


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return True  # indices of near-equal values may differ
    scale = float(one.abs().nan_to_num().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True)
