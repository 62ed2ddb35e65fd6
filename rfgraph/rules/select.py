"""Operators that pick positions: indexing, narrow, select, unbind, split, chunk.

In: their nodes. Out: reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Place, Read, Reads, along, fixed, lookup, table
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import along_dim, data_dependent, nonnegative
from rfgraph.rules.indices import MASKS, is_fancy, is_flag, normalize_index, selected
from rfgraph.rules.moves import moves
from rfgraph.rules.registry import rule, spellings


def stepped(
    dim: int, start: int, step: int = 1, from_end: bool = False, bounded: bool = False
) -> Place:
    """Output `o` reads `start + step * o`; `from_end`: the start was counted from the end.

    `bounded`: see `Place`.
    """
    law = Relation.window(1, step, 1, -start)
    place = (
        table(dim, law, law, "counts from the end at this size") if from_end else along(dim, law)
    )
    return replace(place, bounded=True) if bounded else place


def _is_bounded(entry: slice, size: int) -> bool:
    """True for a slice that takes as many positions at any size, as long as there are these."""
    if entry.start is None or entry.start >= 0:
        return entry.stop is not None and 0 <= entry.stop <= size
    return -size <= entry.start and (entry.stop is None or entry.stop < 0)


def picking(reads: Reads) -> Reads:
    """The reads of an operator that picks positions."""
    return tuple(replace(read, picks=True) for read in reads)


def picked(dim: int, indices: Sequence[int], size: int = 0) -> Place:
    """Output `o` reads `indices[o]`, which the model fixes: a law where they are equally spaced.

    `size`: of the dim that is indexed; the read is bounded where it leaves out some of it.
    """
    gaps = {b - a for a, b in pairwise(indices)}
    law = None
    if len(gaps) == 1:
        (gap,) = gaps
        law = Relation(1, gap, (Positions.of(indices[:1]),))
    place = table(dim, lambda o: (indices[o],), law, "constant index")
    return replace(place, bounded=len(set(indices)) < size)


def one(index: int, size: int) -> Place:
    """A single position; one counted from the end holds at this size only."""
    if not -size <= index < size:
        raise ValueError(f"index {index} is out of range for a size of {size}")
    return fixed(index) if index >= 0 else fixed(index + size, "counts from the end at this size")


def _infer_index(params: Params, shapes: Sequence[Shape]) -> Shape | None:
    """The shape, whatever the values of computed indices; None for a computed mask."""
    if any(isinstance(e, Operand) and e.dtype in MASKS for e in params["index"]):
        return None
    like = torch.empty(params["input"].shape, device="meta")  # a table of the model is no operand
    return tuple(like[tuple(map(_without_values, params["index"]))].shape)


def _without_values(entry: Any) -> Any:
    """An index of the same shape; any integer for an index without dims, whose value torch would ask."""
    if isinstance(entry, Operand | torch.Tensor):
        return torch.zeros(entry.shape, dtype=torch.long, device="meta") if entry.shape else 0
    if isinstance(entry, list | tuple):
        return type(entry)(map(_without_values, entry))
    return entry


@rule(
    *spellings("getitem", "__getitem__"),
    name="getitem",
    signature="input, index",
    normalize=normalize_index,
    infer=_infer_index,
)
def getitem(node: Node) -> Reads:
    """Indexing by integers, slices, None, ellipsis, index tensors and masks.

    Reads:      along a sliced dim, start + step * o; an integer's dim at that integer; indexed dims at
                the constant indices; with an index computed from the input, everything.
    Formula:    R(o) = {start + step * o}; for index tensors i, j of dims 0 and 1: R(o) = (i[o], j[o]).
    Example:    x[:, 2, 1::3]: output (1, 4) reads (1, 2, 13).
    Precision:  exact for constant indices and masks. Conservative for computed ones, by which
                everything may be read.
    Documented: https://docs.pytorch.org/docs/stable/tensor_view.html
    """
    entries, own = node.params["index"], node.operand_shapes[0]
    if any(map(is_flag, entries)):
        return picking(moves(node, _indexed, by=("index",)))
    indices = _index_tensors(entries)
    if indices is None:
        return data_dependent(node)
    start, rank = _where_indexed(entries, indices)
    read: list[Place] = []
    position, taken = 0, iter(indices)
    for entry in entries:
        if position == start:
            position += rank  # the dims of the index tensors stand here
        if entry is None:
            position += 1
        elif isinstance(entry, slice):
            chosen = selected(entry, own[len(read)])
            counted = entry.start is not None and entry.start < 0
            bounded = _is_bounded(entry, own[len(read)])
            read.append(stepped(position, chosen.start, chosen.step, counted, bounded))
            position += 1
        elif is_fancy(entry):
            read.append(looked_up(range(start, start + rank), next(taken), own[len(read)]))
        else:
            read.append(one(int(entry), own[len(read)]))
    return (Read(0, tuple(read), picks=True),)


def _indexed(input: torch.Tensor, index: Any) -> torch.Tensor:
    return input[index]


def _index_tensors(entries: Sequence[Any]) -> list[torch.Tensor] | None:
    """The constant index of every indexed dim, broadcast to each other; None: not all are constant."""
    found: list[torch.Tensor] = []
    for entry in filter(is_fancy, entries):
        parts = entry if isinstance(entry, list | tuple | range) else ()
        if isinstance(entry, Operand) or any(isinstance(part, Operand) for part in parts):
            return None
        index = torch.as_tensor(entry).detach()
        if index.is_meta:
            return None
        found.append(index.cpu())
    return list(torch.broadcast_tensors(*found)) if found else []  # type: ignore[no-untyped-call]


def _where_indexed(entries: Sequence[object], indices: Sequence[torch.Tensor]) -> tuple[int, int]:
    """The first output dim of the index tensors, and how many they have: in front where they are apart."""
    if not indices:
        return -1, 0
    slots = [is_fancy(e) for e in entries if not isinstance(e, int)]  # integers leave no dim
    first, count = slots.index(True), sum(slots)
    return first if all(slots[first : first + count]) else 0, indices[0].ndim


def looked_up(dims: Sequence[int], index: torch.Tensor, size: int) -> Place:
    """The output position over `dims` reads at the constant `index`: a table of the dims it varies on.

    `size`: of the dim that is indexed, from whose end negative ones are counted; see `picked`.
    """
    if not index.numel():
        return picked(dims[0], ())  # no position reads anything
    counted = "counts from the end at this size" if bool((index < 0).any()) else ""
    index = index.remainder(size) if counted else index
    varying = [
        dim for dim in range(index.ndim) if not bool((index == index.narrow(dim, 0, 1)).all())
    ]
    for dim in range(index.ndim):
        if dim not in varying:
            index = index.narrow(dim, 0, 1)
    values = index.reshape([index.shape[dim] for dim in varying])
    if not varying and index.numel():
        return fixed(int(values), counted)
    if len(varying) <= 1:
        return picked(dims[varying[0]] if varying else dims[0], values.flatten().tolist(), size)
    return lookup(
        tuple(dims[dim] for dim in varying), lambda o: (int(values[o]),), "constant index"
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
    first = start % own[dim] if start < 0 else start
    return picking(along_dim(node, dim, stepped(dim, first, 1, start < 0, bounded=True)))


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
    read = _without(dim, len(own), one(int(node.params["index"]), own[dim]))
    return (Read(0, read, picks=True),)


def _without(dim: int, rank: int, read: Place) -> tuple[Place, ...]:
    """`read` at `dim`, which the output lacks; the same position elsewhere."""
    return tuple(read if d == dim else along(d - (d > dim)) for d in range(rank))


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
    return (Read(0, _without(dim, rank, fixed(node.output)), picks=True),)


def split(node: Node) -> Reads:
    """Split, chunk, tensor_split: consecutive pieces of `dim`.

    Reads:      output number i reads the i-th piece.
    Formula:    R(o) = {start_i + o} along dim.
    Example:    10 positions in chunks of 4: position 1 of the third chunk reads {9}.
    Precision:  exact; the pieces' starts are counted at the analysed size, but for split by a size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.split.html
    """
    dim = nonnegative(node.params["dim"], len(node.shape))
    start, fixed_ends = node.params["starts"][node.output], node.params["fixed"]
    is_last = start + node.shape[dim] >= node.operand_shapes[0][dim]
    bounded = fixed_ends and not (is_last and node.params["is_open"])
    place = stepped(dim, start, 1, start > 0 and not fixed_ends, bounded)
    return picking(along_dim(node, dim, place))


def _normalize_pieces(params: Params, shapes: Sequence[Shape]) -> Params:
    """`starts` of the pieces, and whether the model fixes them whatever the size.

    `is_open`: the last one is what is left.
    """
    starts, is_fixed, is_open = _starts(
        params, shapes[0][nonnegative(params["dim"], len(shapes[0]))]
    )
    return {**params, "starts": tuple(starts), "fixed": is_fixed, "is_open": is_open}


def _starts(params: Params, size: int) -> tuple[Sequence[int], bool, bool]:
    """See `_normalize_pieces`."""
    if "chunks" in params:
        if not size:
            return [0] * params["chunks"], False, True
        each = -(-size // params["chunks"])
        return range(0, max(size, 1), max(each, 1)), False, True
    if "indices_or_sections" in params:
        asked = (params[name] for name in ("indices_or_sections", "indices", "sections"))
        sections: Any = next(value for value in asked if value is not None)
        if isinstance(sections, torch.Tensor):
            sections = sections.tolist()
        if isinstance(sections, int):
            each, rest = divmod(size, sections)
            return [i * each + min(i, rest) for i in range(sections)], False, True
        starts = (i if i >= 0 else max(i + size, 0) for i in sections)
        return (0, *starts), min(sections, default=0) >= 0, True
    named = ("split_sizes", "split_size_or_sections", "split_size")
    sizes: int | Sequence[int] = next(params[name] for name in named if name in params)
    if isinstance(sizes, int):
        is_part = not size or size % sizes > 0  # which is longer where there is more
        return range(0, max(size, 1), sizes), True, is_part
    return [sum(sizes[:i]) for i in range(len(sizes))], True, False


for _name, _targets, _signature in (
    ("chunk", spellings("chunk"), "input, chunks, dim=0"),
    (
        "tensor_split",
        spellings("tensor_split"),
        "input, indices_or_sections=None, dim=0, *, indices=None, sections=None",
    ),
    (
        "split",
        [(torch.split, "tensor, split_size_or_sections, dim=0"), "split"],
        "input, split_size, dim=0",
    ),
    ("split_with_sizes", spellings("split_with_sizes"), "input, split_sizes, dim=0"),
    ("unsafe_chunk", spellings("unsafe_chunk"), "input, chunks, dim=0"),
    ("unsafe_split", spellings("unsafe_split"), "input, split_size, dim=0"),
    ("unsafe_split_with_sizes", spellings("unsafe_split_with_sizes"), "input, split_sizes, dim=0"),
):
    rule(*_targets, name=_name, signature=_signature, normalize=_normalize_pieces)(split)
