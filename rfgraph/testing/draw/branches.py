"""Draws branches that fit each other and are aligned by construction, and what is used twice.

Every branch keeps the centre of each window: kernels are odd and padded by half, and where one branch
strides the others stride with it. In: a shape. Out: layers.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from rfgraph.testing.describe import (
    Cat,
    Conv,
    Dense,
    Feed,
    Layer,
    Pool,
    Repeat,
    Residual,
    Resize,
    Shape,
    Slice,
    Tap,
    TransposedConv,
)
from rfgraph.testing.draw import writes
from rfgraph.testing.draw.leaves import gate, pointwise
from rfgraph.testing.draw.options import Options
from rfgraph.testing.draw.windows import centred_conv, centred_pool

_SUMS = ["add", "torch.add", "mul", "maximum"]


@st.composite
def _centred(
    draw: st.DrawFn, shape: Shape, options: Options, out_channels: int
) -> tuple[Layer, ...]:
    kinds = ["conv", "pointwise", "pool"] + ["gate"] * options.gates + ["write"] * options.writes
    kind = draw(st.sampled_from(kinds))
    if kind == "conv":
        return (centred_conv(draw, shape, out_channels),)
    if kind == "pool":
        return (centred_pool(draw, shape, (1,) * (len(shape) - 1)),)
    drawer = {"pointwise": pointwise, "gate": gate, "write": writes.keeping}[kind]
    return drawer(draw, shape, options)


def keeping(
    draw: st.DrawFn, shape: Shape, options: Options, *, least: int = 0, most: int = 2
) -> tuple[Layer, ...]:
    """A chain that keeps channels, sizes and centres."""
    layers: tuple[Layer, ...] = ()
    for _ in range(draw(st.integers(least, most))):
        layers += draw(_centred(shape, options, shape[0]))
    return layers


def _strided(
    draw: st.DrawFn, shape: Shape, out_channels: int, strides: tuple[int, ...]
) -> tuple[Layer, ...]:
    """One layer that strides, or a pool or a slice and a convolution that sets the channels."""
    kind = draw(st.sampled_from(["conv", "pool", "slice"]))
    if kind == "conv":
        return (centred_conv(draw, shape, out_channels, strides),)
    if kind == "pool":
        first = centred_pool(draw, shape, strides)
    else:
        first = Slice(slices=tuple((None, None, s if s > 1 else None) for s in strides))
    return (first, Conv(kernel_size=(1,) * len(strides), out_channels=out_channels))


def _strides(draw: st.DrawFn, shape: Shape) -> tuple[int, ...] | None:
    """None: the branches keep their size."""
    if not draw(st.booleans()):
        return None
    return tuple(draw(st.integers(1, 3)) for _ in shape[1:])


def residual(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """A sum of a chain and the tensor itself; where the chain strides, the shortcut does as well."""
    body = keeping(draw, shape, options, least=1)
    shortcut: tuple[Layer, ...] = ()
    strides = _strides(draw, shape)
    if strides is not None:
        channels = draw(st.integers(1, options.channels))
        body += _strided(draw, shape, channels, strides)
        shortcut = _strided(draw, shape, channels, strides)
    return (Residual(body=body, shortcut=shortcut, how=draw(st.sampled_from(_SUMS))),)


def inception(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Two or three chains side by side, one of which may be empty; all keep the size, or all stride."""
    strides = _strides(draw, shape)
    branches: list[tuple[Layer, ...]] = []
    for _ in range(draw(st.integers(2, 3))):
        branch = keeping(draw, shape, options, least=len(branches) % 2)
        if strides is not None:
            branch += _strided(draw, shape, draw(st.integers(1, 2)), strides)
        branches.append(branch)
    return (Cat(branches=tuple(branches)),)


def dense(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Convolutions each of which reads all that came before it."""
    channels, parts = shape[0], []
    for _ in range(draw(st.integers(1, 3))):
        grown = draw(st.integers(1, 2))
        wide = (channels, *shape[1:])
        parts.append((centred_conv(draw, wide, grown), *_perhaps(draw, shape, options)))
        channels += grown
    return (Dense(parts=tuple(parts)),)


def _perhaps(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    return pointwise(draw, shape, options) if draw(st.booleans()) else ()


# --- U-Nets -------------------------------------------------------------------------------------


def u_net(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """One level of a U-Net: down, a chain, up and cropped to the skip it is merged with."""
    sizes = shape[1:]
    factors = tuple(draw(st.sampled_from([2, 1])) if size > 1 else 1 for size in sizes)
    down = _down(draw, shape, factors)
    low = (shape[0], *(-(-n // f) for n, f in zip(sizes, factors, strict=True)))
    inner = keeping(draw, low, options)
    up = _up(draw, shape, factors)
    over = [-n % f for n, f in zip(sizes, factors, strict=True)]
    crop = Slice(slices=tuple((None, -more if more else None, None) for more in over))
    body = (down, *inner, up, *((crop,) if any(over) else ()))
    return (Residual(body=body, how=draw(st.sampled_from(["cat", "add"]))),)


def _down(draw: st.DrawFn, shape: Shape, factors: tuple[int, ...]) -> Layer:
    even = all(n % f == 0 for n, f in zip(shape[1:], factors, strict=True))
    kind = draw(st.sampled_from(["max", "avg", "conv"] if even else ["max", "avg"]))
    if kind == "conv":
        return Conv(kernel_size=factors, stride=factors, out_channels=shape[0])
    return Pool(
        kind=kind,  # type: ignore[arg-type]
        kernel_size=factors,
        ceil_mode=not even,
        functional=draw(st.booleans()),
    )


def _up(draw: st.DrawFn, shape: Shape, factors: tuple[int, ...]) -> Layer:
    kind = draw(st.sampled_from(["nearest", "linear", "transposed"]))
    functional = draw(st.booleans())
    if kind == "transposed":
        return TransposedConv(
            kernel_size=factors, stride=factors, out_channels=shape[0], functional=functional
        )
    return Resize(
        mode=kind,  # type: ignore[arg-type]
        scale_factor=tuple(map(float, factors)),
        functional=functional,
    )


# --- shared modules, further inputs and outputs -------------------------------------------------


def repeat(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Layers that are used twice; what they take off the size leaves enough for the second time."""
    kernels = tuple(draw(st.integers(1, min(4, 1 + (n - 1) // 2))) for n in shape[1:])
    padding = draw(st.sampled_from(["valid", "same"]))
    conv = Conv(kernel_size=kernels, out_channels=shape[0], padding=padding)  # type: ignore[arg-type]
    # What fits the second time does the first, but for writes, whose views have positions of one size.
    fitting = replace(options, writes=options.writes and padding == "same")
    body = keeping(draw, conv.out(shape), fitting, most=1)
    return (Repeat(body=(*body, conv)),)


def feed(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """A further input, of the size that is needed here or of twice that and halved on its way."""
    how = draw(st.sampled_from(["add", "cat", "mul"]))
    side = shape if how != "cat" else (draw(st.integers(1, 2)), *shape[1:])
    body = keeping(draw, side, options, most=1)
    if 2 * max(side[1:]) <= options.largest and draw(st.booleans()):
        body = (Pool(kind="avg", kernel_size=(2,) * (len(side) - 1)), *body)
        side = (side[0], *(2 * n for n in side[1:]))
    return (Feed(shape=side, body=body, how=how),)  # type: ignore[arg-type]


def tap(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """One more output."""
    return (Tap(),)
