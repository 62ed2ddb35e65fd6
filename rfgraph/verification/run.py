"""`verify` and `effective`: what numbers say of a model, beside what the analysis says.

In: a model, inputs, options. Out: a `Verification`; an `Effective`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from rfgraph.analysis import Axes, analyze
from rfgraph.capture import capture
from rfgraph.capture.arguments import Arguments, Inputs, given
from rfgraph.capture.programs import Model, opened
from rfgraph.errors import InputError, RfgraphError, VerificationError
from rfgraph.faithful import fidelity
from rfgraph.graph import Axis, Graph, Shape
from rfgraph.graph.guard import refuse_without_numbers
from rfgraph.graph.replay import example_inputs
from rfgraph.probe import Effective, GradientProbe, PoisonProbe
from rfgraph.probe import effective as probe_effective
from rfgraph.report import Report
from rfgraph.rules import VOCABULARY
from rfgraph.verification.blame import blame, closer
from rfgraph.verification.gradient import Gradients, gradient, shown_rows
from rfgraph.verification.ledger import Ledger
from rfgraph.verification.poison import Poison, Progress, poison
from rfgraph.verification.second_size import SecondSize, second_size
from rfgraph.verification.settle import settle
from rfgraph.verification.strips import Analyse, Strips, strips
from rfgraph.verification.verdicts import Checked, Verification

Rows: TypeAlias = Literal["auto", "all"] | int
Unknown: TypeAlias = Literal["raise", "whole", "measure"]

_CHEAP = 1 << 31  # elements that all forward passes together may look at before rows are sampled
_SAMPLE = 16
_NO_KERNEL = re.compile("not implemented for|not supported|unsupported", re.I)


def _silent(stage: str, share: float) -> None:
    pass


def verify(
    model: Model,
    inputs: Inputs = None,
    *,
    axes: Axes = None,
    on_unknown: Unknown = "raise",
    rows: Rows = "auto",
    seed: int = 0,
    progress: Progress = _silent,
) -> Verification:
    """Hold the analysis of `model` against numbers from the same model, at every node.

    A poison probe (NaN in one row of the input, the model in eval mode) looks at every node; the gradient
    of a positive linearised twin looks at outputs and at nodes where branches meet, at borders, centre and
    phases, and decides where poison differs. Fields larger than the input are checked on strips: long on
    one axis, short on the others. Closed forms are held against those of the model at a second, larger size,
    where it takes one. The captured graph and the model are run beside each other in float64.
    The model is left as it was, also on an error and on an interrupt.

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
    options = _Options(axes, on_unknown, rows, seed, progress)
    module, report, arguments = _analysed(model, inputs, options)
    with _told(report):
        return _verified(module, report, arguments, options)


@dataclass(frozen=True)
class _Options:
    """Those of `verify`."""

    axes: Axes = None
    on_unknown: Unknown = "raise"
    rows: Rows = "auto"
    seed: int = 0
    progress: Progress = _silent


@dataclass(frozen=True)
class _Phases:
    """What the phases came to: all that they say in one ledger, and what is no verdict on a node."""

    ledger: Ledger
    poisoned: Poison
    narrow: Strips
    second: SecondSize


def _analysed(
    model: Model, inputs: Inputs, options: _Options
) -> tuple[nn.Module, Report, Arguments]:
    module = opened(model)
    refuse_without_numbers(module)
    report = analyze(module, inputs, axes=options.axes, on_unknown=options.on_unknown)
    return module, report, arguments_of(module, report, inputs)


@contextmanager
def _told(report: Report) -> Iterator[None]:
    """What fails in the model's own code is told as an error of the verification."""
    try:
        yield
    except RfgraphError:
        raise
    except Exception as error:
        raise VerificationError(
            f"{report.model} cannot be verified: {type(error).__name__}: {error}{_advice(report, error)}"
        ) from error


def _verified(
    model: nn.Module, report: Report, arguments: Arguments, options: _Options
) -> Verification:
    graph = report.captured
    tensors = _tensors(graph, arguments)
    said = _phases(model, report, arguments, tensors, options)
    again = partial(_captured, leaves=options.on_unknown == "measure")
    same = fidelity(model, graph, arguments, tensors, again)
    ledger, mismatches = said.ledger, said.ledger.mismatches()
    return Verification(
        report.model,
        ledger.rows(),
        mismatches,
        blame(report, mismatches[0], partial(_agrees, options)) if mismatches else None,
        Checked(
            len(graph),
            said.poisoned.count,
            ledger.positions("poison"),
            ledger.positions("gradient"),
            said.narrow.outputs,
        ),
        not same.differs,
        same.differs,
        said.second.shapes,
        tuple(filter(None, (said.second.note, same.note))),
    )


def _phases(
    model: nn.Module,
    report: Report,
    arguments: Arguments,
    tensors: dict[str, torch.Tensor],
    options: _Options,
) -> _Phases:
    """One phase after another: what each returns is entered, and handed to those that need it."""
    graph, progress = report.captured, options.progress
    analyse = partial(_at_shapes, model, arguments, report.axes, options.on_unknown)
    probe, ledger = PoisonProbe(graph, tensors), Ledger(graph)

    poisoned = poison(report, probe, _rows(report, options.rows, options.seed), progress)
    ledger.add(poisoned.entries)
    shown = shown_rows(ledger.standing(), probe.overcounts, poisoned.rows)
    gradients = Gradients(report, GradientProbe(graph, tensors, seed=options.seed), shown)
    ledger.add(gradient(gradients, ledger.standing(), progress))
    ledger.add(settle(gradients, probe, poisoned.suspects, ledger.standing()))
    narrow = strips(report, analyse, ledger.standing().mismatches, options.seed, progress)
    ledger.add(narrow.entries)
    second = _second_size(report, analyse, ledger)
    ledger.add(second.entries)
    for first in ledger.mismatches()[:1]:
        ledger.add(closer(gradients, first))
    return _Phases(ledger, poisoned, narrow, second)


def _second_size(report: Report, analyse: Analyse, ledger: Ledger) -> SecondSize:
    """What differs at the first size is mended first."""
    if ledger.mismatches():
        return SecondSize(
            note="closed forms were not held at a second size: they differ at the first"
        )
    return second_size(report, analyse)


def _at_shapes(
    model: nn.Module,
    arguments: Arguments,
    axes: Sequence[Axis],
    on_unknown: Unknown,
    shapes: dict[str, Shape],
) -> Report:
    """The report of the model at other shapes, along the same axes."""
    dims = {name: [axis.dim for axis in axes if axis.input == name] for name in shapes}
    resized = arguments.resized({**{n: m.shape for n, m in arguments.leaves.items()}, **shapes})
    return analyze(model, resized, axes=dims, on_unknown=on_unknown)


def _captured(model: nn.Module, arguments: Arguments, leaves: bool) -> Graph:
    return capture(model, arguments, VOCABULARY, leaves=leaves).graph


def _agrees(options: _Options, model: Model, inputs: Inputs, axes: Axes) -> bool:
    """Do the numbers of a model agree, by the same phases? How its graph was captured is another question."""
    alone = _Options(axes, options.on_unknown, seed=options.seed)
    module, report, arguments = _analysed(model, inputs, alone)
    tensors = _tensors(report.captured, arguments)
    return not _phases(module, report, arguments, tensors, alone).ledger.mismatches()


def effective(
    model: Model, inputs: Inputs = None, node: str | None = None, **options: Any
) -> Effective:
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
    arguments = arguments_of(model, report, inputs)
    tensors = _tensors(report.captured, arguments) if _own(arguments) else None
    return probe_effective(report.captured, tensors, name, **options)


def _advice(report: Report, error: Exception) -> str:
    """What to do where torch has no kernel for a short dtype, as the CPU has none for some operators."""
    dtypes = {node.fx.meta["val"].dtype for node in report.captured.inputs.values() if node.fx}
    short = dtypes & {torch.float16, torch.bfloat16}
    if not short or not _NO_KERNEL.search(str(error)):
        return ""
    name = str(short.pop()).removeprefix("torch.")
    return f"; torch cannot do this in {name} here: verify a copy in float32, copy.deepcopy(model).float()"


def arguments_of(model: Model, report: Report, inputs: Inputs) -> Arguments:
    """The arguments that a report of the model is of, with `inputs` as they were passed to `analyze`."""
    worked_out = {name: node.shape for name, node in report.inputs.items()}
    return given(opened(model), worked_out if inputs is None else inputs)


def _tensors(graph: Graph, arguments: Arguments) -> dict[str, torch.Tensor]:
    """The caller's own tensors, and seeded random ones where there are but shapes."""
    return {**example_inputs(graph, None), **_own(arguments)}


def _own(arguments: Arguments) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in arguments.given.items() if not tensor.is_meta}


def _rows(report: Report, rows: Rows, seed: int) -> dict[Axis, list[int]]:
    """The rows to poison of each tracked axis: none where the input holds integers."""
    inputs = report.captured.inputs
    lengths = {
        axis: inputs[axis.input].shape[axis.dim]
        for axis in report.axes
        if inputs[axis.input].params["is_float"]
    }
    if rows == "auto":
        elements = sum(torch.Size(node.shape).numel() for node in report.captured)
        rows = "all" if elements * sum(lengths.values()) <= _CHEAP else _SAMPLE
    return {axis: _chosen(length, rows, seed) for axis, length in lengths.items()}


def _chosen(length: int, rows: Literal["all"] | int, seed: int) -> list[int]:
    """Borders, centre and a seeded sample of the rows of one axis; or all."""
    if not isinstance(rows, int) or rows >= length:
        return list(range(length))
    firm = dict.fromkeys([0, length - 1, length // 2, 1 % length, max(length - 2, 0)])
    rest = [row for row in range(length) if row not in firm]
    sample = random.Random(seed).sample(rest, max(min(rows - len(firm), len(rest)), 0))
    return sorted([*firm, *sample][:rows])
