"""Examples of interpolation in every mode, pixel shuffle and unshuffle, channel shuffle.

In: tables of sizes, factors and modes. Out: `EXAMPLES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tests.rules.examples import Example, ex

_FILTERED = ("linear", "bilinear", "trilinear", "bicubic")


def _resized(mode: str, shape: tuple[int, ...], **how: Any) -> Example:
    return ex(lambda x: F.interpolate(x, mode=mode, **how), shape)


def _one_dim() -> Iterator[Example]:
    """Up and down by size and by factor, with and without aligned corners."""
    for mode in ("nearest", "nearest-exact", "linear", "area"):
        corners = (None, False, True) if mode == "linear" else (None,)
        for align in corners:
            for size in (1, 3, 5, 7, 10, 12):
                yield _resized(mode, (1, 2, 5), size=size, align_corners=align)
            for factor in (2, 3, 0.5, 1.5, 2.5, 0.4):
                yield _resized(mode, (1, 1, 7), scale_factor=factor, align_corners=align)
        yield _resized(mode, (2, 1, 7), scale_factor=0.4, recompute_scale_factor=True)
        yield _resized(mode, (2, 1, 1), size=4)


def _two_dims() -> Iterator[Example]:
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
        filtered = mode in _FILTERED
        for align in (False, True) if filtered else (None,):
            yield _resized(mode, (1, 1, 4, 3), size=(6, 5), align_corners=align)
            yield _resized(mode, (1, 1, 7, 6), size=(3, 4), align_corners=align)
            yield _resized(mode, (1, 1, 3, 4), scale_factor=(2, 1.5), align_corners=align)
            yield _resized(mode, (1, 2, 6, 5), scale_factor=0.5, align_corners=align)
    for mode in ("bilinear", "bicubic"):
        for align in (False, True):
            for size in ((3, 4), (2, 9), (8, 3)):
                yield _resized(mode, (1, 1, 6, 8), size=size, align_corners=align, antialias=True)
        yield _resized(mode, (1, 1, 8, 6), scale_factor=(0.4, 0.5), antialias=True)
        yield _resized(mode, (1, 1, 3, 3), scale_factor=(2, 1.5), antialias=True)


def _interpolate() -> list[Example]:
    return [
        *_one_dim(),
        *_two_dims(),
        _resized("nearest", (1, 1, 2, 3, 2), size=(3, 2, 4)),
        _resized("nearest-exact", (1, 1, 2, 4, 2), scale_factor=(1, 0.5, 2)),
        _resized("trilinear", (1, 1, 2, 3, 2), scale_factor=2, align_corners=False),
        _resized("trilinear", (1, 1, 2, 3, 3), size=(3, 2, 4), align_corners=True),
        _resized("area", (1, 1, 3, 4, 2), size=(2, 3, 1)),
        _resized("linear", (1, 1, 5), scale_factor=1.1),  # 5 to 5: a copy
        _resized("bilinear", (1, 1, 3, 4), scale_factor=(1.1, 1.4)),
        _resized("bicubic", (1, 1, 4, 3), scale_factor=(1.1, 1.4)),
        _resized("bicubic", (1, 1, 3, 4), scale_factor=(1.1, 1.4), antialias=True),
        ex(nn.Upsample(scale_factor=2), (1, 2, 2, 3)),
        ex(nn.Upsample(size=(3, 5), mode="bilinear"), (1, 1, 4, 3)),
        ex(nn.UpsamplingBilinear2d(scale_factor=2), (1, 1, 3, 2)),
        ex(nn.UpsamplingNearest2d(size=(3, 5)), (1, 1, 4, 3)),
    ]


EXAMPLES: dict[str, list[Example]] = {
    "interpolate": _interpolate(),
    "pixel_shuffle": [
        ex(nn.PixelShuffle(2), (1, 8, 1, 3)),
        ex(lambda x: F.pixel_shuffle(x, 2), (4, 2, 3)),
        ex(lambda x: torch.pixel_shuffle(x, 1), (2, 3, 2)),
    ],
    "pixel_unshuffle": [
        ex(nn.PixelUnshuffle(2), (1, 2, 2, 4)),
        ex(lambda x: F.pixel_unshuffle(x, 3), (1, 3, 6)),
    ],
    "channel_shuffle": [
        ex(nn.ChannelShuffle(2), (1, 6, 2, 1)),
        ex(lambda x: torch.channel_shuffle(x, 3), (2, 6, 1, 2)),
        ex(lambda x: F.channel_shuffle(x, 2), (1, 4, 3)),
    ],
}
