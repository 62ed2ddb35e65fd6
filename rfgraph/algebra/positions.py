"""`Positions`: a finite set of integers, held as a base plus a bit mask over a step.

In: integers. Out: shifted, scaled, added, united sets.

Almost every set a network reads is an arithmetic progression, and stays one under composition, so
a set whose mask is all ones stores no mask: a field a million pixels wide costs four small integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import gcd
from typing import NamedTuple


class Positions(NamedTuple):
    """The set `{base + step * i : bit i of mask is set, 0 <= i < length}`.

    `mask is None` stands for all ones. The form is canonical, so that equal sets compare equal:
    bit 0 and bit `length - 1` are set, `step` is the greatest common divisor of the differences
    (1 for a single position), and the empty set is `Positions(0, 1, 0, None)`.
    """

    base: int
    step: int
    length: int
    mask: int | None

    @classmethod
    def of(cls, members: Iterable[int]) -> Positions:
        """The set of these integers."""
        unique = sorted(set(members))
        if not unique:
            return EMPTY
        bits = 0
        for member in unique:
            bits |= 1 << (member - unique[0])
        return _canonical(unique[0], 1, bits)

    @classmethod
    def progression(cls, start: int, step: int, count: int) -> Positions:
        """`count` integers from `start` on, `step` (of either sign) apart."""
        if count <= 0:
            return EMPTY
        if count == 1 or step == 0:
            return cls(start, 1, 1, None)
        return cls(min(start, start + step * (count - 1)), abs(step), count, None)

    @property
    def lo(self) -> int:
        """The least member."""
        return self.base

    @property
    def hi(self) -> int:
        """The greatest member."""
        return self.base + self.step * (self.length - 1)

    @property
    def span(self) -> int:
        """`hi - lo + 1`; 0 for the empty set."""
        return self.step * (self.length - 1) + 1 if self.length else 0

    @property
    def cardinality(self) -> int:
        """How many members."""
        return self.length if self.mask is None else self.mask.bit_count()

    @property
    def bits(self) -> int:
        """The mask, written out: bit `i` stands for `base + step * i`."""
        return (1 << self.length) - 1 if self.mask is None else self.mask

    def members(self) -> Iterator[int]:
        """The members in ascending order."""
        if self.mask is None:
            return iter(range(self.base, self.base + self.step * self.length, self.step))
        marks = _digits(self.mask)
        return (self.base + self.step * i for i, mark in enumerate(marks) if mark == "1")

    def shift(self, distance: int) -> Positions:
        """Every member plus `distance`."""
        if not self.length:
            return self
        return Positions(self.base + distance, self.step, self.length, self.mask)

    def scale(self, factor: int) -> Positions:
        """Every member times `factor`."""
        if self.length <= 1 or factor == 0:
            return Positions.progression(self.base * factor, 1, min(self.length, 1))
        if factor > 0:
            return Positions(self.base * factor, self.step * factor, self.length, self.mask)
        mask = None if self.mask is None else int(_digits(self.mask), 2)
        return Positions(self.hi * factor, -self.step * factor, self.length, mask)

    def plus(self, other: Positions) -> Positions:
        """The Minkowski sum: every member of one plus every member of the other."""
        if self.length <= 1 or other.length <= 1:
            if not self.length or not other.length:
                return EMPTY
            return self.shift(other.base) if other.length == 1 else other.shift(self.base)
        fine, coarse = (self, other) if self.step <= other.step else (other, self)
        base = fine.base + coarse.base
        ratio, rest = divmod(coarse.step, fine.step)
        if fine.mask is None and coarse.mask is None and not rest and ratio <= fine.length:
            return Positions(base, fine.step, fine.length + ratio * (coarse.length - 1), None)
        step = gcd(fine.step, coarse.step)
        return _canonical(base, step, _sum_bits(fine._on(step), coarse._on(step)))

    def union(self, other: Positions) -> Positions:
        """Every member of either."""
        if self.covers(other):
            return self
        if other.covers(self):
            return other
        low, high = (self, other) if self.base <= other.base else (other, self)
        distance = high.base - low.base
        if low.mask is None and high.mask is None:
            stride = low.step if low.length > 1 else high.step
            same = low.length == 1 or high.length == 1 or low.step == high.step
            if same and distance % stride == 0 and high.base <= low.hi + stride:
                return Positions.progression(low.base, stride, (high.hi - low.base) // stride + 1)
        step = gcd(low.step if low.length > 1 else 0, high.step if high.length > 1 else 0, distance)
        shifted = high._on(step).bits << (distance // step)
        return _canonical(low.base, step, low._on(step).bits | shifted)

    def covers(self, other: Positions) -> bool:
        """True where `other` is seen at a glance to be a subset; False promises nothing."""
        if not other.length or self == other:
            return True
        if self.mask is not None or other.base < self.base or other.hi > self.hi:
            return False
        aligned = (other.base - self.base) % self.step == 0
        return aligned and (other.length == 1 or other.step % self.step == 0)

    def residue(self, remainder: int, modulus: int) -> Positions:
        """`{k : modulus * k + remainder is a member}`: one residue class, counted in its own steps."""
        if modulus == 1:
            return self.shift(-remainder)
        if not self.length:
            return EMPTY
        common = gcd(self.step, modulus)
        if (remainder - self.base) % common:
            return EMPTY
        stride = modulus // common
        inverse = pow(self.step // common, -1, stride) if stride > 1 else 0
        first = (remainder - self.base) // common * inverse % stride
        if first >= self.length:
            return EMPTY
        start = (self.base + self.step * first - remainder) // modulus
        if self.mask is None:
            return Positions.progression(
                start, self.step // common, (self.length - 1 - first) // stride + 1
            )
        kept = _digits(self.mask)[first::stride]
        return _canonical(start, self.step // common, int(kept[::-1], 2))

    def _on(self, step: int) -> Positions:
        """The same set over a finer step: not canonical, for bitwise work only."""
        ratio = self.step // step if self.length > 1 else 1
        if ratio == 1:
            return Positions(self.base, step, self.length, self.mask)
        spread = ("0" * (ratio - 1)).join(format(self.bits, "b"))
        return Positions(self.base, step, ratio * (self.length - 1) + 1, int(spread, 2))


EMPTY = Positions(0, 1, 0, None)


def _digits(mask: int) -> str:
    """The bits of `mask` as text, bit 0 first: slicing and reversing text is linear in its length."""
    return format(mask, "b")[::-1]


def _sum_bits(one: Positions, two: Positions) -> int:
    """Bits of the Minkowski sum of two sets over the same step."""
    few, many = (one, two) if one.cardinality <= two.cardinality else (two, one)
    bits, total = many.bits, 0
    if few.mask is None:  # a run: double what is there until it is as long as the run
        done = 1
        while done < few.length:
            more = min(done, few.length - done)
            bits |= bits << more
            done += more
        return bits
    for i, mark in enumerate(_digits(few.mask)):
        if mark == "1":
            total |= bits << i
    return total


def _canonical(base: int, step: int, bits: int) -> Positions:
    """The canonical `Positions` of these bits over this step."""
    if not bits:
        return EMPTY
    skipped = (bits & -bits).bit_length() - 1
    base, bits = base + step * skipped, bits >> skipped
    length = bits.bit_length()
    if length == 1:
        return Positions(base, 1, 1, None)
    if bits.bit_count() == length:
        return Positions(base, step, length, None)
    gap = _common_gap(bits)
    if gap > 1:
        bits = int(_digits(bits)[::gap][::-1], 2)
        step, length = step * gap, bits.bit_length()
    return Positions(base, step, length, None if bits.bit_count() == length else bits)


def _common_gap(bits: int) -> int:
    """The greatest common divisor of the indices of the set bits; bit 0 is set."""
    gap = 0
    rest = bits ^ 1
    while rest:
        gap = gcd(gap, (rest & -rest).bit_length() - 1)
        if gap == 1:
            return 1
        # Drop what the gap explains; what is left shrinks the gap, so this ends within a few rounds.
        comb = int("1".rjust(gap, "0") * (bits.bit_length() // gap + 1), 2)
        rest &= ~comb
    return gap
