"""`dims`: exactly the dims of a node along which its reads vary, also where no law says how."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from tests.attention_models import Windows


class Involution(nn.Module):
    """Li et al. 2021: a kernel for every position, over windows laid out as elements."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(4, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        kernel = self.kernel(x).view(batch, 1, 9, height, width)
        windows = F.unfold(x, 3, padding=1).view(batch, channels, 9, height, width)
        return (windows * kernel).sum(2)


class Refolded(nn.Module):
    """Windows laid out as elements, and put back."""

    def forward(self, x: Tensor) -> Tensor:
        return F.fold(F.unfold(x, (2, 3), padding=1), x.shape[2:], (2, 3), padding=1)


class Crossed(nn.Module):
    """Position (y, x) reads itself, and row 4, column y, by a constant index that no law describes."""

    def forward(self, x: Tensor) -> Tensor:
        last_row_first = x[:, :, torch.tensor([4, 0, 3, 1, 2])]
        return x + last_row_first.transpose(2, 3)[..., :1]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Involution(), (1, 4, 6, 5)),
        (Refolded(), (1, 2, 6, 5)),
        (nn.Sequential(Windows(), Windows((1, 2))), (1, 4, 6, 12)),
        (nn.Sequential(Windows(), Windows((1, 2), masked=True)), (1, 4, 6, 12)),
        (nn.Sequential(Windows(), Windows((1, 2))), (1, 4, 2, 3)),
    ],
    ids=["involution", "fold", "shifted windows", "masked windows", "one window"],
)
def test_reads_along_one_side_vary_along_it_alone(model: nn.Module, shape: tuple[int, ...]) -> None:
    report = rfgraph.analyze(model, shape)
    assert [report.output.at(axis).dims for axis in report.axes] == [(2,), (3,)]


def test_reads_that_vary_along_another_dim_too_have_both() -> None:
    report = rfgraph.analyze(Crossed(), (1, 1, 5, 5))
    height, width = (report.output.at(axis) for axis in report.axes)
    assert (height.dims, width.dims) == ((2,), (2, 3))
    assert height.members({2: 1, 3: 3}).tolist() == [1, 4]
    assert width.members({2: 1, 3: 3}).tolist() == [1, 3]
