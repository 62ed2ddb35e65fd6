"""Two reports of one model that was captured in two ways: what must be the same.

In: reports, and the paths of the modules to compare. Out: nothing, or an `AssertionError` that names the node.
"""

from __future__ import annotations

from collections.abc import Iterable

import rfgraph
from rfgraph.sizes.compare import COMPUTED

FIGURES = ("size", "stride", "offset", "holes", "closed_form", "relations")


def assert_same(one: rfgraph.Report, other: rfgraph.Report, paths: Iterable[str]) -> None:
    """The modules at these paths that are nodes of `one`, inputs and outputs: names, shapes and figures."""
    assert list(one.outputs) == list(other.outputs)
    assert list(one.inputs) == list(other.inputs)
    nodes = [path for path in paths if path in one]
    assert nodes
    pairs = [(one[path], other[path]) for path in (*nodes, *one.inputs)]
    for ours, theirs in (*pairs, *zip(one.outputs.values(), other.outputs.values(), strict=True)):
        assert ours.shape == theirs.shape, ours.name
        assert ours.rfs.keys() == theirs.rfs.keys(), ours.name
        for name, field in ours.rfs.items():
            assert_equal(field, theirs.rfs[name], ours.name)


def is_of_this_size(field: rfgraph.ReceptiveField) -> bool:
    """A program that was exported at one size asks for none: it cannot say that a row holds at no other."""
    return any(limit.reason == COMPUTED for limit in field.limits)


def assert_equal(one: rfgraph.ReceptiveField, other: rfgraph.ReceptiveField, node: str) -> None:
    """All figures; of what holds at this size only, all but whether it does."""
    figures = [each for each in FIGURES if each != "closed_form" or not is_of_this_size(one)]
    told = [[getattr(field, figure) for figure in figures] for field in (one, other)]
    assert told[0] == told[1], node
    assert (one.local is None) == (other.local is None), node
    if one.local is not None and other.local is not None:
        assert one.local.size == other.local.size, node
