"""Digits say where an axis lies after reshapes: against numpy's own indexing."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfgraph.algebra.digits import Digit, plain, stretch, tidy
from rfgraph.language.reads import Regroup
from tests.domains.strategies import digits_of, nested_regroups, regroups


def values(digits, dims, shape) -> np.ndarray:
    """The coordinate that `digits` give at every position of a tensor of `shape`, whose dims are `dims`."""
    total = np.zeros(shape, dtype=int)
    for position in np.ndindex(*shape):
        index = dict(zip(dims, position, strict=True))
        total[position] = sum(digit.at(index[digit.dim]) for digit in digits)
    return total


def regroup(digit: Digit, group: Regroup) -> list[Digit] | None:
    """The digits that one of an operand dim becomes in a reshape."""
    law = group.place(digit.dim).law
    sizes = dict(zip(group.dims, group.shape, strict=True))
    return stretch(digit, law.digits, law.weight, law.extent, sizes)


def reverse(group: Regroup) -> Regroup:
    """The reshape back."""
    return Regroup(group.dims, group.shape, group.operand_dims, group.operand_shape)


@given(regroups(), st.data())
def test_digits_after_a_reshape_have_the_values_of_the_digit_before(
    group: Regroup, data: st.DataObject
) -> None:
    digit = data.draw(digits_of(group))
    parts = regroup(digit, group)
    if parts is not None:
        before = values([digit], group.operand_dims, group.operand_shape)
        after = values(parts, group.dims, group.shape)
        assert (after == before.reshape(group.shape)).all()


@given(nested_regroups())
def test_splits_and_merges_are_always_resolved(group: Regroup) -> None:
    for dim in group.operand_dims:
        parts = regroup(Digit(dim), group)
        assert parts is not None
        before = values([Digit(dim)], group.operand_dims, group.operand_shape)
        assert (values(parts, group.dims, group.shape) == before.reshape(group.shape)).all()


@given(nested_regroups())
def test_a_reshape_and_the_one_that_undoes_it_leave_the_axis_plain(group: Regroup) -> None:
    for dim in group.operand_dims:
        there = tidy(regroup(Digit(dim), group))
        back = [part for digit in there for part in regroup(digit, reverse(group))]
        assert tidy(back) is plain(dim)


@given(nested_regroups(), st.data())
def test_two_reshapes_are_one(group: Regroup, data: st.DataObject) -> None:
    again = data.draw(st.sampled_from([group, reverse(group)]))
    onward = Regroup(group.dims, group.shape, (9,), (prod(again.shape),))
    at_once = Regroup(group.operand_dims, group.operand_shape, onward.dims, onward.shape)
    for dim in group.operand_dims:
        in_two = [p for d in tidy(regroup(Digit(dim), group)) for p in regroup(d, onward)]
        assert tidy(in_two) == tidy(regroup(Digit(dim), at_once))


@pytest.mark.parametrize(
    ("shape", "new", "dim", "digits"),
    [
        ((5, 14), (70,), 0, [Digit(0, 1, 14)]),
        ((5, 14), (70,), 1, [Digit(0, 1, 1, 14)]),
        ((21,), (3, 7), 0, [Digit(1), Digit(0, 7)]),
        ((4, 6, 5), (24, 5), 1, [Digit(0, 1, 1, 6)]),
        ((6, 5), (2, 15), 0, [Digit(1, 1, 5), Digit(0, 3)]),
    ],
    ids=["rows of tokens", "columns of tokens", "windows", "middle dim", "split and merged"],
)
def test_worked_examples(shape, new, dim, digits) -> None:
    group = Regroup(tuple(range(len(shape))), shape, tuple(range(len(new))), new)
    assert set(regroup(Digit(dim), group)) == set(digits)


@pytest.mark.parametrize(
    ("shape", "new", "dim"),
    [((3, 4), (2, 6), 0), ((3, 4), (2, 6), 1), ((4, 9), (6, 6), 0), ((4, 9), (6, 6), 1)],
)
def test_dims_that_cut_across_the_axis_are_refused(shape, new, dim) -> None:
    group = Regroup((0, 1), shape, (0, 1), new)
    assert regroup(Digit(dim), group) is None


def test_what_was_moved_off_its_grid_is_refused() -> None:
    group = Regroup((0,), (12,), (0, 1), (3, 4))
    assert regroup(Digit(0, shift=1), group) is None
    # 14 tokens in rows of 4: the last row is cut short, so rows no longer nest in a larger dim
    cut_short = Regroup((0, 1), (14, 2), (0,), (28,))
    assert regroup(Digit(0, 1, 4), cut_short) is None


DIGITS = st.builds(
    Digit,
    st.integers(0, 2),
    st.sampled_from([1, 2, 4, 6, -1, -2]),
    st.sampled_from([1, 2, 4, 6]),
    st.sampled_from([None, 2, 3]),
    st.integers(-3, 3),
)


@given(st.lists(DIGITS, max_size=5))
def test_tidy_keeps_the_values(digits: list[Digit]) -> None:
    dims, shape = (0, 1, 2), (13, 7, 5)
    assert (values(tidy(digits), dims, shape) == values(digits, dims, shape)).all()


@given(st.lists(DIGITS, max_size=5), st.randoms(use_true_random=False))
def test_tidy_does_not_depend_on_the_order(digits: list[Digit], random) -> None:
    shuffled = list(digits)
    random.shuffle(shuffled)
    assert tidy(shuffled) == tidy(digits)


@given(st.integers(0, 12))
def test_a_plain_axis_is_one_object(dim: int) -> None:
    assert tidy([Digit(dim)]) is plain(dim)
    assert plain(dim) == (Digit(dim),)


@given(DIGITS, st.integers(1, 40))
def test_a_digit_takes_as_many_values_as_it_counts(digit: Digit, size: int) -> None:
    indices = range(max(digit.shift, 0), size)
    found = {digit.at(index) for index in indices}
    if digit.shift >= 0 and indices:
        assert len(found) <= digit.count(size)
        if digit.extent is None:
            assert len(found) == digit.count(size)


@pytest.mark.parametrize("digit", [Digit(1), Digit(1, 7), Digit(1, -3)])
def test_an_index_is_a_digit_without_quotient_remainder_or_shift(digit: Digit) -> None:
    assert digit.is_index
    for other in ({"weight": 2}, {"extent": 5}, {"shift": -1}):
        assert not digit._replace(**other).is_index
