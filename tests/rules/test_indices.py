"""Every form of an index against torch itself: the index applied to an array of positions says what is read.

Drawn are tensors of 1 to 5 dims, and indices of integers, slices, None, Ellipsis, flags, lists, arrays, index
tensors and masks, with and without dims, apart and together; in indexing and in assignment.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st
from torch import Tensor, nn

import rfgraph

Index = tuple[Any, ...]
T = torch.tensor
COMMON = ((1,), (3,), (2, 1), (2, 2))  # shapes that index tensors have


class Takes(nn.Module):
    def __init__(self, index: Index) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: Tensor) -> Tensor:
        taken: Tensor = x[self.index]
        return taken


class Puts(nn.Module):
    def __init__(self, index: Index) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: Tensor, value: Tensor) -> Tensor:
        y = x.clone()
        y[self.index] = value
        return y


def taking(size: int, common: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """An entry that takes one dim of `size`."""
    number = st.integers(-size, size - 1)
    ends = st.none() | st.integers(-size - 1, size + 1)
    several = st.lists(number, min_size=prod(common), max_size=prod(common))
    tensor = several.map(lambda values: T(values).reshape(common))
    return st.one_of(
        number,
        number.map(T),
        number.map(np.int64),
        st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3])),
        tensor,
        tensor.map(Tensor.numpy),
        tensor.map(Tensor.tolist),
        st.lists(st.booleans(), min_size=size, max_size=size).map(T),
        st.lists(st.booleans(), min_size=size, max_size=size),
    )


@st.composite
def indices(draw: st.DrawFn) -> tuple[tuple[int, ...], Index]:
    """A shape and an index, which need not fit."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=5)))
    common = draw(st.sampled_from(COMMON))
    front = draw(st.integers(0, len(shape)))
    back = draw(st.integers(front, len(shape)))
    free = st.lists(
        st.sampled_from([None, True, False, T(True), np.True_]), max_size=1
    )  # takes no dim
    entries: list[Any] = []
    for size in shape[:front]:
        entries += [*draw(free), draw(taking(size, common))]
    if draw(st.booleans()):
        entries += [Ellipsis, *draw(free)]
        for size in shape[back:]:
            entries.append(draw(taking(size, common)))
    return shape, tuple(entries)


def said(report: rfgraph.Report, name: str, position: tuple[int, ...]) -> tuple[set[int], ...]:
    """What a position of the output reads of an input, dim by dim."""
    rows = (report.output.at(axis) for axis in report.axes if axis.input == name)
    return tuple(set(row.members(dict(enumerate(position))).tolist()) for row in rows)


def expected(numbers: Tensor, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Each output position, and what it reads of an input whose elements are numbered; -1: nothing."""
    for position in np.ndindex(*numbers.shape):
        number = int(numbers[position])
        place = np.unravel_index(number, shape) if number >= 0 else None
        yield position, tuple(set() if place is None else {int(i)} for i in place or shape)


def taken_by_torch(shape: tuple[int, ...], index: Index) -> tuple[Tensor, Tensor]:
    """The numbered elements of a tensor, and those that an index takes; one that torch refuses is not drawn."""
    numbers = torch.arange(prod(shape)).reshape(shape)
    try:
        return numbers, numbers[index]
    except (IndexError, RuntimeError, TypeError):
        reject()


@given(indices())
@example(((1, 2, 5), (T(0), slice(None), T([2, 0, 1]))))
@example(((2, 3), (slice(None), True)))
@example(((2, 3), (True,)))
@example(((2, 3), (slice(None), [])))
@example(((2, 3, 4), (Ellipsis, T([[True, False, True, False]] * 3))))
@example(((3, 4), (np.array([2, 0]), np.int64(-1))))
def test_indexing_reads_what_torch_takes(drawn: tuple[tuple[int, ...], Index]) -> None:
    shape, index = drawn
    _, taken = taken_by_torch(shape, index)
    report = rfgraph.analyze(Takes(index), shape, axes=range(len(shape)))
    assert report.output.shape == tuple(taken.shape)
    for position, read in expected(taken, shape):
        assert said(report, "x", position) == read


@given(indices(), st.sampled_from([0, 1, 2]), st.integers(0, 2))
@example(((5,), (T([True, False, True, False, True]),)), 0, 0)
@example(((12, 9), (Ellipsis, T([1, 3]))), 0, 0)
@example(((2, 3, 4), (0, 0)), 2, 0)
@example(((4, 5), ([3, 1], T([0, 2]))), 0, 1)
def test_assignment_reads_what_torch_puts_there(
    drawn: tuple[tuple[int, ...], Index], lead: int, ones: int
) -> None:
    """`lead`: dims of size 1 that the value has beside its own; `ones`: own dims that are broadcast."""
    shape, index = drawn
    numbers, named = taken_by_torch(shape, index)
    assume(0 < len(named.unique()) == named.numel() and named.ndim + lead < 7)
    own = (*(1,) * lead, *(1 if d < ones else n for d, n in enumerate(named.shape)))
    assume(own)  # a value without dims is read everywhere
    kept, put = numbers.clone(), torch.full(shape, -1)
    kept[index] = -1
    try:
        put[index] = torch.arange(prod(own)).reshape(own)
    except (IndexError, RuntimeError):
        reject()
    shapes = {"x": shape, "value": own}
    axes = {name: range(len(each)) for name, each in shapes.items()}
    report = rfgraph.analyze(Puts(index), shapes, axes=axes)
    for (position, x), (_, value) in zip(expected(kept, shape), expected(put, own), strict=True):
        assert said(report, "x", position) == x, position
        assert said(report, "value", position) == value, position


@pytest.mark.parametrize(
    "op", ["scatter", "scatter_add", "scatter_reduce", "index_put", "masked_scatter"]
)
def test_scattering_by_a_constant_index_puts_each_element_in_its_place(op: str) -> None:
    shape, own = (2, 5), (2, 3)
    index = T([[4, 0, 2], [1, 3, 0]])
    mask = torch.zeros(shape, dtype=torch.bool).scatter(1, index, True)
    numbers, values = torch.arange(10).reshape(shape), torch.arange(6).reshape(own)
    calls: dict[str, Any] = {
        "scatter": lambda x, v: x.scatter(1, index, v),
        "scatter_add": lambda x, v: x.scatter_add(1, index, v),
        "scatter_reduce": lambda x, v: x.scatter_reduce(1, index, v, "amax"),
        "index_put": lambda x, v: x.index_put((T([[0], [1]]), index), v),
        "masked_scatter": lambda x, v: x.masked_scatter(mask, v),
    }

    class Scatters(nn.Module):
        def forward(self, x: Tensor, value: Tensor) -> Tensor:
            scattered: Tensor = calls[op](x, value)
            return scattered

    put = torch.full(shape, -1)
    put = (
        put.masked_scatter(mask, values)
        if op == "masked_scatter"
        else put.scatter(1, index, values)
    )
    joins = op in ("scatter_add", "scatter_reduce")
    kept = numbers if joins else numbers.masked_fill(mask, -1)
    report = rfgraph.analyze(
        Scatters(), {"x": shape, "value": own}, axes={"x": (0, 1), "value": (0, 1)}
    )
    for (position, x), (_, value) in zip(expected(kept, shape), expected(put, own), strict=True):
        assert said(report, "x", position) == x, position
        assert said(report, "value", position) == value, position


def _written(index: Index, value: Any) -> Any:
    def call(x: Tensor) -> Tensor:
        y = x.clone()
        y[index] = value
        return y

    return call


PAST: dict[str, Any] = {
    "a slice": lambda x: x[:, 5:],
    "in steps": lambda x: x[:, 5::3],
    "to an end": lambda x: x[:, 7:20:2],
    "to an end counted from the end": lambda x: x[:, 7:-4:3],
    "beside an index tensor": lambda x: x[T([0, 0]), 5::3],
    "tensor_split": lambda x: x.tensor_split((2, 7), 1)[2],
    "an exported slice": lambda x: torch.ops.aten.slice.Tensor(x, 1, 5, 2**63 - 1, 3),
    "assigned": _written((slice(None), slice(5, None, 3)), 0.0),
    "assigned to an end": _written((slice(None), slice(7, 20)), 0.0),
}


@pytest.mark.parametrize("name", PAST)
def test_a_slice_that_begins_past_the_end_begins_there_at_any_size(name: str) -> None:
    """It takes nothing of 3 positions; of 23, what torch takes."""

    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            cut: Tensor = PAST[name](x)
            return cut

    law = rfgraph.analyze(Cut(), (1, 3), axes=[1]).output.at(rfgraph.Axis("x", 1))
    taken = PAST[name](torch.arange(1.0, 24).reshape(1, 23))[0]
    if not law.closed_form:
        assert name == "assigned to an end"
        return
    assert law.relation is not None
    inside = range(5 if name == "assigned" else 0, len(taken))  # before it, all is as it was
    for o in inside:
        assert list(law.relation.at(o)) == ([int(taken[o]) - 1] if taken[o] else [])
