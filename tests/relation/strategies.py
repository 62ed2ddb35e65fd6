"""Hypothesis strategies for position sets and relations, and a plain-Python twin of each.

The twin is what the tests expect: sets of ints, evaluated position by position, without any of the
representation that is under test.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from hypothesis import strategies as st

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation

OUTPUTS = range(-30, 31)  # more than two of the longest periods that two drawn relations make
ADVANCES = st.integers(-6, 6)
FORWARD = st.integers(1, 6)
MOVING = st.one_of(FORWARD, st.integers(-6, -1))


class Twin(NamedTuple):
    """A periodic relation as plain sets: `at(o + period) == at(o) + advance`."""

    period: int
    advance: int
    sets: tuple[frozenset[int], ...]

    @property
    def relation(self) -> Relation:
        """The relation under test."""
        return Relation(self.period, self.advance, map(Positions.of, self.sets))

    @property
    def rate(self) -> Fraction:
        """Input positions per output position."""
        return Fraction(self.advance, self.period)

    def at(self, output: int) -> set[int]:
        """What one output reads."""
        turns, phase = divmod(output, self.period)
        return {member + turns * self.advance for member in self.sets[phase]}

    def over(self, outputs: set[int]) -> set[int]:
        """What a set of outputs reads."""
        return set().union(*(self.at(output) for output in outputs))


def assert_reads(relation: Relation, expected: dict[int, set[int]]) -> None:
    """`relation` reads what is expected, output by output, in ascending order."""
    assert {o: relation.at(o) for o in expected} == {o: (*sorted(s),) for o, s in expected.items()}


@st.composite
def progressions(draw: st.DrawFn) -> frozenset[int]:
    """Evenly spaced integers: the sets that are stored without a mask. Steps up to wide ones."""
    start = draw(st.integers(-30, 30))
    step = draw(st.one_of(st.integers(1, 6), st.integers(7, 100)))
    return frozenset(range(start, start + step * draw(st.integers(1, 9)), step))


@st.composite
def combs(draw: st.DrawFn) -> frozenset[int]:
    """Multiples of a common step, some of them missing: the sets that are stored with a mask."""
    base, step = draw(st.integers(-30, 30)), draw(st.integers(1, 12))
    places = draw(st.sets(st.integers(0, 15), min_size=1, max_size=10))
    return frozenset(base + step * place for place in places)


def position_sets() -> st.SearchStrategy[frozenset[int]]:
    """Finite sets of integers: empty, scattered, evenly spaced, evenly spaced with holes."""
    scattered = st.frozensets(st.integers(-40, 40), max_size=8)
    return st.one_of(st.just(frozenset[int]()), scattered, progressions(), combs())


@st.composite
def relations(
    draw: st.DrawFn,
    *,
    advances: st.SearchStrategy[int] = ADVANCES,
    rate: Fraction | None = None,
) -> Twin:
    """Relations of up to four phases, which may be empty, that advance left, right or not at all.

    `rate`: advance / period, for relations that can be joined; it replaces `advances`.
    """
    if rate is not None:
        turns = draw(st.integers(1, 2))
        period, advance = rate.denominator * turns, rate.numerator * turns
    else:
        period, advance = draw(st.integers(1, 4)), draw(advances)
    sets = draw(st.lists(position_sets(), min_size=period, max_size=period))
    return Twin(period, advance, tuple(sets))


def rates() -> st.SearchStrategy[Fraction]:
    """Effective strides."""
    return st.builds(Fraction, st.integers(-6, 6), st.integers(1, 3))
