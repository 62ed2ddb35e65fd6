"""Examples of convolutions and transposed convolutions, 1 to 3 spatial dims.

In: tables of geometries. Out: `EXAMPLES`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.rules.examples import Example, ex, w

_WEIGHT = "a weight computed from the input is read whole"


def _conv1d() -> list[Example]:
    one, two = w(2, 3, 3), w(4, 1, 2)
    return [
        ex(lambda x: F.conv1d(x, one, stride=2, padding=1), (1, 3, 7)),
        ex(lambda x: torch.conv1d(x, two, groups=4, dilation=3), (1, 4, 6)),
        ex(lambda x: F.conv1d(x, one, w(2), 1, "same", 2), (3, 6)),
        ex(lambda x: F.conv1d(x, w(2, 2, 2), stride=3, padding=2), (2, 2, 5)),
        ex(nn.Conv1d(2, 4, 3, 2, 1, groups=2, bias=False), (2, 2, 5)),
        ex(nn.Conv1d(2, 1, 4, padding="same"), (1, 2, 7)),
        ex(nn.Conv1d(1, 1, 4, padding="same", padding_mode="circular", dilation=2), (1, 1, 8)),
        ex(nn.Conv1d(1, 2, 3, padding=2, padding_mode="reflect", stride=2), (2, 1, 6)),
        ex(nn.Conv1d(1, 1, 2, padding=3, padding_mode="replicate"), (1, 4)),
        ex(nn.Conv1d(1, 1, 3, padding=3, padding_mode="circular"), (1, 1, 3)),
        ex(nn.Conv1d(2, 2, 1, stride=4), (1, 2, 9)),
        ex(lambda x, k: F.conv1d(x, k, padding=1), (1, 2, 4), (3, 2, 3), conservative=_WEIGHT),
        ex(lambda x, k, b: F.conv1d(x, k, b), (1, 1, 4), (2, 1, 3), (2,), conservative=_WEIGHT),
    ]


def _conv2d() -> list[Example]:
    weight = w(2, 2, 3, 2)
    return [
        ex(lambda x: F.conv2d(x, weight, stride=(2, 1), padding=(1, 0)), (1, 2, 5, 4)),
        ex(lambda x: torch.conv2d(x, weight, None, (1, 3), (0, 2), (2, 1)), (1, 2, 5, 4)),
        ex(lambda x: F.conv2d(input=x, weight=weight, padding="valid"), (2, 4, 3)),
        ex(nn.Conv2d(2, 4, (1, 2), (1, 3), groups=2), (1, 2, 2, 6)),
        ex(nn.Conv2d(3, 3, 3, groups=3, padding=1, dilation=(1, 2)), (1, 3, 3, 5)),
        ex(nn.Conv2d(1, 1, (4, 1), padding="same", dilation=(1, 2)), (1, 1, 5, 3)),
        ex(nn.Conv2d(1, 1, 3, padding=(2, 1), padding_mode="reflect"), (1, 1, 4, 3)),
        ex(nn.Conv2d(1, 1, (2, 3), (2, 1), (1, 2), padding_mode="circular"), (1, 1, 4, 3)),
        ex(nn.Conv2d(1, 1, 2, padding=(2, 1), padding_mode="replicate"), (1, 3, 2)),
        ex(nn.Conv2d(4, 2, 1), (1, 4, 2, 3)),
        ex(nn.Conv2d(1, 1, (1, 3), stride=(2, 1), padding=(1, 0)), (1, 1, 3, 4)),
    ]


def _conv3d() -> list[Example]:
    weight = w(1, 2, 1, 2, 2)
    return [
        ex(lambda x: F.conv3d(x, weight, stride=(1, 2, 1), padding=(1, 0, 1)), (1, 2, 2, 4, 3)),
        ex(nn.Conv3d(2, 2, (2, 1, 2), groups=2, dilation=(1, 1, 2)), (1, 2, 2, 2, 4)),
        ex(nn.Conv3d(1, 1, (2, 3, 1), padding="same"), (1, 2, 4, 3)),
        ex(nn.Conv3d(1, 1, 2, padding=1, padding_mode="circular"), (1, 1, 2, 2, 3)),
    ]


def _conv_transpose1d() -> list[Example]:
    weight = w(3, 2, 3)
    return [
        ex(lambda x: F.conv_transpose1d(x, weight, stride=2, padding=1), (1, 3, 4)),
        ex(lambda x: F.conv_transpose1d(x, weight, stride=2, output_padding=1), (1, 3, 4)),
        ex(lambda x: torch.conv_transpose1d(x, w(2, 1, 2), stride=3, groups=2), (2, 2, 3)),
        ex(nn.ConvTranspose1d(4, 2, 4, 2, 1, groups=2), (4, 3)),
        ex(nn.ConvTranspose1d(1, 1, 3, stride=2, dilation=2, padding=2), (1, 1, 5)),
        ex(nn.ConvTranspose1d(2, 4, 2, stride=4, output_padding=3, groups=2), (1, 2, 3)),
        ex(nn.ConvTranspose1d(1, 1, 3, padding=2), (1, 1, 6)),
        ex(
            lambda x, k: F.conv_transpose1d(x, k, stride=2),
            (1, 2, 3),
            (2, 3, 3),
            conservative=_WEIGHT,
        ),
    ]


class _Sized(nn.Module):
    """A transposed convolution that is asked for a size."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(1, 2, 3, stride=(2, 3), padding=(1, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(x, output_size=(6, 8))


def _conv_transpose2d() -> list[Example]:
    weight = w(2, 1, 3, 2)
    return [
        ex(lambda x: F.conv_transpose2d(x, weight, stride=(2, 1), padding=(1, 0)), (1, 2, 3, 4)),
        ex(nn.ConvTranspose2d(2, 2, (2, 1), (3, 2), groups=2), (1, 2, 2, 3)),
        ex(nn.ConvTranspose2d(1, 2, (2, 3), (1, 2), (0, 1), (0, 1), dilation=(2, 1)), (1, 3, 3)),
        ex(_Sized(), (1, 1, 3, 2)),
    ]


def _conv_transpose3d() -> list[Example]:
    return [
        ex(nn.ConvTranspose3d(1, 2, (1, 2, 3), (2, 1, 2), (0, 1, 1)), (1, 1, 2, 3, 3)),
        ex(lambda x: F.conv_transpose3d(x, w(2, 1, 2, 1, 2), stride=2, groups=2), (2, 2, 2, 2)),
    ]


def _conv_tbc() -> list[Example]:
    kernel = w(3, 2, 4).double()
    holes = kernel.clone()
    holes[1] = 0.0
    bias = torch.zeros(4, dtype=torch.float64)
    return [
        ex(lambda x: torch.conv_tbc(x, kernel, bias, 1), (6, 2, 2)),
        ex(lambda x: torch.conv_tbc(input=x, weight=kernel, bias=bias, pad=0), (5, 1, 2)),
        ex(lambda x: torch.conv_tbc(x, holes, bias, pad=2), (4, 1, 2)),
        ex(
            lambda x, k, b: torch.conv_tbc(x, k, b, 1),
            *((4, 1, 2), (2, 2, 3), (3,)),
            conservative=_WEIGHT,
        ),
    ]


EXAMPLES: dict[str, list[Example]] = {
    "conv_tbc": _conv_tbc(),
    "conv1d": _conv1d(),
    "conv2d": _conv2d(),
    "conv3d": _conv3d(),
    "conv_transpose1d": _conv_transpose1d(),
    "conv_transpose2d": _conv_transpose2d(),
    "conv_transpose3d": _conv_transpose3d(),
}
