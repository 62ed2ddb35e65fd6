"""What must agree on one random model: the probes, the sized sets, the hulls, the closed form.

In: a description or a report. Out: counts of what agreed, or an AssertionError that says where it did not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product

import networkx as nx
import numpy as np

import rfgraph
from rfgraph import Axis, AxisReads, InputError, Report, VerificationError
from rfgraph.language.readings import readings, reads_of
from rfgraph.probe import GradientProbe
from rfgraph.propagation.sets import AtSize
from rfgraph.report import NodeReport
from rfgraph.rules import VOCABULARY
from rfgraph.testing.describe import Description
from rfgraph.verification import Mismatch, Verification
from tests.rules.lowering import rows

Inner = list[bool] | None
"""Of a node along one axis: which positions read no border on any path; of a past read, where it ends.

None: no law, or opaque.
"""
_PARTS = frozenset("getitem select narrow unbind chunk split".split())
"""Operators that may take some of the channels."""
OF_ONE = frozenset("setitem reshape view flatten squeeze".split())
"""Operators to which one position may be all."""


# --- the probes ---------------------------------------------------------------------------------


def verified(description: Description) -> Verification:
    """`rfgraph.verify` with every row; no probe contradicts the analysis but where `excused`."""
    model = description.build()
    found = rfgraph.verify(model, description.input_shapes, rows="all")
    if not found.agrees:
        report = rfgraph.analyze(model, description.input_shapes)
        wrong = [m for m in found.mismatches if not excused(report, m)]
        assert found.faithful and not wrong, str(found)
    return found


def excused(report: Report, mismatch: Mismatch) -> bool:
    """What is known to be wrong, and written down, in `test_known_limits.py`.

    One position of a map is all of it here, and not where there are more: a write by its number leaves nothing
    beside it, and a reshape or a squeeze of it has no dim for it. Neither is seen at one size; `verify` tells by a second one, and
    blames the very node, before which nothing differs.
    """
    node = report[mismatch.node]
    if mismatch.kind == "size-dependent":
        shapes = (report[name].shape for name in (node.name, *node.operands))
        return node.op in OF_ONE and any(1 in shape[2:] for shape in shapes)
    if mismatch.kind != "overstated":
        return False
    if _behind_times_nothing(report, mismatch.node) or _fills_with_what_is_there(report, mismatch):
        return True  # of outputs that the gradient alone looks at
    return mismatch.local and "pixel_unshuffle" in _ops(report, mismatch.node)


def _times_nothing(report: Report, node: NodeReport) -> bool:
    """A product some factor of which reads nothing somewhere, and is 0 there where no bias is added."""
    return any(
        not _reads_anything(report[name], index)
        for name in node.operands
        for index in product(*map(range, node.shape))
    )


def _reads_anything(operand: NodeReport, index: tuple[int, ...]) -> bool:
    """An operand, at a position of what it is broadcast to."""
    own = tuple(i if n > 1 else 0 for i, n in zip(index, operand.shape, strict=True))
    return any(
        len(reads.members(dict(enumerate(own))))
        for field in operand.rfs.values()
        for reads in field
    )


def _behind_times_nothing(report: Report, name: str) -> bool:
    """There the gradient sees the exact 0; the analysis, and a NaN, do not (`test_known_limits.py`)."""
    before = (report[other] for other in _before(report, name))
    return any(node.op == "mul" and _times_nothing(report, node) for node in before)


def _fills_with_what_is_there(report: Report, mismatch: Mismatch) -> bool:
    """A computed mask puts a number where nothing is read, which may be that number: it is the same then."""
    node = report[mismatch.node]
    if node.op != "masked_fill":
        return False
    filled, at = report[node.operands[0]], mismatch.position.items()
    places = product(*map(range, node.shape))
    here = (index for index in places if all(index[dim] == i for dim, i in at))
    return not any(_reads_anything(filled, index) for index in here)


def _ops(report: Report, name: str) -> set[str]:
    return {report[other].op for other in _before(report, name)}


def _before(report: Report, name: str) -> set[str]:
    return {name, *nx.ancestors(report.graph, name)}


# --- sized sets ---------------------------------------------------------------------------------


def held_at_size(report: Report, names: Sequence[str], most: int = 200) -> int:
    """The sized sets of these nodes equal the gradient probe's, at every position along every axis."""
    gradient, count = GradientProbe(report.captured), 0
    for name in names:
        node = report[name]
        places = list(islice(product(*(range(node.shape[dim]) for dim in node.dims)), most))
        joints = gradient.joints(name, [dict(zip(node.dims, p, strict=True)) for p in places])
        for place, joint in zip(places, joints, strict=True):
            for input, axis, dim in axes_of(node, report):
                others = tuple(d for d in range(joint[input].ndim) if d != dim)
                numeric = np.flatnonzero(joint[input].any(axis=others)).tolist()
                sized = node.reads(axis, place, input).tolist()
                same = numeric == sized or (
                    set(numeric) < set(sized) and _behind_times_nothing(report, name)
                )
                assert same, f"{name!r} at {place}, axis {axis} of {input!r}: {sized} != {numeric}"
                count += 1
    return count


def axes_of(node: NodeReport, report: Report) -> Iterator[tuple[str, int, int]]:
    """(input, its axis by number, its dim) for every axis of every input that the node reads."""
    for input in node.rfs:
        dims = (axis.dim for axis in report.axes if axis.input == input)
        yield from ((input, axis, dim) for axis, dim in enumerate(dims))


# --- hulls --------------------------------------------------------------------------------------


def held_as_hulls(report: Report) -> int:
    """Hulls propagated as hulls are the hulls of the sets, at every node and position."""
    hulls, sets = (
        AtSize(readings(report.captured, VOCABULARY), budget=size) for size in (0, 1 << 28)
    )
    count = 0
    for node, axis in product(report.nodes, report.axes):
        one, other = hulls.sets(node.name, axis), sets.sets(node.name, axis)
        assert (one is None) == (other is None), f"{node.name!r} reads nothing by one of the two"
        if one is not None and other is not None:
            assert (one[0].exact, other[0].exact) == (False, True)
            pairs = zip(one[0].hull(one[1]), other[0].hull(other[1]), strict=True)
            for side, (mine, its) in zip(("lo", "hi"), pairs, strict=True):
                assert np.array_equal(*np.broadcast_arrays(mine, its)), f"{node.name!r}: {side}"
            count += int(other[1][..., 0].size)
    return count


# --- the closed form ----------------------------------------------------------------------------


def held_inside(report: Report) -> int:
    """Where no border is read on any path, the sized answer is what the closed form says.

    A border: a position outside an operand, at any node on the way, or one at which an assignment is not what
    it is inside of its slice. It is followed from the reads of the rules, position by position, and not
    through any domain.
    """
    count = 0
    for axis in report.axes:
        less = read_less(report, axis)
        for name, inner in inner_of(report, axis).items():
            count += _law_holds(report[name].at(axis), inner, name in less)
    return count


def inner_of(report: Report, axis: Axis) -> dict[str, Inner]:
    """Of every node that an axis leads to, which positions read no border."""
    inner: dict[str, Inner] = {}
    for node in report.nodes:
        if node.at(axis).is_connected:
            inner[node.name] = _inner(report, node, axis, inner)
    return inner


def _inner(report: Report, node: NodeReport, axis: Axis, inner: dict[str, Inner]) -> Inner:
    dim = _dim(node.at(axis))
    if dim is None:
        return None
    if node.op == "input":
        return [True] * node.shape[dim]
    found = [True] * node.shape[dim]
    captured = report.captured[node.name]
    for read in reads_of(captured, VOCABULARY):
        name = captured.operands[read.operand]
        if not report[name].at(axis).is_connected:
            continue
        before, its = inner[name], _dim(report[name].at(axis))
        place = None if its is None else read.dims[its]
        law = None if place is None or place.dims != (dim,) else place.law or place.proposed
        if before is None or law is None or law.extent is not None:
            return None
        for output in range(len(found)):
            asked = rows(law.relation, output)
            found[output] &= all(0 <= i < len(before) and before[i] for i in asked)
            if node.op == "setitem" and place is not None and place.at is not None:
                found[output] &= list(place.at((output,))) == list(asked)
    return found


def _dim(reads: AxisReads) -> int | None:
    """The one dim of the node that an axis lies along, where it has a closed form."""
    has_law = reads.relation is not None or bool(reads.unbounded)
    closed = not reads.whole and reads.closed_form and has_law
    return reads.dims[0] if closed and len(reads.dims) == 1 else None


def _law_holds(reads: AxisReads, inner: Inner, may_be_less: bool) -> int:
    law = reads.relation
    if inner is None or law is None:
        return 0
    (dim,) = reads.dims
    for output in (o for o, inside in enumerate(inner) if inside):
        sized, closed = reads.members({dim: output}).tolist(), list(law.at(output))
        same = set(sized) <= set(closed) if may_be_less else sized == closed
        assert same, (
            f"{reads.node!r} along {tuple(reads.axis)} at {output}: sized {sized}, closed form {closed}"
        )
    return sum(inner)


def read_less(report: Report, axis: Axis) -> set[str]:
    """Nodes at or behind which some positions read less than the closed form, which unites dims such as channels.

    That is nothing, where nothing is read along another axis; what one part of the channels reads; or, of taps
    that are no product, as a mask in raster order leaves them, those that no border along another axis hides.
    """
    found: set[str] = set()
    for node in report.nodes:
        if (
            any(name in found for name in node.operands)
            or _is_empty_somewhere(report, node, axis)
            or (node.op in _PARTS and any(_varies(report[n].at(axis)) for n in node.operands))
            or (_is_no_product(report, node) and len(report.axes) > 1)
        ):
            found.add(node.name)
    return found


def _is_no_product(report: Report, node: NodeReport) -> bool:
    """Are the taps of a convolution several boxes, as a mask leaves them?"""
    return "conv" in node.op and len(reads_of(report.captured[node.name], VOCABULARY)) > len(
        node.operands
    )


def _varies(reads: AxisReads) -> bool:
    """Do positions differ along dims that the axis does not lie along?"""
    found = reads.at_size.sets(reads.node, reads.axis) if reads.is_connected else None
    if found is None:
        return False
    others = [dim for dim in range(found[1].ndim - 1) if dim not in reads.dims]
    first = tuple(slice(0, 1) if dim in others else slice(None) for dim in range(found[1].ndim))
    return bool((found[1] != found[1][first]).any())


def _is_empty_somewhere(report: Report, node: NodeReport, axis: Axis) -> bool:
    """Along another axis at any position; along this one at some positions of the dims it does not lie along."""
    return any(
        _is_empty(node.at(other), node.at(other).dims if other == axis else ())
        for other in report.axes
        if node.at(other).is_connected
    )


def _is_empty(reads: AxisReads, kept: tuple[int, ...]) -> bool:
    """Is nothing read somewhere? For each position of the dims that are kept: somewhere, and not everywhere."""
    found = reads.at_size.sets(reads.node, reads.axis)
    if found is None:
        return not kept
    empty = ~found[1].any(axis=-1)
    others = tuple(dim for dim in range(empty.ndim) if dim not in kept)
    somewhere, everywhere = empty.any(axis=others), empty.all(axis=others)
    return bool((somewhere & ~everywhere).any() if kept else somewhere)


# --- all of it ----------------------------------------------------------------------------------


def contradiction(description: Description) -> str:
    """What is wrong with the analysis of this model, by the probes and by its own closed form, or nothing."""
    try:
        verified(description)
        held_inside(rfgraph.analyze(description.build(), description.input_shapes))
    except (AssertionError, VerificationError, InputError, RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
