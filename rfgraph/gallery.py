"""A few small real models: for the README, the documentation and the tests.

In: nothing. Out: modules with random weights and few channels; their geometry is that of the models they
are named after.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UNet(nn.Module):
    """Ronneberger et al. 2015, padded: two 3-tap convolutions a level, 2x pooling, skips by `cat`."""

    def __init__(self, depth: int = 4, bilinear: bool = False) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(self._convs(1 if level == 0 else 8) for level in range(depth))
        self.bottom = self._convs(8)
        self.up = nn.ModuleList(self._upsample(bilinear) for _ in range(depth))
        self.merge = nn.ModuleList(self._convs(16) for _ in range(depth))
        self.head = nn.Conv2d(8, 2, 1)

    @staticmethod
    def _convs(channels: int) -> nn.Module:
        first, second = nn.Conv2d(channels, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

    @staticmethod
    def _upsample(bilinear: bool) -> nn.Module:
        if bilinear:
            return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        return nn.ConvTranspose2d(8, 8, 2, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        skips: list[Tensor] = []
        x = image
        for convs in self.down:
            skips.append(convs(x))
            x = self.pool(skips[-1])
        x = self.bottom(x)
        for up, convs in zip(self.up, self.merge, strict=True):
            x = convs(torch.cat([skips.pop(), up(x)], dim=1))
        return self.head(x)  # type: ignore[no-any-return]


class CausalTCN(nn.Module):
    """Bai et al. 2018: residual blocks of two causal convolutions, the dilation doubled each block."""

    def __init__(self, blocks: int = 6, kernel_size: int = 2) -> None:
        super().__init__()
        self.first = nn.ModuleList(self._conv(kernel_size, 2**i) for i in range(blocks))
        self.second = nn.ModuleList(self._conv(kernel_size, 2**i) for i in range(blocks))

    @staticmethod
    def _conv(kernel_size: int, dilation: int) -> nn.Module:
        return nn.Conv1d(4, 4, kernel_size, dilation=dilation)

    @staticmethod
    def past(conv: nn.Module) -> int:
        """How many samples of the past a convolution reads: its causal padding."""
        assert isinstance(conv, nn.Conv1d)
        return conv.dilation[0] * (conv.kernel_size[0] - 1)

    def forward(self, signal: Tensor) -> Tensor:
        x = signal
        for first, second in zip(self.first, self.second, strict=True):
            y = x
            for conv in (first, second):
                y = F.relu(conv(F.pad(y, (self.past(conv), 0))))
            x = x + y
        return x


class SqueezeExciteNet(nn.Module):
    """Hu et al. 2018: residual blocks whose channels are gated by a global average."""

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
            self.squeeze = nn.AdaptiveAvgPool2d(1)
            self.excite = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.Sigmoid())

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv2(F.relu(self.conv1(x)))
            return F.relu(x + y * self.excite(self.squeeze(y)))

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, stride=2, padding=3)
        self.blocks = nn.Sequential(*(self.Block(8) for _ in range(blocks)))

    def forward(self, image: Tensor) -> Tensor:
        return self.blocks(self.stem(image))  # type: ignore[no-any-return]


class WaveEncoder(nn.Module):
    """The feature encoder of wav2vec 2.0 (Baevski et al. 2020): 25 ms windows every 20 ms at 16 kHz."""

    def __init__(self) -> None:
        super().__init__()
        kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
        channels = (1, *(4,) * len(kernels))
        self.convs = nn.ModuleList(
            nn.Conv1d(channels[i], 4, kernel, stride)
            for i, (kernel, stride) in enumerate(zip(kernels, strides, strict=True))
        )

    def forward(self, waveform: Tensor) -> Tensor:
        x = waveform
        for conv in self.convs:
            x = F.gelu(conv(x))
        return x


class VisionTransformer(nn.Module):
    """Dosovitskiy et al. 2021, one layer: patches of 16, a class token, attention over all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, stride=16)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.patches(image).flatten(2).transpose(1, 2)
        cls = self.class_token.expand(tokens.shape[0], -1, -1)
        return self.head(self.encoder(torch.cat([cls, tokens], dim=1))[:, 0])  # type: ignore[no-any-return]


def unet() -> nn.Module:
    """A U-Net of depth 4: 94 pixels of halo, phases of 188 to 204 pixels."""
    return UNet()


def unet_bilinear() -> nn.Module:
    """A U-Net of depth 4 that upsamples bilinearly: 110 pixels of halo."""
    return UNet(bilinear=True)


def tcn() -> nn.Module:
    """A causal network over a signal: 126 samples of past, no look-ahead."""
    return CausalTCN()


def se_net() -> nn.Module:
    """A squeeze-excite network: the whole input, and a local field of 23 pixels."""
    return SqueezeExciteNet()


def wave_encoder() -> nn.Module:
    """The wav2vec 2.0 encoder: 400 samples every 320."""
    return WaveEncoder()


def vit() -> nn.Module:
    """A vision transformer: patches of 16, then the whole image."""
    return VisionTransformer()


MODELS: dict[str, Callable[[], nn.Module]] = {
    build.__name__: build for build in (unet, unet_bilinear, tcn, se_net, wave_encoder, vit)
}
