"""Crops: reading all of a slice with fixed ends is no read of the whole axis, at any size.

Held against the model itself, run with one row of its input changed, at two sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

import rfgraph
from rfgraph.propagation import periodic, sized
from rfgraph.report.axis import AxisReads
from tests.sized.poison import Apply, with_windows
from tests.zeros.changes import changed

Function = Callable[..., Tensor]
LENGTHS = (24, 33)
COUNTS_FROM_THE_END = "counts from the end at this size"


def attention(x: Tensor) -> Tensor:
    return (x.mT @ x / 9).softmax(-1) @ x.mT


# What all of the crop reads, at any size: by hand.
WHOLE_CROPS: dict[str, tuple[Function, list[int]]] = {
    "a slice": (lambda self, x: x[..., 2:6].mean(-1), [2, 3, 4, 5]),
    "from the start": (lambda self, x: x[..., :4].amax(-1), [0, 1, 2, 3]),
    "with a step": (lambda self, x: x[..., 2:10:3].sum(-1), [2, 5, 8]),
    "narrow": (lambda self, x: x.narrow(-1, 3, 2).mean(-1), [3, 4]),
    "split": (lambda self, x: x.split(5, -1)[1].mean(-1), [5, 6, 7, 8, 9]),
    "split with sizes": (lambda self, x: x[..., :9].split([3, 6], -1)[1].mean(-1), [*range(3, 9)]),
    "tensor_split": (lambda self, x: x.tensor_split((3, 5), -1)[1].mean(-1), [3, 4]),
    "one position": (lambda self, x: x[..., 4:5].mean(-1), [4]),
    "pooling": (lambda self, x: F.adaptive_avg_pool1d(x[..., 2:6], 1), [2, 3, 4, 5]),
    "linear": (lambda self, x: F.linear(x[..., 1:4], torch.ones(2, 3).to(x)), [1, 2, 3]),
    "softmax": (lambda self, x: x[..., 2:6].softmax(-1), [2, 3, 4, 5]),
    "statistics": (lambda self, x: F.instance_norm(x[..., 2:6]), [2, 3, 4, 5]),
    "products": (lambda self, x: x[..., :4] @ x[..., 3:7].mT, [0, 1, 2, 3, 4, 5, 6]),
    "attention": (lambda self, x: attention(x[..., 1:4]), [1, 2, 3]),
    "a crop of a crop": (lambda self, x: x[..., 2:12][..., 1:5].mean(-1), [3, 4, 5, 6]),
    "a crop of the rest": (lambda self, x: x[..., 3:][..., 1:3].mean(-1), [4, 5]),
    "the rest of a crop": (lambda self, x: x[..., 2:9][..., 3:].mean(-1), [5, 6, 7, 8]),
    "two crops": (lambda self, x: x[..., :2].mean(-1) + x[..., 5:7].mean(-1), [0, 1, 5, 6]),
    "crops side by side": (lambda self, x: (x[..., 1:4] + x[..., 6:9]).mean(-1), [1, 2, 3, 6, 7, 8]),
    "of a window": (lambda self, x: self.three(x)[..., 2:6].mean(-1), [1, 2, 3, 4, 5, 6]),
    "a window of it": (lambda self, x: self.three(x[..., 2:6]).mean(-1), [2, 3, 4, 5]),
    "a larger window": (lambda self, x: self.five(self.three(x)[..., 3:5]).sum(-1), [2, 3, 4, 5]),
    "strides": (lambda self, x: self.strided(x)[..., 1:3].mean(-1), [2, 3, 4, 5]),
    "padded": (lambda self, x: F.pad(x[..., 2:5], (4, 9)).mean(-1), [2, 3, 4]),
    "windows of it": (lambda self, x: x[..., :6].unflatten(-1, (3, 2)).mean((2, 3)), [*range(6)]),
    "some windows": (lambda self, x: x[..., :-(x.shape[-1] % 3) or None].unflatten(-1, (-1, 3))[:, :, 1:3].mean((2, 3)), [*range(3, 9)]),
    "channels": (lambda self, x: F.linear(x[..., 1:4].flatten(1), torch.ones(2, 6).to(x)), [1, 2, 3]),
    "of a cumulative sum": (lambda self, x: x.cumsum(-1)[..., 2:4].mean(-1), [0, 1, 2, 3]),
    "windows of one": (lambda self, x: self.three(x.cumsum(-1)[..., 2:5]).sum(-1), [0, 1, 2, 3, 4]),
    "one of the rest of one": (lambda self, x: x.cumsum(-1)[..., 2:][..., 1], [0, 1, 2, 3]),
    "an end by the smaller of two": (lambda self, x: x[..., : min(x.shape[-1], 3)].mean(-1), [0, 1, 2]),
}  # fmt: skip

# Reads of all of a crop that holds at this size, or of a slice that is longer where the axis is: why.
NO_CROPS: dict[str, tuple[Function, str | None]] = {
    "counted from the end": (lambda self, x: x[..., -4:].mean(-1), COUNTS_FROM_THE_END),
    "narrow from the end": (lambda self, x: x.narrow(-1, -6, 5).mean(-1), COUNTS_FROM_THE_END),
    "an index": (lambda self, x: x.index_select(-1, torch.tensor([1, 3, 4])).sum(-1), "constant index"),
    "an even index": (lambda self, x: x[..., [1, 3, 5]].sum(-1), "constant index"),
    "up to a position of it": (lambda self, x: x[..., 2:6].cumsum(-1), "what is read of a crop, up to a position, is more at each position"),
    "the rest": (lambda self, x: x[..., 3:].mean(-1), None),
    "up to the end": (lambda self, x: x[..., 1:-2].mean(-1), None),
    "a chunk": (lambda self, x: x.chunk(3, -1)[0].mean(-1), None),
    "half": (lambda self, x: x[..., : x.shape[-1] // 2].mean(-1), None),
    "what padding has added": (lambda self, x: self.three(F.pad(x, (3, 2)))[..., : x.shape[-1]].mean(-1), None),
    "with what is none": (lambda self, x: (F.pad(x[..., 2:6], (0, x.shape[-1] - 4)) + x).mean(-1), None),
    "the last of split": (lambda self, x: x.split(5, -1)[-1].mean(-1), None),
}  # fmt: skip


def built(function: Function) -> nn.Module:
    return with_windows(
        function,
        strided=nn.Conv1d(2, 2, 2, stride=2),
    )


def analysed(function: Function, length: int) -> AxisReads:
    (reads,) = rfgraph.analyze(built(function), (1, 2, length)).output.rf
    return reads


@pytest.mark.parametrize("name", WHOLE_CROPS)
def test_all_of_a_crop_is_what_it_holds_at_any_size(name: str) -> None:
    function, expected = WHOLE_CROPS[name]
    for length in LENGTHS:
        reads = analysed(function, length)
        assert (reads.whole, reads.unbounded, reads.limits) == (False, None, ())
        assert reads.closed_form and reads.relation is not None and reads.relation.advance == 0
        assert list(reads.relation.at(0)) == expected
        assert reads.size == expected[-1] - expected[0] + 1
        rows = changed(lambda: built(function), (1, 2, length), 2)
        for element in rows.reshape(-1, length):
            assert element.nonzero()[0].tolist() == expected, length
        assert reads.members({}).tolist() == expected


@pytest.mark.parametrize("name", NO_CROPS)
def test_what_is_no_crop_is_the_whole_axis_or_says_why_it_holds_at_this_size(name: str) -> None:
    function, reason = NO_CROPS[name]
    for length in LENGTHS:
        reads = analysed(function, length)
        assert reads.whole == (reason is None)
        assert reads.closed_form == (reason is None) and (reads.size == inf) == (reason is None)
        assert {limit.reason for limit in reads.limits} == ({reason} if reason else set())
        rows = changed(lambda: built(function), (1, 2, length), 2)
        for place in range(rows.shape[-2]) if reads.dims else [0]:
            seen = rows[..., place, :] if reads.dims else rows
            union = seen.reshape(-1, length).any(0).nonzero()[0].tolist()
            assert reads.members(dict.fromkeys(reads.dims, place)).tolist() == union


# One position, however long the axis is: what it reads, by hand.
ONE_POSITION: dict[str, tuple[Function, list[int]]] = {
    "a slice": (lambda self, x: x[..., 1:2], [1]),
    "narrow": (lambda self, x: x.narrow(-1, 2, 1), [2]),
    "split": (lambda self, x: x.split([1, x.shape[-1] - 1], -1)[0], [0]),
    "a piece of one": (lambda self, x: x.split(1, -1)[4], [4]),
    "an index": (lambda self, x: x[..., [2]], [2]),
    "a crop of a crop": (lambda self, x: x[..., 1:4][..., 1:2], [2]),
    "a window of it": (lambda self, x: F.avg_pool1d(x[..., 1:4], 3), [1, 2, 3]),
    "a padded window of it": (lambda self, x: self.three(x[..., 2:3]), [2]),
    "a stride": (lambda self, x: x[..., 1:4][..., ::3], [1]),
    "of a cumulative sum": (lambda self, x: x.cumsum(-1)[..., 2:3], [0, 1, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_POSITION)
def test_one_position_of_a_crop_is_the_same_whatever_it_is_joined_with(name: str) -> None:
    """Along an axis of 5, four positions on are one, too: at that size, nothing tells which is repeated."""
    function, expected = ONE_POSITION[name]

    def joined(self: Any, x: Tensor) -> Tensor:
        return function(self, x) + x[..., 4:]

    for length in (5, 6, 9):
        alone = analysed(function, length)
        assert (alone.dims, alone.closed_form) == ((), True)
        assert alone.relation is not None and list(alone.relation.at(0)) == expected
        reads = analysed(joined, length)
        assert not reads.closed_form
        for place in range(length - 4):
            assert reads.members(dict.fromkeys(reads.dims, place)).tolist() == sorted(
                {*expected, place + 4}
            )
        rows = changed(lambda: built(joined), (1, 2, length), 2)
        for place in range(length - 4):
            union = rows[..., place, :].reshape(-1, length).any(0).nonzero()[0].tolist()
            assert union == sorted({*expected, place + 4})


@pytest.mark.parametrize("name", [*WHOLE_CROPS, *NO_CROPS])
def test_crops_agree_with_both_probes(name: str) -> None:
    function = (WHOLE_CROPS.get(name) or NO_CROPS[name])[0]
    check = rfgraph.verify(built(function), (1, 2, LENGTHS[0]))
    assert check.exact and check.unread == (), str(check)


@pytest.mark.parametrize("axis", [2, 3])
def test_a_crop_bounds_one_axis_of_tokens(axis: int) -> None:
    """The first rows of an image, as tokens: their mean reads these along the height, all of the width."""
    report = rfgraph.analyze(Apply(lambda self, x: x[:, :, 1:4].flatten(2).mean(-1)), (1, 2, 6, 9))
    reads = report.output.at(rfgraph.Axis("x", axis))
    assert reads.whole == (axis == 3) and reads.closed_form
    assert reads.members({}).tolist() == ([1, 2, 3] if axis == 2 else [*range(9)])


def test_a_crop_of_tokens_has_those_of_this_size() -> None:
    model = Apply(lambda self, x: x.flatten(2)[..., 2:5].mean(-1))
    height, width = rfgraph.analyze(model, (1, 2, 6, 4)).output.rf
    assert (height.members({}).tolist(), width.members({}).tolist()) == ([0, 1], [0, 2, 3])
    assert not height.whole and not height.closed_form and not width.closed_form
    assert "a crop of regrouped positions" in height.limits[0].reason
    assert rfgraph.verify(model, (1, 2, 6, 4)).exact


def test_a_crop_of_tokens_put_before_the_axis_reads_nothing_of_it() -> None:
    model = Apply(lambda self, x: torch.cat([torch.zeros(1, 2, 2), x.flatten(2)], 2)[..., :2] + 1)
    for reads in rfgraph.analyze(model, (1, 2, 6, 4)).output.rf:
        assert (reads.size, reads.local, reads.closed_form) == (0, None, True)
    assert rfgraph.verify(model, (1, 2, 6, 4)).exact


def test_local_reads_beside_a_whole_one_keep_the_crop() -> None:
    """A crop of the means is whole; what is left is the crop, of which each position reads all."""
    model = Apply(lambda self, x: (x.softmax(-1)[..., 2:5]).softmax(-1))
    (reads,) = rfgraph.analyze(model, (1, 2, 20)).output.rf
    assert reads.whole and reads.local is not None
    assert (reads.local.size, reads.local.closed_form) == (3, True)
    assert reads.local.members({}).tolist() == [2, 3, 4]
    assert rfgraph.verify(model, (1, 2, 20)).exact


# --- what ends at a size that was asked for -------------------------------------------------------


class Positioned(nn.Module):
    """Padded in front and cropped to its own size, with an embedding that fits one size alone."""

    def __init__(self, length: int, stop: int | None = None) -> None:
        super().__init__()
        self.embedding, self.stop = nn.Parameter(torch.ones(length)), stop

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x + self.embedding, (2, 5))
        return padded[..., : self.stop or x.shape[-1]].mean(-1)


@pytest.mark.parametrize("stop", [None, 9])
def test_where_there_is_one_size_an_end_that_was_asked_for_is_the_axis_end(
    stop: int | None,
) -> None:
    report = rfgraph.analyze(Positioned(12, stop), (1, 2, 12))
    (reads,) = report.output.rf
    assert (reads.whole, reads.size) == ((False, 9) if stop else (True, inf))
    assert reads.members({}).tolist() == [*range(stop - 2 if stop else 10)]
    assert rfgraph.verify(Positioned(12, stop), (1, 2, 12)).exact


def test_an_exported_model_does_not_tell_what_was_asked() -> None:
    for stop, whole in ((None, True), (9, False)):
        report = rfgraph.analyze(Positioned(12, stop), (1, 2, 12), capture="export")
        assert report.output.rf.whole == (whole,)


@pytest.mark.parametrize("length", [12, 17])
def test_an_end_that_is_a_number_of_the_code_is_one_also_where_the_axis_ends(length: int) -> None:
    (reads,) = rfgraph.analyze(
        Apply(lambda self, x: x[..., :12].mean(-1)), (1, 2, length)
    ).output.rf
    assert (reads.whole, reads.size, reads.closed_form) == (False, 12, True)


# --- random chains --------------------------------------------------------------------------------

Sets = list[frozenset[int]]
Chain = list[tuple[str, int, int]]
CHAINS = st.lists(
    st.one_of(
        st.tuples(st.just("crop"), st.integers(0, 4), st.integers(1, 8)),
        st.tuples(st.just("rest"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("window"), st.integers(1, 4), st.integers(0, 3)),
        st.tuples(st.just("stride"), st.integers(1, 3), st.integers(1, 2)),
    ),
    max_size=6,
)


def within_crops(chain: Chain) -> Chain:
    """Without the slices before the first crop: padding behind these is a border, of which no law tells."""
    kinds = [kind for kind, _, _ in chain]
    first = kinds.index("crop") if "crop" in kinds else len(kinds)
    return [step for i, step in enumerate(chain) if step[0] != "rest" or i > first]


def run(chain: Chain, x: Tensor) -> Tensor:
    for kind, first, second in chain:
        if kind == "crop":
            x = x[..., first : first + second]
        elif kind == "rest":
            x = x[..., first:]
        else:
            kernel, padding = (first, min(second, first - 1)) if kind == "window" else (first, 0)
            stride = second if kind == "stride" else 1
            x = F.conv1d(x, torch.ones(1, 1, kernel), stride=stride, padding=padding)
    return x.mean(-1)


def read(chain: Chain, length: int) -> tuple[Sets, bool]:
    """What each position reads before the mean, by plain sets; True where a crop has left out some."""
    sets, cropped = [frozenset([i]) for i in range(length)], False
    for kind, first, second in chain:
        if kind == "crop":
            cropped |= first + second <= len(sets)  # else it ends with the axis
            sets = sets[first : first + second]
        elif kind == "rest":
            sets = sets[first:]
        else:
            padding = min(second, first - 1) if kind == "window" else 0
            padded = [frozenset[int]()] * padding + sets + [frozenset[int]()] * padding
            stride = second if kind == "stride" else 1
            starts = range(0, len(padded) - first + 1, stride)
            sets = [frozenset().union(*padded[i : i + first]) for i in starts]
    return sets, cropped


@given(CHAINS.map(within_crops))
@example([("stride", 1, 2), ("window", 3, 0), ("stride", 3, 2), ("window", 2, 1), ("crop", 3, 8)])
def test_a_mean_over_any_chain(chain: Chain) -> None:
    sets, cropped = read(chain, 48)
    if not any(sets) or len(read(chain, 40)[0]) == 0:
        return
    (reads,) = rfgraph.analyze(Apply(lambda self, x: run(chain, x)), (1, 1, 48)).output.rf
    expected = sorted(frozenset().union(*sets))
    assert reads.members({}).tolist() == expected
    assert reads.whole != cropped and reads.closed_form
    if cropped:
        assert reads.relation is not None
        longer = frozenset().union(*read(chain, 96)[0])  # where no crop ends at a border
        assert [i for i in reads.relation.at(0) if i >= 0] == sorted(longer), chain


# --- faults ---------------------------------------------------------------------------------------


def failing(names: Sequence[str], test: Callable[[str], None]) -> set[str]:
    found = set()
    for name in names:
        try:
            test(name)
        except AssertionError:
            found.add(name)
    return found


def test_a_crop_that_one_domain_forgets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a slice", "softmax", "a window of it"]
    with monkeypatch.context() as patch:
        patch.setattr(periodic, "within", lambda scan, step, *others: step)
        assert failing(names, test_all_of_a_crop_is_what_it_holds_at_any_size) == {*names}
    with monkeypatch.context() as patch:
        patch.setattr(sized, "bounds", lambda *others: False)
        report = rfgraph.analyze(built(WHOLE_CROPS["softmax"][0]), (1, 2, 24))
        (axis,) = report.axes
        assert None in {carry.target for carry in report.carries(axis)["softmax"]}


def test_a_crop_that_is_not_clipped_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfgraph.propagation.crops._clipped", lambda reads, crop: reads)
    monkeypatch.setattr(
        "rfgraph.sizes.settle.bordered", lambda look: look
    )  # it finds them by itself
    names = ["a window of it", "a larger window", "a slice"]
    assert failing(names, test_all_of_a_crop_is_what_it_holds_at_any_size) == {*names[:2]}
