"""torchvision's compiled operators, which are there where its library fits the installed torch.

Where it does not, the definition in `tests/rules/deformable.py` stands in for one of them, and the other tests
are skipped.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rfgraph
from tests.rules import deformable
from tests.zoo.torchvision_shim import torchvision

COMPILED = bool(torchvision.extension._has_ops())


class Deformed(nn.Module):
    """A convolution whose taps are placed by another convolution, as in DCN."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Conv2d(2, 12, (2, 3))
        self.weight = nn.Parameter(torch.randn(3, 2, 2, 3))
        self.after = nn.Conv2d(3, 2, (1, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(deformable.deform_conv2d(x, self.weight, self.place(x)))


def test_verify_survives_a_kernel_that_crashes_on_nan() -> None:
    """The compiled operator reads out of bounds where an offset is NaN: the poison never gets there."""
    check = rfgraph.verify(Deformed(), (1, 2, 9, 12))
    assert check.agrees
    row = next(row for row in check.rows if row.node == "deform_conv2d")
    assert "deform_conv2d reads is decided by values" in str(row)


@pytest.mark.skipif(not COMPILED, reason="torchvision's library does not fit this torch")
def test_the_layer_of_torchvision_reads_everything_through_its_offsets() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Conv2d(2, 12, (2, 3))
            self.conv = torchvision.ops.DeformConv2d(2, 3, (2, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x, self.place(x))

    report = rfgraph.analyze(Layer(), (1, 2, 9, 12))
    assert report.output.rf.whole == (True, True)
    assert {cause.kind for cause in report.output.rf.causes} == {"data-dependent"}
    assert rfgraph.verify(Layer(), (1, 2, 9, 12)).agrees


@pytest.mark.skipif(not COMPILED, reason="torchvision's library does not fit this torch")
def test_boxes_are_read_by_values_and_measured_as_such() -> None:
    class Pooled(nn.Module):
        def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
            return torchvision.ops.roi_align(x, boxes, (2, 3))

    inputs = {"x": (1, 2, 9, 12), "boxes": torch.tensor([[0.0, 1, 1, 5, 6]])}
    with pytest.raises(rfgraph.UnsupportedOperatorError, match="roi_align"):
        rfgraph.analyze(Pooled(), inputs)
    report = rfgraph.analyze(Pooled(), inputs, on_unknown="whole")
    assert report.output.rfs["x"].whole == (True, True)
