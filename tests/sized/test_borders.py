"""Borders: what falls into padding reads nothing, what is folded back reads what it reads."""

from __future__ import annotations

from itertools import count

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rfgraph
from tests.sized.poison import Apply, assert_equal_at_every_position, rows_reaching


def convs(mode: str) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, (3, 2), padding=(2, 1), padding_mode=mode),
        nn.Conv2d(2, 2, (2, 3), stride=(2, 1), padding=1, padding_mode=mode),
        nn.Conv2d(2, 1, 3, padding=(1, 2), dilation=(1, 2), padding_mode=mode),
    )


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padded_stacks_are_right_at_the_borders(mode: str) -> None:
    node = assert_equal_at_every_position(convs(mode), (1, 1, 9, 8))
    assert node.rf.closed_form == (True, True)


def test_zeros_around_an_intermediate_map_differ_from_clipping_at_the_end() -> None:
    # The first output of the second convolution reads padding at -1, which reads nothing: {0, 1} of
    # the first map, hence {0, 1, 2} of the input; the closed form {-2 .. 2}, clipped, agrees here ...
    twice = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, padding=1))
    assert rfgraph.analyze(twice, (1, 1, 9)).output.region(0) == ((0, 2),)
    # ... but not where the second one sees the padding alone: 1-tap at stride 1, padded by 2.
    apart = nn.Sequential(nn.Conv1d(1, 1, 5, padding=2), nn.Conv1d(1, 1, 1, padding=2))
    node = rfgraph.analyze(apart, (1, 1, 9)).output
    assert node.region(0) is None and node.reads(0, 1).tolist() == []
    assert node.region(2) == ((0, 2),)


def test_what_reads_nothing_along_one_axis_reads_nothing_at_all() -> None:
    # kernel 1, stride 3: two of three columns come from nowhere, in every row of them.
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ConvTranspose2d(1, 1, 1, stride=(1, 3)))
    node = assert_equal_at_every_position(model, (1, 1, 4, 3))
    assert node.reads(0, (2, 3)).tolist() == [1, 2, 3]
    assert node.reads(0, (2, 4)).tolist() == []


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d((2, 3), (2, 3), padding=(1, 0), ceil_mode=True),
        nn.AdaptiveAvgPool2d((3, 5)),
        nn.AdaptiveMaxPool2d((4, None)),
        nn.Upsample((5, 17), mode="nearest"),
        nn.Upsample((11, 4), mode="nearest-exact"),
        nn.Upsample((16, 5), mode="area"),
        nn.ConvTranspose2d(2, 1, (2, 3), stride=(3, 2), padding=(1, 0), output_padding=(2, 1)),
        nn.ReflectionPad2d((3, 1, 0, 2)),
        nn.CircularPad2d((1, 3, 2, 0)),
        nn.ZeroPad2d((-1, 2, 3, -2)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_operators_that_need_a_size_are_right_at_every_position(layer: nn.Module) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), layer, nn.Conv2d(layer_channels(layer), 1, 3, padding=1)
    )
    assert_equal_at_every_position(model, (1, 1, 8, 9))


def layer_channels(layer: nn.Module) -> int:
    return 1 if isinstance(layer, nn.ConvTranspose2d) else 2


def nonzero_taps(size: int, out: int, corners: bool) -> list[list[int]]:
    """Rows that linear resampling gives a weight, found by resampling each unit row by itself."""
    units = torch.eye(size, dtype=torch.float64).unsqueeze(0)
    weights = F.interpolate(units, size=out, mode="linear", align_corners=corners)[0]
    return [(weights[:, o].abs() > 1e-12).nonzero().flatten().tolist() for o in range(out)]


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize(("size", "out"), [(7, 10), (8, 5), (5, 9), (6, 12), (9, 1), (1, 4)])
def test_linear_resampling_counts_the_taps_of_non_zero_weight(
    size: int, out: int, corners: bool
) -> None:
    layer = nn.Upsample(out, mode="linear", align_corners=corners)
    node = rfgraph.analyze(layer, (1, 1, size)).output
    assert [node.reads(0, o).tolist() for o in range(out)] == nonzero_taps(size, out, corners)


class OffGridUNet(nn.Module):
    """Two levels on a size that 4 does not divide: the skip is met by resizing, or is cropped."""

    def __init__(self, crop: bool) -> None:
        super().__init__()
        self.crop = crop
        self.down = nn.ModuleList(nn.Conv2d(1 if i == 0 else 2, 2, 3, padding=1) for i in range(2))
        self.bottom = nn.Conv2d(2, 2, 3, padding=1)
        self.up = nn.ModuleList(nn.Conv2d(4, 2, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for conv in self.down:
            skips.append(torch.relu(conv(x)))
            x = F.max_pool2d(skips[-1], 2)
        x = self.bottom(x)
        for conv in self.up:
            skip = skips.pop()
            if self.crop:
                x = F.interpolate(x, scale_factor=2)
                skip = skip[:, :, : x.shape[2], : x.shape[3]]
            else:
                x = F.interpolate(x, size=skip.shape[2:])
            x = conv(torch.cat([skip, x], 1))
        return x


@pytest.mark.parametrize("crop", [True, False])
def test_a_unet_off_its_grid_is_right_at_every_position(crop: bool) -> None:
    node = assert_equal_at_every_position(OffGridUNet(crop), (1, 1, 11, 14))
    assert node.shape[2:] == ((8, 12) if crop else (11, 14))
    # 11 rows to 5 is no integer ratio, and 14 columns to 7 is one, at this size
    assert node.rf.closed_form == ((True, True) if crop else (False, False))
    if not crop:
        assert any("no integer ratio" in limit.reason for limit in node.rf.limits)


def test_rows_that_nothing_reads_are_seen() -> None:
    # 3-tap at stride 4 on 10 rows: outputs read {0, 1, 2} and {4, 5, 6}; rows 3, 7, 8 and 9 are lost.
    model = nn.Conv1d(1, 1, 3, stride=4)
    node = assert_equal_at_every_position(model, (1, 1, 10))
    read = {int(i) for o in range(node.shape[2]) for i in node.reads(0, o)}
    assert read == {0, 1, 2, 4, 5, 6}


def test_the_oracle_can_fail() -> None:
    assert rows_reaching(Apply(lambda self, x: x[:, :, 1:]), (1, 1, 4), 2)[0, 0].tolist() == [
        [False, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
    calls = count()  # captured as one model, run as another

    def lies(self, x):
        return x.roll(1, 2) if next(calls) else x

    lying = Apply(lies)
    with pytest.raises(AssertionError, match=r"at \(0, 0, 0\)"):
        assert_equal_at_every_position(lying, (1, 1, 4))
