"""What a program reads, by redrawing rows of its input; and what a report says otherwise.

In: a program, a report. Out: faults, and counts of what was held.

Several inputs of different scale and sign are drawn. What is not finite is not looked at, nor what comes after it: a
NaN times a zero is no read. Nor is what torch itself gets wrong (`_is_torchs_fault`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph import Axis
from tests.hostile.program import Program, Statement, run

LARGEST = 30_000  # elements of all variables at another size
LITERAL = frozenset(("reshape", "view"))
SCALES = (1.0, 0.3, 3.0)
ROUNDING = 1e-13
FIGURES = (
    "size size_range stride dilation offset holes density period advance phases interior reach lookahead halo whole "
    "unbounded united closed_form relation dims causes limits marks local"
).split()


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, with what shows it."""

    kind: str
    program: Program
    variable: str
    told: str
    shown_by: str = ""

    def __str__(self) -> str:
        return f"# {self.kind}: {self.told}\n{self.program.script()}{self.shown_by}\n"


@dataclass
class Found:
    """What was held of one program."""

    counts: Counter[str] = field(default_factory=Counter)
    overstated: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)


def inputs(shape: tuple[int, ...], scales: Sequence[float] = SCALES) -> Iterator[Tensor]:
    """Numbers of either sign, and where the scale is less than one, positive ones."""
    torch.default_generator.manual_seed(7)
    for scale in scales:
        x = scale * torch.randn(shape)
        yield x.abs() + 0.05 if scale < 1 else x


def redrawn(x: Tensor, axis: int, rows: Sequence[int]) -> Tensor:
    """Other numbers in some rows, of the same sort."""
    z = x.clone()
    where = (slice(None),) * axis + (list(rows),)
    other = torch.randn_like(z[where]) * (1 + x.abs().mean())
    z[where] = other.abs() + 0.05 if bool((x > 0).all()) else other
    return z


def seen(program: Program, model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Every variable behind which there are numbers alone; none where torch refuses these, as a computed index."""
    try:
        values = run(model, x)
    except Exception:
        return {}
    blind: set[str] = set()
    for statement in program.statements:
        value = values[statement.name]
        if _is_lost(value) or _is_torchs_fault(statement, value) or statement.uses & blind:
            blind |= {statement.name, *(statement.uses if statement.writes else ())} - {"x"}
    if blind and any(statement.writes for statement in program.statements):
        return {}
    return {name: value for name, value in values.items() if name not in blind}


def _is_lost(value: Tensor) -> bool:
    """Is it past what numbers say? An infinite constant is as good as any."""
    if not (value.is_floating_point() or value.is_complex()):
        return False
    return bool((value.isnan() | ((value.abs() > 1e100) & ~value.isinf())).any())


def _is_torchs_fault(statement: Statement, value: Tensor) -> bool:
    """An antialiased map of one column, each of whose rows torch 2.13 gives the weights of one row; a map of no
    elements, which `pixel_unshuffle` returns as it is; weights in float32, which are 1e-8 where they are 0."""
    text = "".join(statement.lines)
    if "interpolate" in text + statement.operator and value.dtype != torch.float64:
        return True
    if "antialias" in text:
        return value.shape[-1] == 1 < value.shape[-2]
    return "pixel_unshuffle" in text and not value.numel()


def differ(one: Tensor, other: Tensor) -> np.ndarray:
    """Which elements are others, by more than rounding: a weight of 1e-17 where a kernel ends is none."""
    if one.shape != other.shape:
        return np.ones(tuple(one.shape), bool)
    if not (one.is_floating_point() or one.is_complex()) or one.dtype != other.dtype:
        return np.asarray((one != other).numpy())
    return np.asarray((~torch.isclose(one, other, rtol=ROUNDING, atol=0)).numpy())


def dependence(program: Program, model: nn.Module) -> dict[int, dict[str, np.ndarray]]:
    """By axis and variable: which elements change (all dims of the variable, then rows of the input)."""
    found: dict[int, dict[str, np.ndarray]] = {axis: {} for axis in program.tracked}
    for x in inputs(program.shape):
        base = seen(program, model, x)
        for axis, row in rows_of(program):
            other = seen(program, model, redrawn(x, axis, [row]))
            for name in base.keys() & other.keys():
                changed = differ(base[name], other[name])
                shape = (*changed.shape, program.shape[axis])
                found[axis].setdefault(name, np.zeros(shape, bool))[..., row] |= changed
    return found


def rows_of(program: Program) -> Iterator[tuple[int, int]]:
    yield from ((axis, row) for axis in program.tracked for row in range(program.shape[axis]))


def held(program: Program, rng: random.Random, positions: int = 5, told: bool = True) -> Found:
    """Analyse it, and hold what the report says."""
    found = Found()
    try:
        report = rfgraph.analyze(program.build(), program.shape, axes=program.axes)
    except rfgraph.RfgraphError as error:
        found.counts["refused"] += 1
        found.counts[f"refused: {_first_line(error)}"] += 1
        return found
    except Exception as error:
        last = program.statements[-1].name
        found.faults.append(Fault("crash", program, last, f"{type(error).__name__}: {error}"))
        return found
    model = program.build()
    values = seen(program, model, next(iter(inputs(program.shape))))
    _hold_shapes(program, report, values, found)
    _hold_sets(program, report, dependence(program, model), rng, positions, found)
    _hold_figures(program, report, found, told)
    if not found.faults:
        _hold_laws(program, report, rng, found)
    return found


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _hold_shapes(
    program: Program, report: rfgraph.Report, values: Mapping[str, Tensor], found: Found
) -> None:
    for name, node in report.outputs.items():
        if name in values and tuple(values[name].shape) != node.shape:
            told = f"{name} has shape {tuple(values[name].shape)}, and not {node.shape}"
            found.faults.append(Fault("shape", program, name, told))


def _hold_sets(
    program: Program,
    report: rfgraph.Report,
    by_axis: Mapping[int, Mapping[str, np.ndarray]],
    rng: random.Random,
    positions: int,
    found: Found,
) -> None:
    for axis, by_name in by_axis.items():
        for name, depends in by_name.items():
            if any(fault.variable == name for fault in found.faults):
                continue
            for place in sampled(depends.shape[:-1], rng, positions):
                want = set(np.flatnonzero(depends[place]).tolist())
                shown = _members(name, axis, place)
                try:
                    got = members(report, name, axis, place)
                except rfgraph.RfgraphError as error:
                    found.counts[f"refused: {_first_line(error)}"] += 1
                    break
                except Exception as error:
                    told = f"{type(error).__name__}: {error}"
                    found.faults.append(Fault("crash", program, name, told, shown))
                    break
                found.counts["positions"] += 1
                if want - got:
                    told = f"{name} at {place} reads {sorted(want)} of axis {axis}, and not {sorted(got)}"
                    found.faults.append(Fault("understated", program, name, told, shown))
                    break
                found.counts["positions agreed"] += got == want
                if got != want:
                    found.overstated.add(name)


def _members(name: str, axis: int, place: tuple[int, ...]) -> str:
    where = dict(enumerate(place))
    return f'print(report.outputs["{name}"].at(rfgraph.Axis("x", {axis})).members({where}))'


def members(report: rfgraph.Report, name: str, axis: int, place: tuple[int, ...]) -> set[int]:
    """What the report says; nothing of a variable that it does not list."""
    if name not in report.outputs:
        return set()
    node = report.outputs[name]
    return set(node.at(Axis("x", axis)).members(dict(enumerate(place))).tolist())


def sampled(shape: tuple[int, ...], rng: random.Random, count: int) -> Iterator[tuple[int, ...]]:
    """The two ends, and some between; all of them where these are few."""
    if int(np.prod(shape)) <= count:
        yield from product(*map(range, shape))
        return
    yield tuple(0 for _ in shape)
    yield tuple(size - 1 for size in shape)
    for _ in range(count - 2):
        yield tuple(rng.randrange(size) for size in shape)


def _hold_figures(program: Program, report: rfgraph.Report, found: Found, told: bool) -> None:
    """Every figure of every row can be asked for, as can the report's text."""
    for name, node in report.outputs.items():
        try:
            for axis in report.axes:
                for figure in FIGURES:
                    getattr(node.at(axis), figure)
            if node.shape and 0 not in node.shape and node.rfs:
                node.region((0,) * len(node.shape))
        except rfgraph.RfgraphError as error:
            found.counts[f"figures refused: {_first_line(error)}"] += 1
        except Exception as error:
            text = f"of figures: {type(error).__name__}: {error}"
            found.faults.append(Fault("crash", program, name, text))
            return
    if told:
        try:
            str(report)
            report.to_json()
        except Exception as error:
            text = f"of str or to_json: {type(error).__name__}: {error}"
            found.faults.append(Fault("crash", program, program.statements[-1].name, text))


# --- closed forms at other sizes ------------------------------------------------------------------


def _hold_laws(program: Program, report: rfgraph.Report, rng: random.Random, found: Found) -> None:
    """Not of a program that writes into tensors of a literal size: torch makes them larger, with a warning, where
    the analysis takes no second size."""
    if any("out=" in line for statement in program.statements for line in statement.lines):
        return
    for shape in other_shapes(program, rng):
        there = program.at(shape)
        try:
            model = there.build()
            values = run(model, next(iter(inputs(shape))))
        except Exception:
            found.counts["sizes that torch refuses"] += 1
            continue
        found.counts["sizes"] += 1
        shapes = {name: tuple(value.shape) for name, value in values.items()}
        if sum(value.numel() for value in values.values()) > LARGEST:
            continue
        less = _behind_one(program, report, shapes)
        found.counts["variables of one position that grows"] += len(less)
        for name, axis in product(sorted(report.outputs.keys() - less), there.tracked):
            if len(shapes[name]) == len(report.outputs[name].shape):
                _hold_law(there, model, report, (name, axis, shapes[name]), rng, found)


def _behind_one(
    program: Program, report: rfgraph.Report, shapes: Mapping[str, tuple[int, ...]]
) -> set[str]:
    """Variables whose closed form is not held at another size, and all behind them.

    One position where there are more is all of it here (`test_known_limits.py`). A literal size that is that of
    an axis here (`reshape(4, -1, 7)` of 7 columns) is another thing where the axis has grown.
    """
    found: set[str] = set()
    for statement in program.statements:
        name = statement.name
        here = report.outputs[name].shape if name in report.outputs else shapes[name]
        if statement.operator in LITERAL:
            found.add(name)
        grows = any(one == 1 < more for one, more in zip(here, shapes[name], strict=False))
        if grows or statement.uses & found:
            found.add(name)
    return found


def other_shapes(program: Program, rng: random.Random) -> Iterator[tuple[int, ...]]:
    """All axes a little longer, and one axis of them so long that no border touches its middle."""
    grown = [dim for dim in program.tracked if program.shape[dim] > 1]
    if not grown:
        return
    more, far = rng.randint(1, 3), rng.choice(grown)
    near = tuple(n + more * (dim in grown) for dim, n in enumerate(program.shape))
    yield near
    yield tuple(3 * n + 12 if dim == far else n for dim, n in enumerate(near))


def _hold_law(
    there: Program,
    model: nn.Module,
    report: rfgraph.Report,
    at: tuple[str, int, tuple[int, ...]],
    rng: random.Random,
    found: Found,
) -> None:
    """In the middle of another size, what is outside of the closed form is redrawn, and nothing changes."""
    name, axis, shape = at
    row, length = report.outputs[name].at(Axis("x", axis)), there.shape[axis]
    before = report.inputs["x"].shape[axis]
    if before in (1, length) or not row.closed_form or row.whole:
        return
    law = row.end if row.unbounded else row.relation
    if law is None or len(row.dims) > 1:
        return
    size = shape[row.dims[0]] if row.dims else 1
    middle = range(size // 4, size - size // 4)
    if row.interior and row.dims and size == report.outputs[name].shape[row.dims[0]]:
        first, last = row.interior  # of what has not grown
        middle = range(max(first, middle.start), min(last + 1, middle.stop))
    for output in sorted(rng.sample(middle, min(3, len(middle)))):
        read = set(law.at(output))
        if row.unbounded:
            read = set(range(max(read, default=-1) + 1))
        outside = [i for i in range(length) if i not in read]
        moving = bool(row.dims) and law.advance
        inside = all(length / 4 <= i < 3 * length / 4 for i in law.at(output))
        if not outside or not read or (moving and not inside):
            continue
        found.counts["laws"] += 1
        if _changes(there, model, (name, axis), outside, (row.dims, output)):
            told = (
                f"{name} at {output} of dim {row.dims} reads more of axis {axis} than {sorted(read)}, which the "
                f"closed form says, at {there.shape}"
            )
            shown = f'print(report.outputs["{name}"].at(rfgraph.Axis("x", {axis})).relation)'
            found.faults.append(
                Fault("closed form", there.at(report.inputs["x"].shape), name, told, shown)
            )
            return


def _changes(
    program: Program,
    model: nn.Module,
    at: tuple[str, int],
    rows: Sequence[int],
    where: tuple[tuple[int, ...], int],
) -> bool:
    (name, axis), (dims, output) = at, where
    for x in inputs(program.shape, SCALES[:2]):
        base = seen(program, model, x)
        other = seen(program, model, redrawn(x, axis, rows))
        if name in base and name in other:
            changed = differ(base[name], other[name])
            if (changed.take(output, dims[0]) if dims else changed).any():
                return True
    return False
