"""What several families need to bind arguments and to say where a window lands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Shape
from rfgraph.language.reads import Kind, Place, Read, Reads, along, every, table, whole
from rfgraph.language.vocabulary import Params

Fold = Callable[[int, int], int]


def per_dim(value: object, count: int) -> tuple[int, ...]:
    """An argument that may be one integer for all dims, or one for each."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    values = values * count if len(values) == 1 else values
    if len(values) != count:
        raise ValueError(f"expected 1 or {count} values, got {values}")
    return tuple(map(int, values))


def nonnegative(dim: int, rank: int) -> int:
    """A dim counted from the front."""
    if not -max(rank, 1) <= dim < max(rank, 1):  # torch takes dim 0 of what has none
        raise ValueError(f"dim {dim} is out of range for a tensor of {rank} dims")
    return dim % rank if rank else 0


def all_dims(dims: object, rank: int) -> tuple[int, ...]:
    """The dims that a `dim` argument means; None, () and [] mean all."""
    if dims is None or (isinstance(dims, tuple | list) and not dims):
        return tuple(range(rank))
    chosen = dims if isinstance(dims, tuple | list) else (dims,)
    found = tuple(sorted(nonnegative(dim, rank) for dim in chosen))
    return found if rank else ()


def dim_of(params: Params, shapes: Sequence[Shape]) -> Params:
    """Normalize: `dim` counted from the front of the first operand."""
    return {**params, "dim": nonnegative(params["dim"], len(shapes[0]))}


def unchanged(params: Params, shapes: Sequence[Shape]) -> Shape:
    """Infer: the shape of the first operand."""
    return shapes[0]


def written(params: Params, shapes: Sequence[Shape]) -> Shape:
    """Infer: the shape of the tensor that is written, `input`, which may be one of the model."""
    return tuple(params["input"].shape)


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape of what these shapes broadcast to, by torch's rules."""
    sizes: list[int] = []
    for dim in range(-max(map(len, shapes), default=0), 0):
        found = {shape[dim] for shape in shapes if len(shape) >= -dim} - {1}
        if len(found) > 1:
            return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call] # it says why not
        sizes.append(found.pop() if found else 1)
    return tuple(sizes)


@lru_cache(maxsize=512)
def channels(inputs: int, outputs: int, groups: int) -> Place:
    """What an output channel reads of the input channels, `groups` blocks apart."""
    if groups == 1:
        return every("linear")
    each, per_group = inputs // groups, outputs // groups
    block = Positions.progression(0, 1, each)
    return along(1, Relation(per_group, each, (block,) * per_group))


def moved(read: Place, dim: int) -> Place:
    """The same read along another output dim."""
    return read if read.law is None else along(dim, read.law.relation)


def reflect(index: int, size: int) -> int:
    """Where reflect padding reads: the border itself is not repeated."""
    return -index if index < 0 else 2 * (size - 1) - index if index >= size else index


def replicate(index: int, size: int) -> int:
    """Where replicate padding reads."""
    return min(max(index, 0), size - 1)


def circular(index: int, size: int) -> int:
    """Where circular padding reads."""
    return index % size


FOLDS: dict[str, Fold] = {"reflect": reflect, "replicate": replicate, "circular": circular}


def padded(dim: int, relation: Relation, size: int, mode: str) -> Place:
    """`relation` over an operand dim of `size`, padded by `mode`: zeros read nothing, others fold back.

    A position of the padding may fold onto one that is read anyway, and another at another size: each counts.
    """
    fold = FOLDS.get(mode)
    if fold is None:
        return along(dim, relation)
    return table(dim, lambda o: sorted(fold(i, size) for i in relation.at(o)), relation)


def reduced(node: Node, dims: Sequence[int], kind: Kind, keepdim: bool) -> tuple[Place, ...]:
    """One read for a reduction over `dims` of the first operand: whole there, the same position elsewhere."""
    read: list[Place] = []
    position = 0
    for dim in range(len(node.operand_shapes[0])):
        gone = dim in dims
        read.append(every(kind) if gone else along(position))
        position += keepdim or not gone
    return tuple(read)


def along_dim(node: Node, dim: int, read: Place) -> Reads:
    """`read` along `dim` of the first operand; the same position elsewhere."""
    rank = len(node.operand_shapes[0])
    return (Read(0, tuple(read if d == dim else along(d) for d in range(rank))),)


def data_dependent(node: Node) -> Reads:
    """Positions chosen by data: everything they may be chosen from, and what chooses."""
    return tuple(whole(len(s), "data-dependent", i) for i, s in enumerate(node.operand_shapes))
