"""Axes so long that sets would not fit in memory: hulls stand for them, and say so."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rfgraph
from rfgraph.language.readings import readings
from rfgraph.propagation.sets import AtSize
from rfgraph.rules import VOCABULARY
from tests.sized.poison import Apply


class EncoderDecoder(nn.Module):
    """1-D, strided down and up again, with a skip; 160,000 samples are ten seconds at 16 kHz."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Conv1d(1 if i == 0 else 2, 2, 8, stride=4, padding=2) for i in range(4)
        )
        self.up = nn.ModuleList(nn.ConvTranspose1d(2, 2, 8, stride=4, padding=2) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for layer in self.down:
            x = torch.relu(layer(x))
            skips.append(x)
        for layer in self.up:
            x = layer(x + skips.pop())
        return x


def test_a_long_signal_is_answered_by_hulls_which_say_so() -> None:
    node = rfgraph.analyze(EncoderDecoder(), (1, 1, 160_000)).output
    closed = node.rf.relations[0]
    assert closed is not None
    middle = 80_001
    assert node.region(middle) == ((closed.at(middle)[0], closed.at(middle)[-1]),)
    first = node.region(0)
    assert first is not None and first[0][0] == 0
    assert not node.rf[0].at_size.sets(node.name, node.rf[0].axis)[0].exact
    for position in (0, 5, middle, 159_999):
        read = node.reads(0, position)
        assert (int(read[0]), int(read[-1])) == node.region(position)[0]
        assert set(read) == {i for i in closed.at(position) if 0 <= i < 160_000}


def _budgeted(report: rfgraph.Report, budget: int) -> AtSize:
    return AtSize(readings(report.captured, VOCABULARY), budget=budget)


@pytest.mark.parametrize("budget", [25_000, 50_000])
def test_sets_over_the_budget_are_told_stretch_by_stretch(budget: int) -> None:
    layers = nn.Conv1d(1, 2, 3, dilation=8), nn.Conv1d(2, 2, 4, 2), nn.Upsample(scale_factor=3)
    report = rfgraph.analyze(nn.Sequential(*layers), (1, 1, 700))
    few, axis = _budgeted(report, budget), report.axes[0]
    for node in report.nodes:
        for position in range(0, node.shape[2], 7):
            read = few.members(node.name, axis, {2: position})
            assert read is not None and read.tolist() == node.reads(0, position).tolist()
    lattice, _ = few.sets(report.output.name, axis) or pytest.fail("nothing is read")
    assert not lattice.exact and len(few._windows[axis, False][0].positions) < 700


def test_a_budget_that_holds_no_stretch_refuses() -> None:
    report = rfgraph.analyze(nn.Conv1d(1, 1, 3), (1, 1, 700))
    report.output.rf[0].at_size._budget = 0
    assert report.output.region(5) == ((5, 7),)
    with pytest.raises(rfgraph.InputError, match=r"700 positions exceed .* only hulls .* region"):
        report.output.reads(0, 5)


@pytest.mark.parametrize("size", [256, 1024])
def test_hulls_are_the_hulls_of_the_sets(size: int) -> None:
    report = rfgraph.analyze(EncoderDecoder(), (1, 1, size))
    hulls = AtSize(readings(report.captured, VOCABULARY), budget=0)
    for node in report.nodes:
        lattice, array = hulls.sets(node.name, report.axes[0]) or pytest.fail("nothing is read")
        assert not lattice.exact
        for position in range(node.shape[2]):
            lo, hi = lattice.hull(array[0, 0, position])
            assert ((int(lo), int(hi)),) == node.region((position,))


def test_a_small_budget_widens_nothing() -> None:
    # 3-tap, dilated by 8: the hull of {0, 8, 16} is 0 .. 16, and the holes are lost, not the extremes.
    report = rfgraph.analyze(nn.Conv1d(1, 1, 3, dilation=8), (1, 1, 40))
    hulls = AtSize(readings(report.captured, VOCABULARY), budget=0)
    lattice, array = hulls.sets(report.output.name, report.axes[0]) or pytest.fail(
        "nothing is read"
    )
    assert lattice.members(array[0, 0, 5]).tolist() == list(range(5, 22))
    assert report.output.reads(0, 5).tolist() == [5, 13, 21]


def ahead(report: rfgraph.Report, stride: Fraction) -> int:
    """What any output reads beyond the end of its own hop, position by position."""
    node = report.output
    beyond = []
    for o in range(node.shape[node.dims[0]]):
        end = stride * (o + 1) if stride > 0 else stride * o + 1
        last = max(i for i in range(-99, 99) if i < end)
        beyond += [max(0, read - last) for read in node.reads(0, o).tolist()]
    return max(beyond)


def attended(x: torch.Tensor, mask: torch.Tensor | None = None, **options: bool) -> torch.Tensor:
    return F.scaled_dot_product_attention(x, x, x, mask, **options)


SIZED = {
    # a forward, and by how much it moves
    "a reversal, which moves backwards": (lambda x: x.flip(-1), -1),
    "causal attention over steps of 2": (
        lambda x: attended(F.avg_pool1d(x, 3, 2).transpose(1, 2), torch.ones(5, 5).tril().bool()),
        2,
    ),
    "a mask that sees two ahead": (
        lambda x: attended(x.transpose(1, 2), torch.ones(12, 12).tril(2).bool()),
        1,
    ),
    "adaptive pooling": (lambda x: F.adaptive_avg_pool1d(x, 5), Fraction(12, 5)),
}


@pytest.mark.parametrize("name", SIZED)
def test_look_ahead_without_a_closed_form_is_counted_over_all_positions(name: str) -> None:
    forward, stride = SIZED[name]
    report = rfgraph.analyze(Apply(lambda self, x: forward(x)), (1, 2, 12))
    (reads,) = report.output.rf
    assert not reads.closed_form
    assert reads.lookahead == ahead(report, Fraction(stride))
