"""Models that random search has found the analysis to say too much of: mended, or sound and wide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.testing.describe import (
    Conv,
    Description,
    InstanceNorm,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Pool,
    Residual,
    SqueezeExcite,
    View,
    Write,
    Written,
    Zeros,
)
from tests.properties.agreement import verified

ALL = (None, None, None)


def test_a_part_that_is_all_of_an_axis_at_this_size_is_told_by_a_second_size() -> None:
    """A row by its number, of one row: nothing is left beside it. At more rows, the others are."""

    class Row(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, (5, 3), stride=3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            y.select(2, 0).tanh_()
            return y

    (mismatch,) = rfgraph.verify(Row(), (1, 1, 5, 4), rows="all").mismatches
    assert (mismatch.node, mismatch.kind) == ("setitem", "size-dependent")
    assert rfgraph.verify(Row(), (1, 1, 8, 4), rows="all").agrees


def test_one_position_that_a_reshape_regroups_is_told_by_a_second_size() -> None:
    """A write into zeros goes through their flattened memory, in which an axis of one position has no place."""
    layers = (
        Conv(kernel_size=(4, 2), stride=(3, 1)),
        Written(
            made=(Zeros(margins=(2, 1)),),
            writes=(
                Write(how="add_", path=(View("index", (ALL, (1, -1, None), (1, None, None))),)),
            ),
        ),
    )
    one = Description(shape=(1, 1, 4, 5), layers=layers)
    assert {mismatch.kind for mismatch in verified(one).mismatches} <= {"size-dependent"}
    assert verified(Description(shape=(1, 1, 7, 5), layers=layers)).exact


def test_pixels_that_come_back_from_channels_are_themselves() -> None:
    there_and_back = Description(shape=(1, 1, 4, 6), layers=(PixelUnshuffle(), PixelShuffle()))
    report = rfgraph.analyze(there_and_back.build(), there_and_back.shape)
    assert report.output.reads(0, (2, 0)).tolist() == [2]
    assert verified(there_and_back).exact


def test_a_product_with_padding_of_zeros_counts_both_factors() -> None:
    """Without a bias the factor is exactly 0 there: a NaN in the other one shows, a gradient does not."""
    gated = Description(
        shape=(1, 1, 6),
        layers=(
            Conv(kernel_size=(1,), padding=(2,), functional=True),
            SqueezeExcite(),
        ),
    )
    report = rfgraph.analyze(gated.build(), gated.shape)
    assert report.output.reads(0, 0).tolist() == [0, 1, 2, 3, 4, 5]
    found = verified(gated)
    product = next(row for row in found.rows if row.op == "mul")
    assert found.agrees and (product.poison, product.gradient) == ("equal", "inside")
    assert product.note.startswith("a factor is exactly 0 there")


def test_a_product_with_padding_of_zeros_on_a_strip_is_not_shown_by_the_gradient() -> None:
    """A field that the input does not hold is seen by the gradient alone, where a factor of exactly 0 hides it."""
    padded = Description(
        shape=(1, 1, 4, 3),
        layers=(
            Conv(kernel_size=(5, 1), padding=(4, 0), dilation=(2, 1), functional=True),
            Pad(pads=((0, 0), (0, 4))),
            Residual(
                body=(Pool(kernel_size=(1, 3), stride=(1, 1), padding=(0, 1)),),
                how="mul",
            ),
        ),
    )
    found = verified(padded)
    assert [(m.node, m.kind, m.numeric) for m in found.mismatches] == [("mul", "overstated", ())]


def test_statistics_over_positions_of_which_some_are_in_channels() -> None:
    """A norm reads every second row, which is local; with the norm cut, its own channel's rows are left."""
    normed = Description(shape=(1, 2, 6, 4), layers=(PixelUnshuffle(), InstanceNorm()))
    found = verified(normed)
    assert {m.kind for m in found.mismatches} <= {"overstated"}
    assert all(mismatch.local for mismatch in found.mismatches)


def test_what_is_left_of_rows_that_lie_along_channels_is_told_apart_by_one_probe() -> None:
    """A write into zeros, through its flattened memory, lays rows along rows and channels.

    Read whole along both, nothing is left of them by the definition. The gradient probe follows a crop of the
    same rows through the same write, and keeps what it cannot tell from it. All that is read is the same.
    """

    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.mix = nn.Conv2d(1, 1, (3, 1), padding=(1, 0)), nn.Conv2d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.cat([x[:, :, ::2], self.conv(x)[:, :, ::2]], 1)
            y = torch.zeros(x.shape[0], x.shape[1], x.shape[2], x.shape[3])
            first = y.unbind(1)[0]
            first += x.select(1, 0)
            above = y.chunk(2, 2)[0]
            above += F.gelu(x)[..., 2:, :]
            mixed: Tensor = self.mix(F.adaptive_avg_pool2d(y, 1))
            return mixed

    (mismatch,) = rfgraph.verify(Writes(), (1, 1, 7, 2), rows="all").mismatches
    assert (mismatch.node, mismatch.probe, mismatch.local) == ("mix", "gradient", True)
    assert (mismatch.analytic, mismatch.numeric) == ((), (0, 2, 4, 6))
