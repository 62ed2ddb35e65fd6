"""Draws layer after layer, each for the shape that those before it left.

In: a shape and what may be drawn. Out: layers.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from rfgraph.testing.describe import Conv, Layer, Residual, Shape, Slice, Swapped
from rfgraph.testing.draw import branches, leaves, sequences, windows, writes
from rfgraph.testing.draw.options import Drawer, Options

_OFTEN = 4  # as often as convolutions and pools together
_MOST_CHANNELS = 8  # branches that are concatenated multiply them


def menu(dims: int, options: Options) -> list[Drawer]:
    """What may come next, the simplest first: examples shrink towards the front.

    It does not depend on the shape, so that a choice stays the same choice while sizes shrink.
    """
    found: list[Drawer] = [windows.conv, leaves.pointwise, windows.pool, windows.conv]
    if options.resampling:
        found += [windows.transposed_conv, leaves.resize, leaves.adaptive_pool]
    if options.moves:
        found += [leaves.cut, leaves.pad, leaves.flip, leaves.roll, leaves.channels_last]
    if options.branches:
        found += [branches.residual, branches.inception, branches.u_net, branches.dense]
    if options.shared:
        found.append(branches.repeat)
    if options.writes:
        found += [writes.activated, writes.written, writes.filled]
    if options.gates:
        found += [leaves.gate, leaves.gate]
    if options.misaligned:
        found += [misaligned, misaligned]
    if options.several:
        found += [branches.feed, branches.tap]
    if options.moves and dims > 1:
        found.append(swapped)
    found += _asked(dims, options) * _OFTEN
    if options.resampling and dims == 2:
        found += [leaves.pixel_shuffle, leaves.pixel_unshuffle]
    return found


def _asked(dims: int, options: Options) -> list[Drawer]:
    """Those that are drawn where they are asked for by name."""
    anywhere: list[tuple[bool, Drawer]] = [
        (options.masks, sequences.masked_conv),
        (options.sizes, sequences.sized),
        (options.cumulative, sequences.cumulative),
    ]
    over_sequences: list[tuple[bool, Drawer]] = [
        (options.patches, sequences.patches),
        (options.attention, sequences.attention),
        (options.recurrent, sequences.recurrent),
        (options.loops, sequences.loop),
    ]
    offered = anywhere + over_sequences * (dims == 1)
    return [drawer for is_asked, drawer in offered if is_asked]


def _fits(drawer: Drawer, shape: Shape, options: Options) -> bool:
    """Does this tensor allow what the menu offers?"""
    channels, *sizes = shape
    if drawer is leaves.pixel_shuffle:
        return 2 * max(sizes) <= options.largest
    if drawer is leaves.pixel_unshuffle:
        return min(sizes) > 1
    return channels <= _MOST_CHANNELS


@st.composite
def layer(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """One layer for a tensor of this shape, or a few that belong together."""
    drawer = draw(st.sampled_from(menu(len(shape) - 1, options)))
    if _fits(drawer, shape, options):
        return drawer(draw, shape, options)
    return (_simplest(shape),)


def _simplest(shape: Shape) -> Layer:
    return Conv(kernel_size=(1,) * (len(shape) - 1))


@st.composite
def chain(
    draw: st.DrawFn, shape: Shape, options: Options, *, least: int = 1, most: int = 6
) -> tuple[Layer, ...]:
    """Layers one after the other. The count comes first, and each layer is one draw.

    So Hypothesis, which lowers a count and leaves out one of the draws after it, can take out a layer.
    What brings further layers along, as a pixel shuffle does, is left out where there is no room for them.
    """
    layers: tuple[Layer, ...] = ()
    for _ in range(draw(st.integers(least, most))):
        drawn = draw(layer(shape, options))
        if len(layers) + len(drawn) > most:
            drawn = (_simplest(shape),) if len(layers) < least else ()
        shape = after(drawn, shape)
        layers += drawn
    return layers


def after(layers: tuple[Layer, ...], shape: Shape) -> Shape:
    """The shape that a chain makes of `shape`."""
    for one in layers:
        shape = one.out(shape)
    return shape


def plain(options: Options) -> Options:
    """For chains inside other layers: no branches in branches, no inputs or outputs of their own."""
    return replace(options, branches=False, misaligned=False, several=False, shared=False)


# --- layers that hold any chain -----------------------------------------------------------------


def swapped(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Two spatial axes swapped around a layer."""
    axes = draw(st.sampled_from([(a, b) for b in range(len(shape) - 1) for a in range(b)]))
    one, two = (1 + axis for axis in axes)
    sizes = list(shape)
    sizes[one], sizes[two] = sizes[two], sizes[one]
    body = draw(layer(tuple(sizes), plain(options)))
    return (Swapped(axes=axes, body=body),)


def misaligned(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Two chains of any strides and paddings, cropped to what both have, on the left or on the right."""
    chains = [draw(chain(shape, plain(options), least=1 - i, most=2)) for i in range(2)]
    how = draw(st.sampled_from(["add", "cat"]))
    made = [after(layers, shape) for layers in chains]
    common = tuple(map(min, *(sizes[1:] for sizes in made)))
    body, shortcut = (
        layers + _cropped(draw, sizes, common) for layers, sizes in zip(chains, made, strict=True)
    )
    if how == "add" and made[0][0] != made[1][0]:
        body += (Conv(kernel_size=(1,) * len(common), out_channels=made[1][0]),)
    return (Residual(body=body, shortcut=shortcut, how=how),)  # type: ignore[arg-type]


def _cropped(draw: st.DrawFn, shape: Shape, sizes: tuple[int, ...]) -> tuple[Layer, ...]:
    if shape[1:] == sizes:
        return ()
    cuts = tuple(
        (n - size, None, None) if n > size and draw(st.booleans()) else (None, size, None)
        for n, size in zip(shape[1:], sizes, strict=True)
    )
    return (Slice(slices=cuts),)
