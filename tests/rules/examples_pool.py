"""Examples of pooling over windows and of adaptive pooling, 1 to 3 spatial dims.

In: tables of geometries. Out: `EXAMPLES`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.rules.examples import Example, ex


def _max() -> dict[str, list[Example]]:
    return {
        "max_pool1d": [
            ex(lambda x: F.max_pool1d(x, 3, 2, 1), (1, 2, 7)),
            ex(lambda x: torch.max_pool1d(x, kernel_size=2), (2, 5)),
            ex(lambda x: F.max_pool1d(x, 2, stride=3, ceil_mode=True), (1, 1, 7)),
            ex(lambda x: F.max_pool1d(x, 2, dilation=3, stride=1), (1, 2, 6)),
            ex(lambda x: F.max_pool1d(x, 3, return_indices=True), (1, 2, 6)),
            ex(lambda x: torch.max_pool1d_with_indices(x, 2, 1), (1, 2, 4)),
            ex(nn.MaxPool1d(4, 2, 2, ceil_mode=True), (2, 1, 5)),
        ],
        "max_pool2d": [
            ex(lambda x: F.max_pool2d(x, (2, 3), (2, 1), (1, 0)), (1, 2, 4, 4)),
            ex(lambda x: F.max_pool2d(x, 2, ceil_mode=True), (1, 1, 3, 5)),
            ex(nn.MaxPool2d((3, 1), 2, padding=(1, 0), dilation=(2, 1), ceil_mode=True), (1, 6, 4)),
            ex(nn.MaxPool2d(2, (1, 3), return_indices=True), (1, 1, 3, 5)),
        ],
        "max_pool3d": [
            ex(lambda x: F.max_pool3d(x, (1, 2, 2), (1, 2, 1)), (1, 1, 2, 4, 3)),
            ex(nn.MaxPool3d((2, 1, 3), stride=(1, 3, 2), padding=(1, 0, 1)), (2, 2, 4, 3)),
        ],
    }


def _average() -> dict[str, list[Example]]:
    return {
        "avg_pool1d": [
            ex(lambda x: F.avg_pool1d(x, 3, 2, 1), (1, 2, 7)),
            ex(lambda x: torch.avg_pool1d(x, 2), (2, 5)),
            ex(nn.AvgPool1d(4, 3, 2, ceil_mode=True, count_include_pad=False), (1, 2, 6)),
            ex(nn.AvgPool1d(2, 3), (1, 2, 8)),
        ],
        "avg_pool2d": [
            ex(lambda x: F.avg_pool2d(x, (2, 3), (2, 1), (1, 0)), (1, 2, 4, 4)),
            ex(lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True, divisor_override=5), (1, 4, 6)),
            ex(nn.AvgPool2d((1, 4), (2, 3), (0, 2)), (1, 1, 3, 6)),
        ],
        "avg_pool3d": [
            ex(lambda x: F.avg_pool3d(x, (1, 2, 2), (1, 2, 1)), (1, 1, 2, 4, 3)),
            ex(nn.AvgPool3d((2, 1, 3), 2, padding=(1, 0, 1), ceil_mode=True), (2, 2, 3, 4)),
        ],
        "lp_pool1d": [
            ex(lambda x: F.lp_pool1d(x, 2, 3, 2), (1, 2, 7)),
            ex(nn.LPPool1d(3, 2, ceil_mode=True), (2, 5), draw="positive"),
        ],
        "lp_pool2d": [
            ex(lambda x: F.lp_pool2d(x, 2, (2, 3), (1, 2)), (1, 2, 3, 5)),
            ex(nn.LPPool2d(2, (3, 1), 2, ceil_mode=True), (1, 4, 5)),
        ],
        "lp_pool3d": [
            ex(lambda x: F.lp_pool3d(x, 2, (1, 2, 3), (1, 2, 1)), (1, 1, 2, 4, 4)),
            ex(nn.LPPool3d(2, 2), (2, 2, 4, 3)),
        ],
    }


def _adaptive() -> dict[str, list[Example]]:
    return {
        "adaptive_avg_pool1d": [
            ex(lambda x: F.adaptive_avg_pool1d(x, 3), (1, 2, 7)),
            ex(lambda x: torch.adaptive_avg_pool1d(x, 1), (2, 5)),
            ex(nn.AdaptiveAvgPool1d(5), (1, 2, 3)),
            ex(nn.AdaptiveAvgPool1d(3), (1, 2, 6)),
        ],
        "adaptive_avg_pool2d": [
            ex(lambda x: F.adaptive_avg_pool2d(x, (3, 2)), (1, 2, 5, 4)),
            ex(nn.AdaptiveAvgPool2d((None, 1)), (2, 3, 4)),
            ex(nn.AdaptiveAvgPool2d(1), (1, 3, 4, 2)),
            ex(nn.AdaptiveAvgPool2d(4), (1, 1, 6, 3)),
        ],
        "adaptive_avg_pool3d": [
            ex(lambda x: F.adaptive_avg_pool3d(x, (1, 3, 2)), (1, 1, 2, 4, 5)),
            ex(nn.AdaptiveAvgPool3d((2, None, 3)), (2, 3, 2, 4)),
        ],
        "adaptive_max_pool1d": [
            ex(lambda x: F.adaptive_max_pool1d(x, 3), (1, 2, 7)),
            ex(lambda x: F.adaptive_max_pool1d(x, 2, return_indices=True), (2, 5)),
            ex(lambda x: torch.adaptive_max_pool1d(x, 2), (2, 5)),
            ex(nn.AdaptiveMaxPool1d(5), (1, 2, 3)),
        ],
        "adaptive_max_pool2d": [
            ex(lambda x: F.adaptive_max_pool2d(x, (3, 2)), (1, 1, 5, 4)),
            ex(nn.AdaptiveMaxPool2d((1, 3), return_indices=True), (1, 2, 4)),
            ex(nn.AdaptiveMaxPool2d((None, 2)), (1, 1, 2, 5)),
        ],
        "adaptive_max_pool3d": [
            ex(lambda x: F.adaptive_max_pool3d(x, (1, 3, 2)), (1, 1, 2, 4, 3)),
            ex(nn.AdaptiveMaxPool3d((2, 1, 2), return_indices=True), (1, 3, 2, 4)),
        ],
    }


EXAMPLES: dict[str, list[Example]] = {**_max(), **_average(), **_adaptive()}
