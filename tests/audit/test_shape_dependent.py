"""The question `shape-dependent`: planted nets, near misses, mended twins, and what the numbers say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rfgraph

ID = "shape-dependent"


class Quarter(nn.Module):
    """Leaves out a part of the width: of what `forward` asks for, or of the code's own."""

    def __init__(self, asks: bool) -> None:
        super().__init__()
        self.conv, self.asks = nn.Conv2d(3, 4, (3, 2)), asks

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        left: Tensor = y[..., y.shape[-1] // 4 if self.asks else 5 :]
        return left.relu()


def nodes(model: nn.Module) -> dict[str, object]:
    found = rfgraph.audit(rfgraph.analyze(model, (1, 3, 22, 23)))
    return {each.node: each.numbers["nodes"] for each in found if each.id == ID}


PLANTED = [
    (nn.Sequential(nn.Conv2d(3, 4, (3, 2)), nn.AdaptiveAvgPool2d(7), nn.ReLU()), {"1": 2}),
    (nn.Sequential(nn.Upsample((40, 50), mode="bilinear", align_corners=True)), {"0": 1}),
    (Quarter(asks=True), {"getitem": 2}),
]
SILENT = [
    nn.Sequential(nn.Conv2d(3, 4, (3, 2)), nn.AvgPool2d((3, 4)), nn.ReLU()),
    nn.Sequential(nn.Conv2d(3, 4, (3, 2)), nn.AdaptiveAvgPool2d(1), nn.ReLU()),
    nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)),
    Quarter(asks=False),
]


@pytest.mark.parametrize(("model", "begins"), PLANTED)
def test_each_begins_where_it_does_and_counts_what_it_reaches(
    model: nn.Module, begins: dict[str, int]
) -> None:
    assert nodes(model) == begins


@pytest.mark.parametrize("model", SILENT)
def test_what_holds_at_any_size_is_no_finding(model: nn.Module) -> None:
    assert nodes(model) == {}


def rows_seen(model: nn.Module, width: int) -> list[int]:
    """The columns that column 3 of the output depends on, by a NaN in each."""
    x = torch.randn(1, 3, 22, width)
    seen = []
    for column in range(width):
        poisoned = x.clone()
        poisoned[..., column] = torch.nan
        with torch.no_grad():
            if model(poisoned)[..., 3].isnan().any():
                seen.append(column)
    return seen


def test_the_numbers_of_the_model_are_others_at_another_size() -> None:
    planted, mended = (nn.Sequential(p, nn.Identity()) for p in (Quarter(True), Quarter(False)))
    assert rows_seen(planted, 23) == [8, 9] != rows_seen(planted, 39) == [12, 13]
    assert rows_seen(mended, 23) == rows_seen(mended, 39) == [8, 9]
