"""Operators that go through a dim in order, or choose positions by the data.

In: nodes of `cumsum`, `sort`, `topk`, `grid_sample` and their like. Out: reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch.nn.functional as F

from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import (
    Place,
    Read,
    Reads,
    along,
    every,
    fixed,
    lookup,
    mixed,
    same,
    up_to,
    whole,
)
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import nonnegative
from rfgraph.rules.indices import in_range, is_constant
from rfgraph.rules.registry import rule, spellings
from rfgraph.rules.select import looked_up, picked

FLATTENED = "counts positions over all dims at this size"


def cumulative(node: Node) -> Reads:
    """Cumulative sums, products and extremes.

    Reads:      the element, and every position of `dim` up to it.
    Formula:    R(o) = {0 .. o} along dim.
    Example:    cumsum over 5 positions: output 2 reads {0, 1, 2}.
    Precision:  exact. Conservative for the first index that cummax and cummin return: it is always 0.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.cumsum.html
    """
    rank = len(node.shape)
    dim = nonnegative(node.params["dim"], rank)
    past = up_to(dim, "cumulative")
    return same(rank), Read(0, tuple(past if d == dim else along(d) for d in range(rank)))


for _name in ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"):
    rule(*spellings(_name), name=_name, signature="input, dim, *, dtype=None, out=None")(cumulative)


def ranked(node: Node) -> Reads:
    """Sort, argsort, topk, kthvalue: positions of `dim` chosen by its values.

    Reads:      all of `dim`; its own position elsewhere.
    Formula:    R(o) = every position of dim.
    Example:    topk(2) of (3, 5) over dim 1: output (2, 0) reads (2, 0 .. 4).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.sort.html
    """
    own, shape = node.operand_shapes[0], node.shape
    dim = nonnegative(node.params["dim"], len(own))
    gone = len(own) > len(shape)
    dims = (
        every("data-dependent") if d == dim else along(d - (gone and d > dim))
        for d in range(len(own))
    )
    return (Read(0, tuple(dims)),)


for _name, _signature in {
    "sort": "input, dim=-1, descending=False, stable=False",
    "argsort": "input, dim=-1, descending=False, stable=False",
    "topk": "input, k, dim=-1, largest=True, sorted=True",
    "kthvalue": "input, k, dim=-1, keepdim=False",
    "msort": "input, *, dim=0, out=None",
}.items():
    rule(*spellings(_name), name=_name, signature=_signature)(ranked)


@rule(
    *spellings("grid_sample"),
    name="grid_sample",
    signature="input, grid, mode='bilinear', padding_mode='zeros', align_corners=None",
)
def grid_sample(node: Node) -> Reads:
    """Sampling at the places that a grid says.

    Reads:      all of the input along its spatial dims; the grid at the output's own position.
    Formula:    out[n, c, y, x] reads input[n, c, :, :] and grid[n, y, x, :].
    Example:    output (0, 3, 2, 5) reads all of channel 3, and the grid at (0, 2, 5).
    Precision:  conservative: of the input it reads few pixels, but which ones the data say.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html
    """
    rank = len(node.shape)
    spatial = range(2, rank)
    image, grid = node.params["input"], node.params["grid"]
    reads = []
    if isinstance(image, Operand):
        reads.append(mixed(rank, spatial, "data-dependent", image.index))
    if isinstance(grid, Operand):
        reads.append(Read(grid.index, (along(0), *map(along, spatial), every("linear"))))
    return tuple(reads)


def _infer_deformed(params: Params, shapes: Sequence[Shape]) -> Shape:
    return (shapes[0][0], params["weight"].shape[0], *params["offset"].shape[2:])


@rule(
    "torchvision::deform_conv2d",
    name="deform_conv2d",
    signature="input, weight, offset, mask, *options",
    infer=_infer_deformed,
)
def deform_conv2d(node: Node) -> Reads:
    """Deformable convolution: taps at places that the offsets say.

    Reads:      all of the input along its spatial dims and channels; offsets and mask at the output's own
                position.
    Formula:    out[n, c, y, x] reads input[n, :, :, :], offset[n, :, y, x] and mask[n, :, y, x].
    Example:    output (0, 3, 2, 5) reads offset (0, :, 2, 5) and all of the input.
    Precision:  conservative: of the input it reads few pixels, but which ones the data say.
    Documented: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.deform_conv2d.html
    """
    params, reads = node.params, []
    if isinstance(params["input"], Operand):
        reads.append(mixed(4, (1, 2, 3), "data-dependent", params["input"].index))
    for role in ("offset", "mask"):
        if isinstance(params[role], Operand) and len(params[role].shape) == 4:
            reads.append(mixed(4, (1,), "linear", params[role].index))
    return tuple(reads)


@rule(F.affine_grid, signature="theta, size, align_corners=None")
def affine_grid(node: Node) -> Reads:
    """A grid of sampling places from affine matrices.

    Reads:      the sample's matrix.
    Formula:    out[n, y, x, :] reads theta[n, :, :].
    Example:    output (1, 4, 2, 0) reads theta (1, 0 .. 1, 0 .. 2).
    Precision:  conservative: coordinate i reads row i of the matrix alone.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.affine_grid.html
    """
    rank = len(node.operand_shapes[0])
    return (mixed(rank, range(1, rank), "linear"),)


@rule(
    *spellings("take"),
    signature="input, index, *, out=None",
    normalize=in_range(dims="", signed=True),
)
def take(node: Node) -> Reads:
    """Take: positions in the order of elements, as if there were one dim.

    Reads:      the position that the index holds; everything where the index is computed, and the index at
                the output's own position.
    Formula:    with flat(p) = the row-major index of p: flat(R(o)) = index[o].
    Example:    (3, 4), index (2, 5): output 1 reads (1, 1).
    Precision:  exact for a constant index; of more dims than one, those of the analysed size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.take.html
    """
    source, index, rank = node.params["input"], node.params["index"], len(node.shape)
    if not is_constant(index):
        own = (same(rank, index.index),)
        is_read = isinstance(source, Operand)
        return (whole(len(source.shape), "data-dependent", source.index), *own) if is_read else own
    shape, flat = node.operand_shapes[0], index.detach().cpu()
    if len(shape) == 1:
        return (Read(0, (looked_up(range(rank), flat, shape[0]),), picks=True),)
    places = np.unravel_index((flat % max(prod(shape), 1)).numpy(), shape)
    return (Read(0, tuple(_flattened(rank, each) for each in places), picks=True),)


def _flattened(rank: int, indices: np.ndarray) -> Place:
    """What is picked along one dim where positions count over all of them."""
    if not indices.size:
        return picked(0, ())  # no position reads anything
    first = int(indices.flat[0])
    if (indices == first).all():
        return fixed(first, FLATTENED)
    return lookup(tuple(range(rank)), lambda o: (int(indices[o]),), FLATTENED)


@rule(*spellings("bucketize"), signature="input, boundaries, *, out_int32=None, right=None")
@rule(
    *spellings("searchsorted"),
    signature="sorted_sequence, input, *, out_int32=None, right=None, side=None, sorter=None",
)
def bucketize(node: Node) -> Reads:
    """Between which of some sorted boundaries a number lies.

    Reads:      the number at the output's own position; all boundaries, of its own row where there are
                several.
    Formula:    out[o] reads input[o] and boundaries[o[:-1], :].
    Example:    bucketize(x, b): output (2, 3) reads x (2, 3) and all of b.
    Precision:  exact: any boundary decides for some numbers.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.searchsorted.html
    """
    params, rank, reads = node.params, len(node.shape), []
    if isinstance(params["input"], Operand):
        reads.append(same(rank, params["input"].index))
    for role in ("boundaries", "sorted_sequence", "sorter"):
        if isinstance(params.get(role), Operand):
            own = len(params[role].shape)
            reads.append(mixed(own, (own - 1,), "data-dependent", params[role].index))
    return tuple(reads)


@rule(*spellings("cumulative_trapezoid"), signature="y, x=None, *, dx=None, dim=-1")
def cumulative_trapezoid(node: Node) -> Reads:
    """Integrals by the trapezoid rule up to each position of a dim.

    Reads:      its own interval's two ends, and every position of `dim` before.
    Formula:    R(o) = {0 .. o + 1} along dim.
    Example:    over 5 positions: output 2 reads {0 .. 3}.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.cumulative_trapezoid.html
    """
    rank = len(node.shape)
    dim = nonnegative(node.params["dim"], rank)
    pair = Relation.window(2, 1, 1, 0)

    def read(i: int, own: Shape, place: Place) -> Read:
        if len(own) == 1:
            return Read(i, (place,))
        return Read(i, tuple(place if d == dim else along(d) for d in range(rank)))

    places = along(dim, pair), up_to(dim, "cumulative", pair)
    return tuple(
        read(i, own, place) for i, own in enumerate(node.operand_shapes) for place in places
    )
