"""Models that random search has found the analysis to say too much of: mended, or sound and wide."""

from __future__ import annotations

import rfgraph
from rfgraph.testing.describe import (
    Conv,
    Description,
    InstanceNorm,
    PixelShuffle,
    PixelUnshuffle,
    SqueezeExcite,
)
from tests.properties.agreement import verified


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


def test_statistics_over_positions_of_which_some_are_in_channels() -> None:
    """A norm reads every second row, which is local; with the norm cut, its own channel's rows are left."""
    normed = Description(shape=(1, 2, 6, 4), layers=(PixelUnshuffle(), InstanceNorm()))
    found = verified(normed)
    assert {m.kind for m in found.mismatches} <= {"overstated"}
    assert all(mismatch.local for mismatch in found.mismatches)
