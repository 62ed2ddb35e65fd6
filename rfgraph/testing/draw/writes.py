"""Draws tensors that are written in place: which part, how, and with what. In: a shape. Out: layers.

At most one write of a layer puts numbers in the place of what was there, and never everywhere: something of
the input is left to be read. No part is taken of a spatial axis of one position: it would be all of the axis,
and that at this size alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

from hypothesis import strategies as st

from rfgraph.testing.describe import BatchNorm, Layer, Shape, View, Write, Written, Zeros
from rfgraph.testing.describe.views import Entry, Path, seen
from rfgraph.testing.draw.leaves import pointwise
from rfgraph.testing.draw.options import Options
from rfgraph.testing.draw.windows import centred_conv, centred_pool

_ALL = (None, None, None)
_PARTS = ["slice", "stride", "box", "narrow", "select", "chunk", "split", "unbind"]
_ORDERED = ["transpose", "squeeze", "flatten", "view", "whole"]
_PUT = ["=", "copy_", "add_", "+="]
_CHANGED = ["add_", "+=", "=", "mul_", "copy_", "sub_", "*=", "masked_fill_"]
_ACTIVATIONS = ["relu_", "nn.ReLU", "F.relu", "sigmoid_"]
_NUMBERS = ["=", "zero_", "fill_", "masked_fill_ by place"]


class Part(NamedTuple):
    """Where a write goes, and which part of a tensor of the same shape fits there."""

    path: Path
    pick: Path


# --- layers -------------------------------------------------------------------------------------


def activated(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """An activation in place, of a tensor or of a part of it."""
    kinds = ["conv", "copy", "pool", "norm"]
    made = _made(draw, shape, draw(st.sampled_from(kinds)))
    path = part(draw, shape).path if draw(st.booleans()) else ()
    how = draw(st.sampled_from(_ACTIVATIONS))
    write = Write(how=how, path=path, named=draw(st.booleans()))  # type: ignore[arg-type]
    return (Written(made=made, writes=(write,)),)


def written(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """One write or two; perhaps the tensor is read before as well, or a view of it afterwards."""
    made = _made(draw, shape, draw(st.sampled_from(["copy", "conv", "pool"])))
    found = _writes(draw, shape, options)
    also = draw(st.sampled_from(["", "earlier", "shown"]))
    if also == "earlier":
        return (Written(made=made, writes=found, earlier=_value(draw, shape, options)),)
    if also == "shown" and not any(map(_is_number, found)):
        return (Written(made=made, writes=found, shown=_shown(draw, shape)),)
    return (Written(made=made, writes=found),)


def keeping(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """A write that leaves the shape as it was, for the chains of branches."""
    made = _made(draw, shape, draw(st.sampled_from(["conv", "copy"])))
    return (Written(made=made, writes=(_write(draw, shape, options),)),)


def filled(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Zeros that are written: a part of them, all but a margin, or every second position."""
    kind = draw(st.sampled_from(["part", "margin", "spread"]))
    if kind == "margin":
        return _framed(draw, shape, options)
    if kind == "spread":
        return _spread(draw, shape, options)
    how = draw(st.sampled_from(["torch.zeros", "zeros_like", "new_zeros"]))
    found: tuple[Write, ...] = (_put(draw, part(draw, shape), shape, options),)
    if draw(st.booleans()):
        found += (_put(draw, part(draw, shape), shape, options),)
    return (Written(made=(Zeros(how=how),), writes=found),)  # type: ignore[arg-type]


def _framed(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    sides = [_margins(draw, size, options.largest) for size in shape[1:]]
    zeros = Zeros(margins=tuple(map(sum, sides)), how=_made_by(draw))  # type: ignore[arg-type]
    inner = {
        dim: (left or None, -right or None, None) for dim, (left, right) in enumerate(sides, 2)
    }
    path = (_index(shape, inner),)
    return (Written(made=(zeros,), writes=(_put(draw, Part(path, ()), shape, options),)),)


def _margins(draw: st.DrawFn, size: int, largest: int) -> tuple[int, int]:
    left = draw(st.integers(0, max(0, min(2, largest - size))))
    return left, draw(st.integers(0, max(0, min(2, largest - size - left))))


def _spread(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Every second position of the axes for which there is room; the others perhaps by a second write."""
    factors = tuple(2 if 2 * size <= options.largest else 1 for size in shape[1:])
    zeros = Zeros(factors=factors, how=_made_by(draw))  # type: ignore[arg-type]
    found: tuple[Write, ...] = ()
    for first in range(draw(st.integers(1, 2))):
        every = {
            dim: (draw(st.sampled_from([first or None, 1 - first or None])), None, 2)
            for dim, factor in enumerate(factors, 2)
            if factor == 2
        }
        found += (_put(draw, Part((_index(shape, every),), ()), shape, options),)
    return (Written(made=(zeros,), writes=found),)


def _made_by(draw: st.DrawFn) -> str:
    return draw(st.sampled_from(["torch.zeros", "new_zeros"]))


def _made(draw: st.DrawFn, shape: Shape, kind: str) -> tuple[Layer, ...]:
    """What makes the tensor that is written, of the same shape."""
    if kind == "conv":
        return (centred_conv(draw, shape, shape[0]),)
    if kind == "pool":
        return (centred_pool(draw, shape, (1,) * (len(shape) - 1)),)
    return (BatchNorm(),) if kind == "norm" else ()


# --- writes -------------------------------------------------------------------------------------


def _writes(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Write, ...]:
    found: tuple[Write, ...] = (_write(draw, shape, options),)
    if draw(st.booleans()):
        found += (_change(draw, part(draw, shape), shape, options),)
    return found


def _write(draw: st.DrawFn, shape: Shape, options: Options) -> Write:
    where = part(draw, shape)
    if draw(st.booleans()):
        return _change(draw, where, shape, options)
    is_part = prod(seen(where.path, shape)) < prod(shape)
    how = draw(st.sampled_from(["mul_", "+=", *_ACTIVATIONS, *_NUMBERS * is_part]))
    return Write(how=how, path=where.path, value=0.5, named=draw(st.booleans()))  # type: ignore[arg-type]


def _is_number(write: Write) -> bool:
    return write.how in _NUMBERS and not isinstance(write.value, tuple)


def _change(draw: st.DrawFn, where: Part, shape: Shape, options: Options) -> Write:
    """Another tensor, or one made of the tensor itself, put there or taken into account."""
    how, value = draw(st.sampled_from(_CHANGED)), _value(draw, shape, options)
    pick = _perhaps_one(draw, where.pick, seen(where.pick, shape))
    own, named = draw(st.booleans()), draw(st.booleans())
    return Write(how=how, path=where.path, value=value, pick=pick, own=own, named=named)  # type: ignore[arg-type]


def _put(draw: st.DrawFn, where: Part, shape: Shape, options: Options) -> Write:
    """What the layer was given, or something made of it, put into zeros."""
    how, value = draw(st.sampled_from(_PUT)), _value(draw, shape, options)
    return Write(how=how, path=where.path, value=value, pick=where.pick, named=draw(st.booleans()))  # type: ignore[arg-type]


def _value(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    kind = draw(st.sampled_from(["itself", "pointwise", "conv"]))
    if kind == "itself":
        return ()
    return pointwise(draw, shape, options) if kind == "pointwise" else _made(draw, shape, "conv")


def _perhaps_one(draw: st.DrawFn, pick: Path, shape: Shape) -> Path:
    """The pick, or the first position of it along its last axis, which is broadcast."""
    if not draw(st.sampled_from([False, False, True])):
        return pick
    return (*pick, _index(shape, {len(shape): (None, 1, None)}))


# --- parts --------------------------------------------------------------------------------------


def part(draw: st.DrawFn, shape: Shape) -> Part:
    """A view of a tensor of this shape."""
    kind = draw(st.sampled_from(_PARTS + _ORDERED))
    dim = draw(st.sampled_from(_long(shape)))
    return _ordered(draw, shape, dim, kind) if kind in _ORDERED else _cut(draw, shape, dim, kind)


def _shown(draw: st.DrawFn, shape: Shape) -> Path:
    """A part that has all axes."""
    kind = draw(st.sampled_from(["slice", "stride", "box", "narrow", "chunk", "split"]))
    return _cut(draw, shape, draw(st.sampled_from(_long(shape))), kind).path


def _long(shape: Shape) -> list[int]:
    """The dim of channels, and those of spatial axes of which there are parts."""
    return [dim for dim, size in enumerate(shape, 1) if dim == 1 or size > 1]


def _cut(draw: st.DrawFn, shape: Shape, dim: int, kind: str) -> Part:
    size = shape[dim - 1]
    if kind == "box":
        long = _long(shape)
        other = long[(long.index(dim) + 1) % len(long)]
        pairs = [_slices(draw, shape[d - 1]) for d in (dim, other)]
        paths = ({dim: one, other: two} for one, two in zip(*pairs, strict=True))
        path, pick = ((_index(shape, cuts),) for cuts in paths)
        return Part(path, pick)
    if kind == "stride":
        entry, its = _strides(draw, size)
        return Part((_index(shape, {dim: entry}),), (_index(shape, {dim: its}),))
    if kind in ("select", "unbind"):
        index, its = (draw(st.integers(0, size - 1)) for _ in range(2))
        how = "unbind" if kind == "unbind" else draw(st.sampled_from(["select", "index"]))
        view = _index(shape, {dim: index}) if how == "index" else View(how, (dim, index))  # type: ignore[arg-type]
        return Part((view,), (View("select", (dim, its)),))
    if kind in ("chunk", "split"):
        return _piece(draw, shape, dim, kind)
    start, length, its = _spans(draw, size)
    pick = (_index(shape, {dim: _entry(its, length, size, False)}),)
    if kind == "narrow":
        return Part((View("narrow", (dim, start, length)),), pick)
    entry = _entry(start, length, size, draw(st.booleans()))
    return Part((_index(shape, {dim: entry}),), pick)


def _piece(draw: st.DrawFn, shape: Shape, dim: int, kind: str) -> Part:
    """One of two parts of `chunk`, or one of those of `split`.

    No part of `split` is all of an axis: by a number in the code, that is so at one size alone.
    """
    size = shape[dim - 1]
    given = 2 if kind == "chunk" else draw(st.integers(1, max(1, size - 1)))
    each = -(-size // 2) if kind == "chunk" else given
    number = draw(st.integers(0, -(-size // each) - 1))
    view = View(kind, (given, dim, number))  # type: ignore[arg-type]
    length = view.out(shape)[dim - 1]
    start = draw(st.integers(0, size - length))
    return Part((view,), (_index(shape, {dim: _entry(start, length, size, False)}),))


def _ordered(draw: st.DrawFn, shape: Shape, dim: int, kind: str) -> Part:
    """The whole in another order, or with an axis less, and perhaps a part of that."""
    if kind == "whole":
        return Part((), ())
    if kind == "squeeze":
        index, its = (draw(st.integers(0, shape[dim - 1] - 1)) for _ in range(2))
        one = _index(shape, {dim: _entry(index, 1, shape[dim - 1], False)})
        return Part((one, View("squeeze", (dim,))), (View("select", (dim, its)),))
    if kind == "transpose":
        view = pick = View("transpose", (dim, dim % len(shape) + 1))
    elif kind == "flatten":
        view = pick = View("flatten", (draw(st.integers(1, len(shape) - 1)),))
    else:
        view, pick = View("view"), View("flatten", (2,))
    if draw(st.booleans()):
        return Part((view,), (pick,))
    turned = view.out(shape)
    kinds = ["slice", "stride"] + ["narrow"] * (turned[-1] > 1)
    further = _cut(draw, turned, len(turned), draw(st.sampled_from(kinds)))
    return Part((view, *further.path), (pick, *further.pick))


def _index(shape: Shape, entries: Mapping[int, Entry]) -> View:
    return View("index", tuple(entries.get(dim, _ALL) for dim in range(1, len(shape) + 1)))


def _spans(draw: st.DrawFn, size: int) -> tuple[int, int, int]:
    """Two starts of one length."""
    length = draw(st.integers(1, max(1, size - 1)))
    start, its = (draw(st.integers(0, min(3, size - length))) for _ in range(2))
    return start, length, its


def _slices(draw: st.DrawFn, size: int) -> tuple[Entry, Entry]:
    start, length, its = _spans(draw, size)
    one = _entry(start, length, size, draw(st.booleans()))
    return one, _entry(its, length, size, False)


def _entry(start: int, length: int, size: int, from_end: bool) -> Entry:
    stop = start + length
    return start or None, None if stop == size else stop - size if from_end else stop, None


def _strides(draw: st.DrawFn, size: int) -> tuple[Entry, Entry]:
    """Every second or third position, and as many, side by side or in the same places."""
    step = draw(st.integers(2, 3))
    start = draw(st.integers(0, min(step, size) - 1))
    entry = (start or None, None, step)
    count = len(range(start, size, step))
    return entry, draw(st.sampled_from([entry, _entry(0, count, size, False)]))
