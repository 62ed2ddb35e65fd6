"""What one output position of a node reads of each operand, dim by dim.

In: what a rule knows of its operator. Out: `Read`s, which any domain can interpret.

A read is a product over the operand's dims; what is not a product (a statistic beside the element
itself) is the union of several reads of the same operand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from rfgraph.relation import Relation

Kind: TypeAlias = Literal[
    "pooling",
    "linear",
    "attention",
    "softmax",
    "statistics",
    "spectral",
    "recurrent",
    "data-dependent",
    "measured",
    "unknown",
]
"""Why a whole axis is read; `docs/theory.md` has the kinds."""

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Along:
    """Output position `o` along `dim` reads `relation(o)`; positions outside the operand are padding."""

    dim: int
    relation: Relation


@dataclass(frozen=True, slots=True)
class Whole:
    """Every position is read, whatever the output position."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class Fixed:
    """One position is read, whatever the output position. `reason`: why it holds at this size only."""

    index: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Output position `o` along `dim` reads `at(o)`, exact at this size, borders included.

    `relation` is the law far from the borders, None where there is none. `reason` says why the law
    holds at this size only; it is empty where the law holds at any size. `mark` says what it rests on,
    where that is no rule: it reaches every row that builds on it.
    """

    dim: int
    at: Callable[[int], Iterable[int]]
    relation: Relation | None
    reason: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The output position over several dims, `o`, reads `at(o)`, exact at this size, borders included.

    A table of more than one dim: `at` takes a tuple with one index for each of `dims`, in order. Where
    several dims of one operand look up along the same output dims, the position they read is one.

    `law` is what is read along one of `dims` by all positions along the others together (channels that
    are folded into space, tensors that are stacked): the closed form, where there is one. `total`:
    there is no position that reads nothing.
    """

    dims: tuple[int, ...]
    at: Callable[[tuple[int, ...]], Iterable[int]]
    reason: str
    law: Along | None = None
    total: bool = False


@dataclass(frozen=True, slots=True)
class Regroup:
    """Operand dims `operand_dims` and output dims `dims` hold the same elements in the same order.

    A reshape: splitting, merging or both. `operand_shape` and `shape` are the sizes of those dims.
    Every operand dim of the group carries the same `Regroup`.
    """

    operand_dims: tuple[int, ...]
    operand_shape: Shape
    dims: tuple[int, ...]
    shape: Shape


DimRead: TypeAlias = Along | Whole | Fixed | Table | Lookup | Regroup


@dataclass(frozen=True, slots=True)
class Read:
    """What one output position reads of operand number `operand`: one `DimRead` for each of its dims."""

    operand: int
    dims: tuple[DimRead, ...]


Reads: TypeAlias = Sequence[Read]

_IDENTITY = Relation.identity()


@lru_cache(maxsize=256)
def along(dim: int, relation: Relation = _IDENTITY) -> Along:
    """`Along(dim, relation)`, one object for equal arguments; without a relation, the same position."""
    return Along(dim, relation)


@lru_cache(maxsize=64)
def same(rank: int, operand: int = 0) -> Read:
    """Each output position reads the same position: a pointwise operator without broadcasting."""
    return Read(operand, tuple(along(dim) for dim in range(rank)))


def broadcast(operand_shape: Shape, shape: Shape, operand: int = 0) -> Read:
    """A pointwise operand of `operand_shape`, broadcast to `shape` by torch's rules."""
    if operand_shape == shape:
        return same(len(shape), operand)
    lead = len(shape) - len(operand_shape)
    dims = (
        Fixed(0) if size == 1 and shape[lead + dim] != 1 else along(lead + dim)
        for dim, size in enumerate(operand_shape)
    )
    return Read(operand, tuple(dims))


def mixed(rank: int, dims: Iterable[int], kind: Kind, operand: int = 0) -> Read:
    """Each output position reads the same position, but the whole of `dims`."""
    whole = frozenset(dims)
    return Read(operand, tuple(Whole(kind) if d in whole else along(d) for d in range(rank)))


def whole(rank: int, kind: Kind, operand: int = 0) -> Read:
    """Every output position reads all of the operand."""
    return Read(operand, (Whole(kind),) * rank)


def check(reads: Reads, operand_shapes: Sequence[Shape], rank: int) -> str | None:
    """What is malformed about a rule's reads, or None: one `DimRead` a dim, every dim in range."""
    for read in reads:
        if not 0 <= read.operand < len(operand_shapes):
            return f"reads operand {read.operand} of {len(operand_shapes)}"
        expected = len(operand_shapes[read.operand])
        if len(read.dims) != expected:
            return f"says {len(read.dims)} dims of operand {read.operand}, which has {expected}"
        if _highest(read) >= rank:
            return f"reads along output dim {_highest(read)} of an output with {rank} dims"
    return None


def _highest(read: Read) -> int:
    """The highest output dim that a read goes along; -1 where it goes along none."""
    highest = -1
    for dim in read.dims:
        if isinstance(dim, Along | Table):
            highest = max(highest, dim.dim)
        elif isinstance(dim, Regroup | Lookup):
            highest = max(highest, *dim.dims, -1)
    return highest
