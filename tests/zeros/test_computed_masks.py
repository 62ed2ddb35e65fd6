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


IN_ITS_IMAGE: dict[str, tuple[Forward, list[int]]] = {
    # The zeros that are joined on are known; what is left of x is its lower triangle, and below it nothing.
    "a factor": (lambda x: torch.cat([x.tril(), torch.zeros_like(x)], 2) * x.mean(2, True), []),
    "a product": (lambda x: torch.cat([x.tril(), torch.zeros_like(x)], 2) @ x, []),
    "low": (
        lambda x: torch.cat([x, torch.full_like(x, -1e9)], 3).softmax(3) @ x.repeat(1, 1, 2, 1),
        [0, 1, 2, 3],
    ),
}


@pytest.mark.parametrize("name", IN_ITS_IMAGE)
def test_what_is_made_in_the_image_of_an_input_is_known_where_it_is_joined(name: str) -> None:
    forward, last = IN_ITS_IMAGE[name]
    model = Calls(forward)
    check = rfgraph.verify(model, (1, 1, 4, 4))
    assert check.exact, str(check)
    output = rfgraph.analyze(model, (1, 1, 4, 4)).output
    assert output.reads(1, (output.shape[2] - 1, 3)).tolist() == last
