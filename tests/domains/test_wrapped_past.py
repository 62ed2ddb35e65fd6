"""All that is read up to a position, of what reads the other end at its beginning: every position does.

The oracle is the model: each entry of its input is changed, in float64, and what changes is read.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

SIZE = 11
Forward = Callable[[nn.Module, Tensor], Tensor]


class Model(nn.Module):
    """Kernels reach two positions to the left, and as many to the right where padding says so."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.calls = forward
        self.circular = nn.Conv1d(1, 1, 3, padding=2, dilation=2, padding_mode="circular")
        self.reflect = nn.Conv1d(1, 1, 3, padding=2, dilation=2, padding_mode="reflect")
        self.conv = nn.Conv1d(1, 1, 3)
        self.rnn = nn.RNN(1, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.calls(self, x)


def attention(model: nn.Module, x: Tensor) -> Tensor:
    tokens = model.circular(x).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True).transpose(1, 2)


def recurrent(model: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = model.rnn(model.circular(x).transpose(1, 2))[0]
    return found.transpose(1, 2)


WRAPPED: dict[str, Forward] = {
    "cumsum": lambda m, x: m.circular(x).cumsum(2),
    "logcumsumexp": lambda m, x: m.circular(x).logcumsumexp(2),
    "RNN": recurrent,
    "attention": attention,
    "padding of its own": lambda m, x: m.conv(F.pad(x, (2, 0), "circular")).cumsum(2),
    "roll": lambda m, x: x.roll(1, 2).cumsum(2),
    "a branch": lambda m, x: (m.circular(x) + x).cumsum(2),
    "a window behind it": lambda m, x: m.conv(F.pad(m.circular(x), (1, 1))).cumsum(2),
}
NEAR: dict[str, tuple[Forward, int]] = {
    "on the right alone": (lambda m, x: m.conv(F.pad(x, (0, 2), "circular")).cumsum(2), 2),
    "reflect": (lambda m, x: m.reflect(x).cumsum(2), 2),
    "not past": (lambda m, x: m.circular(x), 2),
}


def lookahead(model: nn.Module) -> int:
    """The farthest that a position reads beyond itself."""
    model, x = model.double(), torch.linspace(-1, 1, SIZE, dtype=torch.float64).sin()[None, None]
    made = model(x)
    found = []
    for index in range(SIZE):
        other = x.clone()
        other[..., index] += 0.37
        found += [index - o for o in (model(other) != made)[0, 0].nonzero().flatten().tolist()]
    return max(found)


@pytest.mark.parametrize("name", WRAPPED)
def test_no_closed_form_hides_the_other_end(name: str) -> None:
    rf = rfgraph.analyze(Model(WRAPPED[name]), (1, 1, SIZE)).output.rf[0]
    assert not rf.closed_form
    assert any("begins at the other end" in limit.reason for limit in rf.limits)
    assert rf.lookahead == lookahead(Model(WRAPPED[name]))


@pytest.mark.parametrize("name", NEAR)
def test_what_folds_near_the_beginning_keeps_its_closed_form(name: str) -> None:
    forward, ahead = NEAR[name]
    rf = rfgraph.analyze(Model(forward), (1, 1, SIZE)).output.rf[0]
    assert rf.closed_form
    assert rf.lookahead == ahead


@pytest.mark.parametrize(
    ("mode", "size"),
    [*product(["replicate", "zeros"], [4, 6, 7, 16]), ("reflect", 7), ("reflect", 8)],
)
def test_what_folds_at_a_border_does_not_go_round(mode: str, size: int) -> None:
    """Of 7 positions, the first one's kernel reaches the last one, as it does at no larger size."""
    conv = nn.Conv1d(1, 1, 5, padding=6, dilation=3, padding_mode=mode)
    model = Model(lambda model, x: conv(x).cummax(2).values)
    (row,) = rfgraph.analyze(model, (1, 1, size)).output.rf
    assert (row.closed_form, row.unbounded, row.lookahead) == (True, "past", 6)
    assert rfgraph.verify(model, (1, 1, size)).exact


@pytest.mark.parametrize("size", [6, 7, 12])
def test_what_goes_round_does_so_where_its_position_is_read_anyway(size: int) -> None:
    """Of 6 positions, the kernel of five reads 0 and 3 alone, and each from both sides."""
    conv = nn.Conv1d(1, 1, 5, padding=6, dilation=3, padding_mode="circular")
    model = Model(lambda model, x: conv(x).cummax(2).values)
    (row,) = rfgraph.analyze(model, (1, 1, size)).output.rf
    assert not row.closed_form and rfgraph.verify(model, (1, 1, size)).exact
