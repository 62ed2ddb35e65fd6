"""The periodic domain composes reads into closed forms: against the dense reference, and by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfgraph.domains.coordinates import Digit, plain
from rfgraph.domains.periodic import Periodic, PeriodicDomain, Scan
from rfgraph.graph import Node
from rfgraph.reads import Along, Fixed, Read, Regroup, Shape, Table, Whole, along, same
from rfgraph.relation import Relation
from tests.domains import dense
from tests.domains.strategies import factorizations

MOST_ELEMENTS = 160  # of a drawn tensor: the dense reference visits every one


# --- any chain of moves, against the dense reference --------------------------------------------


@dataclass
class Tensor:
    """A tensor in the making: what the domain says of it, and what the reference says."""

    shape: Shape
    value: Periodic
    truth: dense.Dense
    padded: bool = False  # some operator read outside its operand: the closed form goes on there
    domain: PeriodicDomain = field(default_factory=PeriodicDomain)

    @classmethod
    def source(cls, shape: Shape, dim: int) -> Tensor:
        domain = PeriodicDomain()
        value = domain.initial(Node("x", "input", shape=shape), dim)
        return cls(shape, value, dense.source(shape, dim), domain=domain)

    def through(self, shape: Shape, *reads: Read, padded: bool = False) -> Tensor:
        """The tensor of `shape` that an operator with these reads makes of this one."""
        node = Node("node", "op", ("x",), shape=shape, operand_shapes=(self.shape,))
        values = [self.domain.compose(self.value, read, node) for read in reads]
        value = values[0] if len(values) == 1 else self.domain.join(values, node)
        truth = dense.apply([self.truth], reads, shape)
        return Tensor(shape, value, truth, self.padded or padded, self.domain)


def keep(rank: int, **replaced) -> Read:
    """Every dim as it is, but for `d2=...`: dim 2 by another read."""
    return Read(0, tuple(replaced.get(f"d{dim}", along(dim)) for dim in range(rank)))


@st.composite
def moved(draw: st.DrawFn, tensor: Tensor) -> Tensor:
    """The tensor after one more operator, drawn."""
    shape, rank = tensor.shape, len(tensor.shape)
    dim = draw(st.integers(0, rank - 1))
    size = shape[dim]
    sized = lambda new: (*shape[:dim], new, *shape[dim + 1 :])  # noqa: E731
    kinds = [
        "reshape",
        "permute",
        "slice",
        "window",
        "flip",
        "whole",
        "upsample",
        "residual",
        "table",
    ]
    kind = draw(st.sampled_from(kinds + ["select", "reduce"] * (rank > 1)))
    if kind == "reshape":
        stop = draw(st.integers(dim + 1, rank))
        return reshaped(tensor, dim, stop, draw(factorizations(primes(prod(shape[dim:stop])))))
    if kind == "permute":
        order = draw(st.permutations(range(rank)))
        read = Read(0, tuple(along(order.index(d)) for d in range(rank)))
        return tensor.through(tuple(shape[d] for d in order), read)
    if kind in ("slice", "window"):
        kernel = draw(st.integers(1, min(3, size)))
        stride = draw(st.integers(1, 3))
        left = (
            draw(st.integers(-1, 2)) if kind == "window" else -draw(st.integers(0, size - kernel))
        )
        right = draw(st.integers(0, 2)) if kind == "window" else 0
        room = size + left + right - kernel
        if room < 0:
            return tensor
        relation = Relation.window(kernel, stride, 1, left)
        count = room // stride + 1
        outside = left > 0 or relation.at(count - 1)[-1] >= size
        return tensor.through(
            sized(count), keep(rank, **{f"d{dim}": along(dim, relation)}), padded=outside
        )
    if kind == "flip":
        backwards = along(dim, Relation(1, -1, Relation.constant([size - 1]).sets))
        return tensor.through(shape, keep(rank, **{f"d{dim}": backwards}))
    if kind == "upsample":
        factor = draw(st.integers(1, 2))
        return tensor.through(
            sized(size * factor), keep(rank, **{f"d{dim}": along(dim, Relation.spread(factor))})
        )
    if kind == "residual":
        if size < 3:
            return tensor
        inner = along(dim, Relation.window(3))
        crop = along(dim, Relation.window(1, 1, 1, -draw(st.integers(0, 2))))
        return tensor.through(
            sized(size - 2), *(keep(rank, **{f"d{dim}": d}) for d in (inner, crop))
        )
    if kind == "table":
        table = Table(dim, lambda o: {0, o}, None, "a table of this size")
        return tensor.through(shape, keep(rank, **{f"d{dim}": table}))
    if kind == "whole":
        return tensor.through(shape, keep(rank, **{f"d{dim}": Whole("softmax")}))
    gone = Whole("pooling") if kind == "reduce" else Fixed(draw(st.integers(0, size - 1)))
    read = Read(0, tuple(gone if d == dim else along(d - (d > dim)) for d in range(rank)))
    return tensor.through(shape[:dim] + shape[dim + 1 :], read)


def primes(number: int) -> list[int]:
    """Its prime factors."""
    found = []
    for divisor in range(2, number + 1):
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
    return found or [1]


def reshaped(tensor: Tensor, start: int, stop: int, new: Shape) -> Tensor:
    """Dims `start .. stop - 1` in the sizes `new`."""
    shape, more = tensor.shape, len(new) - (stop - start)
    group = Regroup(
        tuple(range(start, stop)), shape[start:stop], tuple(range(start, start + len(new))), new
    )
    dims = [
        group if start <= d < stop else along(d if d < start else d + more)
        for d in range(len(shape))
    ]
    return tensor.through((*shape[:start], *new, *shape[stop:]), Read(0, tuple(dims)))


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """A tensor that a short chain of operators makes of an input with one tracked axis."""
    shape = tuple(draw(st.lists(st.sampled_from([2, 3, 4, 6, 8]), min_size=1, max_size=3)))
    tensor = Tensor.source(shape, draw(st.integers(0, len(shape) - 1)))
    for _ in range(draw(st.integers(1, 5))):
        after = draw(moved(tensor))
        if prod(after.shape) > MOST_ELEMENTS or 1 in after.shape:
            continue  # dims of size 1 are the rules' business: no reshape groups them
        tensor = after
    return tensor


def claimed(value: Periodic, position: Shape) -> set[int] | None:
    """What the value says that a position reads; None where it says "anything"."""
    if value.whole is not None or any(scan.relation is None for scan in value.local):
        return None
    coordinates = (
        (scan.relation, sum(d.at(position[d.dim]) for d in scan.digits)) for scan in value.local
    )
    return set().union(*(relation.at(z) for relation, z in coordinates))


@given(tensors())
def test_nothing_is_read_that_is_not_claimed(tensor: Tensor) -> None:
    for position in np.ndindex(*tensor.shape):
        said = claimed(tensor.value, position)
        assert said is None or tensor.truth[position] <= said


@given(tensors())
def test_a_closed_form_is_exact_where_no_operator_read_padding(tensor: Tensor) -> None:
    for position in np.ndindex(*tensor.shape):
        said = claimed(tensor.value, position)
        assert tensor.padded or said is None or tensor.truth[position] == said


@given(tensors())
def test_reads_vary_along_the_dims_of_the_digits_alone(tensor: Tensor) -> None:
    if tensor.padded:
        return  # a position in the padding of another dim reads nothing at all
    varying = {digit.dim for scan in tensor.value.local for digit in scan.digits}
    for position in np.ndindex(*tensor.shape):
        start = tuple(index if dim in varying else 0 for dim, index in enumerate(position))
        assert tensor.truth[position] == tensor.truth[start]


@given(tensors())
def test_a_missing_relation_and_a_size_bound_one_are_told(tensor: Tensor) -> None:
    unresolved = any(scan.relation is None for scan in tensor.value.local)
    assert not unresolved or tensor.value.limits is not None
