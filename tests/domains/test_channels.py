"""Channels that are read apart stay apart: of some channels, a row says what these read, held against the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rfgraph
from rfgraph.propagation import unions
from rfgraph.propagation.channels import Channels
from tests.sized.poison import Apply, rows_reaching, with_windows

Function = Callable[..., Tensor]
LENGTH = 15


def pair(self: nn.Module, x: Tensor) -> Tensor:
    """Two channels as they are, two behind a window of three."""
    return torch.cat([x, self.three(x)], 1)


def shuffled(x: Tensor, groups: int) -> Tensor:
    batch, channels, length = x.shape
    parts = x.view(batch, groups, channels // groups, length)
    return parts.transpose(1, 2).reshape(batch, channels, length)


def written(self: nn.Module, x: Tensor) -> Tensor:
    y = torch.zeros(1, 4, LENGTH).to(x)
    y[:, :2], y[:, 2:] = x, self.five(x)
    return y


def split_transform_merge(self: nn.Module, x: Tensor) -> Tensor:
    """As in Res2Net: each part is added to what the one before has come to."""
    first, second = x.chunk(2, 1)
    second = self.single(second)
    return torch.cat([first, second, self.single(second + first)], 1)


# size of what the picked channels read, by hand.
MODELS: dict[str, tuple[Function, int]] = {
    "the first": (lambda self, x: pair(self, x)[:, :1], 1),
    "the last": (lambda self, x: pair(self, x)[:, 2:], 3),
    "from the end": (lambda self, x: pair(self, x)[:, -4:-2], 1),
    "of both": (lambda self, x: pair(self, x)[:, 1:3], 3),
    "every second": (lambda self, x: pair(self, x)[:, ::2], 3),
    "chunk": (lambda self, x: pair(self, x).chunk(2, 1)[0], 1),
    "split": (lambda self, x: pair(self, x).split([1, 3], 1)[0], 1),
    "narrow": (lambda self, x: pair(self, x).narrow(1, 0, 2), 1),
    "select": (lambda self, x: pair(self, x).select(1, 1), 1),
    "unbind": (lambda self, x: pair(self, x).unbind(1)[3], 3),
    "an index": (lambda self, x: pair(self, x)[:, [1, 0]], 1),
    "index_select": (lambda self, x: pair(self, x).index_select(1, torch.tensor([0, 1])), 1),
    "behind pointwise operators": (lambda self, x: self.norm(pair(self, x)).relu().neg()[:, :2], 1),
    "behind a sum": (lambda self, x: (pair(self, x) + torch.cat([self.five(x), x], 1))[:, 2:], 3),
    "of the other side": (lambda self, x: (pair(self, x) + torch.cat([self.five(x), x], 1))[:, :2], 5),
    "depthwise": (lambda self, x: self.depthwise(pair(self, x))[:, :2], 3),
    "grouped": (lambda self, x: self.grouped(torch.cat([x, self.five(x)], 1))[:, 1:2], 3),
    "grouped, the other": (lambda self, x: self.grouped(torch.cat([x, self.five(x)], 1))[:, 2:], 7),
    "mixed": (lambda self, x: self.mixed(pair(self, x))[:, :1], 3),
    "shuffled": (lambda self, x: shuffled(pair(self, x), 2)[:, 0], 1),
    "shuffled, both": (lambda self, x: shuffled(pair(self, x), 2)[:, :2], 3),
    "shuffled back": (lambda self, x: shuffled(shuffled(pair(self, x), 2), 2)[:, :2], 1),
    "by the operator": (lambda self, x: F.channel_shuffle(pair(self, x)[..., None], 2)[:, ::2], 1),
    "in parts": (lambda self, x: pair(self, x).unflatten(1, (2, 2))[:, 0], 1),
    "stacked": (lambda self, x: torch.stack([x, self.three(x)], 1)[:, 0], 1),
    "stacked last": (lambda self, x: torch.stack([self.three(x), x], -1)[..., 1], 1),
    "channels last": (lambda self, x: pair(self, x).mT[..., :2], 1),
    "padded": (lambda self, x: F.pad(pair(self, x), (0, 0, 2, 1))[:, 2:4], 1),
    "written": (lambda self, x: written(self, x)[:, :2], 1),
    "picked twice": (lambda self, x: torch.cat([pair(self, x)[:, :2], self.five(x)], 1)[:, 1], 1),
    "picked of picked": (lambda self, x: pair(self, x)[:, 1:][:, :1], 1),
    "dense": (lambda self, x: torch.cat([pair(self, x), self.five(pair(self, x)[:, 2:])], 1)[:, 4:], 7),
    "Res2Net": (lambda self, x: split_transform_merge(self, x)[:, 1:2], 3),
    "Res2Net, last": (lambda self, x: split_transform_merge(self, x)[:, 2:], 5),
    "beside a whole read": (lambda self, x: torch.cat([x, x.mean(-1, True).expand_as(x)], 1)[:, :2], 1),
    "of another rate": (lambda self, x: torch.cat([F.max_pool1d(x, 3), x[..., :5]], 1)[:, :2], 3),
}  # fmt: skip


def built(function: Function) -> nn.Module:
    return with_windows(
        function,
        single=nn.Conv1d(1, 1, 3, padding=1),
        depthwise=nn.Conv1d(4, 4, 3, padding=1, groups=4),
        grouped=nn.Conv1d(4, 4, 3, padding=1, groups=2),
        mixed=nn.Conv1d(4, 4, 1),
        norm=nn.BatchNorm1d(4),
    )


def differing(model: nn.Module, shape: tuple[int, ...]) -> list[int]:
    """The positions along the axis at which the closed form, clipped, is not what the model reads."""
    model = model.double().eval()
    report = rfgraph.analyze(model, torch.zeros(shape, dtype=torch.float64))
    if not report.output.rfs:
        return [-1] if rows_reaching(model, shape, 2).any() else []
    (reads,) = report.output.rf
    assert reads.closed_form and not reads.whole and reads.relation is not None
    (dim,) = reads.dims
    rows = rows_reaching(model, shape, 2)
    others = tuple(d for d in range(rows.ndim - 1) if d != dim)
    seen = rows.any(axis=others)
    laws = ([i for i in reads.relation.at(o) if 0 <= i < shape[2]] for o in range(len(seen)))
    return [o for o, law in enumerate(laws) if seen[o].nonzero()[0].tolist() != law]


@pytest.mark.parametrize("name", MODELS)
def test_picked_channels_read_what_they_read(name: str) -> None:
    function, size = MODELS[name]
    shape = (1, 2, LENGTH)
    assert rfgraph.analyze(built(function), shape).output.rf.size == (size,)
    assert differing(built(function), shape) == []


@pytest.mark.parametrize("name", MODELS)
def test_picked_channels_agree_with_both_probes(name: str) -> None:
    check = rfgraph.verify(built(MODELS[name][0]), (1, 2, LENGTH))
    assert check.exact and check.unread == (), str(check)


def test_a_row_is_that_of_all_its_channels() -> None:
    report = rfgraph.analyze(built(lambda self, x: pair(self, x)[:, :1]), (1, 2, LENGTH))
    assert report["cat"].rf.size == (3,) and report.output.rf.size == (1,)


def test_channels_that_read_nothing() -> None:
    model = Apply(lambda self, x: torch.cat([x, torch.zeros(1, 2, LENGTH).to(x)], 1)[:, 2:])
    assert rfgraph.analyze(model, (1, 2, LENGTH)).output.rfs == {}
    assert rfgraph.verify(model, (1, 2, LENGTH)).exact


def test_along_both_axes_of_an_image() -> None:
    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tall, self.wide = (nn.Conv2d(2, 2, k, padding="same") for k in ((5, 1), (1, 3)))

        def forward(self, x: Tensor) -> Tensor:
            first, second = torch.cat([self.tall(x), self.wide(x)], 1).chunk(2, 1)
            return first - second.amax((2, 3), keepdim=True) if self.training else second

    model = Cross().eval()
    assert rfgraph.analyze(model, (1, 2, 9, 11)).output.rf.size == (1, 3)
    assert rfgraph.verify(model, (1, 2, 9, 11)).exact


# What is written into the columns of a map, which of them are picked, and whether that holds at any size: told at 2, at 5.
COLUMNS: dict[str, tuple[Any, Any, tuple[bool, bool]]] = {
    "all but the last, the second": (slice(None, -1), slice(1, 2), (False, True)),
    "all but the last, the first": (slice(None, -1), slice(0, 1), (False, True)),
    "the last, the second": (slice(-1, None), 1, (False, False)),
    "the last, by its number": (-1, slice(1, 2), (False, False)),
    "the second": (1, slice(1, 2), (True, True)),
    "a slice, the second": (slice(0, 1), 1, (True, True)),
    "from the second on": (slice(1, None), 1, (False, True)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_are_picked_of_what_this_size_has(name: str) -> None:
    """Rows read through a column: of two columns, the second is the last, and of more it is not."""
    where, picked, closed = COLUMNS[name]

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        y = F.avg_pool2d(x, (3, 1), 1, (1, 0))
        y[..., where] = x[..., where] * 2
        return y[..., picked]

    sizes = []
    for width in (2, 5):
        model = Apply(forward)
        row = rfgraph.analyze(model, (1, 1, 7, width)).output.at(rfgraph.Axis("x", 2))
        sizes.append((row.size, row.closed_form))
        check = rfgraph.verify(model, (1, 1, 7, width))
        assert check.exact, str(check)
    assert tuple(told for _, told in sizes) == closed
    assert len({size for size, told in sizes if told}) < 2


def test_what_reads_nothing_along_one_axis_reads_nothing_along_any() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        y = F.avg_pool2d(x, (1, 3), 1, (0, 1))
        rows = y[:, :, ::2]
        rows[:] = 0.5
        return y[:, :, ::2]  # rows that were written; its columns lie side by side, its rows do not

    report = rfgraph.analyze(Apply(forward), (1, 1, 3, 4))
    assert report.output.rfs == {}
    assert not any(report.output.at(axis).is_connected for axis in report.axes)
    assert rfgraph.verify(Apply(forward), (1, 1, 3, 4)).exact


# --- rows of channels that read differently -------------------------------------------------------

ROWS: dict[str, Function] = {
    "side by side": pair,
    "depthwise behind it": lambda self, x: self.depthwise(pair(self, x)),
    "pointwise behind it": lambda self, x: self.norm(pair(self, x)).relu(),
    "mixed behind it": lambda self, x: self.mixed(pair(self, x)),
    "alike": lambda self, x: torch.cat([self.three(x), self.three(x.relu())], 1),
    "beside zeros": lambda self, x: torch.cat([x, torch.zeros(1, 2, LENGTH).to(x)], 1),
    "padded": lambda self, x: F.pad(x, (0, 0, 1, 0)),
    "mixed in groups": lambda self, x: self.grouped(pair(self, x)),
    "shuffled before the groups": lambda self, x: self.grouped(shuffled(pair(self, x), 2)),
    "stacked": lambda self, x: torch.stack([x, self.three(x)], 1),
    "summed over the stack": lambda self, x: torch.stack([x, self.three(x)], 1).sum(1),
    "turned round": lambda self, x: pair(self, x)[:, [3, 2, 1, 0]],
    "written": written,
    "beside a whole read": lambda self, x: torch.cat([x, x.mean(-1, True).expand_as(x)], 1),
    "a sum of unlike ones": lambda self, x: pair(self, x) + torch.cat([self.five(x), x], 1),
    "a sum that makes them alike": lambda self, x: pair(self, x) + torch.cat([self.three(x), x], 1),
    "space to depth": lambda self, x: x.unflatten(-1, (5, 3)).transpose(2, 3).flatten(1, 2),
    "space to depth by slices": lambda self, x: torch.cat([x[..., :-1:2], x[..., 1::2]], 1),
    "space to depth, mixed": lambda self, x: self.mixed(torch.cat([x[..., :-1:2], x[..., 1::2]], 1)),
    "one window": lambda self, x: self.five(x),
}  # fmt: skip


def unlike(model: nn.Module, shape: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    """Does some channel read less than all together do, far from the borders?"""
    rows = rows_reaching(model, shape, 2)
    others = tuple(d for d in range(rows.ndim - 1) if d not in dims)
    less = rows.any(axis=others, keepdims=True) & ~rows
    if dims:
        count = rows.shape[dims[0]]
        less = np.moveaxis(less, dims[0], 0)[count // 3 : count - count // 3]
    return bool(less.any())


@pytest.mark.parametrize("name", [*ROWS, *MODELS])
def test_a_row_says_whether_it_is_a_bound_for_some_channel(name: str) -> None:
    model = built(ROWS.get(name) or MODELS[name][0]).double().eval()
    shape = (1, 2, LENGTH)
    report = rfgraph.analyze(model, torch.zeros(shape, dtype=torch.float64))
    (reads,) = report.output.rf
    assert reads.united == unlike(model, shape, reads.dims)
    assert ("channels that read differently" in str(report).splitlines()[-1]) == reads.united


@pytest.mark.parametrize("name", ROWS)
def test_the_sets_of_single_channels_say_the_same(name: str) -> None:
    """Of every position by itself, `reads` is exact: the row unites what differs there."""
    node = rfgraph.analyze(built(ROWS[name]), (1, 2, LENGTH)).output
    (dim,) = node.dims
    middle = node.shape[dim] // 2
    channels = np.ndindex(*node.shape[:dim], *node.shape[dim + 1 :])
    sets = {tuple(node.reads(0, (*at[:dim], middle, *at[dim:]))) for at in channels}
    assert (len(sets) > 1) == node.rf.united[0]
    assert {i for each in sets for i in each} == {*node.reads(0, middle)}


def test_every_form_of_a_report_says_that_a_row_is_a_bound() -> None:
    report = rfgraph.analyze(built(lambda self, x: self.mixed(pair(self, x))), (1, 2, LENGTH))
    told = {"x": False, "three": False, "cat": True, "mixed": False}
    assert {node.name: node.rf.united[0] for node in report} == told
    rows = {node["name"]: node["rfs"]["x"]["united"] for node in report.to_dict()["nodes"]}
    assert rows == {name: [united] for name, united in told.items()}
    assert report.to_dataframe().set_index("name").united.to_dict() == told
    for text in (str(report), report.to_markdown(), report.to_csv()):
        lines = [line for line in text.splitlines() if "channels that read differently" in line]
        assert len(lines) == 1 and "cat" in lines[0]


def test_heads_under_masks_of_their_own_are_positions_of_the_row() -> None:
    """No law unites them: `dims` names the heads' dim, and sizes are counted there, too."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.unflatten(-1, (2, 2)).transpose(1, 2)
            far = torch.arange(x.shape[1]) - torch.arange(x.shape[1])[:, None]
            seen = torch.stack([far.abs() <= 1, far.abs() <= 2])
            mixed = F.scaled_dot_product_attention(tokens, tokens, tokens, attn_mask=seen)
            return self.out(mixed.transpose(1, 2).flatten(2))

    report = rfgraph.analyze(Heads(), (1, 9, 4), axes=(1,))
    assert report["flatten"].dims == (1, 2) and report["flatten"].rf.size_range == ((2, 5),)
    assert not any(node.rf.united[0] for node in report if node.rfs)


def test_unlike_channels_that_are_taken_for_alike_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["side by side", "stacked", "mixed in groups", "space to depth by slices"]
    with monkeypatch.context() as patch:
        patch.setattr(unions, "_differs", lambda part, value: False)
        for name in names:
            with pytest.raises(AssertionError, match="united"):
                test_a_row_says_whether_it_is_a_bound_for_some_channel(name)
    monkeypatch.setattr(unions, "_differs", lambda part, value: True)
    with pytest.raises(AssertionError, match="united"):
        test_a_row_says_whether_it_is_a_bound_for_some_channel("a sum that makes them alike")


# --- random chains --------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "pick", "every", "chunk", "shuffle", "depthwise", "relu", "reverse"]),
        st.integers(0, 5),
        st.integers(1, 5),
    ),
    max_size=6,
)  # fmt: skip
Steps = list[tuple[str, int, int]]


def depthwise(x: Tensor, kernel: int) -> Tensor:
    weight = torch.ones(x.shape[1], 1, 2 * kernel + 1, dtype=x.dtype)
    return F.conv1d(x, weight, padding=kernel, groups=x.shape[1])


def run(steps: Steps, x: Tensor) -> Tensor:
    for kind, first, second in steps:
        count = x.shape[1]
        if kind == "join":
            x = torch.cat([x, depthwise(x[:, : 1 + first % count], second)], 1)
        elif kind == "pick":
            x = x[:, first % count : first % count + second]
        elif kind == "every":
            x = x[:, first % count :: second]
        elif kind == "chunk":
            x = x.chunk(2, 1)[first % 2 if count > 1 else 0]
        elif kind == "shuffle" and count % second == 0:
            x = shuffled(x, second)
        elif kind == "depthwise":
            x = depthwise(x, 1)
        elif kind == "reverse":
            x = x[:, list(range(count))[::-1]]
        else:
            x = x.relu()
    return x


@settings(deadline=None)
@given(STEPS)
def test_the_first_channel_of_any_chain(steps: Steps) -> None:
    model = Apply(lambda self, x: run(steps, x)[:, 0])
    (reads,) = rfgraph.analyze(model, (1, 2, 9)).output.rf
    rows = rows_reaching(model, (1, 2, 9), 2)[0]
    assert reads.relation is not None and reads.closed_form
    for output in range(9):
        law = [i for i in reads.relation.at(output) if 0 <= i < 9]
        assert rows[output].nonzero()[0].tolist() == law


@settings(deadline=None)
@given(STEPS)
def test_the_row_of_any_chain(steps: Steps) -> None:
    model, shape = (
        Apply(lambda self, x: run(steps, x)).double(),
        (1, 2, 63),
    )  # all that 31 reads fits
    (reads,) = rfgraph.analyze(model, torch.zeros(shape, dtype=torch.float64)).output.rf
    assert reads.united == unlike(model, shape, reads.dims)


def test_channels_that_are_taken_together_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Channels,
        "read",
        lambda self, node, read, axis: self._values[node.operands[read.operand]].get(axis),
    )
    for name in ("the first", "shuffled", "stacked"):
        assert differing(built(MODELS[name][0]), (1, 2, LENGTH)) != []
