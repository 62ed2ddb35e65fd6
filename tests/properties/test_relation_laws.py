"""The laws of the relation algebra, on relations of any advance, with empty phases and holes.

Equal relations are one object (`tests/relation`), so a law that holds is an `is`.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfgraph.algebra.relation import Relation
from rfgraph.errors import RateMismatchError
from tests.relation.strategies import MOVING, OUTPUTS, Twin, rates, relations

RELATIONS = relations()
IDENTITY, NOTHING = Relation.identity(), Relation.nothing()


@st.composite
def alike(draw: st.DrawFn, count: int) -> list[Relation]:
    """Relations of one effective stride, which can be joined."""
    rate = draw(rates())
    return [draw(relations(rate=rate)).relation for _ in range(count)]


def holds(inner: Relation, outer: Relation) -> bool:
    """Every output reads with `outer` what it reads with `inner`, and maybe more."""
    return all(set(inner.at(o)) <= set(outer.at(o)) for o in OUTPUTS)


# --- composition --------------------------------------------------------------------------------


@given(RELATIONS, RELATIONS, RELATIONS)
def test_composition_is_associative(one: Twin, two: Twin, three: Twin) -> None:
    a, b, c = one.relation, two.relation, three.relation
    assert a.compose(b).compose(c) is a.compose(b.compose(c))


@given(RELATIONS)
def test_identity_is_neutral(twin: Twin) -> None:
    assert twin.relation.compose(IDENTITY) is twin.relation
    assert IDENTITY.compose(twin.relation) is twin.relation


@given(RELATIONS)
def test_nothing_absorbs(twin: Twin) -> None:
    assert twin.relation.compose(NOTHING) is NOTHING
    assert NOTHING.compose(twin.relation) is NOTHING


@given(alike(2), RELATIONS)
def test_composition_distributes_over_join_from_both_sides(
    branches: list[Relation], twin: Twin
) -> None:
    (a, b), other = branches, twin.relation
    assert a.join(b).compose(other) is a.compose(other).join(b.compose(other))
    assert other.compose(a.join(b)) is other.compose(a).join(other.compose(b))


@given(RELATIONS, RELATIONS)
def test_strides_multiply(one: Twin, two: Twin) -> None:
    composed = one.relation.compose(two.relation)
    assert composed is NOTHING or composed.stride == one.relation.stride * two.relation.stride


# --- join ---------------------------------------------------------------------------------------


@given(alike(3))
def test_join_is_associative_commutative_and_idempotent(branches: list[Relation]) -> None:
    a, b, c = branches
    assert a.join(b).join(c) is a.join(b.join(c))
    assert a.join(b) is b.join(a)
    assert a.join(a) is a


@given(RELATIONS)
def test_nothing_is_neutral_in_a_join(twin: Twin) -> None:
    assert twin.relation.join(NOTHING) is twin.relation
    assert NOTHING.join(twin.relation) is twin.relation


@given(rates(), rates(), st.data())
def test_relations_of_different_strides_have_no_join(
    one: Fraction, two: Fraction, data: st.DataObject
) -> None:
    a, b = (data.draw(relations(rate=rate)).relation for rate in (one, two))
    if one == two or NOTHING in (a, b):
        assert holds(a, a.join(b))
        return
    text = (
        f"cannot join relations of effective strides {one} and {two}: their union is not periodic"
    )
    with pytest.raises(RateMismatchError, match=text):
        a.join(b)


# --- order --------------------------------------------------------------------------------------


@given(alike(2))
def test_a_join_holds_both_branches(branches: list[Relation]) -> None:
    a, b = branches
    assert holds(a, a.join(b))
    assert holds(b, a.join(b))


@given(alike(2), RELATIONS)
def test_composition_and_join_are_monotone(branches: list[Relation], twin: Twin) -> None:
    (less, more), other = branches, twin.relation
    more = less.join(more)
    assert holds(less.compose(other), more.compose(other))
    assert holds(other.compose(less), other.compose(more))
    if more.joinable(other) and less.joinable(other):
        assert holds(less.join(other), more.join(other))


# --- converse -----------------------------------------------------------------------------------


@given(relations(advances=MOVING))
def test_the_converse_of_the_converse_is_the_relation(twin: Twin) -> None:
    assert twin.relation.converse().converse() is twin.relation


@given(relations(advances=MOVING), st.integers(-15, 15), st.integers(-15, 15))
def test_an_input_is_read_by_an_output_where_its_converse_reads_that_output(
    twin: Twin, output: int, position: int
) -> None:
    relation, readers = twin.relation, twin.relation.converse()
    assert (position in relation.at(output)) == (output in readers.at(position))
    for read in relation.at(output):
        assert output in readers.at(read)


@given(relations(advances=MOVING), relations(advances=MOVING))
def test_the_converse_of_a_composition_is_that_of_its_parts_in_turn(one: Twin, two: Twin) -> None:
    a, b = one.relation, two.relation
    assert a.compose(b).converse() is b.converse().compose(a.converse())


@given(rates().filter(bool), st.data())
def test_the_converse_of_a_join_is_the_join_of_the_converses(
    rate: Fraction, data: st.DataObject
) -> None:
    a, b = (data.draw(relations(rate=rate)).relation for _ in range(2))
    assert a.join(b).converse() is a.converse().join(b.converse())


# --- windows: what a chain of convolutions adds up to -------------------------------------------

LAYERS = st.lists(
    st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(1, 4), st.integers(-2, 9)),
    min_size=1,
    max_size=8,
)


@given(LAYERS)
def test_a_chain_of_windows_has_the_size_stride_and_offset_of_the_recurrence(layers) -> None:
    """Araujo, Norris and Sim 2019: size += dilation * (kernel - 1) * stride so far, and so on."""
    total, size, stride, offset = IDENTITY, 1, 1, 0
    for kernel, step, dilation, padding in layers:
        total = Relation.window(kernel, step, dilation, padding).compose(total)
        size += dilation * (kernel - 1) * stride
        offset -= padding * stride
        stride *= step
    assert (total.size, total.stride, total.offset) == (size, stride, offset)


@given(LAYERS)
def test_chains_split_anywhere(layers) -> None:
    windows = [Relation.window(*layer) for layer in layers]

    def chained(parts: list[Relation]) -> Relation:
        total = IDENTITY
        for part in parts:
            total = part.compose(total)
        return total

    for cut, _ in pairwise(range(len(windows) + 1)):
        first, rest = windows[:cut], windows[cut:]
        assert chained(rest).compose(chained(first)) is chained(windows)


@pytest.mark.parametrize(("small", "large"), list(combinations(range(1, 6), 2)))
def test_a_larger_kernel_reads_what_a_smaller_one_reads(small: int, large: int) -> None:
    assert holds(Relation.window(small, 3, 2, 1), Relation.window(large, 3, 2, 1))
