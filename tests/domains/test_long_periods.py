"""Relations of more phases than are worth keeping end, and say so; sets go on."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.propagation import scans

REASON = "its reads repeat after more than 16384 positions"


class Resampled(nn.Module):
    """Resampled at one odd ratio after another: the period is the product of theirs."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Tensor) -> Tensor:
        for factor in self.factors:
            x = F.interpolate(x, scale_factor=factor, mode="linear")
        return x


class Repeated(nn.Module):
    """Branches of stride 1 that repeat after 2 and after 3 positions."""

    def forward(self, x: Tensor) -> Tensor:
        pooled = [F.interpolate(F.max_pool1d(x, n), scale_factor=float(n)) for n in (2, 3)]
        return torch.cat(pooled, 1)


def test_a_chain_whose_period_is_too_long_holds_at_this_size() -> None:
    report = rfgraph.analyze(Resampled(1.009, 1.013, 1.019), (1, 1, 200))
    first, second, third = (node.rf for node in list(report)[1:])
    assert first.closed_form == (True,) and first.period == (1009,)
    assert second.closed_form == (False,) == third.closed_form
    assert [limit.reason for limit in second.limits] == [REASON]
    assert rfgraph.verify(Resampled(1.009, 1.013, 1.019), (1, 1, 200)).agrees


def test_branches_whose_common_period_is_too_long_hold_at_this_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert rfgraph.analyze(Repeated(), (1, 1, 12)).output.rf.period == (6,)
    monkeypatch.setattr(scans, "_MOST_PHASES", 5)
    report = rfgraph.analyze(Repeated(), (1, 1, 12))
    assert [limit.reason for limit in report.output.rf.limits] == [REASON]
    assert report.output.reads(0, 5).tolist() == [3, 4, 5]
    assert rfgraph.verify(Repeated(), (1, 1, 12), rows="all").agrees
