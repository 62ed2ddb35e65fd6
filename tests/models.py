"""Models of the literature, written out: few channels, the geometry of the originals.

The tests of published figures run on these, so that no figure depends on an optional package. Every
model ends at the feature map that its figure speaks of, and has no pooling over the whole of space
or linear head; activations are modules, so that a numerical twin can take them out.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 2
Pair = int | tuple[int, int]


def conv(
    kernel: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    inputs: int = CHANNELS,
    groups: int = 1,
) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    layer = nn.Conv2d(inputs, CHANNELS, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(CHANNELS), nn.ReLU())


class Residual(nn.Module):
    """`body(x) + shortcut(x)`."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut or nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


class Branches(nn.Module):
    """Branches side by side, concatenated and brought back to few channels by a 1x1 convolution."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.squeeze = nn.Conv2d(CHANNELS * len(branches), CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.squeeze(torch.cat([branch(x) for branch in self.branches], dim=1))


# --- stacks -------------------------------------------------------------------------------------


def nine_convolutions() -> nn.Module:
    """The seed of this project: nine valid convolutions."""
    kernels = (9, 3, 3, 3, 9, 3, 3, 7, 3)
    return nn.Sequential(
        *(conv(k, inputs=1 if i == 0 else CHANNELS) for i, k in enumerate(kernels))
    )


def dilated(*dilations: int) -> nn.Module:
    """Hybrid dilated convolution (Wang et al. 2018): 3-tap convolutions that keep the size."""
    layers = [
        conv(3, padding=d, dilation=d, inputs=1 if i == 0 else CHANNELS)
        for i, d in enumerate(dilations)
    ]
    return nn.Sequential(*layers)


def vgg(*convolutions: int) -> nn.Module:
    """Simonyan and Zisserman 2015: five stages of 3x3 convolutions, each closed by a 2x max pool."""
    layers: list[nn.Module] = []
    for count in convolutions:
        for _ in range(count):
            layers.append(conv(3, padding=1, inputs=CHANNELS if layers else 3))
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def alexnet() -> nn.Module:
    """Krizhevsky 2014, torchvision's layout."""
    return nn.Sequential(
        conv(11, 4, 2, inputs=3),
        nn.MaxPool2d(3, 2),
        conv(5, 1, 2),
        nn.MaxPool2d(3, 2),
        *(conv(3, 1, 1) for _ in range(3)),
        nn.MaxPool2d(3, 2),
    )


def patchgan(layers: int = 3) -> nn.Module:
    """The discriminator of pix2pix (Isola et al. 2017): 4x4 convolutions."""
    strides = (*(2,) * layers, 1, 1)
    return nn.Sequential(
        *(conv(4, s, 1, inputs=CHANNELS if i else 3) for i, s in enumerate(strides))
    )


class WaveEncoder(nn.Module):
    """The feature encoder of wav2vec 2.0 (Baevski et al. 2020).

    `group_norm`: the base model's layout, whose first layer is normalised by statistics over time.
    """

    def __init__(self, group_norm: bool = False) -> None:
        super().__init__()
        kernels, strides = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
        layers: list[nn.Module] = []
        for i, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
            layers.append(nn.Conv1d(CHANNELS if i else 1, CHANNELS, kernel, stride, bias=False))
            if i == 0 and group_norm:
                layers.append(nn.GroupNorm(CHANNELS, CHANNELS))
            layers.append(nn.GELU())
        self.layers = nn.Sequential(*layers)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.layers(waveform)


class CausalTCN(nn.Module):
    """Bai et al. 2018: residual blocks of two causal convolutions of kernel 2, dilations 1, 2, 4 .."""

    def __init__(self, blocks: int = 6) -> None:
        super().__init__()
        self.first = nn.ModuleList(
            self._conv(2**i, 1 if i == 0 else CHANNELS) for i in range(blocks)
        )
        self.second = nn.ModuleList(self._conv(2**i, CHANNELS) for i in range(blocks))
        self.relu = nn.ReLU()

    @staticmethod
    def _conv(dilation: int, inputs: int) -> nn.Conv1d:
        return nn.Conv1d(inputs, CHANNELS, 2, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        for i, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
            y = self.relu(first(F.pad(x, (2**i, 0))))
            y = self.relu(second(F.pad(y, (2**i, 0))))
            x = x + y
        return x


# --- residual networks --------------------------------------------------------------------------


def basic(stride: int) -> nn.Module:
    """Two 3x3 convolutions, the first of which may stride."""
    body = nn.Sequential(conv(3, stride, 1), conv(3, 1, 1))
    return Residual(body, conv(1, stride) if stride > 1 else None)


def bottleneck(stride: int) -> nn.Module:
    """1x1, 3x3, 1x1; torchvision strides in the 3x3 convolution."""
    body = nn.Sequential(conv(1), conv(3, stride, 1), conv(1))
    return Residual(body, conv(1, stride) if stride > 1 else None)


def resnet(block: Callable[[int], nn.Module], *counts: int) -> nn.Module:
    """torchvision's layout: the first block of each stage but the first strides."""
    stages = [
        nn.Sequential(*(block(2 if i == 0 and stage else 1) for i in range(count)))
        for stage, count in enumerate(counts)
    ]
    return nn.Sequential(conv(7, 2, 3, inputs=3), nn.MaxPool2d(3, 2, 1), *stages)


def resnet_v1(*counts: int) -> nn.Module:
    """TF-Slim's layout: the last unit of each block but the last strides. `block1` .. `block4`."""
    net = nn.Sequential()
    net.add_module("conv1", conv(7, 2, 3, inputs=3))
    net.add_module("pool1", nn.MaxPool2d(3, 2, 1))
    for number, count in enumerate(counts, 1):
        stride = 2 if number < len(counts) else 1
        units = [bottleneck(stride if i == count - 1 else 1) for i in range(count)]
        net.add_module(f"block{number}", nn.Sequential(*units))
    return net


class Squeeze(nn.Module):
    """Hu et al. 2018: each channel multiplied by a gate that its average over space decides."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.pool(x))


def squeeze_excite(stride: int) -> nn.Module:
    """A basic block with a gate before the sum."""
    body = nn.Sequential(conv(3, stride, 1), conv(3, 1, 1), Squeeze())
    return Residual(body, conv(1, stride) if stride > 1 else None)


def se_resnet() -> nn.Module:
    """A squeeze-excite ResNet of two stages of two blocks."""
    return resnet(squeeze_excite, 2, 2)


def lopsided_resnet() -> nn.Module:
    """A strided residual net whose two axes share nothing: kernels, strides and paddings differ."""
    first = Residual(
        nn.Sequential(conv((3, 4), (2, 1), (1, 0)), conv((2, 3), 1, (0, 1))),
        conv((4, 2), (2, 1), dilation=(1, 3)),
    )
    second = Residual(
        nn.Sequential(conv((1, 5), (1, 3), (0, 2)), conv((3, 1), 1, (1, 0))), conv(1, (1, 3))
    )
    return nn.Sequential(
        conv((5, 2), (1, 2), (2, 1), inputs=1), first, nn.MaxPool2d((3, 1), (2, 1)), second
    )


# --- light networks -----------------------------------------------------------------------------


def mobilenet_v1() -> nn.Module:
    """Howard et al. 2017: depthwise 3x3, then pointwise."""
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    units = [nn.Sequential(conv(3, s, 1, groups=CHANNELS), conv(1)) for s in strides]
    return nn.Sequential(conv(3, 2, 1, inputs=3), *units)


def mobilenet_v2() -> nn.Module:
    """Sandler et al. 2018: inverted residuals; (repeats, stride of the first) per stage."""
    units: list[nn.Module] = []
    for repeats, stride in ((1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)):
        for i in range(repeats):
            body = nn.Sequential(conv(1), conv(3, 1 if i else stride, 1, groups=CHANNELS), conv(1))
            units.append(Residual(body) if i else body)
    return nn.Sequential(conv(3, 2, 1, inputs=3), *units, conv(1))


def squeezenet1_1() -> nn.Module:
    """Iandola et al. 2016, version 1.1: pools with `ceil_mode`."""

    def fires(count: int) -> list[nn.Module]:
        return [nn.Sequential(conv(1), Branches(conv(1), conv(3, 1, 1))) for _ in range(count)]

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        conv(3, 2, inputs=3), pool(), *fires(2), pool(), *fires(2), pool(), *fires(4)
    )


class DenseBlock(nn.Module):
    """Huang et al. 2017: each layer reads the concatenation of everything before it."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(CHANNELS * (i + 1), CHANNELS, 1), conv(3, 1, 1))
            for i in range(layers)
        )
        self.squeeze = nn.Conv2d(CHANNELS * (layers + 1), CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.layers:
            found.append(layer(torch.cat(found, dim=1)))
        return self.squeeze(torch.cat(found, dim=1))


def densenet121() -> nn.Module:
    """Four dense blocks, 2x average pools between them."""
    blocks: list[nn.Module] = [DenseBlock(6)]
    for layers in (12, 24, 16):
        blocks += [nn.AvgPool2d(2), DenseBlock(layers)]
    return nn.Sequential(conv(7, 2, 3, inputs=3), nn.MaxPool2d(3, 2, 1), *blocks)


class ConvNeXtBlock(nn.Module):
    """Liu et al. 2022: depthwise 7x7, then a layer norm and two linear layers over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(CHANNELS, CHANNELS, 7, padding=3, groups=CHANNELS)
        self.norm = nn.LayerNorm(CHANNELS)
        self.mlp = nn.Sequential(nn.Linear(CHANNELS, 8), nn.GELU(), nn.Linear(8, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        return x + y.permute(0, 3, 1, 2)


def convnext_tiny() -> nn.Module:
    """A patch stem of 4, and 3, 3, 9, 3 blocks, halved between the stages."""
    layers: list[nn.Module] = [nn.Conv2d(3, CHANNELS, 4, 4)]
    for stage, blocks in enumerate((3, 3, 9, 3)):
        layers += [nn.Conv2d(CHANNELS, CHANNELS, 2, 2)] * (stage > 0)
        layers += [ConvNeXtBlock() for _ in range(blocks)]
    return nn.Sequential(*layers)


# --- Inception v3 -------------------------------------------------------------------------------


def chain(*kernels: Pair, stride: int = 1) -> nn.Module:
    """Convolutions that keep the size; with a stride, the last is valid and strides."""
    padded = [conv(k, 1, k // 2 if isinstance(k, int) else (k[0] // 2, k[1] // 2)) for k in kernels]
    return nn.Sequential(*padded[:-1], conv(kernels[-1], stride) if stride > 1 else padded[-1])


def pooled() -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(1))


def inception_v3() -> nn.Module:
    """Szegedy et al. 2016, to the last mixed block."""
    a = [Branches(chain(1), chain(1, 5), chain(1, 3, 3), pooled()) for _ in range(3)]
    to_17 = Branches(chain(3, stride=2), chain(1, 3, 3, stride=2), nn.MaxPool2d(3, 2))
    wide, tall = (1, 7), (7, 1)
    c = [
        Branches(chain(1), chain(1, wide, tall), chain(1, tall, wide, tall, wide), pooled())
        for _ in range(4)
    ]
    to_8 = Branches(chain(1, 3, stride=2), chain(1, wide, tall, 3, stride=2), nn.MaxPool2d(3, 2))

    def split(*kernels: Pair) -> nn.Module:
        return nn.Sequential(chain(*kernels), Branches(chain((1, 3)), chain((3, 1))))

    e = [Branches(chain(1), split(1), split(1, 3), pooled()) for _ in range(2)]
    stem = [conv(3, 2, inputs=3), conv(3), conv(3, 1, 1), nn.MaxPool2d(3, 2)]
    stem += [conv(1), conv(3), nn.MaxPool2d(3, 2)]
    return nn.Sequential(*stem, *a, to_17, *c, to_8, *e)


# --- U-Net --------------------------------------------------------------------------------------


class UNet(nn.Module):
    """Ronneberger et al. 2015, padded: two 3-tap convolutions a level, 2x max pools, skips by `cat`.

    `up`: `"transposed"` (2x2, stride 2), `"nearest"` or `"bilinear"` (`align_corners=False`).
    """

    def __init__(self, depth: int, up: str = "transposed") -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(self._level(1 if i == 0 else CHANNELS) for i in range(depth))
        self.bottom = self._level(CHANNELS)
        self.up = nn.ModuleList(self._upsampling(up) for _ in range(depth))
        self.merge = nn.ModuleList(self._level(2 * CHANNELS) for _ in range(depth))

    @staticmethod
    def _level(inputs: int) -> nn.Module:
        return nn.Sequential(conv(3, 1, 1, inputs=inputs), conv(3, 1, 1))

    @staticmethod
    def _upsampling(up: str) -> nn.Module:
        if up == "transposed":
            return nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, stride=2)
        return nn.Upsample(scale_factor=2, mode=up)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level in self.down:
            skips.append(level(x))
            x = self.pool(skips[-1])
        x = self.bottom(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        return x


def positive_twin(model: nn.Module) -> nn.Module:
    """`model` in float64, linear and positive: its gradients are nonzero exactly where it reads.

    Max pools become average pools, activations and batch norms are left out, weights are positive
    and add up to one for each output, so that nothing cancels, saturates, overflows or underflows.
    """
    twin = deepcopy(model).double().eval().requires_grad_(False)
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            setattr(module, name, _linear(child))
    for parameter in (p for m in twin.modules() for p in m.parameters(recurse=False)):
        parameter.fill_(1 / parameter[0].numel() if parameter.ndim > 1 else 0)
    return twin


def _linear(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.MaxPool2d):
        return nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
    return nn.Identity() if isinstance(module, nn.ReLU | nn.BatchNorm2d) else module
