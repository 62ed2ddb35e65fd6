"""`verify` and `effective`: what numbers say of a model, beside what the analysis says.

In: a model, inputs, options. Out: a `Verification`; an `Effective`.
"""

from __future__ import annotations

import random
import re
from functools import partial
from typing import Any, Literal, TypeAlias

import torch

from rfgraph.analysis import Axes, analyze
from rfgraph.capture.arguments import Arguments, given
from rfgraph.capture.programs import opened
from rfgraph.compare import Comparison, Progress
from rfgraph.errors import InputError, RfgraphError, VerificationError
from rfgraph.faithful import difference
from rfgraph.graph import Graph
from rfgraph.graph.guard import refuse_without_numbers
from rfgraph.graph.replay import example_inputs
from rfgraph.probe import Effective, GradientProbe, PoisonProbe
from rfgraph.probe import effective as probe_effective
from rfgraph.report import NodeReport, Report
from rfgraph.strips import Analyse, check_strips
from rfgraph.verify import Verification

Rows: TypeAlias = Literal["auto", "all"] | int

_CHEAP = 1 << 31  # elements that all forward passes together may look at before rows are sampled
_SAMPLE = 16
_POSITIONS = 72
_NO_KERNEL = re.compile("not implemented for|not supported|unsupported", re.I)


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
        InputError, CaptureError, UnsupportedOperatorError: as `analyze`; a model that has no numbers.
        VerificationError: the model fails on real tensors.
    """
    if rows not in ("auto", "all") and not (type(rows) is int and rows >= 1):
        raise InputError(f"rows must be 'auto', 'all' or a positive number, got {rows!r}")
    model = opened(model)
    refuse_without_numbers(model)
    report = analyze(model, inputs, axes=axes, on_unknown=on_unknown)

    arguments = arguments_of(model, report, inputs)

    def strip(shapes: dict[str, tuple[int, ...]], dims: list[int]) -> Report:
        return analyze(model, arguments.resized(shapes), axes=dims, on_unknown=on_unknown)

    try:
        return _verified(model, report, arguments, strip, rows, seed, progress)
    except RfgraphError:
        raise
    except Exception as error:
        raise VerificationError(
            f"{report.model} cannot be verified: {type(error).__name__}: {error}{_advice(report, error)}"
        ) from error


def _verified(
    model: Any,
    report: Report,
    arguments: Arguments,
    strip: Analyse,
    rows: Rows,
    seed: int,
    progress: Progress,
) -> Verification:
    graph, tensors = report.captured, _tensors(report.captured, arguments)
    comparison = Comparison(
        report, PoisonProbe(graph, tensors), GradientProbe(graph, tensors, seed=seed)
    )
    comparison.poison(_rows(report, rows, seed), progress)
    comparison.gradient(_looked_at(report), _POSITIONS, progress)
    comparison.settle()
    check_strips(report, comparison.found, strip, seed, partial(progress, "strips"))
    comparison.trace()
    return comparison.result(not difference(model, graph, arguments))


def effective(model: Any, inputs: Any = None, node: str | None = None, **options: Any) -> Effective:
    """The effective receptive field: where the gradient mass of a node's centre lies (Luo et al. 2016).

    Args:
        inputs: as in `analyze`; tensors are used as they are, shapes are filled with noise.
        node: default: the model's only output.
        options: of the protocol; see `rfgraph.probe.effective.effective`.

    Raises:
        InputError: an unknown node; several outputs and no node named.
    """
    model = opened(model)
    refuse_without_numbers(model)
    report = analyze(model, inputs)
    name = report.output.name if node is None else report[node].name
    tensors = _tensors(report.captured, arguments_of(model, report, inputs))
    return probe_effective(report.captured, tensors, name, **options)


def _advice(report: Report, error: Exception) -> str:
    """What to do where torch has no kernel for a short dtype, as the CPU has none for some operators."""
    dtypes = {node.fx.meta["val"].dtype for node in report.captured.inputs.values() if node.fx}
    short = dtypes & {torch.float16, torch.bfloat16}
    if not short or not _NO_KERNEL.search(str(error)):
        return ""
    name = str(short.pop()).removeprefix("torch.")
    return f"; torch cannot do this in {name} here: verify a copy in float32, copy.deepcopy(model).float()"


def arguments_of(model: Any, report: Report, inputs: Any) -> Arguments:
    """The arguments that a report of the model is of, with `inputs` as they were passed to `analyze`."""
    worked_out = {name: node.shape for name, node in report.inputs.items()}
    return given(opened(model), worked_out if inputs is None else inputs)


def _tensors(graph: Graph, arguments: Arguments) -> dict[str, torch.Tensor] | None:
    """The caller's own tensors, and seeded random ones beside them; None where there are but shapes."""
    own = {name: tensor for name, tensor in arguments.given.items() if not tensor.is_meta}
    return {**example_inputs(graph, None), **own} if own else None


def _rows(report: Report, rows: Rows, seed: int) -> dict[int, list[int]]:
    """The rows to poison of each tracked axis, by number: none where the input holds integers."""
    graph = report.captured
    lengths = {
        number: graph.inputs[axis.input].shape[axis.dim]
        for number, axis in enumerate(report.axes)
        if graph.inputs[axis.input].params["is_float"]
    }
    if rows == "auto":
        elements = sum(map(_size, report.nodes))
        rows = "all" if elements * sum(lengths.values()) <= _CHEAP else _SAMPLE
    return {number: _chosen(length, rows, seed) for number, length in lengths.items()}


def _chosen(length: int, rows: Literal["all"] | int, seed: int) -> list[int]:
    """Borders, centre and a seeded sample of the rows of one axis; or all."""
    if not isinstance(rows, int) or rows >= length:
        return list(range(length))
    firm = dict.fromkeys([0, length - 1, length // 2, 1 % length, max(length - 2, 0)])
    rest = [row for row in range(length) if row not in firm]
    sample = random.Random(seed).sample(rest, max(min(rows - len(firm), len(rest)), 0))
    return sorted([*firm, *sample][:rows])


def _size(node: NodeReport) -> int:
    return int(torch.Size(node.shape).numel())


def _looked_at(report: Report) -> list[str]:
    """Outputs, and nodes where branches meet."""
    graph = report.captured
    wanted = set(graph.outputs.values())
    wanted |= {node.name for node in graph if len(set(node.operands)) > 1}
    return [node.name for node in graph if node.name in wanted and report[node.name].rfs]
