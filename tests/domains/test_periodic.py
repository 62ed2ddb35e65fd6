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
from rfgraph.reads import Along, DimRead, Fixed, Read, Regroup, Shape, Table, Whole, along, same
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

    def slid(self, dim: int, size: int, *dim_reads: DimRead, padded: bool = False) -> Tensor:
        """Reads along `dim` alone, which then has `size` positions."""
        shape = (*self.shape[:dim], size, *self.shape[dim + 1 :])
        reads = (keep(len(shape), {dim: dim_read}) for dim_read in dim_reads)
        return self.through(shape, *reads, padded=padded)


def keep(rank: int, replaced: dict[int, DimRead]) -> Read:
    """Every dim as it is, but for those that are replaced."""
    return Read(0, tuple(replaced.get(dim, along(dim)) for dim in range(rank)))


@st.composite
def moved(draw: st.DrawFn, tensor: Tensor) -> Tensor:
    """The tensor after one more operator, drawn; most often one along a dim that carries the axis."""
    rank = len(tensor.shape)
    carrying = sorted({d.dim for scan in tensor.value.local for d in scan.digits}) or range(rank)
    dim = draw(st.one_of(st.sampled_from(carrying), st.integers(0, rank - 1)))
    kinds = [reshape, reshape, reshape, permute, crop, window, flip, upsample, residual, swapped]
    kinds += [table, softmax, *([select, reduce] * (rank > 1))]
    return draw(st.sampled_from(kinds))(draw, tensor, dim)


def reshape(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    start = draw(st.integers(0, dim))
    stop = draw(st.integers(dim + 1, len(tensor.shape)))
    return reshaped(
        tensor, start, stop, draw(factorizations(primes(prod(tensor.shape[start:stop]))))
    )


def permute(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    order = draw(st.permutations(range(len(tensor.shape))))
    read = Read(0, tuple(along(order.index(d)) for d in range(len(order))))
    return tensor.through(tuple(tensor.shape[d] for d in order), read)


def crop(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    size = tensor.shape[dim]
    start = draw(st.integers(0, size - 1))
    step = draw(st.integers(1, 3))
    count = draw(st.integers(1, (size - start - 1) // step + 1))
    return tensor.slid(dim, count, along(dim, Relation.window(1, step, 1, -start)))


def window(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    size = tensor.shape[dim]
    kernel, stride = draw(st.integers(1, min(3, size))), draw(st.integers(1, 3))
    left, right = draw(st.sampled_from([(0, 0), (0, 0), (1, 1), (2, 0), (0, 1)]))
    count = (size + left + right - kernel) // stride + 1
    relation = Relation.window(kernel, stride, 1, left)
    outside = left > 0 or relation.at(count - 1)[-1] >= size
    return tensor.slid(dim, count, along(dim, relation), padded=outside)


def flip(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    size = tensor.shape[dim]
    return tensor.slid(dim, size, along(dim, Relation(1, -1, Relation.constant([size - 1]).sets)))


def upsample(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    return tensor.slid(dim, 2 * tensor.shape[dim], along(dim, Relation.spread(2)))


def residual(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    size = tensor.shape[dim]
    if size < 3:
        return tensor
    skip = Relation.window(1, 1, 1, -draw(st.integers(0, 2)))
    return tensor.slid(dim, size - 2, along(dim, Relation.window(3)), along(dim, skip))


def swapped(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    """The tensor added to its transpose: reads along two dims meet."""
    twins = [d for d, size in enumerate(tensor.shape) if size == tensor.shape[dim] and d != dim]
    if not twins:
        return tensor
    other, rank = twins[0], len(tensor.shape)
    transposed = keep(rank, {dim: along(other), other: along(dim)})
    return tensor.through(tensor.shape, same(rank), transposed)


def table(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    return tensor.slid(
        dim, tensor.shape[dim], Table(dim, lambda o: {0, o}, None, "a table of this size")
    )


def softmax(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    return tensor.slid(dim, tensor.shape[dim], Whole("softmax"))


def reduce(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    return without(tensor, dim, Whole("pooling"))


def select(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    return without(tensor, dim, Fixed(draw(st.integers(0, tensor.shape[dim] - 1))))


def without(tensor: Tensor, dim: int, gone: Whole | Fixed) -> Tensor:
    rank, shape = len(tensor.shape), tensor.shape
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
    shape = tuple(draw(st.lists(st.sampled_from([2, 3, 4, 6, 8]), min_size=2, max_size=3)))
    tensor = Tensor.source(shape, draw(st.integers(0, len(shape) - 1)))
    for _ in range(draw(st.integers(1, 6))):
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
