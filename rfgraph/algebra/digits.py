"""Digits: where along a tensor's dims an axis lies, once reshapes have split and merged it.

In: the reads of reshapes, slices and reductions. Out: digits.

A position `z` along the axis is a sum of digits, each taken from one dim: after merging H and W = 14
into one token dim, `z` of H is `token // 14` and `z` of W is `token % 14`; after splitting H into
windows of 7, `z = 7 * window + place`. An unmoved axis is one plain digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias


class Digit(NamedTuple):
    """`coefficient * (((o[dim] - shift) // weight) % extent)`; `extent` None: no remainder is taken.

    `bounded`: it takes as many values at any size, as the places of a window do. `sized`: the coefficient was
    counted at the analysed size, as that of halves of the axis is.
    """

    dim: int
    coefficient: int = 1
    weight: int = 1
    extent: int | None = None
    shift: int = 0
    bounded: bool = False
    sized: bool = False

    @property
    def is_index(self) -> bool:
        """True where the digit is the dim's own index, times a coefficient."""
        return self.weight == 1 and self.extent is None and self.shift == 0

    def count(self, size: int) -> int:
        """How many values it takes on a dim of `size`."""
        return self.extent or -(-(size - self.shift) // self.weight)

    def at(self, index: int) -> int:
        """Its value at one index of its dim."""
        value = (index - self.shift) // self.weight
        return self.coefficient * (value % self.extent if self.extent else value)


Digits: TypeAlias = tuple[Digit, ...]


@lru_cache(maxsize=64)
def plain(dim: int) -> Digits:
    """The axis lies along `dim`, unmoved. One object for each dim."""
    return (Digit(dim),)


def is_plain(digits: Digits) -> bool:
    """True where the axis lies along one dim, unmoved, or along none."""
    return not digits or digits == plain(digits[0].dim)


def growing(digits: Digits, shape: Sequence[int]) -> Digit:
    """The digit of a tensor of `shape` that takes more values where the axis is longer: the coarsest."""
    free = [digit for digit in digits if not digit.bounded] or digits
    return max(free, key=lambda d: (abs(d.coefficient), d.count(shape[d.dim])))


def tidy(digits: Sequence[Digit]) -> Digits:
    """Digits in order, neighbours that make one digit made one: reshapes that undo each other cancel."""
    merged: list[Digit] = []
    for digit in sorted(digits, key=_order):
        low = merged[-1] if merged else None
        if low is not None and _continues(low, digit):
            extent = None if digit.extent is None else (low.extent or 1) * digit.extent
            merged[-1] = low._replace(extent=extent, bounded=low.bounded and digit.bounded)
        else:
            merged.append(digit)
    unmoved = len(merged) == 1 and merged[0].is_index and merged[0].coefficient == 1
    return plain(merged[0].dim) if unmoved else tuple(merged)


def _order(digit: Digit) -> tuple[int, ...]:
    """Digits of one dim from the finest to the coarsest; `extent` may be None, which does not compare."""
    return digit.dim, digit.shift, digit.weight, digit.coefficient, digit.extent or 0, *digit[5:]


def _continues(low: Digit, high: Digit) -> bool:
    if low.extent is None or low.dim != high.dim or low.shift != high.shift:
        return False
    return (high.weight, high.coefficient) == (
        low.weight * low.extent,
        low.coefficient * low.extent,
    )


def stretch(
    digit: Digit, number: Digits, weight: int, extent: int, shape: Sequence[int]
) -> list[Digit] | None:
    """The digits of a mixed-radix number that a digit of one place of it takes.

    Args:
        digit: of the place.
        number: over a tensor of `shape`, the finest digit last: indices of dims, or remainders of them.
        weight, extent: the place is `number // weight % extent`.

    A dim of one position that goes on where the digit ends has more where there is more of the digit.

    Returns:
        None where the digits of the number cut across the digit.
    """
    if digit.shift or extent % (digit.weight * (digit.extent or 1)):
        return None  # a shift, or a last turn cut short, would not go on in a larger dim
    low = digit.weight * weight
    high = low * (digit.extent or extent // digit.weight)
    parts: list[Digit] = []
    for entry in reversed(number):
        if entry.weight != 1 or entry.shift:
            return None
        below, above = entry.coefficient, entry.coefficient * (entry.extent or shape[entry.dim])
        start, stop = max(low, below), min(high, above)
        if start < stop:
            if start % below or start % low or stop % start or above % stop:
                return None
            rest = None if stop == above and entry.extent is None else stop // start
            bounded, sized = digit.bounded or entry.bounded, digit.sized or entry.sized
            coefficient, weight = digit.coefficient * (start // low), start // below
            parts.append(Digit(entry.dim, coefficient, weight, rest, 0, bounded, sized))
        elif digit.extent is None and shape[entry.dim] == 1 and below == high:
            parts.append(Digit(entry.dim, digit.coefficient * (below // low)))
    return parts
