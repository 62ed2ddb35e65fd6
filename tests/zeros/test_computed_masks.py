"""Masks that are computed from an input: they are read, but where both of what they choose from is fixed to the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor, nn

import rfgraph

Forward: TypeAlias = Callable[[Tensor], Tensor]
SHAPE = (1, 1, 4, 5)

COMPUTED: dict[str, Forward] = {
    "where": lambda x: torch.where(x > 0, x, x * 0.1),
    "masked_fill": lambda x: x.masked_fill(x.gt(0), 0.5),
    "masked_fill, repeated": lambda x: x.masked_fill(x.mean(-1, keepdim=True) > 0, 0.5),
    "numbers": lambda x: torch.where(x > 0, 1.0, 0.0) * x,
    "a factor": lambda x: (x > 0) * x,
    "scores": lambda x: x.masked_fill(~(x.isnan() | (x <= 1)), -1e9).softmax(-1) @ x.mT,
}


class Calls(nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.calls = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.calls(x)


@pytest.mark.parametrize("name", COMPUTED)
def test_both_probes_read_what_a_computed_mask_chooses(name: str) -> None:
    check = rfgraph.verify(Calls(COMPUTED[name]), SHAPE)
    assert check.agrees and check.unread == (), str(check)


def chosen(x: Tensor, filling: float, way: str) -> Tensor:
    """Even columns are 0, then a mask, which reads its neighbours along the width, fills or keeps them."""
    kept = x.masked_fill(torch.arange(x.shape[-1]) % 2 == 0, 0.0)
    mask = nn.functional.avg_pool2d(x, (1, 3), 1, (0, 1)) > 0
    if way == "masked_fill":
        return kept.masked_fill(mask, filling)
    if way == "where":
        return torch.where(mask, filling, kept)
    return kept.masked_fill_(mask, filling)


@pytest.mark.parametrize("way", ["masked_fill", "where", "masked_fill_"])
@pytest.mark.parametrize(("filling", "even"), [(0.0, []), (5.0, [1, 2, 3])])
def test_what_is_0_whatever_a_mask_chooses_reads_nothing(
    filling: float, even: list[int], way: str
) -> None:
    model = Calls(lambda x: chosen(x, filling, way))
    output = rfgraph.analyze(model, SHAPE).output
    assert output.reads(1, (1, 2)).tolist() == even
    assert output.reads(1, (1, 3)).tolist() == [2, 3, 4]
    check = rfgraph.verify(model, SHAPE)
    assert check.exact, str(check)
