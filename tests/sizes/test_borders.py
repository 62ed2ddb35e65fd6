"""Positions that are picked near a border: their closed form is what the model reads, at any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rfgraph
from rfgraph.propagation import periodic
from rfgraph.sizes import borders
from tests.sized.poison import Apply, rows_reaching

Function = Callable[[Tensor], Tensor]
LENGTHS = (14, 21)


def conv(x: Tensor, kernel: int, **options: int) -> Tensor:
    return F.conv1d(x, torch.ones(2, 2, kernel, dtype=x.dtype), **options)


def three(x: Tensor) -> Tensor:
    return conv(x, 3, padding=1)


def again(x: Tensor, first: int) -> Tensor:
    """A crop that is padded again."""
    return F.pad(x[..., first:], (first, 0))


def folded(x: Tensor, mode: str) -> Tensor:
    return conv(F.pad(x, (1, 1), mode=mode), 3)


def turned_up(x: Tensor) -> Tensor:
    return F.conv_transpose1d(x, torch.ones(2, 2, 3, dtype=x.dtype), stride=2)


# What is read, by hand.
PICKED: dict[str, tuple[Function, list[int]]] = {
    "the first": (lambda x: three(x[..., 1:])[..., 0], [1, 2]),
    "the second": (lambda x: three(x[..., 1:])[..., 1], [1, 2, 3]),
    "of no crop": (lambda x: three(x)[..., 0], [0, 1]),
    "of two windows": (lambda x: three(three(x[..., 2:]))[..., 0], [2, 3, 4]),
    "with holes": (lambda x: conv(x[..., 2:], 3, padding=2, dilation=2)[..., 1], [3, 5]),
    "of a strided window": (lambda x: conv(x[..., 1:], 3, padding=1, stride=2)[..., 0], [1, 2]),
    "behind a stride": (lambda x: three(F.max_pool1d(x, 2)[..., 1:])[..., 0], [2, 3, 4, 5]),
    "behind holes": (lambda x: three(conv(x, 2, dilation=3))[..., 0], [0, 1, 3, 4]),
    "of a pool": (lambda x: F.max_pool1d(x[..., 1:], 3, 1, 1)[..., 0], [1, 2]),
    "of a mean pool": (lambda x: F.avg_pool1d(x[..., 1:], 4, 1, 2)[..., 1], [1, 2, 3]),
    "a crop of two": (lambda x: three(x[..., 1:])[..., :2].mean(-1), [1, 2, 3]),
    "of a crop, its first": (lambda x: three(x[..., 1:6])[..., 0], [1, 2]),
    "of a crop, its last": (lambda x: three(x[..., 1:6])[..., 4], [4, 5]),
    "by narrow and select": (lambda x: three(x.narrow(-1, 1, 8)).select(-1, 0), [1, 2]),
    "padding alone": (lambda x: again(x, 3)[..., 0], []),
    "padding and more": (lambda x: again(x, 3)[..., 1:5].mean(-1), [3, 4]),
    "behind padding": (lambda x: three(again(x, 3))[..., 1], []),
    "far enough": (lambda x: again(x, 3)[..., 4], [4]),
    "of a sum": (lambda x: (three(x[..., 1:]) + x[..., 1:])[..., 0], [1, 2]),
    "of a sum that reaches further": (lambda x: (three(x[..., 1:]) + x[..., :-1])[..., 0], [0, 1, 2]),
    "of what is turned up": (lambda x: three(turned_up(x)[..., 3:])[..., 0], [1, 2]),
    "of what is repeated": (lambda x: three(F.interpolate(x, scale_factor=3)[..., 2:])[..., 0], [0, 1]),
    "up to a position": (lambda x: three(x[..., 1:]).cumsum(-1)[..., 2], [1, 2, 3, 4]),
    "beside one of another": (
        lambda x: three(x[..., 1:])[..., 0] + three(three(x[..., 2:]))[..., 1],
        [1, 2, 3, 4, 5],
    ),
    "and read again": (lambda x: three(x[..., 1:])[..., 0].relu().mT.mean(-1), [1, 2]),
    "reflected": (lambda x: F.pad(x, (2, 2), mode="reflect")[..., 0], [2]),
    "of what is reflected": (lambda x: folded(x[..., 1:], "reflect")[..., 0], [1, 2]),
    "of what is replicated": (lambda x: folded(x[..., 1:], "replicate")[..., 0], [1, 2]),
    "a slice of one": (lambda x: three(x[..., 1:])[..., 0:1], [1, 2]),
    "the next": (lambda x: three(x[..., 1:]).narrow(-1, 1, 1), [1, 2, 3]),
    "a slice of what is folded": (lambda x: folded(x[..., 1:], "reflect")[..., 0:1], [1, 2]),
    "a window of a slice of one": (lambda x: three(three(x[..., 1:])[..., 0:1]), [1, 2]),
    "behind what is folded": (lambda x: folded(x[..., 1:], "circular")[..., 1], [1, 2, 3]),
}  # fmt: skip


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", PICKED)
def test_a_picked_position_reads_no_padding(name: str, length: int) -> None:
    function, expected = PICKED[name]
    model, shape = Apply(lambda self, x: function(x)), (1, 2, length)
    (reads,) = rfgraph.analyze(model, shape).output.rf
    assert reads.closed_form and not reads.whole and reads.relation is not None
    assert [i for i in reads.relation.at(0) if i >= 0] == expected
    assert reads.interior == (0, 0) and reads.members({}).tolist() == expected
    rows = rows_reaching(model, shape, 2)
    assert rows.reshape(-1, length).any(0).nonzero()[0].tolist() == expected


@pytest.mark.parametrize("name", PICKED)
def test_the_probes_agree(name: str) -> None:
    check = rfgraph.verify(Apply(lambda self, x: PICKED[name][0](x)), (1, 2, LENGTHS[0]))
    assert check.exact, str(check)


def test_both_axes_of_an_image() -> None:
    def corner(x: Tensor) -> Tensor:
        weight = torch.ones(2, 2, 3, 5, dtype=x.dtype)
        return F.conv2d(x[:, :, 1:, 2:], weight, padding=(1, 2))[:, :, 0, 1]

    height, width = rfgraph.analyze(Apply(lambda self, x: corner(x)), (1, 2, 9, 11)).output.rf
    assert (height.size, width.size) == (2, 4)
    assert (height.offset, width.offset) == (1, 2)


def test_the_other_end_is_of_this_size() -> None:
    """Circular padding reads what another size has elsewhere; it claimed any size."""
    for length in LENGTHS:
        model = Apply(lambda self, x: folded(x[..., 1:], "circular")[..., 0])
        (reads,) = rfgraph.analyze(model, (1, 2, length)).output.rf
        assert [limit.reason for limit in reads.limits] == [borders.ENDS]
        assert reads.members({}).tolist() == [1, 2, length - 1]
    assert rfgraph.verify(model, (1, 2, LENGTHS[0])).exact


@pytest.mark.parametrize(
    "picked", [lambda y: y[..., 0:1], lambda y: y[..., 8:9], lambda y: y[..., 8]]
)
def test_so_it_is_of_a_slice_of_one_and_near_the_end(picked: Function) -> None:
    """Of 9 positions, the last reads the first one, too; of 10, the ninth does not."""
    model = Apply(lambda self, x: picked(folded(x, "circular")))
    (reads,) = rfgraph.analyze(model, (1, 2, 9)).output.rf
    assert [limit.reason for limit in reads.limits] == [borders.ENDS]
    rows = rows_reaching(model, (1, 2, 9), 2).reshape(-1, 9).any(0)
    assert reads.members({}).tolist() == rows.nonzero()[0].tolist()
    assert len(reads.members({})) == 3 and rfgraph.verify(model, (1, 2, 9)).exact


@pytest.mark.parametrize("length", [3, 4, 9])
def test_so_it_is_where_the_other_end_lies_near_the_beginning(length: int) -> None:
    """Two positions before the first of three is the second: a closed form said so at any size."""
    for picked in (lambda y: y[..., 0], lambda y: y[..., :3][..., :1]):
        model = Apply(lambda self, x, p=picked: p(F.pad(x, (2, 0), mode="circular")))
        (reads,) = rfgraph.analyze(model, (1, 2, length)).output.rf
        assert [limit.reason for limit in reads.limits] == [borders.ENDS]
        assert reads.members({}).tolist() == [length - 2]
        assert rfgraph.verify(model, (1, 2, length)).exact


def test_what_a_slice_leaves_out_before_the_end_another_size_has() -> None:
    """Row 5 is written and reads wider: of 8 rows `[3:-3]` leaves it out, of 14 it does not."""

    def model(self: object, x: Tensor, rows: slice) -> Tensor:
        made = x.clone()
        made[:, :, 5] = F.conv1d(x[:, :, 0], torch.ones(2, 2, 3, dtype=x.dtype), padding=1)
        return made[:, :, rows]

    for rows, closed in (
        (slice(3, -3), False),
        (slice(None, 5), True),
        (slice(6, None), True),
        (slice(0, None, 2), True),
    ):
        part = rfgraph.analyze(Apply(lambda self, x, r=rows: model(self, x, r)), (1, 2, 8, 6))
        row = part.output.at(rfgraph.Axis("x", 3))
        assert (row.size, row.closed_form) == (1, closed)


def test_counted_from_the_end_it_holds_at_this_size() -> None:
    model = Apply(lambda self, x: three(x[..., :-1])[..., -1])
    (reads,) = rfgraph.analyze(model, (1, 2, 14)).output.rf
    assert not reads.closed_form and reads.members({}).tolist() == [11, 12]


def test_channels_that_are_alike_near_a_border_are_not_united() -> None:
    def alike(x: Tensor) -> Tensor:
        return torch.cat([three(x[..., 1:]), three(x[..., 1:].relu())], 1)[..., 0]

    def unlike(x: Tensor) -> Tensor:
        return torch.cat([three(x[..., 1:]), x[..., 1:]], 1)[..., 0]

    for function, united in ((alike, False), (unlike, True)):
        field = rfgraph.analyze(Apply(lambda self, x, f=function: f(x)), (1, 2, 14)).output.rf
        assert field.size == (2,) and field.united == (united,)


# --- random chains --------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rest"), st.integers(0, 3), st.just(1)),
        st.tuples(st.just("window"), st.integers(1, 4), st.integers(1, 2)),
        st.tuples(st.just("stride"), st.integers(1, 3), st.integers(1, 2)),
        st.tuples(
            st.sampled_from(["reflect", "replicate", "constant"]), st.integers(0, 2), st.just(1)
        ),
        st.tuples(st.just("up"), st.integers(1, 3), st.integers(1, 2)),
    ),
    max_size=5,
)


def run(steps: Sequence[tuple[str, int, int]], x: Tensor) -> Tensor:
    for kind, first, second in steps:
        if kind == "rest":
            x = x[..., first:]
        elif kind == "window":
            x = conv(x, first, dilation=second, padding=(first - 1) * second)
        elif kind == "stride":
            x = conv(x, first, stride=second, padding=first // 2)
        elif kind == "up":
            weight = torch.ones(2, 2, first, dtype=x.dtype)
            x = F.conv_transpose1d(x, weight, stride=second, padding=first // 2)
        else:
            x = F.pad(x, (first, first), mode=kind)
    return x


@settings(deadline=None)
@given(STEPS, st.integers(0, 3))
def test_a_picked_position_of_any_chain(steps: list[tuple[str, int, int]], place: int) -> None:
    model = Apply(lambda self, x: run(steps, x)[..., place])
    (first,), (second,) = (rfgraph.analyze(model, (1, 2, n)).output.rf for n in (60, 75))
    rows = rows_reaching(model, (1, 2, 60), 2)
    seen = rows.reshape(-1, 60).any(0).nonzero()[0].tolist()
    assert first.closed_form and first.relation == second.relation and first.relation is not None
    assert [i for i in first.relation.at(0) if i >= 0] == seen


# --- faults ---------------------------------------------------------------------------------------


def failing(names: Sequence[str]) -> set[str]:
    found = set()
    for name in names:
        try:
            test_a_picked_position_reads_no_padding(name, LENGTHS[0])
        except AssertionError:
            found.add(name)
    return found


def test_paddings_that_are_read_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["the first", "the second", "of a crop, its last", "reflected", "padding alone"]
    with monkeypatch.context() as patch:
        patch.setattr("rfgraph.sizes.settle.bordered", lambda look: look)
        assert failing(names) == {*names} - {"the second"}
    with monkeypatch.context() as patch:
        patch.setattr(borders, "_is_folded", lambda *given: False)
        assert failing(names) == {"reflected"}


PADS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "roll": lambda x, n: torch.roll(x, n, -1),
    "roll back": lambda x, n: torch.roll(x, -n, -1),
    "circular": lambda x, n: F.pad(x, (n, 0), mode="circular"),
    "replicate": lambda x, n: F.pad(x, (n, 1), mode="replicate"),
}


@pytest.mark.parametrize(
    "name, size, n",
    [
        (name, size, n)
        for name in PADS
        for size in (2, 3, 5)
        for n in range(1, 8)
        if name != "circular" or n <= size  # torch takes no more
    ],
)
def test_a_position_of_what_goes_round_is_of_this_size(name: str, size: int, n: int) -> None:
    """Also where it lands on itself at this size, or goes round twice; what repeats the first one stays."""
    model = Apply(lambda self, x: PADS[name](x, n)[..., :1])
    assert rfgraph.verify(model, (1, 2, size)).exact
    closed = rfgraph.analyze(model, (1, 2, size)).output.rf.closed_form
    assert closed == ((name == "replicate") or (name == "roll back" and n < size),)


BEYOND: dict[str, Function] = {
    "a column": lambda x: F.pad(x, (1, 1))[..., 5],
    "by select": lambda x: F.pad(x, (1, 1)).select(3, 5),
    "of what is normalised": lambda x: F.instance_norm(F.pad(x, (1, 1)))[..., 5],
    "of a convolution": lambda x: F.conv2d(F.pad(x, (2, 2)), torch.ones(1, 1, 3, 1))[..., 7],
    "two columns": lambda x: F.pad(x, (1, 3))[..., 5:7],
    "their sum": lambda x: F.pad(x, (1, 3))[..., 5:7].sum(-1),
    "by an index": lambda x: F.pad(x, (1, 3))[..., [5, 6]],
    "beside the whole": lambda x: F.pad(x, (1, 3))[..., 5] + x.mean((2, 3), keepdim=True)[..., 0],
    "beside a column": lambda x: F.pad(x, (1, 3))[..., 5] + three_rows(x)[..., 1],
}


def three_rows(x: Tensor) -> Tensor:
    return F.conv2d(x, torch.ones(1, 1, 3, 1), padding=(1, 0))


@pytest.mark.parametrize("name", BEYOND)
def test_a_column_of_padding_is_of_this_width(name: str) -> None:
    """A wider input has something there: its rows are read, which the width of 4 does not show."""
    model = Apply(lambda self, x: BEYOND[name](x))
    check = rfgraph.verify(model, (1, 1, 6, 4))
    assert check.exact, str(check)
    rows = rfgraph.analyze(model, (1, 1, 6, 4)).output.at(("x", 2))
    assert [limit.reason for limit in rows.limits] == [periodic.PICKED] and not rows.closed_form
    wide = rfgraph.analyze(model, (1, 1, 6, 9)).output.at(("x", 2))
    assert not wide.limits or name == "by an index"


def test_a_channel_of_padding_is_one_at_any_size() -> None:
    model = Apply(lambda self, x: F.pad(x, (0, 0, 0, 0, 1, 1))[:, 2])
    assert not rfgraph.analyze(model, (1, 1, 6, 4)).output.rfs
    assert rfgraph.verify(model, (1, 1, 6, 4)).exact


def test_padding_much_wider_than_the_axis_that_repeats_its_ends() -> None:
    """Every window of it lands on the first position, thousands of times over."""
    conv = torch.nn.Conv1d(2, 2, 3, padding=3000, padding_mode="replicate")
    model = torch.nn.Sequential(conv, Apply(lambda self, x: x[..., :1]))
    assert rfgraph.analyze(model, (1, 2, 3)).output.reads(0, (0,)).tolist() == [0]
