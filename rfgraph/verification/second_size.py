"""The second size: a closed form claims every size, so the model is analysed at another, where it takes one.

In: a report, how to analyse the model at other shapes. Out: `SecondSize`: the shapes, and a mismatch at the
first nodes whose closed form is another there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import lcm

from rfgraph.algebra.relation import Relation
from rfgraph.errors import InputError, RfgraphError
from rfgraph.graph import Axis, Position, Shape
from rfgraph.report import Report
from rfgraph.report.axis import AxisReads
from rfgraph.sizes import (
    by_grids,
    by_half,
    fit,
    grid_of,
    in_proportion,
    resized,
    sites,
    twins,
    view,
)
from rfgraph.verification.compare import at
from rfgraph.verification.ledger import Entry
from rfgraph.verification.strips import Analyse
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
        if fit(report.captured, other.captured):
            return SecondSize(tuple(_held(report, other)), shapes)
    return SecondSize(note="closed forms were not held at a second size: the model takes none")


def _claims(report: Report, name: str) -> bool:
    reads = (at(report, name, axis) for axis in report.axes)
    return any(each is not None and each.closed_form for each in reads)


def _larger(report: Report) -> Iterator[dict[str, Shape]]:
    """By half and a few grids, so that a quarter of the size is another, too; by a few; by half.

    They begin with another size than that which an analysis looks at where a forward asks for one.
    """
    sizes = (by_half(3), by_grids(3), by_grids(5), in_proportion)
    return resized(report.captured, report.axes, _grid_of(report), sizes)


def _grid_of(report: Report) -> int:
    """The least common multiple of all advances, those of what is read beside a whole read among them."""
    rows = (at(report, node.name, axis) for node in report.captured for axis in report.axes)
    return grid_of(row.bounded.relation for row in rows if row is not None)


def _held(report: Report, other: Report) -> Iterator[Entry]:
    """The nodes that differ though none of their operands does; what is not there at the second size."""
    differing: set[str] = set()
    there = _twins(report, other)
    for node in report.captured:
        twin = there.get(node.name)
        if twin is None:
            if _claims(report, node.name):
                yield Entry(
                    node.name, "gradient", note="at a second size, the model has no such node"
                )
            continue
        mismatch = next(_differences(report, other, node.name, twin), None)
        if mismatch is None:
            continue
        if differing.isdisjoint(node.operands):
            yield Entry(node.name, "gradient", mismatch=mismatch)
        differing.add(node.name)


def _twins(report: Report, other: Report) -> dict[str, str]:
    """By the place in the code: names count the nodes of a loop; where that has made others, by the name."""
    nodes = (node for node in report.captured if node.name in other)
    alike = {n.name: n.name for n in nodes if other[n.name].op == n.op}
    return {**alike, **twins(sites(report.captured), sites(other.captured))}


def _differences(report: Report, other: Report, name: str, twin: str) -> Iterator[Mismatch]:
    inputs = report.captured.inputs
    for axis in report.axes:
        if inputs[axis.input].shape[axis.dim] == 1:
            continue  # it has but one size
        first, second = at(report, name, axis), at(other, twin, axis)
        if first is None or not first.closed_form or _view(first) == _view(second):
            continue
        position = _position(first, second)
        sides = _members(report, axis, first, position), _members(other, axis, second, position)
        local = first.is_endless and second is not None and second.is_endless
        yield Mismatch(name, "second size", "size-dependent", axis, position, *sides, local)


def _view(reads: AxisReads | None) -> tuple[object, ...]:
    return view(None if reads is None else reads.shown)


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
