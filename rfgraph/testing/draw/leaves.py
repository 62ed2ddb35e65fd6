"""Draws layers of one operator: resampling, moves, activations, gates. In: a shape. Out: layers."""

from __future__ import annotations

from math import floor, prod

from hypothesis import strategies as st

from rfgraph.testing.describe import (
    AdaptivePool,
    BatchNorm,
    ChannelsLast,
    Conv,
    Flip,
    GlobalAdd,
    GroupNorm,
    InstanceNorm,
    Layer,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Pointwise,
    Resize,
    Roll,
    Shape,
    Slice,
    Softmax,
    SqueezeExcite,
)
from rfgraph.testing.describe.layers import Cells, Resizing
from rfgraph.testing.describe.windows import PaddingMode
from rfgraph.testing.draw.options import Options, divisors
from rfgraph.testing.draw.windows import MODES, most_padding

_POINTWISE = ["relu", "identity", "gelu", "sigmoid", "tanh", "leaky_relu", "dropout", "batch_norm"]
_RESIZINGS: tuple[Resizing, ...] = ("nearest", "linear", "nearest-exact", "area")
_CELLS: tuple[Cells, ...] = ("avg", "max")
_FACTORS = (2.0, 0.5, 3.0, 1.5)
_MOST_CHANNELS = 16


def pointwise(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """An activation, dropout, batch norm or the identity."""
    kind = draw(st.sampled_from(_POINTWISE))
    if kind == "batch_norm":
        return (BatchNorm(),)
    functional = kind not in ("identity", "dropout") and draw(st.booleans())
    return (Pointwise(kind=kind, functional=functional),)  # type: ignore[arg-type]


# --- resampling ---------------------------------------------------------------------------------


def resize(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Interpolation, up or down, by `size` or by `scale_factor`."""
    mode = draw(st.sampled_from(_RESIZINGS))
    functional = draw(st.booleans())
    corners = draw(st.sampled_from([None, False, True])) if mode == "linear" else None
    if draw(st.booleans()):
        sizes = tuple(draw(st.integers(1, options.largest)) for _ in shape[1:])
        resized = Resize(mode=mode, size=sizes, align_corners=corners, functional=functional)
    else:
        factors = tuple(draw(_factors(size, options.largest)) for size in shape[1:])
        resized = Resize(
            mode=mode, scale_factor=factors, align_corners=corners, functional=functional
        )
    return (resized,)


def _factors(size: int, largest: int) -> st.SearchStrategy[float]:
    return st.sampled_from([1.0, *(f for f in _FACTORS if 1 <= floor(size * f) <= largest)])


def adaptive_pool(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Adaptive pooling; to a size of 1, which reads the whole axis, only where gates may be drawn."""
    least = 1 if options.gates else 2
    wanted = tuple(_cells(draw, n, least, options.largest, len(shape) > 2) for n in shape[1:])
    kind, functional = draw(st.sampled_from(_CELLS)), draw(st.booleans())
    return (AdaptivePool(output_size=wanted, kind=kind, functional=functional),)


def _cells(draw: st.DrawFn, size: int, least: int, most: int, may_keep: bool) -> int | None:
    if may_keep and size >= least and draw(st.booleans()):  # 1-D pooling takes no None
        return None
    return draw(st.integers(least, max(least, min(6, most))))


def pixel_shuffle(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Depth to space, after a 1x1 convolution where the channels need one."""
    widen = () if shape[0] % 4 == 0 else (Conv(kernel_size=(1, 1), out_channels=4),)
    return (*widen, PixelShuffle(functional=draw(st.booleans())))


def pixel_unshuffle(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Space to depth, after a slice that makes the sizes even."""
    channels, *sizes = shape
    cuts = tuple((None, -1 if size % 2 else None, None) for size in sizes)
    narrow = () if channels * 4 <= _MOST_CHANNELS else (Conv(kernel_size=(1, 1)),)
    even = (Slice(slices=cuts),) if any(size % 2 for size in sizes) else ()
    return (*narrow, *even, PixelUnshuffle(functional=draw(st.booleans())))


# --- moves --------------------------------------------------------------------------------------


def cut(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Slices with steps, that start or stop at the end or before it."""
    return (Slice(slices=tuple(_cut(draw, size) for size in shape[1:])),)


def _cut(draw: st.DrawFn, size: int) -> tuple[int | None, int | None, int | None]:
    start = draw(st.integers(0, min(3, size - 1)))
    trim = draw(st.integers(0, min(2, size - 1 - start)))
    step = draw(st.integers(1, 3))
    from_end = start > 0 and draw(st.booleans())
    first = start - size if from_end else start or None
    return first, -trim if trim else None, step if step > 1 else None


def pad(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Padding, different on either side, in every mode; negative in the constant one."""
    mode = draw(st.sampled_from(MODES))
    pads = tuple(_pads(draw, size, mode, options.largest) for size in shape[1:])
    return (Pad(pads=pads, mode=mode, functional=draw(st.booleans())),)


def _pads(draw: st.DrawFn, size: int, mode: PaddingMode, largest: int) -> tuple[int, int]:
    crop = min(2, size - 1) if mode == "zeros" else 0
    most = min(3, most_padding(mode, size))
    left = draw(st.integers(-crop, max(0, min(most, largest - size))))
    crop = min(crop, size - 1 + min(left, 0))
    return left, draw(st.integers(-crop, max(0, min(most, largest - size - left))))


def flip(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Reversed axes."""
    axes = range(len(shape) - 1)
    chosen = draw(st.lists(st.sampled_from(axes), min_size=1, unique=True))
    return (Flip(axes=tuple(sorted(chosen))),)


def roll(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """A cyclic shift."""
    return (Roll(shifts=tuple(draw(st.integers(-3, 3)) for _ in shape[1:])),)


def channels_last(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """A permute to channels last and back, around a layer over channels."""
    if draw(st.booleans()):
        return (ChannelsLast(kind="layer_norm"),)
    return (ChannelsLast(out_channels=draw(st.integers(1, options.channels))),)


# --- reads of a whole axis ----------------------------------------------------------------------


def gate(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """An operator that reads the whole of space, or of one axis of it."""
    kinds = ["squeeze_excite", "global_add", "softmax"]
    if prod(shape[1:]) > 1:  # torch refuses statistics over one value
        kinds += ["instance_norm", "group_norm"]
    kind = draw(st.sampled_from(kinds))
    if kind == "global_add":
        return (GlobalAdd(kind=draw(st.sampled_from(["mean", "sum", "amax"]))),)
    functional = draw(st.booleans())
    if kind == "squeeze_excite":
        return (SqueezeExcite(functional=functional),)
    if kind == "softmax":
        return (Softmax(axis=draw(st.integers(0, len(shape) - 2)), functional=functional),)
    if kind == "instance_norm":
        return (InstanceNorm(functional=functional),)
    groups = draw(st.sampled_from(divisors(shape[0], shape[0])))
    return (GroupNorm(groups=groups, functional=functional),)
