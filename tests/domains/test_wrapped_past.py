"""All that is read up to a position, of what reads the other end at its beginning: every position does.

The oracle is the model: each entry of its input is changed, in float64, and what changes is read.
"""

from __future__ import annotations

from collections.abc import Callable

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
