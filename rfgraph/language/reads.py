"""What one output position of a node reads of each operand, dim by dim.

In: what a rule knows of its operator. Out: `Read`s, which any domain can interpret. Rules write them and
domains compose them; neither knows the other.

There is one kind of read, `Place`; `along`, `fixed`, `every`, `table`, `lookup` and `regrouped` are ways to
make one. A read is a product over the operand's dims; what is not a product (a statistic beside the element
itself) is the union of several reads of the same operand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from math import prod
from operator import attrgetter
from typing import Literal, NamedTuple, TypeAlias

from rfgraph.algebra.digits import Digit, Digits, plain
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Shape

Kind: TypeAlias = Literal[
    "pooling",
    "linear",
    "attention",
    "softmax",
    "statistics",
    "spectral",
    "recurrent",
    "cumulative",
    "data-dependent",
    "measured",
    "unknown",
]
"""Why a whole axis is read; `docs/theory.md` has the kinds."""

At: TypeAlias = Callable[[tuple[int, ...]], Iterable[int]]
"""Output position, one index for each dim that matters -> the positions that it reads."""

_IDENTITY = Relation.identity()
_DIMS = attrgetter("dims")


@dataclass(frozen=True, slots=True)
class Law:
    """What is read along one operand dim at any size, far from borders.

    `relation(z)`, where `z` is the sum of `digits` of the output position; where there is an `extent`,
    the one position `z // weight % extent`: a place of the number `z`, as in a reshape. `past`: and all that
    the outputs before it read.
    """

    digits: Digits
    relation: Relation = _IDENTITY
    weight: int = 1
    extent: int | None = None
    past: bool = False

    def at(self, index: Sequence[int], dims: Sequence[int]) -> Iterable[int]:
        """The positions that the output position reads which has `index` along `dims`."""
        position = dict(zip(dims, index, strict=True))
        z = sum(digit.at(position[digit.dim]) for digit in self.digits)
        if self.extent is not None:
            return (z // self.weight % self.extent,)
        reads = self.relation.at(z)
        return range(max(reads, default=-1) + 1) if self.past else reads


@dataclass(frozen=True, slots=True)
class ByLaw:
    """`Place.at` of what a law says at borders, too, which can be asked of many positions at once.

    `clamped`: what lies outside of so many positions is the nearest of them; 0: it is padding.
    """

    law: Law
    dims: tuple[int, ...]
    clamped: int = 0

    def __call__(self, index: tuple[int, ...]) -> Iterable[int]:
        reads = self.law.at(index, self.dims)
        last = self.clamped - 1
        return sorted({min(max(i, 0), last) for i in reads}) if self.clamped else reads


@dataclass(frozen=True, slots=True)
class Onward:
    """`Place.at` of a position and all behind it, of a dim of `size`: at any size, a whole read."""

    size: int

    def __call__(self, index: tuple[int, ...]) -> Iterable[int]:
        return range(index[0], self.size)


@dataclass(frozen=True, slots=True)
class Place:
    """What is read along one operand dim. Positions outside of the operand are padding.

    Attributes:
        dims: of the output, those that matter, in the order of `at`'s argument.
        at: exact at this size, borders included. None: what `law` says holds at borders, too; where there
            is no law either, every position is read (`is_whole`).
        law: at any size; None where there is none.
        kind: of a whole read.
        reason: why the law holds at this size only, or why there is none.
        mark: what it rests on where that is no rule: it reaches every row that builds on it.
        total: there is no output position that reads nothing.
        bounded: as many positions at any size, as of a slice with fixed ends.
        settled: what `at` says of a position holds at any size, as where indices count from the beginning.
        proposed: what `at` is a law of at this size, and at any where a second size has the same.
    """

    dims: tuple[int, ...] = ()
    at: At | None = None
    law: Law | None = None
    kind: Kind | Literal[""] = ""
    reason: str = ""
    mark: str = ""
    total: bool = False
    bounded: bool = False
    settled: bool = False
    proposed: Law | None = None

    @property
    def is_whole(self) -> bool:
        """Every position is read, whatever the output position, or from it on."""
        return self.law is None and (self.at is None or self.is_onward)

    @property
    def is_onward(self) -> bool:
        """A position is read, and all behind it."""
        return isinstance(self.at, Onward)

    @property
    def exact(self) -> ByLaw | None:
        """What is read at this size, borders included, where a law says that."""
        if isinstance(self.at, ByLaw):
            return self.at
        is_law = self.at is None and self.law is not None and not self.law.past
        return ByLaw(self.law, self.dims) if is_law and self.law is not None else None

    @property
    def is_past(self) -> bool:
        """All is read up to a position that moves with the output."""
        return self.law is not None and self.law.past

    def positions(self, index: tuple[int, ...]) -> Iterable[int]:
        """What the output position reads that has `index` along `dims`; not of a whole read."""
        if self.at is not None:
            return self.at(index)
        assert self.law is not None
        return self.law.at(index, self.dims)


class Regroup(NamedTuple):
    """Operand dims `operand_dims` and output dims `dims` hold the same elements in the same order.

    A reshape: splitting, merging or both. `operand_shape` and `shape` are the sizes of those dims. In a
    `Read`, it stands at every operand dim of the group. `grows`: the output dim that is longer where the
    operand is, where the model says so; else the first of them, as in windows of a fixed size.
    """

    operand_dims: tuple[int, ...]
    operand_shape: Shape
    dims: tuple[int, ...]
    shape: Shape
    grows: int | None = None

    def place(self, operand_dim: int) -> Place:
        """What is read along one operand dim of the group."""
        number = self.operand_dims.index(operand_dim)
        weights = (prod(self.shape[i + 1 :]) for i in range(len(self.dims)))
        digits = tuple(map(Digit, self.dims, weights))
        parts = () if self.grows is None else self.dims[: self.dims.index(self.grows)]
        digits = tuple(d._replace(bounded=d.dim in parts, sized=d.dim in parts) for d in digits)
        digits = plain(self.dims[0]) if len(digits) == 1 else digits
        weight = prod(self.operand_shape[number + 1 :])
        return Place(self.dims, law=Law(digits, _IDENTITY, weight, self.operand_shape[number]))


@dataclass(frozen=True, slots=True)
class Read:
    """What one output position reads of operand number `operand`: one `Place` for each of its dims.

    An operand without dims is read everywhere, or, by one place, as if it had one dim of one position.

    `picks`: positions are picked of a dim, of which others may read something else.
    """

    operand: int
    dims: tuple[Place, ...]
    picks: bool = False

    def __post_init__(self) -> None:
        entries: tuple[Place | Regroup, ...] = self.dims
        if Regroup in map(type, entries):
            places = [d.place(i) if isinstance(d, Regroup) else d for i, d in enumerate(entries)]
            object.__setattr__(self, "dims", tuple(places))

    def sizes(self, operand_shapes: Sequence[Shape]) -> Shape:
        """The sizes of the operand's dims, one for each place."""
        return operand_shapes[self.operand] or (1,) * len(self.dims)


Reads: TypeAlias = Sequence[Read]

# --- one operand dim ----------------------------------------------------------------------------


@lru_cache(maxsize=256)
def along(dim: int, relation: Relation = _IDENTITY) -> Place:
    """Output position `o` along `dim` reads `relation(o)`; without a relation, the same position.

    One object for equal arguments.
    """
    return unmoved(dim) if relation is _IDENTITY else Place((dim,), law=Law(plain(dim), relation))


@lru_cache(maxsize=64)
def unmoved(dim: int) -> Place:
    """`along(dim)`: the same position."""
    return Place((dim,), law=Law(plain(dim)))


@lru_cache(maxsize=256)
def fixed(index: int, reason: str = "") -> Place:
    """One position is read, whatever the output position. `reason`: why it holds at this size only."""
    return Place(law=Law((), Relation.constant([index])), reason=reason)


@lru_cache(maxsize=64)
def every(kind: Kind) -> Place:
    """Every position is read, whatever the output position: a whole read."""
    return Place(kind=kind)


@lru_cache(maxsize=64)
def up_to(dim: int, kind: Kind, relation: Relation = _IDENTITY) -> Place:
    """A past read, at any size: output `o` along `dim` reads `relation(o)` and all positions before."""
    law = Law(plain(dim), relation, past=True)
    return Place((dim,), lambda index: range(relation.at(index[0])[-1] + 1), law, kind)


def from_here(dim: int, size: int, kind: Kind) -> Place:
    """Output `o` along `dim` reads `o` of `size` positions and all behind it, which is whole at any size."""
    return Place((dim,), Onward(size), kind=kind)


def opened(place: Place) -> Place:
    """A bounded read as one of which more positions may be read at another size."""
    if place.at is None and place.law is not None:
        return along(place.dims[0], place.law.relation)
    return replace(place, bounded=False)


def table(
    dim: int,
    at: Callable[[int], Iterable[int]] | Relation,
    relation: Relation | None = None,
    reason: str = "",
    mark: str = "",
    clamped: int = 0,
) -> Place:
    """Output position `o` along `dim` reads `at(o)`, exact at this size, borders included.

    `at` may be a relation: all that it says, or, of an operand of so many positions as are `clamped`, the
    nearest that there is.

    `relation` is the law far from the borders, None where there is none; `reason` is empty where it holds
    at any size. `mark`: see `Place`.
    """
    law = None if relation is None else Law(plain(dim), relation)
    if isinstance(at, Relation):
        return Place((dim,), ByLaw(Law(plain(dim), at), (dim,), clamped), law, "", reason, mark)
    return Place((dim,), lambda index: at(index[0]), law, "", reason, mark)


def lookup(
    dims: tuple[int, ...],
    at: At,
    reason: str,
    law: Place | None = None,
    total: bool = False,
) -> Place:
    """The output position over several dims, `o`, reads `at(o)`, exact at this size, borders included.

    `at` takes a tuple with one index for each of `dims`, in order. Where several dims of one operand look up
    along the same output dims, the position they read is one.

    `law`, made by `along`, is what is read along one of `dims` by all positions along the others together
    (channels that are folded into space, tensors that are stacked): the closed form, where there is one; it
    holds at any size.
    """
    if law is None:
        return Place(dims, at, None, "", reason, "", total)
    return Place(dims, at, law.law, "", law.reason, "", total)


def regrouped(
    operand_dims: tuple[int, ...],
    operand_shape: Shape,
    dims: tuple[int, ...],
    shape: Shape,
    grows: int | None = None,
) -> tuple[Place, ...]:
    """A reshape of `operand_dims` into the output's `dims`: one place for each operand dim; see `Regroup`."""
    group = Regroup(operand_dims, operand_shape, dims, shape, grows)
    return tuple(map(group.place, operand_dims))


Along, Fixed, Whole, Table, Lookup = along, fixed, every, table, lookup
"""The same functions, by the names that users' rules have."""

# --- all dims of an operand ---------------------------------------------------------------------


@lru_cache(maxsize=64)
def in_place(rank: int) -> tuple[Place, ...]:
    """The same position along each of `rank` dims. One object for equal ranks."""
    return tuple(map(unmoved, range(rank)))


@lru_cache(maxsize=64)
def same(rank: int, operand: int = 0) -> Read:
    """Each output position reads the same position: a pointwise operator without broadcasting."""
    return Read(operand, in_place(rank))


def broadcast(operand_shape: Shape, shape: Shape, operand: int = 0) -> Read:
    """A pointwise operand of `operand_shape`, broadcast to `shape` by torch's rules."""
    if operand_shape == shape:
        return same(len(shape), operand)
    lead = len(shape) - len(operand_shape)
    dims = (
        fixed(0) if size == 1 and shape[lead + dim] != 1 else along(lead + dim)
        for dim, size in enumerate(operand_shape)
    )
    return Read(operand, tuple(dims))


def where(
    read: Read, dims: Sequence[int], holds: Callable[[tuple[int, ...]], bool], reason: str
) -> Read:
    """`read`, at the positions along some output dims at which a condition holds; elsewhere nothing.

    `holds` takes a position over `dims`. It is exact at this size, for this `reason`.
    """
    places = read.dims or (fixed(0),)
    number = next((n for n, p in enumerate(places) if p.dims and set(p.dims) <= set(dims)), 0)
    place = places[number]
    over = tuple(sorted({*place.dims, *dims}))
    own, asked = ([over.index(dim) for dim in each] for each in (place.dims, dims))

    def at(index: tuple[int, ...]) -> Iterable[int]:
        if not holds(tuple([index[n] for n in asked])):
            return ()
        return place.positions(tuple([index[n] for n in own]))

    is_law = bool(place.dims) and set(place.dims).isdisjoint(dims)  # all along the others together
    only = Place(over, at, place.law if is_law else None, "", reason)
    return replace(read, dims=(*places[:number], only, *places[number + 1 :]))


def mixed(rank: int, dims: Iterable[int], kind: Kind, operand: int = 0) -> Read:
    """Each output position reads the same position, but the whole of `dims`."""
    chosen = frozenset(dims)
    return Read(operand, tuple(every(kind) if d in chosen else along(d) for d in range(rank)))


def whole(rank: int, kind: Kind, operand: int = 0) -> Read:
    """Every output position reads all of the operand."""
    return Read(operand, (every(kind),) * rank)


def check(reads: Reads, operand_shapes: Sequence[Shape], rank: int) -> str | None:
    """What is malformed about a rule's reads, or None: one `Place` a dim, every dim in range."""
    for read in reads:
        if not 0 <= read.operand < len(operand_shapes):
            return f"reads operand {read.operand} of {len(operand_shapes)}"
        expected = len(operand_shapes[read.operand])
        if len(read.dims) not in (expected, expected or 1):
            return f"says {len(read.dims)} dims of operand {read.operand}, which has {expected}"
        dim = max(chain.from_iterable(map(_DIMS, read.dims)), default=-1)
        if dim >= rank:
            return f"reads along output dim {dim} of an output with {rank} dims"
    return None
