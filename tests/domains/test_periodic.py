"""The periodic domain composes reads into closed forms: against the dense reference, and by hand."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from math import prod
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfgraph.algebra.digits import Digit, plain
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Shape
from rfgraph.language.reads import (
    Fixed,
    Place,
    Read,
    Regroup,
    Table,
    Whole,
    along,
    every,
    fixed,
    same,
)
from rfgraph.propagation import composition
from rfgraph.propagation.composition import GROUP
from rfgraph.propagation.periodic import Periodic, PeriodicDomain, Scan
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
    together: bool = False  # the domain may take all channels together, where it has no other law

    @classmethod
    def source(cls, shape: Shape, dim: int, together: bool = False) -> Tensor:
        domain = PeriodicDomain()
        value = domain.initial(Node("x", "input", shape=shape), dim)
        return cls(shape, value, dense.source(shape, dim), domain=domain, together=together)

    def through(self, shape: Shape, *reads: Read, padded: bool = False) -> Tensor:
        """The tensor of `shape` that an operator with these reads makes of this one."""
        node = Node("node", "op", ("x",), shape=shape, operand_shapes=(self.shape,))
        with nullcontext() if self.together else patch.object(composition, "among_channels", apart):
            values = [self.domain.compose(self.value, read, node) for read in reads]
        value = values[0] if len(values) == 1 else self.domain.join(values, node)
        truth = dense.apply([self.truth], reads, shape)
        return replace(self, shape=shape, value=value, truth=truth, padded=self.padded or padded)

    def slid(self, dim: int, size: int, *dim_reads: Place, padded: bool = False) -> Tensor:
        """Reads along `dim` alone, which then has `size` positions."""
        shape = (*self.shape[:dim], size, *self.shape[dim + 1 :])
        reads = (keep(len(shape), {dim: dim_read}) for dim_read in dim_reads)
        return self.through(shape, *reads, padded=padded)


def apart(scan: Scan, shape: Shape) -> None:
    """No channels are taken together: every position has a law of its own, or none."""


def keep(rank: int, replaced: dict[int, Place]) -> Read:
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
    return tensor.slid(dim, tensor.shape[dim], every("softmax"))


def reduce(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    return without(tensor, dim, every("pooling"))


def select(draw: st.DrawFn, tensor: Tensor, dim: int) -> Tensor:
    return without(tensor, dim, fixed(draw(st.integers(0, tensor.shape[dim] - 1))))


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
def tensors(draw: st.DrawFn, together: bool = False) -> Tensor:
    """A tensor that a short chain of operators makes of an input with one tracked axis."""
    shape = tuple(draw(st.lists(st.sampled_from([2, 3, 4, 6, 8]), min_size=2, max_size=3)))
    tensor = Tensor.source(shape, draw(st.integers(0, len(shape) - 1)), together)
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
    varying = {digit.dim for scan in tensor.value.local for digit in scan.digits}
    for position in np.ndindex(*tensor.shape):
        start = tuple(index if dim in varying else 0 for dim, index in enumerate(position))
        # A position in the padding of any dim reads nothing at all, whatever its other coordinates.
        assert tensor.padded or tensor.truth[position] == tensor.truth[start]


@given(tensors(together=True))
def test_channels_taken_together_read_all_that_any_of_them_reads(tensor: Tensor) -> None:
    moving = {digit.dim for scan in tensor.value.local for digit in scan.digits}
    united: dict[Shape, set[int]] = {}
    for position in np.ndindex(*tensor.shape):
        at = tuple(index if dim in moving else 0 for dim, index in enumerate(position))
        united.setdefault(at, set()).update(tensor.truth[position])
    for at, read in united.items():
        said = claimed(tensor.value, at)
        assert said is None or read <= said


@given(tensors())
def test_a_missing_relation_is_never_silent(tensor: Tensor) -> None:
    unresolved = any(scan.relation is None for scan in tensor.value.local)
    assert not unresolved or tensor.value.limits is not None


# --- by hand ------------------------------------------------------------------------------------

DOMAIN = PeriodicDomain()
WINDOW = Relation.window(3, 2, 1, 1)


def node(*operand_shapes: Shape, name: str = "here", shape: Shape = ()) -> Node:
    operands = tuple(f"x{i}" for i in range(len(operand_shapes)))
    return Node(name, "op", operands, shape=shape, operand_shapes=operand_shapes)


def moving(relation: Relation, dim: int = 2) -> Periodic:
    """An axis that lies along `dim` alone."""
    return Periodic((Scan(relation, plain(dim)),))


def origins(trail) -> list[tuple[str, str]]:
    return [tuple(origin) for origin in trail or ()]


@pytest.mark.parametrize("dim", [0, 2, 11])
def test_an_input_reads_itself_along_the_tracked_dim(dim: int) -> None:
    value = DOMAIN.initial(Node("x", "input"), dim)
    assert value.local == (Scan(Relation.identity(), (Digit(dim),)),)
    assert value.whole is None
    assert value.limits is None


def test_a_value_that_stays_where_it_is_is_the_same_object() -> None:
    value = moving(WINDOW)
    assert DOMAIN.compose(value, same(4), node((1, 8, 9, 7))) is value
    along_other_dims = keep(4, {1: every("linear"), 3: along(3, WINDOW)})
    assert DOMAIN.compose(value, along_other_dims, node((1, 8, 9, 7))) is value


def test_an_operator_is_composed_after_what_its_operand_reads() -> None:
    padded = moving(Relation.window(1, 1, 1, 5))
    value = DOMAIN.compose(padded, keep(3, {2: along(2, WINDOW)}), node((1, 8, 9)))
    # output 4 of the window reads 7, 8, 9 of the padded tensor: 2, 3, 4 of the input
    assert value.local[0].relation.at(4) == (2, 3, 4)


def test_one_position_of_the_axis_is_a_constant_that_nothing_moves() -> None:
    shape = (1, 8, 9)
    read = Read(0, (along(0), along(1), fixed(3)))
    constant = DOMAIN.compose(moving(WINDOW), read, node(shape))
    assert constant.local == (Scan(Relation.constant([5, 6, 7]), ()),)
    further = DOMAIN.compose(constant, Read(0, (along(0), every("linear"))), node((1, 8)))
    assert further.local == constant.local


def test_a_constant_beside_what_moves_survives_the_next_operator() -> None:
    """As in `conv(x - x[..., :1])`."""
    shape = (1, 8, 9)
    moves = moving(Relation.identity())
    first = DOMAIN.compose(moves, Read(0, (along(0), along(1), fixed(0))), node(shape))
    both = DOMAIN.join([moves, first], node(shape, shape))
    after = DOMAIN.compose(both, keep(3, {2: along(2, WINDOW)}), node(shape))
    assert set(after.local) == {Scan(WINDOW, plain(2)), Scan(Relation.constant([0]), ())}
    assert after.whole is None


def test_a_whole_read_leaves_nothing_local_and_tells_its_node_and_kind() -> None:
    pooled = Read(0, (along(0), along(1), every("pooling")))
    value = DOMAIN.compose(moving(WINDOW), pooled, node((1, 8, 9), name="layer1.pool"))
    assert value.local == ()
    assert origins(value.whole) == [("layer1.pool", "pooling")]
    assert value.limits is None


def test_whole_and_local_reads_stand_side_by_side() -> None:
    """As in squeeze-excite: the gate reads everything, the gated tensor its window."""
    shape = (1, 8, 9)
    gate = DOMAIN.compose(moving(WINDOW), keep(3, {2: every("pooling")}), node(shape, name="se"))
    gated = DOMAIN.join([moving(WINDOW), gate], node(shape, shape, name="mul"))
    assert gated.local == (Scan(WINDOW, plain(2)),)
    assert origins(gated.whole) == [("se", "pooling")]
    after = DOMAIN.compose(gated, keep(3, {2: along(2, WINDOW)}), node(shape, name="conv"))
    assert after.local == (Scan(WINDOW.compose(WINDOW), plain(2)),)
    assert after.whole is gated.whole


def test_branches_along_one_dim_join_into_one_relation() -> None:
    narrow, wide = Relation.window(1, 2), Relation.window(5, 2, 1, 2)
    joined = DOMAIN.join([moving(narrow), moving(wide)], node((1, 8, 9), (1, 8, 9)))
    assert joined.local == (Scan(wide, plain(2)),)
    assert joined.limits is None


def test_branches_along_different_dims_are_kept_apart() -> None:
    """As in `x + x.transpose(2, 3)`: no relation of one coordinate is the union."""
    joined = DOMAIN.join([moving(WINDOW, 2), moving(WINDOW, 3)], node((1, 8, 9, 9), (1, 8, 9, 9)))
    assert set(joined.local) == {Scan(WINDOW, plain(2)), Scan(WINDOW, plain(3))}
    assert joined.limits is None


def test_too_many_different_coordinates_end_the_closed_form_and_say_where() -> None:
    branches = [moving(Relation.identity(), dim) for dim in range(9)]
    joined = DOMAIN.join(branches, node(*[(2,) * 9] * 9, name="sum"))
    assert joined.local == (Scan(None, tuple(map(Digit, range(9)))),)
    assert origins(joined.limits) == [("sum", "too many differently moving branches meet")]


def test_a_rate_mismatch_names_the_node_and_both_strides() -> None:
    fast, slow = moving(Relation.window(2, 2)), moving(Relation.spread(3))
    joined = DOMAIN.join([fast, slow], node((1, 8, 9), (1, 8, 9), name="neck.add"))
    told = "rate mismatch: branches of effective strides 2 and 1/3 meet"
    assert origins(joined.limits) == [("neck.add", told)]
    assert set(joined.local) == {*fast.local, *slow.local}


def test_a_rate_mismatch_is_told_again_where_the_same_branches_meet_again() -> None:
    fast, slow = moving(Relation.window(2, 2)), moving(Relation.identity())
    for name in ("first", "second"):
        joined = DOMAIN.join([fast, slow], node((1, 8, 9), (1, 8, 9), name=name))
        assert [place for place, _ in joined.limits] == [name]


def test_a_rate_mismatch_is_not_told_again_by_what_is_computed_from_it() -> None:
    fast, slow = moving(Relation.window(2, 2)), moving(Relation.identity())
    joined = DOMAIN.join([fast, slow], node((1, 8, 9), (1, 8, 9), name="add"))
    after = DOMAIN.compose(joined, keep(3, {2: along(2, WINDOW)}), node((1, 8, 9), name="conv"))
    assert [place for place, _ in after.limits] == ["add"]
    assert len(after.local) == 2


def test_digits_that_become_alike_in_one_read_are_joined_or_their_rates_told() -> None:
    """As windows laid out beside the positions themselves, and added up."""
    places = Scan(Relation.identity(), (Digit(2), Digit(3)))
    for relation, reasons in ((Relation.identity(), []), (Relation.window(1, 2), ["sum"])):
        value = Periodic((places, Scan(relation, plain(2))))
        added = Read(0, (along(0), along(1), along(2), every("pooling")))
        found = DOMAIN.compose(value, added, node((1, 8, 9, 3), name="sum", shape=(1, 8, 9)))
        assert [place for place, _ in origins(found.limits)] == reasons
        assert len(found.local) == 1 + len(reasons)


def test_joins_that_add_nothing_are_the_first_operand() -> None:
    wide = moving(Relation.window(5, 1, 1, 2))
    assert DOMAIN.join([wide, moving(Relation.identity())], node((1, 8, 9), (1, 8, 9))) is wide


def test_nothing_joined_reads_nothing() -> None:
    assert DOMAIN.join([], node()) is None


def test_a_table_with_a_law_keeps_the_law_and_its_reason() -> None:
    law = Relation.window(2, 2)
    table = Table(2, law.at, law, "pooling to 4 holds at this size (8)")
    pool = node((1, 8, 8), name="pool", shape=(1, 8, 4))
    value = DOMAIN.compose(moving(WINDOW), keep(3, {2: table}), pool)
    assert value.local == (Scan(law.compose(WINDOW), plain(2)),)
    assert origins(value.limits) == [("pool", "pooling to 4 holds at this size (8)")]


def test_a_table_without_a_law_says_only_along_which_dim_it_varies() -> None:
    table = Table(2, lambda o: {0, o}, None, "an index table")
    value = DOMAIN.compose(moving(WINDOW), keep(3, {2: table}), node((1, 8, 8), name="index"))
    assert value.local == (Scan(None, plain(2)),)
    assert origins(value.limits) == [("index", "an index table")]
    pooled = DOMAIN.compose(value, keep(3, {2: every("pooling")}), node((1, 8, 8), name="pool"))
    assert pooled.local == ()
    assert origins(pooled.whole) == [("pool", "pooling")]


# --- by hand: an axis spread over several dims --------------------------------------------------

TOKENS = Regroup((2, 3), (5, 7), (1,), (35,))  # 5 rows of 7 patches -> 35 tokens
PATCHES = Relation.window(16, 16)


def tokens(dim: int) -> Periodic:
    """Rows (dim 2) or columns (dim 3) of patches, after they were flattened into tokens."""
    flattened = Read(0, (along(0), along(2), TOKENS, TOKENS))
    return DOMAIN.compose(moving(PATCHES, dim), flattened, node((1, 8, 5, 7), shape=(1, 35, 8)))


def test_flattened_tokens_read_the_rows_and_columns_of_their_patches() -> None:
    rows, columns = tokens(2), tokens(3)
    assert rows.local == (Scan(PATCHES, (Digit(1, 1, 7),)),)
    assert columns.local == (Scan(PATCHES, (Digit(1, 1, 1, 7),)),)
    for token in (0, 6, 7, 34):
        assert claimed(rows, (0, token, 0)) == {*range(16 * (token // 7), 16 * (token // 7) + 16)}
        assert claimed(columns, (0, token, 0)) == {*range(16 * (token % 7), 16 * (token % 7) + 16)}


def prepend(value: Periodic) -> Periodic:
    """One class token put before the patch tokens."""
    shifted = along(1, Relation.window(1, 1, 1, 1))
    return DOMAIN.compose(value, keep(3, {1: shifted}), node((1, 35, 8)))


def test_the_class_token_before_any_attention_reads_nothing() -> None:
    class_token = DOMAIN.compose(
        prepend(tokens(2)), Read(0, (along(0), fixed(0), along(1))), node((1, 36, 8))
    )
    assert class_token.local == ()
    assert class_token.whole is None


def test_a_patch_token_after_the_class_token_reads_its_own_patch() -> None:
    tenth = DOMAIN.compose(
        prepend(tokens(2)), Read(0, (along(0), fixed(10), along(1))), node((1, 36, 8))
    )
    # token 10 is patch 9: row 1 of 7 a row
    assert tenth.local == (Scan(Relation.constant(range(16, 32)), ()),)


def test_all_tokens_read_whole_are_the_whole_axis() -> None:
    attended = keep(3, {1: every("attention")})
    value = DOMAIN.compose(prepend(tokens(3)), attended, node((1, 36, 8), name="attention"))
    assert value.local == ()
    assert origins(value.whole) == [("attention", "attention")]


WINDOWS = Regroup((1,), (21,), (1, 2), (3, 7))  # 21 positions -> 3 windows of 7


def windows() -> Periodic:
    split = Read(0, (along(0), WINDOWS))
    return DOMAIN.compose(moving(Relation.identity(), 1), split, node((1, 21), shape=(1, 3, 7)))


def test_all_places_of_a_window_read_whole_are_a_window_and_not_the_axis() -> None:
    value = DOMAIN.compose(windows(), keep(3, {2: every("attention")}), node((1, 3, 7)))
    assert value.whole is None
    assert claimed(value, (0, 2, 5)) == {*range(14, 21)}
    assert value.local == (Scan(Relation.window(7, 7), plain(1)),)
    assert value.limits is None and value.reshapes is None


def test_all_windows_read_whole_at_one_place_are_a_grid_with_holes() -> None:
    value = DOMAIN.compose(windows(), keep(3, {1: every("attention")}), node((1, 3, 7)))
    assert value.whole is None
    assert claimed(value, (0, 0, 5)) == {5, 12, 19}
    assert value.local[0].relation.holes == 12
    assert origins(value.limits) == [("here", GROUP)]  # as many windows as this size has


def test_windows_and_places_both_read_whole_are_the_whole_axis() -> None:
    value = DOMAIN.compose(
        windows(), keep(3, {1: every("attention"), 2: every("attention")}), node((1, 3, 7))
    )
    assert value.local == ()
    assert value.whole is not None


def test_one_window_taken_out_leaves_its_places() -> None:
    value = DOMAIN.compose(windows(), Read(0, (along(0), fixed(2), along(1))), node((1, 3, 7)))
    assert claimed(value, (0, 4)) == {18}
    assert value.whole is None


def test_a_convolution_over_windows_reads_every_third_of_the_input() -> None:
    """Windows side by side: a tap one window away is seven positions away."""
    slide = along(1, Relation.window(2))
    value = DOMAIN.compose(windows(), keep(3, {1: slide}), node((1, 3, 7)))
    assert claimed(value, (0, 1, 3)) == {10, 17}


def test_a_convolution_over_tokens_of_two_axes_is_not_resolved_but_told() -> None:
    slide = along(1, Relation.window(3, 1, 1, 1))
    value = DOMAIN.compose(tokens(2), keep(3, {1: slide}), node((1, 35, 8), name="conv"))
    assert value.local == (Scan(None, plain(1)),)
    assert origins(value.limits) == [("conv", "an operator slides over regrouped positions")]


def test_a_reshape_that_cuts_across_the_axis_is_told() -> None:
    cut = Regroup((2, 3), (5, 6), (1, 2), (6, 5))
    columns = moving(Relation.identity(), 3)
    value = DOMAIN.compose(
        columns, Read(0, (along(0), along(3), cut, cut)), node((1, 8, 5, 6), shape=(1, 6, 5, 8))
    )
    assert value.local == (Scan(None, (Digit(1), Digit(2))),)
    assert origins(value.limits) == [("here", "a reshape cuts across the axis")]
