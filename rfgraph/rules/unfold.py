"""Windows laid out as elements: unfold of a dim, im2col (`F.unfold`) and its inverse (`F.fold`).

In: their nodes. Out: reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import torch.nn.functional as F
from torch import nn

from rfgraph.algebra.digits import Digit
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Shape
from rfgraph.language.reads import ByLaw, Law, Place, Read, Reads, along, lookup, regrouped
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import nonnegative, per_dim
from rfgraph.rules.registry import rule

_REASON = "windows laid out as elements are counted at this size"


@rule("unfold", name="unfold", signature="input, dimension, size, step")
def unfold(node: Node) -> Reads:
    """Tensor.unfold: windows of one dim, as a new last dim.

    Reads:      one position of one window.
    Formula:    R(.., w, .., t) = step * w + t along the dim.
    Example:    size 3, step 2: window 4, place 1 reads {9}.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.unfold.html
    """
    own, rank = node.operand_shapes[0], len(node.shape)
    dim = nonnegative(node.params["dimension"], len(own))
    size, step = node.params["size"], node.params["step"]
    read: Place
    if not own:  # one window of one element
        return (Read(0, ()),)
    if size == step and own[dim] % size == 0:
        (read,) = regrouped((dim,), (own[dim],), (dim, rank - 1), (node.shape[dim], size))
    else:
        law = Law((Digit(rank - 1, bounded=True), Digit(dim, step)))
        read = Place((dim, rank - 1), ByLaw(law, (dim, rank - 1)), law)
    return (Read(0, tuple(read if d == dim else along(d) for d in range(len(own)))),)


def _normalize(params: Params, shapes: Sequence[Shape]) -> Params:
    """Two values of each, and `blocks`: the windows along height and width."""
    names = ("kernel_size", "dilation", "padding", "stride")
    params = {**params, **{name: per_dim(params[name], 2) for name in names}}
    size = params.get("output_size")
    image = shapes[0][-2:] if size is None else per_dim(size, 2)
    blocks = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(image, *(params[name] for name in names), strict=True)
    )
    return {**params, "blocks": blocks}


_ONE_POSITION = "cuts one position into windows, of which another size may have more"


@rule(
    F.unfold,
    nn.Unfold,
    name="im2col",
    signature="input, kernel_size, dilation=1, padding=0, stride=1",
    normalize=_normalize,
)
def im2col(node: Node) -> Reads:
    """F.unfold, im2col: every window of an image as a column.

    Reads:      one pixel of one window.
    Formula:    the column at window (u, v) holds, for channel c and kernel place (i, j), the pixel
                stride * (u, v) - padding + dilation * (i, j) of channel c.
    Example:    kernel 3, stride 2, padding 1: window row 4, kernel row 0 reads row {7}.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.Unfold.html
    """
    params, lead = node.params, len(node.shape) - 2
    taps, blocks, own = params["kernel_size"], params["blocks"], node.operand_shapes[0][-2:]

    def law(axis: int, exact: bool = False) -> Law:
        stride, dilation, padding = _geometry(params, axis)
        (rows, columns), wide = taps, blocks[1]
        tap = (Digit(lead, dilation, columns, rows), Digit(lead, dilation, 1, columns))[axis]
        window = (Digit(lead + 1, stride, wide), Digit(lead + 1, stride, 1, wide))[axis]
        is_cut = own[axis] > 1  # into windows, of which there may be one at this size
        shifted = Relation.window(1, 1, 1, padding)
        if exact:
            return Law((tap, window), shifted)
        digits = (tap._replace(bounded=True),) * (taps[axis] > 1) + (window,) * is_cut
        return Law(digits, shifted if digits else Relation.constant([-padding]))

    def image(axis: int) -> Place:
        reason, dims = _ONE_POSITION if own[axis] == 1 else "", (lead, lead + 1)
        return Place(dims, ByLaw(law(axis, exact=True), dims), law(axis), reason=reason)

    channel = along(lead, Relation.spread(prod(taps)))
    return (Read(0, (*map(along, range(lead)), channel, image(0), image(1))),)


def _geometry(params: Params, axis: int) -> tuple[int, int, int]:
    stride, dilation, padding = (params[name][axis] for name in ("stride", "dilation", "padding"))
    return stride, dilation, padding


@rule(
    F.fold,
    nn.Fold,
    name="col2im",
    signature="input, output_size, kernel_size, dilation=1, padding=0, stride=1",
    normalize=_normalize,
)
def col2im(node: Node) -> Reads:
    """F.fold, col2im: the sum of overlapping windows, the converse of F.unfold.

    Reads:      of every window that covers the pixel, the element at the pixel's place in it.
    Formula:    pixel y reads, for each kernel place i, window (y + padding - dilation * i) / stride where
                that is an integer, in the channel of that place.
    Example:    kernel 3, stride 2, padding 1: row 4 reads window row 2 at kernel row 1 alone.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.Fold.html
    """
    params, lead = node.params, len(node.shape) - 3
    taps, blocks = params["kernel_size"], params["blocks"]
    geometry = [_geometry(params, axis) for axis in (0, 1)]

    def window(place: tuple[int, ...]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
        def at(o: tuple[int, ...]) -> tuple[int, ...]:
            found = []
            columns = zip(o, place, blocks, geometry, strict=True)
            for pixel, tap, count, (stride, dilation, padding) in columns:
                index, rest = divmod(pixel + padding - dilation * tap, stride)
                if rest or not 0 <= index < count:
                    return ()
                found.append(index)
            return (found[0] * blocks[1] + found[1],)

        return at

    reads = []
    for number, place in enumerate(product(*map(range, taps))):
        channel = along(lead, Relation.window(1, prod(taps), 1, -number))
        column = lookup((lead + 1, lead + 2), window(place), _REASON)
        reads.append(Read(0, (*map(along, range(lead)), channel, column)))
    return tuple(reads)
