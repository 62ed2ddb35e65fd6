"""Operators that move positions: permute, pad, roll, flip, repeat.

In: their nodes. Out: reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import torch
import torch.nn.functional as F
from torch import nn

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Shape
from rfgraph.language.reads import Place, Read, Reads, along, table
from rfgraph.language.vocabulary import Params
from rfgraph.rules import masks
from rfgraph.rules.common import (
    all_dims,
    along_dim,
    data_dependent,
    nonnegative,
    padded,
    per_dim,
    unchanged,
)
from rfgraph.rules.moves import moves
from rfgraph.rules.registry import rule, spellings
from rfgraph.rules.select import picked


def permuted(node: Node) -> Reads:
    """Permute, transpose, movedim, T.

    Reads:      the same element.
    Formula:    R(o)[order[d]] = o[d].
    Example:    permute(0, 2, 1) on (2, 3, 5): output (1, 4, 2) reads (1, 2, 4).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.permute.html
    """
    order = node.params["order"]
    return (Read(0, tuple(along(order.index(dim)) for dim in range(len(order)))),)


def _ordered(params: Params, shapes: Sequence[Shape]) -> Params:
    rank = len(shapes[0])
    if "dims" in params:
        dims = params["dims"] or tuple(reversed(range(rank)))
        return {**params, "order": tuple(nonnegative(dim, rank) for dim in dims)}
    order = list(range(rank))
    one, two = (nonnegative(params[name], rank) for name in ("dim0", "dim1"))
    if rank:
        order[one], order[two] = order[two], order[one]
    return {**params, "order": tuple(order)}


def _moved_order(params: Params, shapes: Sequence[Shape]) -> Params:
    rank = len(shapes[0])
    source, target = (
        [
            nonnegative(int(d), rank)
            for d in (given if isinstance(given, tuple | list) else (given,))
        ]
        for given in (params["source"], params["destination"])
    )
    rest = iter(dim for dim in range(rank) if dim not in source)
    placed = dict(zip(target, source, strict=True))
    return {**params, "order": tuple(placed[d] if d in placed else next(rest) for d in range(rank))}


for _name, _signature, _normalize in (
    ("permute", "input, *dims", _ordered),
    ("T", "input, *dims", _ordered),
    ("transpose", "input, dim0, dim1", _ordered),
    ("swapaxes", "input, dim0, dim1", _ordered),
    ("swapdims", "input, dim0, dim1", _ordered),
    ("movedim", "input, source, destination", _moved_order),
    ("moveaxis", "input, source, destination", _moved_order),
):
    rule(
        *spellings(_name),
        name=_name,
        signature=_signature,
        normalize=_normalize,
        masks=masks.permuted,
    )(permuted)


@rule(*spellings("t"), signature="input")
def t(node: Node) -> Reads:
    """Matrix transpose.

    Reads:      the same element.
    Formula:    R(i, j) = (j, i).
    Example:    output (4, 2) reads (2, 4).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.t.html
    """
    return (Read(0, tuple(reversed([along(dim) for dim in range(len(node.shape))]))),)


def _normalize_pad(params: Params, shapes: Sequence[Shape]) -> Params:
    """`pads`: (left, right) per operand dim, from torch's list, which begins at the last dim."""
    flat = params["pad"] if params["pad"] is not None else params["padding"]
    flat = per_dim(flat, 2) if isinstance(flat, int) else tuple(flat)
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    pads = ((0, 0),) * (len(shapes[0]) - len(pairs)) + tuple(reversed(pairs))
    if params["mode"] == "circular":
        _refuse_turns(pads, shapes[0])
    return {**params, "pads": pads}


def _refuse_turns(pads: Sequence[tuple[int, int]], shape: Shape) -> None:
    """Torch refuses some that go round what a negative side leaves more than once; of others it returns
    memory that nobody wrote."""
    for size, (left, right) in zip(shape, pads, strict=True):
        if max(left, right) > size + min(left, 0) + min(right, 0):
            raise ValueError(f"circular padding {left, right} goes round {size} more than once")


def _infer_pad(params: Params, shapes: Sequence[Shape]) -> Shape:
    pairs = zip(shapes[0], params["pads"], strict=True)
    sizes = tuple(size + left + right for size, (left, right) in pairs)
    if min(sizes, default=1) < 0:
        raise ValueError(f"padding {params['pads']} leaves nothing of the input")
    return sizes


def _padded(dim: int, size: int, left: int, right: int, mode: str) -> Place:
    law = Relation.window(1, 1, 1, left)
    if mode != "circular" or min(left, right) >= 0:
        return padded(dim, law, size, mode if left or right else "")
    first, last = max(0, -left), size - max(0, -right)  # torch crops, then goes round
    return table(dim, lambda o: (first + (o - left - first) % (last - first),), law)


def pad(node: Node) -> Reads:
    """Padding; a negative one crops.

    Reads:      the position less the left padding; padded constants read nothing, the other modes fold
                back into the input; a circular one into what a negative padding leaves of it.
    Formula:    R(o) = {o - left}.
    Example:    left padding 2 with zeros: output 1 reads {-1}, which does not exist; with reflect {1}.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html
    """
    sizes = zip(node.operand_shapes[0], node.params["pads"], strict=True)
    mode = node.params["mode"]
    dims = [
        _padded(dim, size, left, right, mode) for dim, (size, (left, right)) in enumerate(sizes)
    ]
    return (Read(0, tuple(dims)),)


_PAD = "input, pad=None, mode='{}', value=None, *, padding=None"
_PADS = {
    "pad": ("constant", [F.pad]),
    "constant_pad": ("constant", []),
    "reflection_pad": ("reflect", []),
    "replication_pad": ("replicate", []),
    "circular_pad": ("circular", []),
}
for _name, (_mode, _functions) in _PADS.items():
    _stem = "".join(part.capitalize() for part in _name.split("_"))
    _modules = [getattr(nn, f"{_stem}{n}d") for n in (1, 2, 3) if _name != "pad"]
    if _name == "constant_pad":
        _modules += [getattr(nn, f"ZeroPad{n}d") for n in (1, 2, 3) if hasattr(nn, f"ZeroPad{n}d")]
    rule(
        *_functions,
        *_modules,
        name=_name,
        signature=_PAD.format(_mode),
        normalize=_normalize_pad,
        infer=_infer_pad,
    )(pad)


@rule(*spellings("roll"), signature="input, shifts, dims=None", infer=unchanged)
def roll(node: Node) -> Reads:
    """Roll: a cyclic shift.

    Reads:      the position less the shift, around the end.
    Formula:    R(o) = {(o - shift) mod n}; far from the border {o - shift}, a negative shift to the
                right. Without dims the flattened tensor is rolled.
    Example:    shift 2 of 5: output 1 reads {4}.
    Precision:  exact. Without dims at the analysed size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.roll.html
    """
    shape, dims = node.shape, node.params["dims"]
    if dims is None or dims == ():
        if len(shape) < 2:
            return _rolled(node, (0,))
        reads = moves(node, lambda input, shifts, dims: torch.roll(input, shifts))
        return tuple(replace(read, dims=tuple(map(_flattened, read.dims))) for read in reads)
    return _rolled(node, dims if isinstance(dims, tuple | list) else (dims,))


def _flattened(place: Place) -> Place:
    """At another size as many elements are other rows."""
    return place if place.reason else replace(place, reason="rolls elements in a row")


def _rolled(node: Node, dims: Sequence[int]) -> Reads:
    shape = node.shape
    shifts = per_dim(node.params["shifts"], len(dims))
    by_dim: dict[int, int] = {}
    for dim, shift in zip(dims, shifts, strict=True):
        by_dim[nonnegative(dim, len(shape))] = by_dim.get(nonnegative(dim, len(shape)), 0) + shift

    def read(dim: int) -> Place:
        shift = by_dim.get(dim, 0)
        return (
            padded(dim, Relation.window(1, 1, 1, shift), shape[dim], "circular")
            if shift
            else along(dim)
        )

    return (Read(0, tuple(map(read, range(len(shape))))),)


def flip(node: Node) -> Reads:
    """Flip: reverse dims.

    Reads:      the position counted from the end.
    Formula:    R(o) = {n - 1 - o} along dims: an effective stride of -1.
    Example:    n = 5: output 1 reads {3}.
    Precision:  exact at the analysed size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.flip.html
    """
    asked = node.params["dims"]
    dims = () if asked == () else all_dims(asked, len(node.shape))  # no dims are none, not all

    def read(dim: int) -> Place:
        law = Relation(1, -1, (Positions.of([node.shape[dim] - 1]),))
        return table(dim, law, law, "flip counts from the end") if dim in dims else along(dim)

    return (Read(0, tuple(map(read, range(len(node.shape))))),)


for _name, _signature in {
    "flip": "input, *dims",
    "fliplr": "input, dims=1",
    "flipud": "input, dims=0",
}.items():
    rule(*spellings(_name), name=_name, signature=_signature)(flip)


def repeat(node: Node) -> Reads:
    """Repeat and tile.

    Reads:      the position modulo the size.
    Formula:    R(o) = {o mod n}.
    Example:    n = 5: output 7 reads {2}.
    Precision:  exact at the analysed size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.repeat.html
    """
    own, shape = node.operand_shapes[0], node.shape
    lead = len(shape) - len(own)

    def read(dim: int, size: int) -> Place:
        if shape[lead + dim] == size:
            return along(lead + dim)
        return table(lead + dim, _modulo(size), None, f"repeats {size} positions")

    return (Read(0, tuple(read(dim, size) for dim, size in enumerate(own))),)


def _modulo(size: int) -> Callable[[int], tuple[int]]:
    return lambda o: (o % size,)


for _name in ("repeat", "tile"):
    rule(*spellings(_name), name=_name, signature="input, *sizes")(repeat)


def _repeats(params: Params, shapes: Sequence[Shape]) -> Params:
    """`dim` and `repeats`; where the repeats are a tensor of the model, also the `index` they make."""
    repeats, dim = params["repeats"], params["dim"]
    if isinstance(repeats, torch.Tensor) and not repeats.is_meta and repeats.numel() == 1:
        repeats = int(repeats)  # of all
    size = prod(shapes[0]) if dim is None else shapes[0][nonnegative(dim, len(shapes[0]))]
    if isinstance(repeats, torch.Tensor) and not repeats.is_meta:
        index = torch.arange(size).repeat_interleave(repeats.detach().cpu()).tolist()
        return {**params, "repeats": repeats, "index": index}
    return {**params, "repeats": repeats, "index": None}


def _infer_repeats(params: Params, shapes: Sequence[Shape]) -> Shape | None:
    index, repeats = params["index"], params["repeats"]
    if index is None and not isinstance(repeats, int):
        return None
    own = shapes[0] if params["dim"] is not None else (prod(shapes[0]),)
    dim = nonnegative(params["dim"] or 0, len(own))
    count = own[dim] * repeats if index is None else len(index)
    return (*own[:dim], count, *own[dim + 1 :])


@rule(
    *spellings("repeat_interleave"),
    signature="input, repeats, dim=None, *, output_size=None",
    normalize=_repeats,
    infer=_infer_repeats,
)
def repeat_interleave(node: Node) -> Reads:
    """Repeat interleave: every position `repeats` times in a row.

    Reads:      one position.
    Formula:    R(o) = {floor(o / repeats)} along dim; without dim, of the flattened tensor.
    Example:    repeats 3: output 7 reads {2}.
    Precision:  exact for repeats that the model fixes; else everything is read.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.repeat_interleave.html
    """
    own, params = node.operand_shapes[0], node.params
    repeats, dim, index = params["repeats"], params["dim"], params["index"]
    if index is None and not isinstance(repeats, int):
        return data_dependent(node)
    if dim is None:
        return moves(node, _interleaved, by=("repeats",))
    dim = nonnegative(dim, len(own))
    if index is None:
        return along_dim(node, dim, along(dim, Relation.spread(repeats)))
    return along_dim(node, dim, picked(dim, index))


def _interleaved(
    input: torch.Tensor, repeats: torch.Tensor | int, **others: object
) -> torch.Tensor:
    return torch.repeat_interleave(input, repeats)


@rule(
    *(each for each in spellings("diagonal") if each is not torch.linalg.diagonal),
    (torch.linalg.diagonal, "input, *, offset=0, dim1=-2, dim2=-1"),
    name="diagonal",
    signature="input, offset=0, dim1=0, dim2=1",
)
def diagonal(node: Node) -> Reads:
    """Diagonal of two dims, as a new last dim.

    Reads:      the element of the diagonal.
    Formula:    R(.., o) = (o - min(offset, 0), o + max(offset, 0)) along dim1 and dim2.
    Example:    offset 1: output 2 reads (2, 3).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.diagonal.html
    """
    return moves(node, torch.diagonal)
