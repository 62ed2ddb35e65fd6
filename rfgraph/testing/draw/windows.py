"""Draws layers that slide a window, so that it fits: each parameter within what the others leave it.

In: a shape. Out: layers.
"""

from __future__ import annotations

from hypothesis import strategies as st

from rfgraph.testing.describe import Conv, Layer, Pool, Shape, TransposedConv
from rfgraph.testing.describe.windows import PaddingMode, PoolKind
from rfgraph.testing.draw.options import Options, divisors

MODES: tuple[PaddingMode, ...] = ("zeros", "zeros", "reflect", "replicate", "circular")
_POOLS: tuple[PoolKind, ...] = ("max", "avg", "lp")


def most_padding(mode: PaddingMode, size: int) -> int:
    """The widest padding on one side that torch takes in this mode."""
    return {"reflect": size - 1, "circular": size}.get(mode, 100)


def channels_of(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[int, int]:
    """Output channels and groups of a convolution."""
    groups = draw(st.sampled_from(divisors(shape[0], options.channels)))
    return groups * draw(st.integers(1, options.channels // groups)), groups


def conv(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Convolution: every padding and padding mode, even kernels, strides beyond the kernel, groups."""
    functional = draw(st.booleans())
    mode = "zeros" if functional else draw(st.sampled_from(MODES))
    style = draw(st.sampled_from(["ints", "valid", "same"]))
    pick = _same if style == "same" else _window
    if style == "valid":
        mode = "zeros"  # nothing is padded: torch accepts the mode, but it says nothing
    windows = [pick(draw, size, mode, 0 if style == "valid" else 2) for size in shape[1:]]
    kernels, strides, pads, dilations = (tuple(row) for row in zip(*windows, strict=True))
    out_channels, groups = channels_of(draw, shape, options)
    made = Conv(
        kernel_size=kernels,
        out_channels=out_channels,
        stride=strides,
        padding=pads if style == "ints" else style,  # type: ignore[arg-type]
        dilation=dilations,
        groups=groups,
        padding_mode=mode,
        functional=functional,
    )
    return (made,)


def _window(
    draw: st.DrawFn, size: int, mode: PaddingMode, widest: int
) -> tuple[int, int, int, int]:
    padding = draw(st.integers(0, min(widest, most_padding(mode, size))))
    room = size + 2 * padding
    kernel = draw(st.integers(1, min(5, room)))
    dilation = draw(st.integers(1, min(3, (room - 1) // (kernel - 1)))) if kernel > 1 else 1
    return kernel, draw(st.integers(1, 3)), padding, dilation


def _same(draw: st.DrawFn, size: int, mode: PaddingMode, _: int) -> tuple[int, int, int, int]:
    most = 2 * most_padding(mode, size)  # the right side gets the odd one, so both must have room
    kernel = draw(st.integers(1, min(5, most + 1)))
    dilation = draw(st.integers(1, min(3, most // (kernel - 1)))) if kernel > 1 else 1
    return kernel, 1, 0, dilation


def transposed_conv(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Transposed convolution, with output padding, dilation, and kernels shorter than the stride."""
    windows = [_spread(draw, size, options.largest) for size in shape[1:]]
    kernels, strides, pads, more, dilations = (tuple(row) for row in zip(*windows, strict=True))
    out_channels, groups = channels_of(draw, shape, options)
    made = TransposedConv(
        kernel_size=kernels,
        out_channels=out_channels,
        stride=strides,
        padding=pads,
        output_padding=more,
        dilation=dilations,
        groups=groups,
        functional=draw(st.booleans()),
    )
    return (made,)


def _spread(draw: st.DrawFn, size: int, largest: int) -> tuple[int, int, int, int, int]:
    """kernel, stride, padding, output padding, dilation; the result is no longer than `largest`."""
    stride = draw(st.integers(1, max(1, min(3, largest // size))))
    full = (size - 1) * stride + 1
    dilation = draw(st.integers(1, 2))
    kernel = draw(st.integers(1, 1 + max(0, min(3, (largest - full) // dilation))))
    full += dilation * (kernel - 1)
    more = draw(st.integers(0, max(0, min(max(stride, dilation) - 1, largest - full))))
    padding = draw(st.integers(0, min(2, (full - 1) // 2)))
    return kernel, stride, padding, more, dilation


def pool(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Max, average and power-average pooling, with `ceil_mode`."""
    kind = draw(st.sampled_from(_POOLS))
    ceil_mode = draw(st.booleans())
    bare = (
        kind == "avg" and len(shape) == 4
    )  # torch refuses a 3-D kernel that needs its padding to fit
    windows = [_pooled(draw, size, kind, size if bare else 4) for size in shape[1:]]
    kernels, strides, pads, dilations = (tuple(row) for row in zip(*windows, strict=True))
    padded = kind == "avg" and any(pads)
    made = Pool(
        kind=kind,
        kernel_size=kernels,
        stride=None if strides == kernels else strides,
        padding=pads,
        dilation=dilations,
        ceil_mode=ceil_mode,
        count_include_pad=not (padded and draw(st.booleans())),
        functional=draw(st.booleans()),
    )
    return (made,)


def _pooled(draw: st.DrawFn, size: int, kind: str, longest: int) -> tuple[int, int, int, int]:
    padding = 0 if kind == "lp" or longest == 1 else draw(st.integers(0, 1))
    room = min(size + 2 * padding, longest, 4)
    kernel = draw(st.integers(max(1, 2 * padding), room))
    dilations = [d for d in range(1, 4) if _hits(size, kernel, padding, d)]
    dilation = draw(st.sampled_from(dilations)) if kind == "max" else 1
    return kernel, draw(st.integers(1, 3)), padding, dilation


def _hits(size: int, kernel: int, padding: int, dilation: int) -> bool:
    """Does each window fit, and hold one input at least? The maximum of padding alone is infinite."""
    fits = size + 2 * padding > dilation * (kernel - 1)
    windows = (range(s, s + dilation * kernel, dilation) for s in range(-padding, size))
    return fits and all(any(0 <= i < size for i in window) for window in windows)


# --- windows that keep the centre: they align with anything that does --------------------------


def centred_conv(
    draw: st.DrawFn, shape: Shape, out_channels: int, strides: tuple[int, ...] | None = None
) -> Layer:
    """A convolution of odd kernels that pads by half: the size divided by the stride, rounded up."""
    mode = draw(st.sampled_from(MODES))
    windows = [_centred(draw, size, mode) for size in shape[1:]]
    kernels, dilations = (tuple(row) for row in zip(*windows, strict=True))
    pads = tuple(d * (k // 2) for k, d in windows)
    same = strides is None and draw(st.booleans())
    return Conv(
        kernel_size=kernels,
        out_channels=out_channels,
        stride=strides,
        padding="same" if same else pads,
        dilation=dilations,
        padding_mode=mode,
    )


def _centred(draw: st.DrawFn, size: int, mode: PaddingMode) -> tuple[int, int]:
    most = most_padding(mode, size)
    half = draw(st.integers(0, min(2, most)))
    return 1 + 2 * half, draw(st.integers(1, min(2, most // half))) if half else 1


def centred_pool(draw: st.DrawFn, shape: Shape, strides: tuple[int, ...]) -> Layer:
    """A pool of odd kernels that pads by half."""
    kind = draw(st.sampled_from(_POOLS[:2]))
    bare = kind == "avg" and len(shape) == 4  # as in `pool`
    kernels = tuple(draw(st.sampled_from([1, 3] if n > 2 or not bare else [1])) for n in shape[1:])
    return Pool(
        kind=kind,
        kernel_size=kernels,
        stride=strides,
        padding=tuple(k // 2 for k in kernels),
        functional=draw(st.booleans()),
    )
