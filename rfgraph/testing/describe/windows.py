"""Layers that slide a window: convolution, transposed convolution, pooling.

In: per-axis parameters. Out: code and shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from rfgraph.testing.describe.code import Code, Layer, Shape, Value, arguments, unless

Axes: TypeAlias = tuple[int, ...]
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
PoolKind: TypeAlias = Literal["max", "avg", "lp"]


def _every(value: Axes | None, like: Axes, default: int) -> Axes:
    return (default,) * len(like) if value is None else value


@dataclass(frozen=True, repr=False, kw_only=True)
class Conv(Layer):
    """`nn.Conv*d` or `F.conv*d`; None stands for stride 1, padding 0, dilation 1 on every axis."""

    kernel_size: Axes
    out_channels: int = 1
    stride: Axes | None = None
    padding: Axes | Literal["same", "valid"] | None = None
    dilation: Axes | None = None
    groups: int = 1
    padding_mode: PaddingMode = "zeros"
    functional: bool = False

    def out(self, shape: Shape) -> Shape:
        if self.padding == "same":
            return (self.out_channels, *shape[1:])
        kernels, padding = self.kernel_size, self.padding
        pads = _every(None if padding == "valid" else padding, kernels, 0)
        strides, dilations = _every(self.stride, kernels, 1), _every(self.dilation, kernels, 1)
        windows = zip(shape[1:], kernels, strides, pads, dilations, strict=True)
        sizes = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in windows)
        return (self.out_channels, *sizes)

    def emit(self, code: Code, source: Value, target: str) -> Value:
        dims, channels = len(self.kernel_size), source.shape[0]
        options = arguments(
            stride=unless(self.stride, 1),
            padding=unless(self.padding, 0),
            dilation=unless(self.dilation, 1),
            groups=unless(self.groups, 1),
            padding_mode=unless(self.padding_mode, "zeros"),
        )
        if self.functional:
            shape = (self.out_channels, channels // self.groups, *self.kernel_size)
            weight = code.attribute("weight", f"nn.Parameter(torch.randn{shape})")
            call = f"F.conv{dims}d({_joined(source.name, weight, options)})"
        else:
            sizes = arguments(channels, self.out_channels, self.kernel_size)
            conv = code.attribute("conv", f"nn.Conv{dims}d({_joined(sizes, options)})")
            call = f"{conv}({source.name})"
        return code.let(target, call, self.out(source.shape))


@dataclass(frozen=True, repr=False, kw_only=True)
class TransposedConv(Layer):
    """`nn.ConvTranspose*d` or `F.conv_transpose*d`."""

    kernel_size: Axes
    out_channels: int = 1
    stride: Axes | None = None
    padding: Axes | None = None
    output_padding: Axes | None = None
    dilation: Axes | None = None
    groups: int = 1
    functional: bool = False

    def out(self, shape: Shape) -> Shape:
        kernels = self.kernel_size
        strides, pads = _every(self.stride, kernels, 1), _every(self.padding, kernels, 0)
        more, dilations = _every(self.output_padding, kernels, 0), _every(self.dilation, kernels, 1)
        windows = zip(shape[1:], kernels, strides, pads, more, dilations, strict=True)
        sizes = ((n - 1) * s - 2 * p + d * (k - 1) + m + 1 for n, k, s, p, m, d in windows)
        return (self.out_channels, *sizes)

    def emit(self, code: Code, source: Value, target: str) -> Value:
        dims, channels = len(self.kernel_size), source.shape[0]
        options = arguments(
            stride=unless(self.stride, 1),
            padding=unless(self.padding, 0),
            output_padding=unless(self.output_padding, 0),
            groups=unless(self.groups, 1),
            dilation=unless(self.dilation, 1),
        )
        if self.functional:
            shape = (channels, self.out_channels // self.groups, *self.kernel_size)
            weight = code.attribute("weight", f"nn.Parameter(torch.randn{shape})")
            call = f"F.conv_transpose{dims}d({_joined(source.name, weight, options)})"
        else:
            sizes = arguments(channels, self.out_channels, self.kernel_size)
            up = code.attribute("up", f"nn.ConvTranspose{dims}d({_joined(sizes, options)})")
            call = f"{up}({source.name})"
        return code.let(target, call, self.out(source.shape))


@dataclass(frozen=True, repr=False, kw_only=True)
class Pool(Layer):
    """Max, average or power-average pooling; stride None: the kernel's."""

    kernel_size: Axes
    kind: PoolKind = "max"
    stride: Axes | None = None
    padding: Axes | None = None
    dilation: Axes | None = None
    ceil_mode: bool = False
    count_include_pad: bool = True
    functional: bool = False

    def out(self, shape: Shape) -> Shape:
        kernels = self.kernel_size
        strides = self.stride or kernels
        pads, dilations = _every(self.padding, kernels, 0), _every(self.dilation, kernels, 1)
        windows = zip(shape[1:], kernels, strides, pads, dilations, strict=True)
        return (shape[0], *(self._size(*window) for window in windows))

    def _size(self, n: int, k: int, s: int, p: int, d: int) -> int:
        room = n + 2 * p - d * (k - 1) - 1
        if not self.ceil_mode:
            return room // s + 1
        count = -(-room // s) + 1
        return count - 1 if (count - 1) * s >= n + p else count

    def emit(self, code: Code, source: Value, target: str) -> Value:
        dims = len(self.kernel_size)
        norm = (2,) if self.kind == "lp" else ()
        options = arguments(
            *norm,
            self.kernel_size,
            stride=self.stride,
            padding=unless(self.padding, 0),
            dilation=unless(self.dilation, 1),
            ceil_mode=unless(self.ceil_mode, False),
            count_include_pad=unless(self.count_include_pad, True),
        )
        module = {"max": "MaxPool", "avg": "AvgPool", "lp": "LPPool"}[self.kind]
        names = ("pool", f"nn.{module}{dims}d", f"F.{self.kind}_pool{dims}d")
        call = code.operator(self.functional, names, options, source.name)
        return code.let(target, call, self.out(source.shape))


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
