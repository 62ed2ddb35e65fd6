"""Interpolation, pixel shuffle and unshuffle.

In: nodes of `interpolate`, `pixel_shuffle`, `pixel_unshuffle`, `channel_shuffle`. Out: reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

import torch
import torch.nn.functional as F
from torch import nn

from rfgraph.algebra.digits import Digit, plain
from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Shape
from rfgraph.language.reads import ByLaw, Law, Place, Read, Reads, along, table
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import replicate
from rfgraph.rules.pool import cells
from rfgraph.rules.registry import rule, spellings

_LONGEST_PERIOD = 1024  # a law with more phases than this is a table, not a law
_HALF = Fraction(1, 2)
_ZERO = Fraction(0)
_COPYING = ("linear", "bilinear", "trilinear")  # whatever the factor, where the size stays the same


def _normalize(params: Params, shapes: Sequence[Shape]) -> Params:
    """`out` (sizes) and `rates` (input positions per output position, or None: from the sizes)."""
    sizes = shapes[0][2:]
    size, factor = params["size"], params["scale_factor"]
    if (size is None) == (factor is None):
        raise ValueError("needs either size or scale_factor")
    if size is not None:
        out = tuple(size) if isinstance(size, tuple | list) else (size,) * len(sizes)
        return {**params, "out": tuple(map(int, out)), "rates": (None,) * len(sizes)}
    factors = tuple(factor) if isinstance(factor, tuple | list) else (factor,) * len(sizes)
    exact = [Fraction(float(f)).limit_denominator(1 << 16) for f in factors]
    out = tuple(floor(n * float(f)) for n, f in zip(sizes, factors, strict=True))
    recomputed = params["recompute_scale_factor"] or params["mode"] == "area"
    return {**params, "out": out, "rates": tuple(None if recomputed else 1 / f for f in exact)}


def _infer(params: Params, shapes: Sequence[Shape]) -> Shape:
    is_pool = params["mode"] == "area"  # which may leave nothing
    if 0 in shapes[0][2:] or (0 in params["out"] and not is_pool):
        raise ValueError(
            f"cannot resample {shapes[0][2:]} to {params['out']}: both must be positive"
        )
    return (*shapes[0][:2], *params["out"])


def _nearest(source: int, scale: int) -> set[int]:
    return {source // scale}


def _linear(source: int, scale: int) -> set[int]:
    return {source // scale, -(-source // scale)}


def _cubic(source: int, scale: int) -> set[int]:
    floor, rest = divmod(source, scale)
    return {floor + t for t in (-1, 0, 1, 2)} if rest else {floor}


_TAPS: dict[str, Callable[[int, int], set[int]]] = {
    "nearest": _nearest,
    "nearest-exact": _nearest,
    "linear": _linear,
    "bilinear": _linear,
    "trilinear": _linear,
    "bicubic": _cubic,
}
"""Of the fraction `source / scale`: in integers, as there may be millions of positions."""


@lru_cache(maxsize=256)
def _taps(mode: str, rate: Fraction, corners: bool, antialias: bool) -> Callable[[int], set[int]]:
    """Output position -> the input positions of non-zero weight, as if the input had no borders."""
    taps, step, scale = _TAPS[mode], rate.numerator, rate.denominator
    if antialias and rate > 1:
        return lambda o: _filtered(mode, rate, (o + _HALF) * rate)
    if mode == "nearest" or (corners and not antialias):  # torch filters around pixel centers
        return lambda o: taps(o * step, scale)
    if mode == "nearest-exact":
        return lambda o: taps((2 * o + 1) * step, 2 * scale)
    return lambda o: taps((2 * o + 1) * step - scale, 2 * scale)


def _filtered(mode: str, rate: Fraction, center: Fraction) -> set[int]:
    """The taps of a triangle or cubic filter stretched by `rate` around `center`; cubic is 0 at 1."""
    support = 2 if mode == "bicubic" else 1
    near = range(floor(center - support * rate) - 1, ceil(center + support * rate) + 1)
    distances = ((i, abs(i + _HALF - center) / rate) for i in near)
    return {i for i, x in distances if x < support and (x != 1 or support == 1)}


@lru_cache(maxsize=256)
def _law(mode: str, rate: Fraction, corners: bool, antialias: bool) -> Relation | None:
    period, advance = rate.denominator, rate.numerator
    if period > _LONGEST_PERIOD:
        return None
    taps = _taps(mode, rate, corners, antialias)
    return Relation(period, advance, (Positions.of(taps(o)) for o in range(period)))


def _resampled(dim: int, size: int, out: int, rate: Fraction | None, params: Params) -> Place:
    mode = params["mode"]
    if mode == "area":
        return cells(dim, size, out, "area resampling")
    corners = bool(params["align_corners"])
    reason = ""
    if corners:
        rate = Fraction(size - 1, max(out - 1, 1)) if out > 1 or not params["antialias"] else _ZERO
        reason = f"align_corners=True resamples {size} to {out} at a rate of this size"
    elif rate not in (None, 1) and out == size and (params["antialias"] or mode in _COPYING):
        copied = Relation.identity()
        return table(dim, copied, copied, f"resampling {size} to {size} copies at this size")
    elif rate is None:
        rate = Fraction(size, out)
        if 1 not in (rate.numerator, rate.denominator):
            reason = f"resampling {size} to {out} is no integer ratio"
    taps = _taps(mode, rate, corners, params["antialias"])
    law = _law(mode, rate, corners, params["antialias"])
    clamp = mode.startswith("nearest") or not (params["antialias"] and rate > 1)

    if mode == "nearest" and rate.numerator == 1:  # in steps, however long
        steps = ByLaw(Law((Digit(dim, weight=rate.denominator),)), (dim,), size)
        return Place((dim,), steps, None if law is None else Law(plain(dim), law), "", reason)
    if law is not None:
        return table(dim, law, law, reason, clamped=size if clamp else 0)

    def at(o: int) -> list[int]:
        read = taps(o)
        kept = {replicate(i, size) for i in read} if clamp else {i for i in read if 0 <= i < size}
        return sorted(kept)

    return table(dim, at, law, reason)


def interpolate(node: Node) -> Reads:
    """Resampling by `size` or `scale_factor`, all modes.

    Reads:      the taps of non-zero weight along each spatial dim; its own channel.
    Formula:    with rate = 1 / scale_factor, or in / out for `size`: nearest {floor(rate * o)};
                nearest-exact {floor(rate * (o + 1/2))}; linear {floor(x), ceil(x)} at
                x = rate * (o + 1/2) - 1/2, or x = o * (in - 1) / (out - 1) with align_corners; cubic
                floor(x) + {-1, 0, 1, 2}, alone {x} at an integer x; area as adaptive pooling. With
                antialias, x = rate * (o + 1/2) - 1/2 also with align_corners, and at a rate > 1 the
                filter is stretched by the rate. Borders are clamped. Linear modes and antialias copy a
                dim whose size stays the same.
    Example:    linear by 2: output 4 has x = 1.75 and reads {1, 2}, output 5 has x = 2.25: {2, 3}.
    Precision:  exact. A closed form at any size for scale_factor, and for `size` at an integer ratio that is
                the same at a second size; at the analysed size alone with align_corners or another.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html
    """
    params = node.params
    dims = zip(node.operand_shapes[0][2:], params["out"], params["rates"], strict=True)
    reads = (
        _resampled(2 + i, size, out, rate, dict(params)) for i, (size, out, rate) in enumerate(dims)
    )
    return (Read(0, (along(0), along(1), *reads)),)


rule(
    nn.Upsample,
    F.interpolate,
    name="interpolate",
    signature="input, size=None, scale_factor=None, mode='nearest', align_corners=None, "
    "recompute_scale_factor=None, antialias=False",
    normalize=_normalize,
    infer=_infer,
)(interpolate)


@rule(*spellings("pixel_shuffle", nn.PixelShuffle), signature="input, upscale_factor")
def pixel_shuffle(node: Node) -> Reads:
    """Pixel shuffle (depth to space).

    Reads:      one input pixel, of the channel of its phase.
    Formula:    R(o) = {floor(o / f)} along height and width; channel c at (y, x) reads channel
                c * f * f + (y mod f) * f + (x mod f).
    Example:    f = 2: output 5 reads {2}.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelShuffle.html
    """
    factor = node.params["upscale_factor"]
    lead = len(node.shape) - 3
    rows, columns = Digit(lead + 1, factor, 1, factor), Digit(lead + 2, 1, 1, factor)
    dims = (lead, lead + 1, lead + 2)
    law = Law((Digit(lead, factor**2), rows, columns), extent=node.operand_shapes[0][lead])
    block = Place(dims, ByLaw(law, dims), law, total=True)
    spread = Relation.spread(factor)
    space = along(lead + 1, spread), along(lead + 2, spread)
    return (Read(0, (*map(along, range(lead)), block, *space)),)


@rule(*spellings("pixel_unshuffle", nn.PixelUnshuffle), signature="input, downscale_factor")
def pixel_unshuffle(node: Node) -> Reads:
    """Pixel unshuffle (space to depth).

    Reads:      a block of f pixels along each spatial axis, taken over its channels.
    Formula:    R(o) = {f * o .. f * o + f - 1} along height and width; channel c reads {floor(c / f^2)}.
    Example:    f = 2: output 5 reads {10, 11}.
    Precision:  exact. The figures are those of all channels together, of which each reads one pixel of the
                block.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelUnshuffle.html
    """
    factor = node.params["downscale_factor"]
    lead = len(node.shape) - 3

    def pixel(dim: int, each: int) -> Place:
        law = Law((Digit(lead, 1, each, factor, bounded=True), Digit(dim, factor)))
        return Place((lead, dim), ByLaw(law, (lead, dim)), law, total=True)

    rows, columns = pixel(lead + 1, factor), pixel(lead + 2, 1)
    channel = along(lead, Relation.spread(factor**2))
    return (Read(0, (*map(along, range(lead)), channel, rows, columns)),)


@rule(
    torch.channel_shuffle,
    *(t for t in (getattr(F, "native_channel_shuffle", None),) if t is not None),
    nn.ChannelShuffle,
    signature="input, groups",
)
def channel_shuffle(node: Node) -> Reads:
    """Channel shuffle.

    Reads:      one channel; the same position elsewhere.
    Formula:    channel c reads (c mod groups) * (C / groups) + floor(c / groups).
    Example:    6 channels in 2 groups: outputs 0 .. 5 read 0, 3, 1, 4, 2, 5.
    Precision:  exact. Along the channels, at their analysed count alone.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.ChannelShuffle.html
    """
    groups, count = node.params["groups"], node.shape[1]
    law = Relation(groups, 1, (Positions.of([g * (count // groups)]) for g in range(groups)))
    shuffled = table(1, law, law, "the groups have as many channels as this size has")
    return (Read(0, tuple(along(d) if d != 1 else shuffled for d in range(len(node.shape)))),)
