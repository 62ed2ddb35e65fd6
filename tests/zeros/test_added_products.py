"""A low mask that scores are added to by the operator that makes them: baddbmm and its like.

Truth is the model: every step is changed, and what the output does is looked at.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import rfgraph

STEPS = 6
_AHEAD = torch.ones(STEPS, STEPS).triu(1) == 1
_ODD = torch.arange(STEPS) % 2 == 1
_LOW = torch.zeros(STEPS, STEPS).masked_fill(_AHEAD, -1e9)
MASKS = {
    "-1e9": _LOW,
    "-inf": torch.zeros(STEPS, STEPS).masked_fill(_AHEAD, -torch.inf),
    "both": _LOW.masked_fill(_AHEAD & _ODD, -torch.inf),
}
Scores = Callable[[Tensor, Tensor, Tensor], Tensor]
SPELLINGS: dict[str, Scores] = {
    "baddbmm": lambda m, q, k: torch.baddbmm(m.expand(1, STEPS, STEPS), q, k),
    "scaled": lambda m, q, k: torch.baddbmm(m[None], q, k, alpha=0.5, beta=1),
    "a method": lambda m, q, k: m[None].baddbmm(q, k),
    "addmm": lambda m, q, k: torch.addmm(m, q[0], k[0])[None],
    "addbmm": lambda m, q, k: torch.addbmm(m, q, k)[None],
    "addmv": lambda m, q, k: torch.stack([torch.addmv(m[:, i], q[0], k[0, :, i]) for i in range(STEPS)], -1)[None],
    "addr": lambda m, q, k: torch.addr(m, q[0, :, 0], k[0, 0])[None],
    "addcmul": lambda m, q, k: torch.addcmul(m, q[..., :1], k[:, :1]),
    "addcdiv": lambda m, q, k: torch.addcdiv(m, q[..., :1], k[:, :1].exp(), value=0.5),
}  # fmt: skip


class Attention(nn.Module):
    """(1, steps, features): causal attention."""

    def __init__(self, scores: Scores, mask: Tensor) -> None:
        super().__init__()
        self.scores = scores
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.mask.to(x), x, x.transpose(1, 2)).softmax(-1) @ x


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("scores", SPELLINGS.values(), ids=SPELLINGS)
def test_what_the_mask_hides_is_not_read(scores: Scores, mask: Tensor) -> None:
    model = Attention(scores, mask)
    check = rfgraph.verify(model, (1, STEPS, 3), axes=(1,))
    assert check and check.exact, str(check)
    report = rfgraph.analyze(model, (1, STEPS, 3), axes=(1,))
    x = torch.rand(1, STEPS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = model(x)
    for step in range(STEPS):
        assert report.output.reads(0, (0, step, 0)).tolist() == list(range(step + 1))
        other = x.clone()
        other[:, step] += 0.37
        changed = (model(other) != before).any(-1)[0]
        assert changed.nonzero().flatten().tolist() == list(range(step, STEPS))


def test_a_scaled_mask_may_hide_nothing() -> None:
    """`beta` may make any number of it: a bound, and 0 takes the mask away."""

    def scores(mask: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return torch.baddbmm(mask[None], q, k, beta=0.0)

    model = Attention(scores, MASKS["-1e9"])
    report = rfgraph.analyze(model, (1, STEPS, 3), axes=(1,))
    assert report.output.rf.whole == (True,) or len(report.output.reads(0, (0, 0, 0))) == STEPS
    assert rfgraph.verify(model, (1, STEPS, 3), axes=(1,))
