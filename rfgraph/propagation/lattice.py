"""Two lattices behind one interface: sets of positions along an axis, held in numpy arrays.

In: the length of an axis. Out: arrays whose last dim holds one set; `union` of two arrays is one ufunc.
`bits` is exact, one bit a position; `hulls` keeps the extremes alone, for axes so long that the sets would
not fit in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rfgraph.graph import Indices

Array: TypeAlias = npt.NDArray[Any]

WORD = 64
_NOWHERE = np.iinfo(np.int64).max
_LOWEST = np.array([0, *((octet & -octet).bit_length() - 1 for octet in range(1, 256))])
_HIGHEST = np.array([0, *(octet.bit_length() - 1 for octet in range(1, 256))])


@dataclass(frozen=True)
class Lattice:
    """How sets of the positions `0 .. length - 1` are held.

    `bits`: words of 64 positions, united by OR. `hulls`: the pair (lo, -hi), united by minimum; an
    empty set is a pair of the largest integer.

    `window`: the only positions whose sets are told apart, of bits; None: all.
    """

    length: int
    exact: bool
    window: range | None = None

    @property
    def positions(self) -> range:
        """Those that a set may hold."""
        return range(self.length) if self.window is None else self.window

    @property
    def union(self) -> np.ufunc:
        """Elementwise union of arrays of sets."""
        return np.bitwise_or if self.exact else np.minimum

    @property
    def width(self) -> int:
        """How many numbers hold one set."""
        return -(-len(self.positions) // WORD) if self.exact else 2

    def empty(self, *shape: int) -> Array:
        """An array of empty sets."""
        if self.exact:
            return np.zeros((*shape, self.width), np.uint64)
        return np.full((*shape, 2), _NOWHERE)

    def singletons(self) -> Array:
        """`{0}, {1}, ..`: position by position."""
        if not self.exact:
            positions = np.arange(self.length)
            return np.stack([positions, -positions], axis=1)
        sets, bits = self.empty(self.length), np.arange(len(self.positions))
        own = bits + self.positions.start
        sets[own, bits // WORD] = np.uint64(1) << (bits % WORD).astype(np.uint64)
        return sets

    def is_empty(self, sets: Array) -> Array:
        """Which sets are empty."""
        return np.logical_not(sets.any(axis=-1)) if self.exact else np.equal(sets[..., 0], _NOWHERE)

    def hull(self, sets: Array) -> tuple[Array, Array]:
        """(lo, hi) of each set; lo > hi where it is empty."""
        if not self.exact:
            nothing = self.is_empty(sets)
            return np.where(nothing, 0, sets[..., 0]), np.where(nothing, -1, -sets[..., 1])
        octets = self._octets(sets)  # tables of 256 cost a fraction of looking at each bit
        filled = octets != 0
        first = filled.argmax(axis=-1, keepdims=True)
        last = filled.shape[-1] - 1 - filled[..., ::-1].argmax(axis=-1, keepdims=True)
        lo = 8 * first + _LOWEST[np.take_along_axis(octets, first, -1)]
        hi = 8 * last + _HIGHEST[np.take_along_axis(octets, last, -1)]
        found = filled.any(axis=-1)
        return np.where(found, lo[..., 0], 0), np.where(found, hi[..., 0], -1)

    def holds(self, sets: Array, position: int) -> Array:
        """Which sets hold a position; of hulls, which span it."""
        held: Array
        if self.exact:
            word = sets[..., position // WORD]
            held = (word >> np.uint64(position % WORD)) & np.uint64(1) != 0
        else:
            held = (sets[..., 0] <= position) & (position <= -sets[..., 1])
        return held

    def members(self, one: Array) -> Indices:
        """The members of one set in ascending order; of a hull, all that it spans."""
        if not self.exact:
            lo, hi = self.hull(one)
            return np.arange(int(lo), int(hi) + 1)
        return np.flatnonzero(self._marks(one)).astype(np.int64) + self.positions.start

    def _marks(self, sets: Array) -> npt.NDArray[np.uint8]:
        return np.unpackbits(self._octets(sets), axis=-1, bitorder="little")[
            ..., : len(self.positions)
        ]

    @staticmethod
    def _octets(sets: Array) -> npt.NDArray[np.uint8]:
        """The words as bytes, the lowest positions first."""
        return np.ascontiguousarray(sets).astype("<u8", copy=False).view(np.uint8)
