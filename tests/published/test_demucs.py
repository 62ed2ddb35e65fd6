"""Causal Demucs, resampled by 4, in full: how far it looks ahead, by the analysis and by the gradient.

The denoiser of Defossez et al. 2020, "Real Time Speech Enhancement in the Waveform Domain", with few channels,
which change no field, and without normalisation, by which everything would be read.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

ZEROS = 56
DEPTH, KERNEL_SIZE, STRIDE, RESAMPLE = 5, 8, 4, 4
LENGTH = 4000
PERIOD = STRIDE**DEPTH // RESAMPLE


def sinc_kernel() -> Tensor:
    """Interpolates half way between samples, over `2 * ZEROS` of them."""
    t = torch.linspace(-ZEROS + 0.5, ZEROS - 0.5, 2 * ZEROS) * math.pi
    window = torch.hann_window(4 * ZEROS + 1, periodic=False)[1::2]
    return (torch.sin(t) / t * window).view(1, 1, -1)


def upsample2(x: Tensor) -> Tensor:
    *other, time = x.shape
    between = F.conv1d(x.view(-1, 1, time), sinc_kernel().to(x), padding=ZEROS)
    return torch.stack([x, between[..., 1:].view(*other, time)], dim=-1).view(*other, -1)


def downsample2(x: Tensor) -> Tensor:
    if x.shape[-1] % 2:
        x = F.pad(x, (0, 1))
    even, odd = x[..., ::2], x[..., 1::2]
    *other, time = odd.shape
    between = F.conv1d(odd.reshape(-1, 1, time), sinc_kernel().to(x), padding=ZEROS)
    return (even + between[..., :-1].view(*other, time)).view(*other, -1).mul(0.5)


class Demucs(nn.Module):
    """(1, 1, time) -> (1, 1, time)."""

    def __init__(self, hidden: int = 2) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        channels = 1
        for level in range(DEPTH):
            down = nn.Conv1d(channels, hidden, KERNEL_SIZE, STRIDE), nn.ReLU()
            self.encoder.append(nn.Sequential(*down, nn.Conv1d(hidden, 2 * hidden, 1), nn.GLU(1)))
            up = nn.ConvTranspose1d(hidden, channels, KERNEL_SIZE, STRIDE)
            last = [nn.ReLU()] if level else []
            self.decoder.insert(
                0, nn.Sequential(nn.Conv1d(hidden, 2 * hidden, 1), nn.GLU(1), up, *last)
            )
            channels, hidden = hidden, 2 * hidden
        self.lstm = nn.LSTM(channels, channels, 2)

    def forward(self, mix: Tensor) -> Tensor:
        length = mix.shape[-1]
        x = upsample2(upsample2(F.pad(mix, (0, valid(length) - length))))
        skips = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        x = self.lstm(x.permute(2, 0, 1))[0].permute(1, 2, 0)
        for decode in self.decoder:
            x = decode(x + skips.pop()[..., : x.shape[-1]])
        return downsample2(downsample2(x))[..., :length]


def valid(length: int) -> int:
    """The least length from `length` on that the strides divide."""
    size = length * RESAMPLE
    for _ in range(DEPTH):
        size = max(math.ceil((size - KERNEL_SIZE) / STRIDE) + 1, 1)
    for _ in range(DEPTH):
        size = (size - 1) * STRIDE + KERNEL_SIZE
    return math.ceil(size / RESAMPLE)


def test_demucs_looks_763_samples_ahead_and_the_gradient_says_so() -> None:
    torch.manual_seed(0)
    model = Demucs().double().eval()
    output = rfgraph.analyze(model, (1, 1, LENGTH)).output
    ahead = {}
    for position in range(4 * PERIOD, 5 * PERIOD):
        hull = output.region((position,))
        assert hull is not None
        ahead[position] = hull[0][1] - position
    assert max(ahead.values()) == 763
    signal = torch.randn(1, 1, LENGTH, dtype=torch.float64, requires_grad=True)
    result = model(signal)
    furthest = max(ahead, key=ahead.__getitem__)
    for position in (furthest, *list(ahead)[::37]):
        (gradient,) = torch.autograd.grad(result[0, 0, position], signal, retain_graph=True)
        assert int(gradient[0, 0].nonzero().max()) - position == ahead[position]
