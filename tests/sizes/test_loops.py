"""Loops over positions, which a capture unrolls: no closed form rests on them, and a stack of them is a table."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph import Axis
from rfgraph.language.reads import along, fixed, lookup, table
from rfgraph.propagation.unrolled import UNROLLED, chosen
from rfgraph.testing import assert_causal
from tests.recurrent_models import ConvLSTM


class Model(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def stacked(x: Tensor) -> Tensor:
    return torch.stack([x[..., t] for t in range(x.shape[-1])], -1)


def iterated(x: Tensor) -> Tensor:
    return torch.stack([row.tanh() for row in x.permute(2, 0, 1)], 2)


def unbound(x: Tensor) -> Tensor:
    return torch.stack([row * 2 for row in x.unbind(-1)], -1)


def running(x: Tensor) -> Tensor:
    total, sums = torch.zeros(()), []
    for t in range(x.shape[-1]):
        total = total + x[..., t]
        sums.append(total)
    return torch.stack(sums, -1)


def ahead(x: Tensor) -> Tensor:
    n = x.shape[-1]
    return torch.stack([x[..., t] + x[..., min(t + 2, n - 1)] for t in range(n)], -1)


def assigned(x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for t in range(x.shape[-1]):
        out[..., t] = x[..., t]
    return out


def appended(x: Tensor) -> Tensor:
    return torch.cat([x[..., t : t + 1].exp() for t in range(x.shape[-1])], -1)


def columns(x: Tensor) -> Tensor:
    return torch.cat([x[..., t].unsqueeze(-1) for t in range(x.shape[-1])], -1)


def pieces(x: Tensor) -> Tensor:
    return torch.cat([piece.flip(-1) for piece in x.split(2, -1)], -1)


def added(x: Tensor) -> Tensor:
    """Frames of 2 rows of channels, laid one behind another by `+=`, half over each other."""
    out = x.new_zeros(x.shape[0], x.shape[-1] + 1)
    for t in range(x.shape[-1]):
        out[:, t : t + 2] += x[..., t]
    return out


TABLES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[int], set[int]], int]] = {
    # a loop, what it reads at a position of 6, its look-ahead
    "a stack is the identity": (stacked, lambda o: {o}, 0),
    "iterated over": (iterated, lambda o: {o}, 0),
    "unbound": (unbound, lambda o: {o}, 0),
    "running sums": (running, lambda o: set(range(o + 1)), 0),
    "two ahead": (ahead, lambda o: {o, min(o + 2, 5)}, 2),
    "written one by one": (assigned, lambda o: {o}, 0),
    "put behind each other": (appended, lambda o: {o}, 0),
    "columns behind each other": (columns, lambda o: {o}, 0),
    "pieces, each reversed": (pieces, lambda o: {o ^ 1}, 1),
    "added, half over each other": (added, lambda o: {o, o - 1} & set(range(6)), 0),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_a_loop_lays_out_is_a_table_of_this_size(name: str) -> None:
    loop, expected, lookahead = TABLES[name]
    report = rfgraph.analyze(Model(loop), (2, 2, 6))
    node, (reads,) = report.output, report.output.rf
    dim = len(node.shape) - 1
    assert node.dims == reads.dims == (dim,)
    assert not reads.closed_form and not reads.whole
    assert UNROLLED in [limit.reason for limit in reads.limits]
    for o in range(node.shape[dim]):
        assert set(reads.members({dim: o}).tolist()) == expected(o)
    assert reads.lookahead == lookahead
    assert rfgraph.verify(Model(loop), (2, 2, 6), rows="all").exact


def test_the_limit_is_said_once_and_names_the_first_of_the_loop() -> None:
    report = rfgraph.analyze(Model(running), (1, 2, 6))
    for name in ("getitem_4", "add_3", "stack"):
        assert report[name].rf.limits == (("getitem", UNROLLED),)
    assert str(report).splitlines()[-1].endswith(f"this size only: {UNROLLED} (getitem)")
    assert report["x"].rf.closed_form == (True,)


def test_a_sum_over_all_positions_is_none_either() -> None:
    report = rfgraph.analyze(Model(lambda x: sum(x.unbind(-1))), (1, 2, 6))
    (reads,) = report.output.rf
    assert reads.size == 6 and reads.dims == () and reads.limits == (("unbind", UNROLLED),)
    assert reads.lookahead is None


def test_a_whole_read_of_a_stack_is_one_of_the_axis() -> None:
    report = rfgraph.analyze(
        Model(lambda x: stacked(x) - stacked(x).mean(-1, keepdim=True)), (1, 2, 6)
    )
    (reads,) = report.output.rf
    assert reads.whole and [cause.text for cause in reads.causes] == ["pooling"]
    assert reads.local is not None and reads.local.size == 1
    assert reads.local.members({2: 3}).tolist() == [3]
    assert rfgraph.verify(report_model(report), (1, 2, 6)).exact


def report_model(report: rfgraph.Report) -> nn.Module:
    """What was captured, which is unrolled already: all of it is there at any size, and takes one."""
    return report.fx


def test_what_follows_a_table_slides_over_it() -> None:
    report = rfgraph.analyze(Model(lambda x: F.avg_pool1d(stacked(x), 3, 1)), (1, 2, 6))
    (reads,) = report.output.rf
    assert (reads.size, reads.stride, reads.dims, reads.lookahead) == (3, 1, (2,), 2)
    assert reads.members({2: 1}).tolist() == [1, 2, 3]


def test_one_position_or_a_fixed_few_are_closed() -> None:
    for few in (lambda x: x[..., 0], lambda x: torch.stack([x[..., t] for t in range(3)], -1)):
        (reads,) = rfgraph.analyze(Model(few), (1, 2, 6)).output.rf
        assert reads.closed_form
    (reads,) = rfgraph.analyze(Model(lambda x: x[..., 0] * x.shape[-1]), (1, 2, 6)).output.rf
    assert reads.closed_form and reads.members({}).tolist() == [0]


def test_a_loop_over_what_carries_no_axis_is_closed() -> None:
    def by_channel(x: Tensor) -> Tensor:
        return torch.stack([F.avg_pool1d(c[:, None], 3, 1)[:, 0] for c in x.unbind(1)], 1)

    (reads,) = rfgraph.analyze(Model(by_channel), (1, 4, 6)).output.rf
    assert reads.closed_form and reads.size == 3


def test_a_loop_of_a_model_that_takes_one_size_is_seen_by_its_picks() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6))

        def forward(self, x: Tensor) -> Tensor:
            return running(x * self.weight)

    report = rfgraph.analyze(One(), (1, 2, 6))
    assert report.output.rf.limits == (("getitem", UNROLLED),) and report.output.dims == (2,)
    assert any("takes no second one" in note for note in report.notes)


def test_a_convolutional_lstm_over_frames() -> None:
    report = rfgraph.analyze(ConvLSTM(), (1, 4, 1, 6, 5), axes=(1, 3, 4))
    time, height, width = report.output.rf
    assert report.output.dims == (1, 3, 4) and time.dims == (1,)
    assert (time.size_range, time.reach, time.lookahead) == ((1, 4), (3, 0), 0)
    for reads in (time, height, width):  # four frames widen what is read of each frame
        assert reads.limits == (("getitem", UNROLLED),)
    assert (height.size, width.size) == (9, 9)
    assert_causal(ConvLSTM(), (1, 4, 1, 6, 5), axes=(1,))
    assert rfgraph.verify(ConvLSTM(), (1, 4, 1, 6, 5), axes=(1, 3, 4)).exact


def test_as_many_frames_as_there_are_is_closed_in_space() -> None:
    """Time is not tracked, so the number of frames is part of the model."""
    report = rfgraph.analyze(ConvLSTM(), (1, 4, 1, 6, 5), axes=(3, 4))
    assert report.output.rf.closed_form == (True, True)
    assert report.output.rf.size == (9, 9)


def test_a_recurrent_loop_is_causal_and_its_reverse_is_not() -> None:
    class Rnn(nn.Module):
        def __init__(self, reverse: bool) -> None:
            super().__init__()
            self.reverse = reverse
            self.cell = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            state, states = x.new_zeros(x.shape[0], 2), []
            rows = list(x.unbind(-1))
            for row in reversed(rows) if self.reverse else rows:
                state = self.cell(torch.cat([row, state], 1)).tanh()
                states.append(state)
            return torch.stack(states[::-1] if self.reverse else states, -1)

    assert_causal(Rnn(reverse=False), (2, 2, 7))
    with pytest.raises(AssertionError, match=r"looks 6 ahead"):
        assert_causal(Rnn(reverse=True), (2, 2, 7))


# --- along which dims a place is chosen -----------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "dims"),
    [
        ((along(0), along(1)), set()),
        ((fixed(2), along(1)), set()),
        ((lookup((0, 2), lambda o: o[:1] if o[1] == 3 else (), "", along(0)), along(1)), {2}),
        ((lookup((0, 2), lambda o: o[:1] if o[1] == 3 else (), ""), along(1)), {2}),
        ((table(1, lambda o: () if o < 2 else (o,)),), {1}),
        ((table(1, lambda o: (2 - o // 2,)),), set()),
        ((table(1, lambda o: (o - 4,)),), {1}),
        ((table(1, lambda o: ()),), set()),
        ((lookup((0, 1), lambda o: (0,) if o == (1, 4) else (), ""),), {0, 1}),
    ],
)
def test_the_dims_along_which_it_is_chosen_whether_anything_is_read(places, dims) -> None:
    assert chosen(places, (3, 6)[: len(places)], (3, 6, 4)) == dims


def test_a_loop_along_one_of_two_axes_limits_both() -> None:
    model = Model(lambda x: torch.stack([row.cumsum(-1) for row in x.unbind(2)], 2))
    report = rfgraph.analyze(model, (1, 1, 4, 5))
    assert [limits[0].reason for limits in (reads.limits for reads in report.output.rf) if limits]
    assert report.output.at(Axis("x", 2)).dims == (2,)
