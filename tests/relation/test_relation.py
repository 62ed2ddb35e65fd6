"""`Relation` is a periodic map from an output to a set of inputs: against plain Python sets."""

from __future__ import annotations

import copy
import pickle
import sys
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.errors import RateMismatchError, RfgraphError
from tests.relation.strategies import (
    FORWARD,
    MOVING,
    OUTPUTS,
    Twin,
    assert_reads,
    position_sets,
    rates,
    relations,
)

RELATIONS = relations()


# --- what a relation reads ----------------------------------------------------------------------


@given(RELATIONS)
def test_at_repeats_the_phases(twin: Twin) -> None:
    assert_reads(twin.relation, {o: twin.at(o) for o in OUTPUTS})


@given(RELATIONS, st.integers(-30, 30))
def test_positions_are_at_as_a_set(twin: Twin, output: int) -> None:
    assert twin.relation.positions(output) == Positions.of(twin.at(output))


@given(RELATIONS)
def test_phases_are_the_reads_of_the_first_period(twin: Twin) -> None:
    relation = twin.relation
    assert relation.phases == tuple((*sorted(twin.at(o)),) for o in range(relation.period))


@given(RELATIONS, RELATIONS)
def test_compose_reads_the_union_over_what_the_outer_reads(outer: Twin, inner: Twin) -> None:
    composed = outer.relation.compose(inner.relation)
    assert_reads(composed, {o: inner.over(outer.at(o)) for o in OUTPUTS})


@given(st.data(), rates())
def test_join_reads_what_either_reads(data: st.DataObject, rate: Fraction) -> None:
    one, two = (data.draw(relations(rate=rate)) for _ in range(2))
    assert_reads(one.relation.join(two.relation), {o: one.at(o) | two.at(o) for o in OUTPUTS})


@given(relations(advances=MOVING))
def test_converse_reads_the_outputs_that_read_an_input(twin: Twin) -> None:
    # Output `phase + period * k` reads `member + advance * k`, for every integer k.
    readers: dict[int, set[int]] = {}
    for i in OUTPUTS:
        hits = ((phase, i - m) for phase, s in enumerate(twin.sets) for m in s)
        readers[i] = {
            phase + twin.period * (distance // twin.advance)
            for phase, distance in hits
            if distance % twin.advance == 0
        }
    assert_reads(twin.relation.converse(), readers)


@given(RELATIONS, st.integers(-40, 40))
def test_shift_moves_what_is_read(twin: Twin, distance: int) -> None:
    expected = {o: {i + distance for i in twin.at(o)} for o in OUTPUTS}
    assert_reads(twin.relation.shift(distance), expected)


@given(position_sets())
def test_a_constant_reads_the_same_at_every_output(members: frozenset[int]) -> None:
    assert_reads(Relation.constant(members), {o: set(members) for o in OUTPUTS})


def test_nothing_reads_nothing() -> None:
    assert_reads(Relation.nothing(), {o: set() for o in OUTPUTS})


# --- one form for one relation ------------------------------------------------------------------


@given(RELATIONS, st.integers(1, 4))
def test_a_longer_period_that_says_the_same_is_the_same_object(twin: Twin, turns: int) -> None:
    period = twin.period * turns
    written_out = Relation(
        period, twin.advance * turns, (Positions.of(twin.at(o)) for o in range(period))
    )
    assert written_out is twin.relation


@given(RELATIONS, RELATIONS)
def test_relations_are_equal_exactly_where_they_read_the_same(one: Twin, two: Twin) -> None:
    same = all(one.at(o) == two.at(o) for o in OUTPUTS)
    assert (one.relation == two.relation) is same
    assert (one.relation is two.relation) is same


@given(RELATIONS)
def test_no_shorter_period_says_the_same(twin: Twin) -> None:
    relation = twin.relation
    if not any(twin.sets):
        assert relation is Relation.nothing()
        return
    for shorter in range(1, relation.period):
        moved = twin.rate * shorter
        assert moved.denominator > 1 or any(
            twin.at(o + shorter) != {i + moved for i in twin.at(o)} for o in range(twin.period)
        )


@given(RELATIONS)
def test_copies_and_pickles_are_the_same_object(twin: Twin) -> None:
    relation = twin.relation
    assert copy.copy(relation) is relation
    assert copy.deepcopy(relation) is relation
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(relation, protocol)) is relation


@given(RELATIONS)
def test_equal_relations_hash_alike(twin: Twin) -> None:
    assert len({twin.relation, twin.relation}) == 1


def test_a_relation_is_immutable() -> None:
    relation = Relation.window(3)
    with pytest.raises(AttributeError, match="a Relation is immutable: cannot set 'period'"):
        relation.period = 2
    assert relation is Relation.window(3)
    assert relation.period == 1


def test_a_relation_prints_what_it_reads() -> None:
    holes = Relation(2, 1, [Positions.of([0, 1, 3, 4, 9]), Positions.of(range(0, 12, 3))])
    assert repr(holes) == (
        "Relation(period=2, advance=1, reads=[{0 .. 9: 5 positions}, {0, 3, ..., 9}])"
    )
    assert repr(Relation.window(2, 5, 1, 1)) == "Relation(period=1, advance=5, reads=[{-1, 0}])"
    long = Relation.window(3, 7).converse()
    assert repr(long) == "Relation(period=7, advance=1, reads=[{0}, {0}, {0}, {}, ...])"


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(("period", "count"), [(0, 0), (-1, 1), (2, 1), (1, 2)])
def test_a_period_is_as_many_sets(period: int, count: int) -> None:
    sets = [Positions.of([0])] * count
    text = f"a relation of period {period} needs as many sets, got {count}"
    with pytest.raises(ValueError, match=text):
        Relation(period, 1, sets)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(0, 1, 1), (3, 0, 1), (3, 1, -2)])
def test_a_window_needs_positive_geometry(kernel: int, stride: int, dilation: int) -> None:
    text = (
        "a window needs kernel, stride and dilation of at least 1, "
        f"got {kernel}, {stride} and {dilation}"
    )
    with pytest.raises(ValueError, match=text):
        Relation.window(kernel, stride, dilation)


@pytest.mark.parametrize("factor", [0, -2])
def test_a_spread_needs_a_positive_factor(factor: int) -> None:
    with pytest.raises(ValueError, match=f"a relation of period {factor} needs as many sets"):
        Relation.spread(factor)


def test_a_relation_that_does_not_move_has_no_converse() -> None:
    text = "a relation with advance 0 has no converse: its positions are read by every output"
    with pytest.raises(ValueError, match=text):
        Relation.constant([3]).converse()


def test_the_converse_of_nothing_is_nothing() -> None:
    assert Relation.nothing().converse() is Relation.nothing()


@given(RELATIONS, RELATIONS)
def test_joins_are_refused_exactly_where_rates_differ(one: Twin, two: Twin) -> None:
    reads_nothing = not any(one.sets) or not any(two.sets)
    expected = one.rate == two.rate or reads_nothing
    assert one.relation.joinable(two.relation) is expected
    if not expected:
        with pytest.raises(RateMismatchError, match="cannot join relations of effective strides"):
            one.relation.join(two.relation)


def test_a_rate_mismatch_names_both_strides() -> None:
    text = "cannot join relations of effective strides 2 and 1/3: their union is not periodic"
    with pytest.raises(RateMismatchError, match=text) as caught:
        Relation.window(3, 2).join(Relation.spread(3))
    assert isinstance(caught.value, RfgraphError)
    assert isinstance(caught.value, ValueError)


# --- views: theory, section 3 -------------------------------------------------------------------


def gcd_of_gaps(members: set[int]) -> int:
    """The largest step on which all members lie; 1 for a single one."""
    gaps = [member - min(members) for member in members]
    return max(
        (d for d in range(1, max(gaps, default=0) + 1) if not any(g % d for g in gaps)), default=1
    )


@given(RELATIONS)
def test_the_size_is_the_hull_of_the_widest_phase(twin: Twin) -> None:
    sizes = [max(s) - min(s) + 1 if s else 0 for s in twin.sets]
    assert twin.relation.size == max(sizes)
    assert twin.relation.size_range == (min(sizes), max(sizes))


@given(RELATIONS)
def test_the_stride_is_inputs_per_output(twin: Twin) -> None:
    expected = twin.rate if any(twin.sets) else 0
    assert twin.relation.stride == expected
    assert isinstance(twin.relation.stride, Fraction)


@given(RELATIONS)
def test_the_offset_is_the_least_input_of_output_0(twin: Twin) -> None:
    assert twin.relation.offset == min(twin.at(0), default=0)


@given(RELATIONS, st.integers(-30, 30))
def test_the_center_is_halfway_between_the_ends(twin: Twin, output: int) -> None:
    read = twin.at(output)
    expected = Fraction(min(read) + max(read), 2) if read else None
    assert twin.relation.center(output) == expected


@given(RELATIONS)
def test_the_dilation_is_the_widest_common_step_of_a_phase(twin: Twin) -> None:
    assert twin.relation.dilation == max(gcd_of_gaps(set(s)) for s in twin.sets)


@given(RELATIONS)
def test_holes_are_inputs_in_the_hull_that_are_not_read(twin: Twin) -> None:
    holes = [len(set(range(min(s), max(s) + 1)) - s) if s else 0 for s in twin.sets]
    assert twin.relation.holes == max(holes)


@given(RELATIONS)
def test_the_density_is_that_of_the_sparsest_phase(twin: Twin) -> None:
    densities = [len(s) / (max(s) - min(s) + 1) for s in twin.sets if s]
    assert twin.relation.density == min(densities, default=1.0)


@given(RELATIONS)
def test_the_reach_bounds_every_output_and_is_met_by_one(twin: Twin) -> None:
    reading = [o for o in OUTPUTS if twin.at(o)]
    here = {o: twin.advance * o // twin.period for o in reading}
    left = max((here[o] - min(twin.at(o)) for o in reading), default=0)
    right = max((max(twin.at(o)) - here[o] for o in reading), default=0)
    assert twin.relation.reach == (left, right)


@given(RELATIONS)
def test_the_look_ahead_is_what_is_read_beyond_the_output_s_own_hop(twin: Twin) -> None:
    beyond = []
    for o in OUTPUTS:
        ends = (
            Fraction(twin.advance * o, twin.period),
            Fraction(twin.advance * (o + 1), twin.period),
        )
        low, high = floor(min(ends)) - 1, ceil(max(ends)) + 1
        if twin.advance > 0:
            hop = [i for i in range(low, high + 1) if ends[0] <= i < ends[1]]
            last = max(hop, default=ceil(ends[1]) - 1)
        else:
            last = floor(ends[0])
        beyond += [max(0, read - last) for read in twin.at(o)]
    expected = max(beyond, default=0) if twin.relation.advance else None
    assert twin.relation.lookahead == expected


@given(relations(advances=FORWARD))
def test_where_outputs_and_inputs_keep_pace_the_look_ahead_is_the_right_reach(twin: Twin) -> None:
    if twin.relation.period == twin.relation.advance == 1:
        assert twin.relation.lookahead == max(0, twin.relation.reach[1])


@given(relations(advances=FORWARD))
def test_the_halo_is_what_a_tile_of_whole_periods_reads_beyond_itself(twin: Twin) -> None:
    relation = twin.relation
    for periods in (1, 3):
        read = twin.over(set(range(relation.period * periods)))
        last = relation.advance * periods - 1
        assert relation.halo == ((-min(read), max(read) - last) if read else (0, 0))


def test_a_relation_that_reads_nothing_has_views_all_the_same() -> None:
    nothing = Relation.nothing()
    assert (nothing.size, nothing.size_range, nothing.holes, nothing.density) == (0, (0, 0), 0, 1.0)
    assert (nothing.reach, nothing.halo, nothing.center(5)) == ((0, 0), (0, 0), None)
    assert nothing.lookahead is None


# --- how large a relation grows -----------------------------------------------------------------


def footprint(relation: Relation) -> int:
    """Bytes of every integer that a relation holds."""
    numbers = [relation.period, relation.advance]
    numbers += [number for phase in relation.sets for number in phase if number is not None]
    return sum(map(sys.getsizeof, numbers))


def test_ten_thousand_compositions_store_a_handful_of_integers() -> None:
    layers = [Relation.window(3, 1, 1, 1), Relation.window(2, 1, 4), Relation.window(5, 1, 2, 7)]
    total = Relation.identity()
    for layer in range(10_000):
        total = layers[layer % 3].compose(total)
    # 3334 layers add 2, 3333 add 4 and 3333 add 8; paddings of 1 and 7
    assert total.size == 1 + 3334 * 2 + 3333 * 4 + 3333 * 8
    assert total.offset == -3334 - 3333 * 7
    assert total.sets[0].mask is None
    assert footprint(total) < 250


def test_a_field_of_millions_stores_a_handful_of_integers() -> None:
    total = Relation.identity()
    for power in range(21):
        total = Relation.window(2, 1, 2**power).compose(total)
    assert total.size == 2**21
    assert footprint(total) < 250
    strided = Relation.identity()
    for _ in range(21):
        strided = Relation.window(3, 2, 1, 1).compose(strided)
    assert strided.size == 2**22 - 1
    assert footprint(strided) < 250


def test_holes_over_millions_cost_a_bit_for_each_step() -> None:
    total = Relation.window(3, 1, 1_000_000).compose(Relation.window(2, 1, 1, 0))
    assert total.at(0) == (0, 1, 1_000_000, 1_000_001, 2_000_000, 2_000_001)
    assert footprint(total) < 2_000_002 / 7  # a CPython integer stores 30 bits in 4 bytes
