"""`Positions` is a set of integers: every operation against Python's own sets."""

from __future__ import annotations

import sys
from functools import reduce
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfgraph.algebra.positions import EMPTY, Positions
from tests.relation.strategies import position_sets

SETS = position_sets()


def canonical(members: frozenset[int] | set[int]) -> Positions:
    """The one form that the class promises for a set, worked out from the promise."""
    if not members:
        return Positions(0, 1, 0, None)
    least, most = min(members), max(members)
    step = reduce(gcd, (member - least for member in members)) or 1
    length = (most - least) // step + 1
    mask = sum(1 << (member - least) // step for member in members)
    return Positions(least, step, length, None if len(members) == length else mask)


@given(SETS)
def test_a_set_is_what_it_was_made_of(members: frozenset[int]) -> None:
    made = Positions.of(members)
    assert list(made.members()) == sorted(members)
    assert made.cardinality == len(members)
    assert made.bits.bit_count() == len(members)


@given(SETS)
def test_the_ends_and_the_span_are_those_of_the_set(members: frozenset[int]) -> None:
    made = Positions.of(members)
    assert made.span == (max(members) - min(members) + 1 if members else 0)
    if members:
        assert (made.lo, made.hi) == (min(members), max(members))


@given(SETS)
def test_the_form_is_canonical(members: frozenset[int]) -> None:
    assert Positions.of(members) == canonical(members)


@given(SETS, st.randoms(use_true_random=False))
def test_equal_sets_are_equal_however_they_were_made(members: frozenset[int], random) -> None:
    order = sorted(members)
    random.shuffle(order)
    one_by_one = EMPTY
    for member in order:
        one_by_one = one_by_one.union(Positions.of([member]))
    assert one_by_one == Positions.of(members)
    assert hash(one_by_one) == hash(Positions.of(members))
    assert Positions.of([*order, *order]) == Positions.of(members)


@given(st.integers(-50, 50), st.integers(-9, 9), st.integers(-2, 12))
def test_a_progression_is_canonical_for_steps_of_either_sign(start: int, step: int, count: int):
    expected = {start + step * i for i in range(count)}
    assert Positions.progression(start, step, count) == canonical(expected)


@given(SETS, st.integers(-60, 60))
def test_shift_adds_to_every_member(members: frozenset[int], distance: int) -> None:
    assert Positions.of(members).shift(distance) == canonical({m + distance for m in members})


@given(SETS, st.integers(-5, 5))
def test_scale_multiplies_every_member(members: frozenset[int], factor: int) -> None:
    assert Positions.of(members).scale(factor) == canonical({m * factor for m in members})


@given(SETS, SETS)
def test_plus_is_the_minkowski_sum(one: frozenset[int], two: frozenset[int]) -> None:
    total = Positions.of(one).plus(Positions.of(two))
    assert total == canonical({a + b for a in one for b in two})


@given(SETS, SETS)
def test_union_holds_the_members_of_either(one: frozenset[int], two: frozenset[int]) -> None:
    assert Positions.of(one).union(Positions.of(two)) == canonical(one | two)


@given(SETS, SETS)
def test_covers_never_claims_what_is_not_so(one: frozenset[int], two: frozenset[int]) -> None:
    if Positions.of(one).covers(Positions.of(two)):
        assert two <= one


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (range(20), range(3, 9)),
        (range(-6, 30, 3), range(0, 13, 6)),
        (range(5), [4]),
        ([7], []),
        ([0, 1, 5], [0, 1, 5]),
    ],
    ids=["run in run", "comb in comb", "single in run", "nothing in single", "itself"],
)
def test_covers_sees_the_cases_that_save_a_union(one, two) -> None:
    assert Positions.of(one).covers(Positions.of(two))


@given(SETS, st.integers(-12, 12), st.integers(1, 12))
def test_residue_counts_one_class_in_its_own_steps(members, remainder: int, modulus: int) -> None:
    expected = {(m - remainder) // modulus for m in members if (m - remainder) % modulus == 0}
    assert Positions.of(members).residue(remainder, modulus) == canonical(expected)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**30), st.integers(2, 10**6))
def test_a_progression_costs_four_integers_however_long_it_is(start: int, step: int, count: int):
    made = Positions.progression(start, step, count)
    assert made.mask is None
    assert made.plus(Positions.progression(0, step, 2)).mask is None
    assert made.union(made.shift(step)).mask is None
    assert made.scale(-3).mask is None
    assert sum(map(sys.getsizeof, made)) < 250


def test_a_mask_has_one_bit_a_step_not_one_a_position() -> None:
    far_apart = Positions.of([0, 1_000_000, 3_000_000])
    assert (far_apart.step, far_apart.mask) == (1_000_000, 0b1011)
