"""A scan in other forms reads what it read: against the digits themselves, position by position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rfgraph.algebra.digits import Digit, growing, plain
from rfgraph.algebra.relation import Relation
from rfgraph.propagation.scans import Scan, along_one, among_channels, folded, shown, united

SHAPE = (13, 7, 5)
RELATIONS = st.builds(
    Relation.window, st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(-2, 2)
)
DIGITS = st.builds(
    Digit,
    st.integers(0, 2),
    st.sampled_from([1, 2, 4, 6, -2]),
    st.sampled_from([1, 1, 2, 4]),
    st.sampled_from([None, 2, 3]),
    st.integers(-2, 1),
    st.just(False),
    st.just(False),
)
SCANS = st.builds(Scan, RELATIONS, st.lists(DIGITS, min_size=1, max_size=4).map(tuple))


def reads(scan: Scan, position: tuple[int, ...]) -> set[int]:
    """By the definition: the relation of the sum of the digits."""
    return set(scan.relation.at(sum(digit.at(position[digit.dim]) for digit in scan.digits)))


def every_position() -> list[tuple[int, ...]]:
    return list(np.ndindex(*SHAPE))


@given(SCANS)
def test_folding_keeps_what_every_position_reads(scan: Scan) -> None:
    form = folded(scan.relation, scan.digits)
    assert all(reads(form, position) == reads(scan, position) for position in every_position())


@given(SCANS, st.sampled_from([2, 3, -1]))
def test_a_factor_of_the_digits_is_one_of_the_relation(scan: Scan, factor: int) -> None:
    assume(len({(abs(d[1]), *d[2:], d[0]) for d in scan.digits}) == len(scan.digits))
    larger = [digit._replace(coefficient=factor * digit.coefficient) for digit in scan.digits]
    steps = Relation(1, factor, Relation.constant([0]).sets)
    assert folded(scan.relation, larger) == folded(steps.compose(scan.relation), scan.digits)


@given(SCANS)
def test_along_one_dim_a_scan_reads_the_same_at_every_index(scan: Scan) -> None:
    digits = tuple(digit._replace(dim=1) for digit in scan.digits)
    scan = Scan(scan.relation, digits)
    form = along_one(scan, {1})
    moves = sum(digit.coefficient / digit.weight for digit in digits if digit.extent is None)
    assert (form is None) == (not moves)
    if form is not None:
        assert form.digits == plain(1)
        assert all(reads(form, position) == reads(scan, position) for position in every_position())


def test_a_dim_that_holds_other_axes_too_has_no_steps_of_one() -> None:
    rows = Scan(Relation.identity(), (Digit(1, 1, 7),))
    assert along_one(rows, {0, 2}) is None
    spread = Scan(Relation.identity(), (Digit(0, 7), Digit(1)))
    assert along_one(spread, {0, 1}) is None
    long = Scan(Relation.identity(), (Digit(1, 1, 5000),))
    assert along_one(long, {1}) is None


FINE = DIGITS.map(lambda digit: digit._replace(dim=digit.dim % 2, shift=-abs(digit.shift)))


@given(RELATIONS, st.lists(FINE, min_size=1, max_size=3), st.sampled_from([7, 9, 10]))
def test_united_digits_read_what_all_their_places_read(
    relation: Relation, fine: list[Digit], coefficient: int
) -> None:
    dim, scan = 2, Scan(relation, (Digit(2, coefficient), *fine))
    form = united(scan, SHAPE)
    assert form is not None and form.digits == plain(2)
    by_index: dict[int, set[int]] = {}
    for position in every_position():
        by_index.setdefault(position[dim], set()).update(reads(scan, position))
    for index, expected in by_index.items():
        assert reads(form, tuple(index if d == dim else 0 for d in range(3))) == expected


COARSE = Digit(2, 2)
CHANNELS = {
    "places among channels": ((Digit(1, 1, 3, 2), COARSE), True),
    "a dim that holds nothing else": ((Digit(1), COARSE), False),
    "places that are coarser": ((Digit(1, 26, 1, 2), Digit(2)), False),
    "parts whose size was counted": ((Digit(1, 1, 1, 2, sized=True), COARSE), False),
    "a dim that the axis shares": ((Digit(1, 1, 3, 2), Digit(2, 2, 4)), False),
    "places of the same dim": ((Digit(2, 1, 1, 2), COARSE), False),
    "positions put before the axis": ((Digit(1, 1, 1, 2, 1), COARSE), False),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_finer_digits_are_united_among_channels_alone(name: str) -> None:
    digits, is_united = CHANNELS[name]
    form = among_channels(Scan(Relation.window(3), digits), (3, 12, 13))
    assert (form == Scan(Relation.window(4, 2), plain(2))) == is_united
    assert (form is None) != is_united


def test_bounded_digits_do_not_grow_however_coarse() -> None:
    taps, windows = Digit(1, 3, 1, 4, bounded=True), Digit(2)
    assert growing((taps, windows), (1, 4, 5)) is windows
    assert growing((Digit(1), Digit(2, 7)), (1, 7, 2)) == Digit(2, 7)


def test_a_row_shows_scans_of_one_dim_as_one() -> None:
    own = Scan(Relation.identity(), plain(1))
    window = Scan(Relation.window(4, 4), (Digit(1, 1, 4),))
    (row,) = shown((own, window), (1, 12), lambda: {1})
    assert row.digits == plain(1)
    assert [row.relation.at(o) for o in (0, 3, 4)] == [(0, 1, 2, 3), (0, 1, 2, 3), (4, 5, 6, 7)]
    assert shown((own, window), (1, 12), set) == (own, window)


def test_scans_of_two_rates_are_shown_apart() -> None:
    own = Scan(Relation.window(1, 2), plain(1))
    window = Scan(Relation.window(4, 4), (Digit(1, 1, 4),))
    unknown = Scan(None, plain(1))
    assert len(shown((own, window), (1, 12), lambda: {1})) == 2
    assert set(shown((unknown, own, window), (1, 12), set)) == {unknown, own, window}


def test_a_place_of_a_window_is_not_shown_beside_the_whole_window() -> None:
    place = Scan(Relation.identity(), (Digit(0, 4, 8), Digit(1, 1, 2)))
    window = Scan(Relation.window(4, 4), (Digit(0, 1, 8),))
    assert shown((place, window), (24, 8), set) == (window,)
    assert shown((window, place), (24, 8), set) == (window,)
    # one row more than the window has; a window of another step; another dim
    more = Scan(Relation.window(2), place.digits)
    assert shown((more, window), (24, 8), set) == (more, window)
    moved = Scan(Relation.window(4, 5), window.digits)
    assert shown((place, moved), (24, 8), set) == (place, moved)
    other = Scan(Relation.window(4, 4), (Digit(2, 1, 8),))
    assert shown((place, other), (24, 8, 24), set) == (place, other)
    constant = Scan(Relation.constant(range(99)), ())
    assert shown((place, constant), (24, 8), set) == (place, constant)
