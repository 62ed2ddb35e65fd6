"""The second size: a closed form claims every size, so the model is analysed at another, where it takes one.

In: a report, how to analyse the model at other shapes. Out: `SecondSize`: the shapes, and a mismatch at the
first nodes whose closed form is another there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import lcm

from rfgraph.algebra.relation import Relation
from rfgraph.errors import InputError, RfgraphError
from rfgraph.graph import Axis, Position, Shape
from rfgraph.report import Report
from rfgraph.report.axis import AxisReads
from rfgraph.verification.compare import at
from rfgraph.verification.ledger import Entry
from rfgraph.verification.strips import Analyse, grid_of
from rfgraph.verification.verdicts import Mismatch

_MOST_OUTPUTS = 256


@dataclass(frozen=True)
class SecondSize:
    """What a second size says.

    Attributes:
        shapes: of the inputs there; none where the model takes no second size, which `note` then says.
    """

    entries: tuple[Entry, ...] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    note: str = ""


def second_size(report: Report, analyse: Analyse) -> SecondSize:
    """Hold every node that claims a closed form at the first of the larger sizes that the model takes."""
    if not any(_claims(report, node.name) for node in report.captured if node.op != "input"):
        return SecondSize(note="closed forms were not held at a second size: there are none")
    for shapes in _larger(report):
        try:
            other = analyse(shapes)
        except RfgraphError:
            continue
        there = _repeats(other)
        if all(there.get(name, own) == own for name, own in _repeats(report).items()):
            return SecondSize(tuple(_held(report, other)), shapes)
    return SecondSize(note="closed forms were not held at a second size: the model takes none")


def _repeats(report: Report) -> dict[str, tuple[bool, ...]]:
    """Which operands of each node are repeated: sizes of several inputs that fit by luck repeat others."""
    return {
        node.name: tuple(shape == node.shape for shape in node.operand_shapes)
        for node in report.captured
        if len(node.operands) > 1
    }


def _claims(report: Report, name: str) -> bool:
    reads = (at(report, name, axis) for axis in report.axes)
    return any(each is not None and each.closed_form for each in reads)


def _larger(report: Report) -> Iterator[dict[str, Shape]]:
    """Shapes larger by some grids along every tracked axis, no multiples of the first where grids allow it.

    By half and a few grids, so that a quarter of the size is another, too; by a few grids; by half, which
    keeps the proportions of several inputs.
    """
    grid = grid_of(report)
    sizes: tuple[Callable[[int], int], ...] = (
        lambda n: n + grid * (n // (2 * grid) + 3),
        lambda n: n + 3 * grid,
        lambda n: n + 5 * grid,
        lambda n: n * 3 // 2,
    )
    for size in sizes:
        shapes = {name: list(node.shape) for name, node in report.captured.inputs.items()}
        for name, dim in report.axes:
            n = shapes[name][dim]
            if n > 1:  # along an axis of one position, tensors are repeated
                shapes[name][dim] = size(n) + (grid if size(n) % n == 0 else 0)
        yield {name: tuple(shape) for name, shape in shapes.items()}


def _held(report: Report, other: Report) -> Iterator[Entry]:
    """The nodes that differ though none of their operands does; what is not there at the second size."""
    differing: set[str] = set()
    for node in report.captured:
        if node.name not in other:
            if _claims(report, node.name):
                yield Entry(
                    node.name, "gradient", note="at a second size, the model has no such node"
                )
            continue
        mismatch = next(_differences(report, other, node.name), None)
        if mismatch is None:
            continue
        if differing.isdisjoint(node.operands):
            yield Entry(node.name, "gradient", mismatch=mismatch)
        differing.add(node.name)


def _differences(report: Report, other: Report, name: str) -> Iterator[Mismatch]:
    inputs = report.captured.inputs
    for axis in report.axes:
        if inputs[axis.input].shape[axis.dim] == 1:
            continue  # it has but one size
        first, second = at(report, name, axis), at(other, name, axis)
        if first is None or not first.closed_form or _view(first) == _view(second):
            continue
        position = _position(first, second)
        sides = _members(report, axis, first, position), _members(other, axis, second, position)
        local = first.is_endless and second is not None and second.is_endless
        yield Mismatch(name, "second size", "size-dependent", axis, position, *sides, local)


def _view(reads: AxisReads | None) -> tuple[object, ...]:
    """All that a closed form says: every view is one of the relation, of whether the axis is read whole."""
    if reads is None:
        return (None,)
    local = reads.local if reads.is_endless else reads
    law = (None, None) if local is None else (local.dims, local.relation)
    return (reads.whole, reads.end, reads.closed_form, *law)


def _law(reads: AxisReads | None) -> Relation | None:
    local = reads.local if reads is not None and reads.is_endless else reads
    return None if local is None else local.relation


def _position(first: AxisReads, second: AxisReads | None) -> Position:
    """The first at which the laws differ, or the first of all."""
    one, other = _law(first), _law(second)
    local = first.local if first.is_endless else first
    dims = () if local is None else local.dims
    if one is None or other is None:
        return dict.fromkeys(dims, 0)
    outputs = range(min(lcm(one.period, other.period) + 1, _MOST_OUTPUTS))
    output = next((o for o in outputs if one.at(o) != other.at(o)), 0)
    return dict.fromkeys(dims, output)


def _members(
    report: Report, axis: Axis, reads: AxisReads | None, position: Position
) -> tuple[int, ...]:
    """What a position reads, by its law; where there is none, at the size of the report."""
    if reads is None:
        return ()
    law = _law(reads)
    output = next(iter(position.values()), 0)
    if law is not None and len(position) == 1:
        return tuple(law.at(output))
    if reads.is_endless:
        return tuple(range(report.captured.inputs[axis.input].shape[axis.dim]))
    try:
        return tuple(reads.members(position).tolist())
    except InputError:  # an axis so long that hulls alone are kept, or no such position there
        return ()
