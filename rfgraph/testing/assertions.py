"""Assertions about receptive fields, for people's own tests.

In: a model or a report of one. Out: nothing, or an `AssertionError` that says what was found where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import networkx as nx

from rfgraph.algebra.relation import end_of_hop
from rfgraph.analysis import Axes, analyze
from rfgraph.capture.arguments import Inputs
from rfgraph.capture.programs import Model
from rfgraph.errors import InputError
from rfgraph.report import NodeReport, Report
from rfgraph.report.field import ReceptiveField
from rfgraph.report.figures import each, number
from rfgraph.verification import arguments_of, verify

PerAxis: TypeAlias = float | Fraction | Sequence[float | Fraction | None] | None
Problem: TypeAlias = Callable[[NodeReport, str, int], str]
"""A node, an input, the length of its axis -> what is wrong, or nothing."""

_BATCH = 3
"""Samples enough to tell a shift from a flip, where the caller leaves the batch to us."""


def report_of(model: Model | Report, inputs: Inputs = None) -> Report:
    """The report itself, or that of a model."""
    return model if isinstance(model, Report) else analyze(model, inputs)


# --- one node -----------------------------------------------------------------------------------


def assert_receptive_field(
    model: Model | Report,
    node: str,
    *,
    size: PerAxis = None,
    stride: PerAxis = None,
    offset: PerAxis = None,
    inputs: Inputs = None,
    input: str | None = None,
) -> None:
    """A node reads what is expected: `assert_receptive_field(net, "layer4", size=427, stride=32)`.

    Args:
        model: a model, or a report.
        node: its name in the report.
        size, stride, offset: one number for all axes, or one for each; `math.inf` is the size of a
            whole axis. What is left out is not checked.
        inputs: as for `rfgraph.analyze`.
        input: which input, where the model has several.

    Raises:
        AssertionError: every figure that differs, as found and as expected.
        InputError: no such node or input, or nothing to check.
    """
    asked = {"size": size, "stride": stride, "offset": offset}
    asked = {view: value for view, value in asked.items() if value is not None}
    if not asked:
        raise InputError("nothing to check: give size, stride or offset")
    found = report_of(model, inputs)[node]
    field = _field(found, input)
    wrong = [text for view, value in asked.items() if (text := _differs(field, view, value))]
    if wrong:
        raise AssertionError(f"{_named(found)}: {'; '.join(wrong)}{_whole_note(field)}")


def _field(node: NodeReport, input: str | None) -> ReceptiveField:
    if input is None:
        return node.rf
    if input not in node.rfs:
        raise InputError(f"node {node.name!r} does not read input {input!r}")
    return node.rfs[input]


def _differs(field: ReceptiveField, view: str, value: PerAxis) -> str:
    found = getattr(field, view)
    wanted = tuple(value) if isinstance(value, Sequence) else (value,) * len(found)
    if len(wanted) != len(found):
        raise InputError(f"{view} has {len(found)} axes here, got {value!r}")
    if found == wanted:
        return ""
    shown = (each(values, number) for values in (found, wanted))
    return f"{view} is {' and not '.join(shown)}"


def _whole_note(field: ReceptiveField) -> str:
    """Who reads the whole axis, and what is read without them."""
    if not any(field.whole):
        return ""
    local = field.local
    size = "nothing" if local is None else each(local.size, number)
    return f" (the whole axis is read by {_causes(field)}; locally {size})"


def _causes(field: ReceptiveField) -> str:
    return ", ".join(f"{cause.node} ({cause.kind})" for cause in field.causes)


def _named(node: NodeReport) -> str:
    return f"{node.name!r} ({node.op}{', ' + node.source if node.source else ''})"


# --- numbers ------------------------------------------------------------------------------------


def assert_verified(model: Model, inputs: Inputs = None, **options: Any) -> None:
    """Numbers from the model itself agree with the analysis at every node.

    Args:
        model: a model.
        inputs: as for `rfgraph.analyze`.
        options: as for `rfgraph.verify`: `axes`, `on_unknown`, `rows`, `seed`.

    Raises:
        VerificationError: an `AssertionError` that says where the numbers contradict, names the first
            node to differ, and prints code that shows it alone.
    """
    verify(model, inputs, **options).require()


# --- every output -------------------------------------------------------------------------------


def assert_causal(model: Model, inputs: Inputs = None, axis: int = 0, *, axes: Axes = None) -> None:
    """No output reads beyond the end of its own hop along one axis: the look-ahead is 0.

    An encoder of hop 16 may read all 16 samples of its frame, and none of the next. Every position is
    looked at, so that a border that reflects or a roll around the end is caught too.

    Args:
        model: a model; it is analysed along this axis alone.
        inputs: as for `rfgraph.analyze`.
        axis: which of the tracked axes is time.
        axes: the dims to track, as for `rfgraph.analyze`: `axes=(1,)` for (batch, time, features).

    Raises:
        AssertionError: an output that looks ahead, how far, and the first node that does.
        InputError: there is no such axis.
    """
    tracked = analyze(model, inputs, axes=axes)
    dims: dict[str, tuple[int, ...]] = {}
    for name in tracked.inputs:
        own = [found.dim for found in tracked.axes if found.input == name]
        if own and not 0 <= axis < len(own):
            raise InputError(f"input {name!r} has {len(own)} tracked axes and no axis {axis}")
        dims[name] = tuple(own[axis : axis + 1])
    _every_output(analyze(model, inputs, axes=dims), _looks_ahead, "is not causal")


def assert_no_batch_mixing(
    model: Model, inputs: Inputs = None, *, mode: Literal["eval", "train"] = "eval"
) -> None:
    """Every sample of a batch is computed from itself alone: dim 0 of each input, tracked as an axis.

    Args:
        model: a model.
        inputs: as for `rfgraph.analyze`, with two samples or more; shapes of one sample are widened.
        mode: `"train"` counts the statistics of batch norm, which mix.

    Raises:
        AssertionError: an output, what it reads of other samples, and the first node that does.
        InputError: tensors of a single sample, which cannot mix.
    """
    report = analyze(model, inputs, axes=(0,), mode=mode)
    shapes = {name: node.shape for name, node in report.inputs.items()}
    if min(shapes[axis.input][0] for axis in report.axes) < 2:
        passed = arguments_of(model, report, inputs)
        if passed.given:
            raise InputError("a batch of one sample cannot mix: give tensors of two or more")
        wider = {name: (_BATCH, *shape[1:]) for name, shape in shapes.items()}
        report = analyze(model, passed.resized(wider), axes=(0,), mode=mode)
    _every_output(report, _mixes, "mixes samples")


def _every_output(report: Report, problem: Problem, verdict: str) -> None:
    """No output has the problem.

    Raises:
        AssertionError: the first output that has, and the first node in the order of the model.
    """
    for path, output in report.outputs.items():
        for input in output.rfs:
            found = problem(output, input, _length(report, input))
            if found:
                first = _first(report, output, input, problem)
                origin = (
                    "" if first.name == output.name else f"; the first that does: {_named(first)}"
                )
                raise AssertionError(
                    f"{report.model} {verdict}: output {path!r}, {_named(output)}, {found}{origin}"
                )


def _first(report: Report, output: NodeReport, input: str, problem: Problem) -> NodeReport:
    before = nx.ancestors(report.graph, output.name)
    nodes = (n for n in report.nodes if n.name in before and input in n.rfs)
    length = _length(report, input)
    return next((node for node in nodes if problem(node, input, length)), output)


def _length(report: Report, input: str) -> int:
    (dim,) = (axis.dim for axis in report.axes if axis.input == input)
    return int(report.inputs[input].shape[dim])


def _looks_ahead(node: NodeReport, input: str, length: int) -> str:
    field = node.rfs[input]
    if field.whole[0]:
        return f"reads the whole axis: {_causes(field)}"
    if field.lookahead[0]:
        return f"looks {number(field.lookahead[0])} ahead"
    if len(node.dims) != 1 or field.lookahead[0] is None:
        return "" if field.local is None else "has no one position along this axis"
    law = field.relations[0]
    if law is None:  # its look-ahead is that of all positions, borders included
        return ""
    for position in range(node.shape[node.dims[0]]):
        last = _last(node, field, position)
        if last is not None and last > end_of_hop(law.advance, law.period, position):
            return f"position {position} reads up to {last}"
    return ""


def _last(node: NodeReport, field: ReceptiveField, position: int) -> int | None:
    hull = field[0].hull({node.dims[0]: position})
    return None if hull is None else hull[1]


def _mixes(node: NodeReport, input: str, length: int) -> str:
    field = node.rfs[input]
    if field.whole[0]:
        return f"reads the whole batch: {_causes(field)}"
    if len(node.dims) != 1:
        return "" if field.local is None else "has no one dim for the samples"
    for sample in range(node.shape[node.dims[0]]):
        read = node.reads(0, sample, input).tolist()
        if read and read != [sample]:
            others = ", ".join(map(str, read))
            return f"reads {others} of {input!r} for sample {sample}"
    return ""
