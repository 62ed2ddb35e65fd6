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
from tests.properties.agreement import excused, verified

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


def test_a_column_that_is_the_last_at_this_size_only_is_told_by_a_second_size() -> None:
    """All columns but the last hold a constant; the second is the last of two, and is none of more.

    Along the width, its closed form is that of such a column at any size. Along the height there is none.
    """

    class Column(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, (3, 2), stride=2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            y[..., :-1].fill_(0.5)
            return y.narrow(3, 1, 1)

    (mismatch,) = rfgraph.verify(Column(), (1, 1, 7, 4), rows="all").mismatches
    assert (mismatch.node, mismatch.kind, mismatch.axis.dim) == ("narrow", "size-dependent", 3)
    assert {*mismatch.numeric} <= {*mismatch.analytic}
    assert rfgraph.verify(Column(), (1, 1, 7, 9), rows="all").agrees


def test_a_squeeze_that_drops_a_dim_at_this_size_only_is_told_by_a_second_size() -> None:
    """`y[..., 2:, :, :]` is one position deep of three, and of more it stays; what is read is the same."""

    class Squeezed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            y[..., 2:, :, :].squeeze(2).relu_()
            return y

    (mismatch,) = rfgraph.verify(Squeezed(), (1, 2, 3, 4, 4), rows="all").mismatches
    assert (mismatch.node, mismatch.kind) == ("squeeze", "size-dependent")
    assert mismatch.numeric == mismatch.analytic
    assert rfgraph.verify(Squeezed(), (1, 2, 4, 4, 4), rows="all").agrees


def test_rows_picked_of_a_map_of_three_which_read_all_of_it_are_told_by_a_second_size() -> None:
    """Every second row reads all three by way of the padding, and of twelve not. What they read is the same."""

    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(
                2, 1, 3, padding=(2, 1), dilation=(2, 1), padding_mode="replicate"
            )
            self.second = nn.Conv2d(3, 1, (3, 5), padding=(1, 4), dilation=(1, 2))

        def forward(self, x: Tensor) -> Tensor:
            y = x.clone()
            y[..., 1:2, :] = x[..., 1:2, :]
            y = torch.cat([y, self.first(y)], 1)
            y = torch.cat([y, self.second(y)], 1)
            return y[..., ::2, 1::3]

    (mismatch,) = rfgraph.verify(Dense(), (1, 2, 3, 3), rows="all").mismatches
    assert (mismatch.node, mismatch.kind) == ("getitem_1", "size-dependent")
    assert mismatch.numeric == mismatch.analytic


def test_a_computed_mask_that_puts_zeros_where_zeros_are_counts() -> None:
    """Whatever it says, a zero is there: the gradient sees that nothing of the mask is read, the analysis does not."""

    class Filled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.clone()
            y[..., ::3] = 0.0
            return y.masked_fill(x.roll(1, -1) > 0, 0.0)

    (mismatch,) = rfgraph.verify(Filled(), (1, 1, 9), rows="all").mismatches
    assert (mismatch.node, mismatch.kind) == ("masked_fill", "overstated")
    assert excused(rfgraph.analyze(Filled(), (1, 1, 9)), mismatch)


def test_padding_that_folds_onto_what_is_read_anyway_folds_elsewhere_at_another_size() -> None:
    """At 9 positions, the five that a circular kernel of dilation 3 reads at 1 are three: 1, 4 and 7."""

    class Second(nn.Module):
        def __init__(self, mode: str) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 5, padding="same", dilation=3, padding_mode=mode)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)[..., 1]  # type: ignore[no-any-return]

    row = rfgraph.analyze(Second("circular"), (1, 2, 9)).output.rf
    assert [limit.node for limit in row.limits] == ["conv"]
    for mode in ("circular", "reflect", "replicate", "zeros"):
        assert rfgraph.verify(Second(mode), (1, 2, 9), rows="all").exact


def test_a_dim_that_a_squeeze_dropped_comes_back_where_it_was() -> None:
    """Behind a write through it: a reshape could not tell it from others of one position."""

    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, (3, 4))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            part = y[:, 1:]
            y[:, 1:].squeeze(1).sub_(1)
            return part

    check = rfgraph.verify(Squeezed(), (1, 1, 3, 4), rows="all")
    assert check.exact, check
    assert rfgraph.analyze(Squeezed(), (1, 1, 3, 4)).output.rf.closed_form == (True, True)


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
