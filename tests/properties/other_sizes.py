"""Closed forms claim every size: they are held at two others, and those that could be claimed are counted.

In: a report, how to analyse the model at other shapes. Out: counts, or an AssertionError that names the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from rfgraph import Axis, AxisReads, Report, RfgraphError
from rfgraph.report import NodeReport
from rfgraph.sizes import by_grids, by_half, fit, grid_of, in_proportion, resized
from rfgraph.sizes.choice import Larger
from rfgraph.sizes.compare import is_to_a_size, sites, twins
from tests.properties.agreement import OF_ONE, held_inside
from tests.properties.figures import Sets, law_of

Shapes = dict[str, tuple[int, ...]]
Analyse = Callable[[Shapes], Report]
FIGURES = (
    *("whole", "unbounded", "closed_form", "dims", "size", "size_range", "stride", "offset"),
    *("dilation", "holes", "density", "period", "advance", "phases", "reach", "lookahead", "halo"),
)
ANY = (
    (lambda n, grid: n + 1, lambda n, grid: n + 3, by_grids(1), by_grids(2)),
    (in_proportion, by_half(2), lambda n, grid: 3 * n, by_grids(5)),
)
"""One size near and one far: the first of each that a model takes."""
GRIDS = ((by_grids(1), by_grids(2)), (by_half(2), by_grids(5)))
"""Some grids further: where a model resamples to the size of a tensor, at others that has another rate, and no more
than the same rate is claimed (`docs/theory.md`)."""


def other_reports(
    report: Report, analyse: Analyse, sizes: Sequence[Sequence[Larger]] | None = None
) -> list[Report]:
    """The model at a size near its own and at one far from it, where it takes such."""
    found: list[Report] = []
    if sizes is None:
        graph = report.captured
        sizes = GRIDS if graph.asked and any(map(is_to_a_size, graph)) else ANY
    for each in sizes:
        taken = (analysed(report, analyse, shapes) for shapes in _resized(report, each))
        found += islice((other for other in taken if other is not None), 1)
    return found


def _resized(report: Report, sizes: Iterable[Larger]) -> Iterator[Shapes]:
    """But for those that take long: where grids of several axes have a large common multiple."""
    own = {name: node.shape for name, node in report.inputs.items()}
    for shapes in resized(report.captured, report.axes, _grid_of(report), sizes):
        if all(max(shapes[name]) <= max(4 * max(own[name]), 40) for name in own):
            yield shapes


def _grid_of(report: Report) -> int:
    """The least common multiple of all advances, those of what is read beside a whole read among them."""
    local = (node.at(axis).local for node, axis in _rows(report))
    return grid_of(row.relation for row in local if row is not None)


def analysed(report: Report, analyse: Analyse, shapes: Shapes) -> Report | None:
    """The model at these shapes; None where it does not take them, or repeats there what it does not here."""
    try:
        other = analyse(shapes)
    except RfgraphError:
        return None
    return other if fit(report.captured, other.captured) else None


def held_at_other_sizes(report: Report, others: list[Report], inside: bool = True) -> int:
    """How many rows claim a closed form, and say the same at each of the other sizes.

    `inside`: what they say is held against the sets of each position of the first of them, too.
    """
    count = 0
    for other in others:
        if inside and other is others[0]:  # the nearest is the smallest
            held_inside(other)
        there = _twins(report, other)
        one_here = _behind_one(report, other, there)
        for node, axis in _rows(report):
            row = node.at(axis)
            if row.closed_form and row.size and node.name not in one_here:
                one = figures(row)
                its = figures(other[there[node.name]].at(axis)) if node.name in there else None
                assert one == its, f"{node.name!r} along {tuple(axis)}: {_differ(one, its)}"
                count += 1
    return count


def _rows(report: Report) -> Iterator[tuple[NodeReport, Axis]]:
    yield from (
        (node, axis) for node in report.nodes for axis in report.axes if node.at(axis).is_connected
    )


def figures(row: AxisReads) -> dict[str, Any]:
    """All that a row says, and all that it says locally."""
    local = row.local if row.is_endless else None
    inner = {} if local is None else {f"local {name}": getattr(local, name) for name in FIGURES}
    return {**{name: getattr(row, name) for name in FIGURES}, **inner}


def _differ(one: Mapping[str, Any], other: Mapping[str, Any] | None) -> str:
    if other is None:
        return "there is no such node at another size"
    names = (name for name in {**one, **other} if one.get(name) != other.get(name))
    return ", ".join(
        f"{name} is {one.get(name)}, and {other.get(name)} at another size" for name in names
    )


def _twins(report: Report, other: Report) -> dict[str, str]:
    """By the place in the code; where that has made fewer there, as of views that are made anew, by the name."""
    alike = {n.name: n.name for n in report.nodes if n.name in other and other[n.name].op == n.op}
    return {**alike, **twins(sites(report.captured), sites(other.captured))}


def _behind_one(report: Report, other: Report, there: Mapping[str, str]) -> set[str]:
    """Nodes at or behind a write or a reshape of one position where there are more at the other size.

    It is all of that axis at this size alone: see `agreement.excused`.
    """
    found: set[str] = set()
    for node in report.nodes:
        names = (name for name in (node.name, *node.operands) if name in there)
        pairs = ((report[name].shape, other[there[name]].shape) for name in names)
        grows = any(n == 1 < more for own, its in pairs for n, more in zip(own, its, strict=False))
        if (node.op in OF_ONE and grows) or any(name in found for name in node.operands):
            found.add(node.name)
    return found


# --- what could be claimed, and is not ------------------------------------------------------------


def unclaimed(report: Report, others: list[Report]) -> Counter[str]:
    """Rows without a closed form whose reads follow one law in the middle of all three sizes, by reason."""
    counts: Counter[str] = Counter()
    for node, axis in _rows(report) if len(others) == 2 else ():
        row = node.at(axis)
        if row.closed_form or row.whole:
            continue
        counts["rows without a closed form"] += 1
        names = [_twins(report, other).get(node.name) for other in others]
        if all(names):
            rows = [
                row,
                *(other[name or ""].at(axis) for other, name in zip(others, names, strict=True)),
            ]
            if _follow_one_law(rows):
                counts[" / ".join(dict.fromkeys(limit.reason for limit in row.limits))] += 1
    return counts


def _follow_one_law(rows: list[AxisReads]) -> bool:
    if len({row.dims for row in rows}) > 1 or len(rows[0].dims) != 1:
        return False
    *smaller, largest = sorted(map(_middle, rows), key=len)
    law = law_of(largest)
    if law is None or len(largest) < 3 * law.period:
        return False
    return all(
        read == frozenset(i + o // law.period * law.advance for i in law.sets[o % law.period])
        for sets in smaller
        for o, read in sets.items()
    )


def _middle(row: AxisReads) -> Sets:
    """What the positions of the middle half read."""
    (dim,) = row.dims
    size = row.at_size.shape(row.node)[dim]
    inner = range(size // 4, size - size // 4)
    return {o: frozenset(row.members({dim: o}).tolist()) for o in inner}
