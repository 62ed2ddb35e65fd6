"""Hypothesis strategies for reshapes and digits."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from hypothesis import strategies as st

from rfgraph.algebra.digits import Digit
from rfgraph.graph import Shape
from rfgraph.language.reads import Regroup


def merged(factors: list[int], cuts: set[int]) -> Shape:
    """Neighbouring factors multiplied together, but not across the cuts."""
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(factors)), len(factors)]
    return tuple(prod(factors[a:b]) for a, b in pairwise(edges))


@st.composite
def factorizations(draw: st.DrawFn, elements: list[int]) -> Shape:
    """A shape of the product of `elements` whose dims are made of whole prime factors, in any order.

    The dims of two draws need not nest: (2, 6) beside (3, 4) or (4, 3).
    """
    factors = list(draw(st.permutations(elements)))
    cuts = draw(st.sets(st.integers(1, len(elements))))
    return merged(factors, cuts)


@st.composite
def regroups(draw: st.DrawFn) -> Regroup:
    """A reshape of up to 96 elements: splits, merges, both, and dims that cut across each other."""
    primes = draw(st.lists(st.sampled_from([2, 2, 2, 3, 5]), min_size=1, max_size=5))
    while prod(primes) > 96:
        primes.pop()
    operand_shape, shape = draw(factorizations(primes)), draw(factorizations(primes))
    first, second = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    return Regroup(
        tuple(range(first, first + len(operand_shape))),
        operand_shape,
        tuple(range(second, second + len(shape))),
        shape,
    )


@st.composite
def nested_regroups(draw: st.DrawFn) -> Regroup:
    """A reshape whose shapes group the same factors in the same order: no dim cuts across another."""
    primes = draw(st.lists(st.integers(2, 4), min_size=1, max_size=4))
    cuts = st.sets(st.integers(1, len(primes)))
    operand_shape, shape = merged(primes, draw(cuts)), merged(primes, draw(cuts))
    return Regroup(
        tuple(range(1, 1 + len(operand_shape))),
        operand_shape,
        tuple(range(2, 2 + len(shape))),
        shape,
    )


@st.composite
def digits_of(draw: st.DrawFn, group: Regroup) -> Digit:
    """A digit of one of the operand's dims: the index itself, its quotient, its remainder, or both."""
    return Digit(
        draw(st.sampled_from(group.operand_dims)),
        draw(st.sampled_from([1, 1, 7, -2])),
        draw(st.sampled_from([1, 1, 2, 3])),
        draw(st.sampled_from([None, None, 2, 3, 4])),
        draw(st.sampled_from([0, 0, 0, 1])),
    )
