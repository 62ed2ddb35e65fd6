"""Layers of one operator that slide no window: resampling, moves, activations, norms.

In: their parameters. Out: code and shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Literal, TypeAlias

from rfgraph.testing.describe.code import Code, Layer, Shape, Value, arguments, short
from rfgraph.testing.describe.windows import Axes, PaddingMode

Cells: TypeAlias = Literal["avg", "max"]
Resizing: TypeAlias = Literal["nearest", "linear", "nearest-exact", "area"]

_POINTWISE = {
    "identity": ("nn.Identity", ""),
    "relu": ("nn.ReLU", "F.relu"),
    "gelu": ("nn.GELU", "F.gelu"),
    "sigmoid": ("nn.Sigmoid", "torch.sigmoid"),
    "tanh": ("nn.Tanh", "torch.tanh"),
    "leaky_relu": ("nn.LeakyReLU", "F.leaky_relu"),
    "dropout": ("nn.Dropout", ""),
}
_PADS = {
    "zeros": "Zero",
    "reflect": "Reflection",
    "replicate": "Replication",
    "circular": "Circular",
}


@dataclass(frozen=True, repr=False, kw_only=True)
class AdaptivePool(Layer):
    """Adaptive pooling to `output_size`; a None in it keeps that axis."""

    output_size: tuple[int | None, ...]
    kind: Cells = "avg"
    functional: bool = False

    def out(self, shape: Shape) -> Shape:
        wanted = zip(self.output_size, shape[1:], strict=True)
        return (shape[0], *(size if want is None else want for want, size in wanted))

    def emit(self, code: Code, source: Value, target: str) -> Value:
        stem, dims = self.kind.capitalize(), len(self.output_size)
        names = ("pool", f"nn.Adaptive{stem}Pool{dims}d", f"F.adaptive_{self.kind}_pool{dims}d")
        call = code.operator(self.functional, names, short(self.output_size), source.name)
        return code.let(target, call, self.out(source.shape))


@dataclass(frozen=True, repr=False, kw_only=True)
class Resize(Layer):
    """`nn.Upsample` or `F.interpolate`, by `size` or by `scale_factor`; `linear` is linear in any rank."""

    mode: Resizing = "nearest"
    size: Axes | None = None
    scale_factor: tuple[float, ...] | None = None
    align_corners: bool | None = None
    functional: bool = False

    def out(self, shape: Shape) -> Shape:
        if self.size is not None:
            return (shape[0], *self.size)
        factors = zip(shape[1:], self.scale_factor or (), strict=True)
        return (shape[0], *(floor(n * factor) for n, factor in factors))

    def emit(self, code: Code, source: Value, target: str) -> Value:
        dims = len(source.shape) - 1
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[dims]
        options = arguments(
            size=self.size,
            scale_factor=self.scale_factor,
            mode=mode if self.mode == "linear" else self.mode,
            align_corners=self.align_corners,
        )
        names = ("resize", "nn.Upsample", "F.interpolate")
        call = code.operator(self.functional, names, options, source.name)
        return code.let(target, call, self.out(source.shape))


@dataclass(frozen=True, repr=False, kw_only=True)
class PixelShuffle(Layer):
    """Depth to space, in 2-D."""

    factor: int = 2
    functional: bool = False

    def out(self, shape: Shape) -> Shape:
        channels, height, width = shape
        return (channels // self.factor**2, height * self.factor, width * self.factor)

    def emit(self, code: Code, source: Value, target: str) -> Value:
        names = ("shuffle", "nn.PixelShuffle", "F.pixel_shuffle")
        call = code.operator(self.functional, names, repr(self.factor), source.name)
        return code.let(target, call, self.out(source.shape))


@dataclass(frozen=True, repr=False, kw_only=True)
class PixelUnshuffle(Layer):
    """Space to depth, in 2-D."""

    factor: int = 2
    functional: bool = False

    def out(self, shape: Shape) -> Shape:
        channels, height, width = shape
        if height % self.factor or width % self.factor:
            raise ValueError(f"pixel unshuffle by {self.factor} of sizes {height}, {width}")
        return (channels * self.factor**2, height // self.factor, width // self.factor)

    def emit(self, code: Code, source: Value, target: str) -> Value:
        names = ("unshuffle", "nn.PixelUnshuffle", "F.pixel_unshuffle")
        call = code.operator(self.functional, names, repr(self.factor), source.name)
        return code.let(target, call, self.out(source.shape))


@dataclass(frozen=True, repr=False, kw_only=True)
class Slice(Layer):
    """`x[:, :, start:stop:step]`, one triple for each axis."""

    slices: tuple[tuple[int | None, int | None, int | None], ...]

    def out(self, shape: Shape) -> Shape:
        cuts = zip(self.slices, shape[1:], strict=True)
        return (shape[0], *(len(range(*slice(*cut).indices(size))) for cut, size in cuts))

    def emit(self, code: Code, source: Value, target: str) -> Value:
        written = ", ".join(map(_written, self.slices))
        return code.let(target, f"{source.name}[:, :, {written}]", self.out(source.shape))


def _written(cut: tuple[int | None, int | None, int | None]) -> str:
    start, stop, step = ("" if entry is None else str(entry) for entry in cut)
    return f"{start}:{stop}" + (f":{step}" if step else "")


@dataclass(frozen=True, repr=False, kw_only=True)
class Pad(Layer):
    """Padding by (left, right) for each axis; a negative one crops."""

    pads: tuple[tuple[int, int], ...]
    mode: PaddingMode = "zeros"
    functional: bool = True

    def out(self, shape: Shape) -> Shape:
        sizes = zip(shape[1:], self.pads, strict=True)
        return (shape[0], *(size + left + right for size, (left, right) in sizes))

    def emit(self, code: Code, source: Value, target: str) -> Value:
        flat = tuple(pad for pair in reversed(self.pads) for pad in pair)  # torch begins at the end
        if self.functional:
            mode = "" if self.mode == "zeros" else f", mode={self.mode!r}"
            call = f"F.pad({source.name}, {flat}{mode})"
        else:
            module = f"nn.{_PADS[self.mode]}Pad{len(self.pads)}d"
            call = f"{code.attribute('pad', f'{module}({flat})')}({source.name})"
        return code.let(target, call, self.out(source.shape))


@dataclass(frozen=True, repr=False, kw_only=True)
class Flip(Layer):
    """Spatial axes reversed; axis 0 is the first spatial one."""

    axes: Axes

    def emit(self, code: Code, source: Value, target: str) -> Value:
        dims = tuple(2 + axis for axis in self.axes)
        return code.let(target, f"{source.name}.flip({dims})", source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class Roll(Layer):
    """A cyclic shift, one for each spatial axis."""

    shifts: Axes

    def emit(self, code: Code, source: Value, target: str) -> Value:
        dims = tuple(range(2, 2 + len(self.shifts)))
        return code.let(target, f"torch.roll({source.name}, {self.shifts}, {dims})", source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class Pointwise(Layer):
    """An activation, dropout or the identity; the last two are modules only."""

    kind: Literal["identity", "relu", "gelu", "sigmoid", "tanh", "leaky_relu", "dropout"] = "relu"
    functional: bool = False

    def emit(self, code: Code, source: Value, target: str) -> Value:
        module, function = _POINTWISE[self.kind]
        functional = self.functional and bool(function)
        call = code.operator(functional, (self.kind, module, function), "", source.name)
        return code.let(target, call, source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class BatchNorm(Layer):
    """Batch norm: in eval mode it reads no statistics."""

    def emit(self, code: Code, source: Value, target: str) -> Value:
        channels, *sizes = source.shape
        norm = code.attribute("norm", f"nn.BatchNorm{len(sizes)}d({channels})")
        return code.let(target, f"{norm}({source.name})", source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class GroupNorm(Layer):
    """Group norm: statistics over space."""

    groups: int = 1
    functional: bool = False

    def emit(self, code: Code, source: Value, target: str) -> Value:
        given = f"{self.groups}" if self.functional else f"{self.groups}, {source.shape[0]}"
        names = ("norm", "nn.GroupNorm", "F.group_norm")
        call = code.operator(self.functional, names, given, source.name)
        return code.let(target, call, source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class InstanceNorm(Layer):
    """Instance norm: statistics over space, channel by channel."""

    functional: bool = False

    def emit(self, code: Code, source: Value, target: str) -> Value:
        channels, *sizes = source.shape
        given = "" if self.functional else f"{channels}"
        names = ("norm", f"nn.InstanceNorm{len(sizes)}d", "F.instance_norm")
        call = code.operator(self.functional, names, given, source.name)
        return code.let(target, call, source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class Softmax(Layer):
    """Softmax along one spatial axis."""

    axis: int = 0
    functional: bool = False

    def emit(self, code: Code, source: Value, target: str) -> Value:
        names = ("softmax", "nn.Softmax", "F.softmax")
        given = f"dim={2 + self.axis}"
        call = code.operator(self.functional, names, given, source.name)
        return code.let(target, call, source.shape)
