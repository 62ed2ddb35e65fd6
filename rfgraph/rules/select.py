"""Operators that pick positions: indexing, narrow, select, unbind, split, chunk.

In: their nodes. Out: reads.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch

from rfgraph.graph import Node, Operand
from rfgraph.operators import Params
from rfgraph.positions import Positions
from rfgraph.reads import DimRead, Fixed, Read, Reads, Shape, Table, Whole, along
from rfgraph.relation import Relation
from rfgraph.rules.common import along_dim, nonnegative
from rfgraph.rules.registry import rule, spellings


def stepped(dim: int, start: int, step: int = 1, from_end: bool = False) -> DimRead:
    """Output `o` reads `start + step * o`; `from_end`: the start was counted from the end."""
    law = Relation.window(1, step, 1, -start)
    return (
        Table(dim, law.at, law, "counts from the end at this size") if from_end else along(dim, law)
    )


def picked(dim: int, indices: Sequence[int]) -> DimRead:
    """Output `o` reads `indices[o]`, which the model fixes: a law where they are equally spaced."""
    gaps = {b - a for a, b in pairwise(indices)}
    law = None
    if len(gaps) == 1:
        (gap,) = gaps
        law = Relation(1, gap, (Positions.of(indices[:1]),))
    return Table(dim, lambda o: (indices[o],), law, "constant index")


def one(index: int, size: int) -> Fixed:
    """A single position; one counted from the end holds at this size only."""
    if not -size <= index < size:
        raise ValueError(f"index {index} is out of range for a size of {size}")
    return Fixed(index) if index >= 0 else Fixed(index + size, "counts from the end at this size")


def _normalize_index(params: Params, shapes: Sequence[Shape]) -> Params:
    """`index` as a tuple with one entry per operand dim or new dim: the ellipsis written out."""
    index = params["index"]
    entries = list(index) if isinstance(index, tuple) else [index]
    rank = len(shapes[0])
    used = sum(_dims_used(entry) for entry in entries)
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    fill = [slice(None)] * (rank - used)
    if dots:
        entries[dots[0] : dots[0] + 1] = fill
    else:
        entries += fill
    return {**params, "index": tuple(entries)}


def _dims_used(entry: Any) -> int:
    if entry is None or entry is Ellipsis:
        return 0
    if isinstance(entry, torch.Tensor) and entry.dtype is torch.bool:
        return entry.ndim
    return 1


def _is_fancy(entry: Any) -> bool:
    return isinstance(entry, torch.Tensor | Operand | list | tuple | range)


@rule(
    "__getitem__",
    operator.getitem,
    name="getitem",
    signature="input, index",
    normalize=_normalize_index,
)
def getitem(node: Node) -> Reads:
    """Indexing by integers, slices, None, ellipsis and constant index tensors.

    Reads:      along a sliced dim, start + step * o; an integer's dim at that integer; an indexed dim
                at the constant index; with an index computed from the input, the whole dim.
    Formula:    R(o) = {start + step * o}.
    Example:    x[:, 2, 1::3]: output (1, 4) reads (1, 2, 13).
    Precision:  exact for one index tensor of one dim; several, or boolean masks, are read whole.
    Documented: https://docs.pytorch.org/docs/stable/tensor_view.html
    """
    index, own = node.params["index"], node.operand_shapes[0]
    fancy = [entry for entry in index if _is_fancy(entry)]
    simple = len(fancy) == 1 and _flat_index(fancy[0]) is not None
    if fancy and not simple:
        return _gathered(node)
    read: list[DimRead] = []
    position = 0
    for entry in index:
        if entry is None:
            position += 1
            continue
        size = own[len(read)]
        if isinstance(entry, slice):
            start, _, step = entry.indices(size)
            counted = entry.start is not None and entry.start < 0
            read.append(stepped(position, start, step, counted))
            position += 1
        elif _is_fancy(entry):
            indices = [i % size for i in _flat_index(entry) or []]
            read.append(picked(position, indices))
            position += 1
        else:
            read.append(one(int(entry), size))
    return (Read(0, tuple(read)),)


def _flat_index(entry: Any) -> list[int] | None:
    """A constant index of one dim as integers."""
    if isinstance(entry, torch.Tensor):
        plain = entry.ndim == 1 and entry.dtype is not torch.bool and not entry.is_meta
        return [int(i) for i in entry.tolist()] if plain else None
    if isinstance(entry, list | tuple | range) and all(isinstance(i, int) for i in entry):
        return list(entry)
    return None


def _gathered(node: Node) -> Reads:
    """Several index tensors, masks, or computed ones: everything they may pick from."""
    return tuple(
        Read(i, (Whole("data-dependent"),) * len(shape))
        for i, shape in enumerate(node.operand_shapes)
    )


@rule(*spellings("narrow"), signature="input, dim, start, length")
def narrow(node: Node) -> Reads:
    """Narrow: a slice of one dim.

    Reads:      the slice.
    Formula:    R(o) = {start + o} along dim.
    Example:    narrow(1, 3, 4): output (0, 2) reads (0, 5).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.narrow.html
    """
    own, start = node.operand_shapes[0], int(node.params["start"])
    dim = nonnegative(node.params["dim"], len(own))
    return along_dim(
        node, dim, stepped(dim, start % own[dim] if start < 0 else start, 1, start < 0)
    )


@rule(*spellings("select"), signature="input, dim, index")
def select(node: Node) -> Reads:
    """Select: one position of one dim.

    Reads:      that position.
    Formula:    R(o) = {index} along dim.
    Example:    select(1, 3): output (0, 2) reads (0, 3, 2).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.select.html
    """
    own = node.operand_shapes[0]
    dim = nonnegative(node.params["dim"], len(own))
    return (Read(0, _without(dim, len(own), one(node.params["index"], own[dim]))),)


def _without(dim: int, rank: int, read: DimRead) -> tuple[DimRead, ...]:
    """`read` at `dim`, which the output lacks; the same position elsewhere."""
    return tuple(read if d == dim else along(d - (d > dim)) for d in range(rank))


@rule(*spellings("index_select"), signature="input, dim, index")
def index_select(node: Node) -> Reads:
    """Index select.

    Reads:      along `dim`, the indexed positions; all of it where the index is computed.
    Formula:    R(o) = {index[o]} along dim.
    Example:    index (4, 0): output 1 reads {0}.
    Precision:  exact for a constant index.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.index_select.html
    """
    rank = len(node.shape)
    dim = nonnegative(node.params["dim"], rank)
    indices = _flat_index(node.params["index"])
    read = Whole("data-dependent") if indices is None else picked(dim, indices)
    reads = along_dim(node, dim, read)
    rest = enumerate(node.operand_shapes[1:], start=1)
    return (*reads, *(Read(i, (along(dim),) * len(shape)) for i, shape in rest))


@rule(*spellings("unbind"), signature="input, dim=0")
def unbind(node: Node) -> Reads:
    """Unbind: one output for each position of `dim`.

    Reads:      output number i reads position i of dim.
    Formula:    R(o) = {i} along dim.
    Example:    the second output of unbind(1) reads (0, 1, 2) at (0, 2).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.unbind.html
    """
    rank = len(node.operand_shapes[0])
    dim = nonnegative(node.params["dim"], rank)
    return (Read(0, _without(dim, rank, Fixed(node.output))),)


def split(node: Node) -> Reads:
    """Split, chunk, tensor_split: consecutive pieces of `dim`.

    Reads:      output number i reads the i-th piece.
    Formula:    R(o) = {start_i + o} along dim.
    Example:    10 positions in chunks of 4: position 1 of the third chunk reads {9}.
    Precision:  exact; the pieces' starts are counted at the analysed size, but for split by a size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.split.html
    """
    dim = nonnegative(node.params["dim"], len(node.shape))
    starts = node.params["starts"]
    start = starts[node.output]
    return along_dim(node, dim, stepped(dim, start, 1, start > 0 and not node.params["fixed"]))


def _normalize_pieces(params: Params, shapes: Sequence[Shape]) -> Params:
    """`starts` of the pieces, and whether the model fixes them whatever the size."""
    size = shapes[0][nonnegative(params["dim"], len(shapes[0]))]
    if "chunks" in params:
        each = -(-size // params["chunks"])
        return {**params, "starts": tuple(range(0, max(size, 1), max(each, 1))), "fixed": False}
    if "indices_or_sections" in params:
        sections = params["indices_or_sections"]
        if isinstance(sections, int):
            each, rest = divmod(size, sections)
            starts = [i * each + min(i, rest) for i in range(sections)]
            return {**params, "starts": tuple(starts), "fixed": False}
        return {**params, "starts": (0, *(i % size for i in sections)), "fixed": min(sections) >= 0}
    asked: Any = params.get("split_size", params.get("split_size_or_sections"))
    if isinstance(asked, int):
        return {**params, "starts": tuple(range(0, max(size, 1), asked)), "fixed": True}
    return {**params, "starts": tuple(sum(asked[:i]) for i in range(len(asked))), "fixed": True}


for _name, _targets, _signature in (
    ("chunk", spellings("chunk"), "input, chunks, dim=0"),
    ("tensor_split", spellings("tensor_split"), "input, indices_or_sections, dim=0"),
    (
        "split",
        [(torch.split, "tensor, split_size_or_sections, dim=0"), "split"],
        "input, split_size, dim=0",
    ),
):
    rule(*_targets, name=_name, signature=_signature, normalize=_normalize_pieces)(split)
