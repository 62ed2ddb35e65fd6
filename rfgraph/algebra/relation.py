"""`Relation`: which input positions each output position reads along one axis, periodically.

In: the geometry of one operator along one axis. Out: compositions, joins, converses, and the views (size,
stride, offset, ...) of `docs/theory.md`. A relation is the only state that the analysis carries;
every number of a report is a view of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property, lru_cache
from math import gcd, lcm
from typing import Any
from weakref import WeakValueDictionary

from rfgraph.algebra.positions import EMPTY, Positions
from rfgraph.errors import RateMismatchError

_MEMO = 4096  # compositions and joins remembered: enough for the deepest model in use, bounded in memory
_interned: WeakValueDictionary[tuple[int, int, tuple[Positions, ...]], Relation] = (
    WeakValueDictionary()
)


class Relation:
    """A map `R` from an output position to a finite set of input positions with `R(o + Q) = R(o) + P`.

    `Q` is the `period` (outputs, at least 1), `P` the `advance` (inputs; negative for a flip, 0 for
    a set that does not move) and `sets` are `R(0) .. R(Q - 1)`. Relations are immutable, reduced to
    their smallest period, and interned: two equal relations are one object, so `==` is `is`.

    The algebra has these laws (tested): composition is associative, distributes over `join`, and
    `Relation.identity()` is neutral; `join` is associative, commutative and idempotent.

    Raises:
        ValueError: the period is below 1, or is not the number of sets.
    """

    period: int
    advance: int
    sets: tuple[Positions, ...]

    def __new__(cls, period: int, advance: int, sets: Iterable[Positions]) -> Relation:
        phases = tuple(sets)
        if period < 1 or period != len(phases):
            raise ValueError(f"a relation of period {period} needs as many sets, got {len(phases)}")
        key = _reduced(period, advance, phases)
        found = _interned.get(key)
        if found is None:
            found = super().__new__(cls)
            own = vars(found)
            own["period"], own["advance"], own["sets"] = key
            _interned[key] = found
        return found

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Relation is immutable: cannot set {name!r}")

    def __reduce__(self) -> tuple[object, ...]:
        return Relation, (self.period, self.advance, self.sets)

    def __repr__(self) -> str:
        shown = ", ".join(_show(phase) for phase in self.sets[:4])
        more = ", ..." if self.period > 4 else ""
        return f"Relation(period={self.period}, advance={self.advance}, reads=[{shown}{more}])"

    # --- construction ---------------------------------------------------------------------------

    @classmethod
    def identity(cls) -> Relation:
        """`R(o) = {o}`: any pointwise operator."""
        return _IDENTITY

    @classmethod
    def window(
        cls, kernel: int, stride: int = 1, dilation: int = 1, left_padding: int = 0
    ) -> Relation:
        """`R(o) = {stride * o - left_padding + dilation * t : 0 <= t < kernel}`: convolution, pooling.

        Raises:
            ValueError: kernel, stride or dilation is below 1.
        """
        if kernel < 1 or stride < 1 or dilation < 1:
            raise ValueError(
                "a window needs kernel, stride and dilation of at least 1, "
                f"got {kernel}, {stride} and {dilation}"
            )
        return _window(kernel, stride, dilation, left_padding)

    @classmethod
    def constant(cls, positions: Iterable[int]) -> Relation:
        """`R(o) = positions` for every `o`: a selection, which does not move with the output."""
        return cls(1, 0, (Positions.of(positions),))

    @classmethod
    def nothing(cls) -> Relation:
        """`R(o)` is empty for every `o`."""
        return _NOTHING

    @classmethod
    def spread(cls, factor: int) -> Relation:
        """`R(o) = {floor(o / factor)}`: nearest upsampling, pixel shuffle, repeat_interleave."""
        return cls(factor, 1, (Positions.of([0]),) * factor)

    # --- algebra --------------------------------------------------------------------------------

    def compose(self, inner: Relation) -> Relation:
        """`self` after `inner`: the union of `inner(i)` over the `i` that `self` reads."""
        if inner is _IDENTITY:
            return self
        if self is _IDENTITY:
            return inner
        return _compose(self, inner)

    def turns_after(self, inner: Relation) -> int:
        """How many periods of `self` make one of `self.compose(inner)`, before it is reduced."""
        return inner.period // gcd(inner.period, self.advance)

    def join(self, other: Relation) -> Relation:
        """Whatever either reads: two branches that meet.

        Raises:
            RateMismatchError: the effective strides differ, so that no periodic relation is the union.
        """
        if self is other or other is _NOTHING:
            return self
        return other if self is _NOTHING else _join(self, other)

    def converse(self) -> Relation:
        """The projective field: which outputs read each input. `converse` of it gives `self` back.

        Raises:
            ValueError: the relation does not move (`advance == 0`), so an input has endlessly many readers.
        """
        if self is _NOTHING:
            return self
        if not self.advance:
            raise ValueError(
                "a relation with advance 0 has no converse: its positions are read by every output"
            )
        return _converse(self)

    def shift(self, distance: int) -> Relation:
        """`R(o) + distance`."""
        return Relation(self.period, self.advance, (s.shift(distance) for s in self.sets))

    def joinable(self, other: Relation) -> bool:
        """True where `join` has a closed form: equal effective strides, or one reads nothing."""
        mine, theirs = self.advance * other.period, other.advance * self.period
        return mine == theirs or self is _NOTHING or other is _NOTHING

    def positions(self, output: int) -> Positions:
        """`R(output)` as a set."""
        turns, phase = divmod(output, self.period)
        return self.sets[phase].shift(turns * self.advance)

    def image(self, outputs: Positions) -> Positions:
        """What all of some outputs read together."""
        return _image(outputs, self)

    def at(self, output: int) -> tuple[int, ...]:
        """`R(output)` as sorted integers."""
        return tuple(self.positions(output).members())

    # --- views ----------------------------------------------------------------------------------
    # Where the phases differ, `size`, `holes` and `dilation` are the largest over the phases,
    # `density` is the smallest: a stated figure never flatters.

    @cached_property
    def size(self) -> int:
        """`hi - lo + 1` of what one output reads."""
        return max(phase.span for phase in self.sets)

    @cached_property
    def size_range(self) -> tuple[int, int]:
        """The least and the largest size over the phases."""
        return min(phase.span for phase in self.sets), self.size

    @property
    def stride(self) -> Fraction:
        """Effective stride: input positions per output position."""
        return Fraction(self.advance, self.period)

    @property
    def offset(self) -> int:
        """The least position that output 0 reads; 0 where it reads nothing."""
        return self.sets[0].lo

    @cached_property
    def dilation(self) -> int:
        """The greatest common divisor of the gaps between the positions one output reads."""
        return max(phase.step for phase in self.sets)

    @cached_property
    def holes(self) -> int:
        """Positions inside the hull that one output does not read."""
        return max(phase.span - phase.cardinality for phase in self.sets)

    @cached_property
    def density(self) -> float:
        """Positions read / size."""
        return min((p.cardinality / p.span for p in self.sets if p.length), default=1.0)

    @property
    def phases(self) -> tuple[tuple[int, ...], ...]:
        """The positions that outputs `0 .. period - 1` read."""
        return tuple(tuple(phase.members()) for phase in self.sets)

    @cached_property
    def reach(self) -> tuple[int, int]:
        """How far left and right of `floor(stride * o)` any output `o` reads."""
        ends = self._ends()
        here = [self.advance * o // self.period for o, _, _ in ends]
        left = (at - lo for at, (_, lo, _) in zip(here, ends, strict=True))
        right = (hi - at for at, (_, _, hi) in zip(here, ends, strict=True))
        return max(left, default=0), max(right, default=0)

    @cached_property
    def lookahead(self) -> int | None:
        """How far beyond the end of its own hop any output reads, never below 0; None where none moves."""
        if not self.advance:
            return None
        ahead = (hi - end_of_hop(self.advance, self.period, o) for o, _, hi in self._ends())
        return max((0, *map(int, ahead)))

    @cached_property
    def halo(self) -> tuple[int, int]:
        """How far left and right of itself a tile aligned to the period reads."""
        ends = self._ends()
        left = max((-lo for _, lo, _ in ends), default=0)
        return left, max((hi - (self.advance - 1) for _, _, hi in ends), default=0)

    def center(self, output: int) -> Fraction | None:
        """`(lo + hi) / 2` of what `output` reads; None where it reads nothing."""
        read = self.positions(output)
        return Fraction(read.lo + read.hi, 2) if read.length else None

    def _ends(self) -> list[tuple[int, int, int]]:
        """(phase, lo, hi) of every phase that reads anything."""
        return [(o, phase.lo, phase.hi) for o, phase in enumerate(self.sets) if phase.length]


def end_of_hop(advance: int, period: int, output: Any) -> Any:
    """The last position of an output's hop, or of those of an array of outputs.

    It goes from `advance / period * output` up to where that of the next begins; backwards, it begins there.
    """
    if advance < 0:
        return advance * output // period
    return -(-advance * (output + 1) // period) - 1


def _reduced(
    period: int, advance: int, sets: tuple[Positions, ...]
) -> tuple[int, int, tuple[Positions, ...]]:
    """The smallest period that says the same."""
    if period == 1 and sets[0].length:
        return 1, advance, sets
    if not any(phase.length for phase in sets):
        return 1, 0, (EMPTY,)
    for smaller in range(1, period):
        moved, rest = divmod(advance * smaller, period)
        if rest or period % smaller:
            continue
        if all(sets[o] == sets[o - smaller].shift(moved) for o in range(smaller, period)):
            return smaller, moved, sets[:smaller]
    return period, advance, sets


@lru_cache(_MEMO)
def _window(kernel: int, stride: int, dilation: int, left_padding: int) -> Relation:
    return Relation(1, stride, (Positions.progression(-left_padding, dilation, kernel),))


@lru_cache(_MEMO)
def _compose(outer: Relation, inner: Relation) -> Relation:
    turns = outer.turns_after(inner)
    period = outer.period * turns
    advance = outer.advance * turns // inner.period * inner.advance
    sets = (_image(outer.positions(o), inner) for o in range(period))
    return Relation(period, advance, sets)


def _image(read: Positions, inner: Relation) -> Positions:
    """The union of `inner(i)` over the `i` of `read`, one residue class of `i` at a time."""
    if read.length == 1:
        return inner.positions(read.base)
    phases: Iterable[int] = range(inner.period)
    if read.length < inner.period:  # few of a long period's residue classes have a member
        phases = sorted({i % inner.period for i in read.members()})
    total = EMPTY
    for phase in phases:
        turns = read.residue(phase, inner.period)
        total = total.union(turns.scale(inner.advance).plus(inner.sets[phase]))
    return total


@lru_cache(_MEMO)
def _join(one: Relation, other: Relation) -> Relation:
    if not one.joinable(other):
        raise RateMismatchError(
            f"cannot join relations of effective strides {one.stride} and {other.stride}: "
            "their union is not periodic"
        )
    period = lcm(one.period, other.period)
    sets = (one.positions(o).union(other.positions(o)) for o in range(period))
    return Relation(period, one.advance * period // one.period, sets)


@lru_cache(_MEMO)
def _converse(relation: Relation) -> Relation:
    step = abs(relation.advance)
    turn = relation.period if relation.advance > 0 else -relation.period
    readers = [EMPTY] * step
    for i in range(step):
        for phase, reads in enumerate(relation.sets):
            # phase + period * k reads i  <=>  i - advance * k is in reads(phase)
            turns = reads.residue(i, step).scale(-1)
            readers[i] = readers[i].union(turns.scale(turn).shift(phase))
    return Relation(step, turn, readers)


def _show(phase: Positions) -> str:
    """A set as a person would write it."""
    if phase.cardinality <= 3:
        return "{" + ", ".join(map(str, phase.members())) + "}"
    if phase.mask is None:
        return f"{{{phase.lo}, {phase.lo + phase.step}, ..., {phase.hi}}}"
    return f"{{{phase.lo} .. {phase.hi}: {phase.cardinality} positions}}"


_NOTHING = Relation(1, 0, (EMPTY,))
_IDENTITY = Relation(1, 1, (Positions.progression(0, 1, 1),))
