"""Hulls: figures of nodes without a closed form, counted over their positions at the analysed size.

In: the extremes of what each position reads. Out: figures as a relation has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rfgraph.algebra.relation import end_of_hop
from rfgraph.propagation.lattice import Array

_LONGEST_PERIOD = 64


@dataclass(frozen=True, eq=False)
class Hulls:
    """`lo` and `hi` of what each position reads of an axis of `length`; `hi < lo` where it reads nothing.

    The arrays have the node's dims, of size 1 where the reads do not vary; none where no position reads.
    """

    lo: Array
    hi: Array
    length: int

    def size_range(self) -> tuple[int, int] | None:
        """The least and the largest size over the positions that read anything."""
        spans = (self.hi - self.lo + 1)[self.hi >= self.lo]
        return (int(spans.min()), int(spans.max())) if spans.size else None

    def offset(self) -> int | None:
        """The least position that the first position reads."""
        is_read = self.lo.size and self.hi.flat[0] >= self.lo.flat[0]
        return int(self.lo.flat[0]) if is_read else None

    def stride(self) -> Fraction | None:
        """The effective stride, where reads vary along one dim and are regular in its middle half."""
        return self._stride_of(self.lo, self.hi)

    def reach(self) -> tuple[int, int] | None:
        """How far left and right of `floor(stride * o)` any position reads, along the one dim it varies on.

        Where the stride is irregular, as in causal attention, that of the shapes stands for it.
        """
        if not self._varies_along_one_dim():
            return None
        stride = self.stride() or self._ratio
        outputs = np.arange(self.lo.size)
        here = outputs * stride.numerator // stride.denominator
        lo, hi = self.lo.ravel(), self.hi.ravel()
        is_read = hi >= lo
        if not is_read.any():
            return None
        return int((here - lo)[is_read].max()), int((hi - here)[is_read].max())

    def lookahead(self) -> int | None:
        """How far beyond the end of its own hop any position reads, never below 0.

        Where the stride is irregular, as in causal attention, that of the last positions stands for it.
        """
        is_read = (self.hi >= self.lo).ravel()
        if not self._varies_along_one_dim() or not is_read.any():
            return None
        stride = self.stride() or self._stride_of(self.hi, times=2) or self._ratio
        ends = end_of_hop(stride.numerator, stride.denominator, np.arange(self.lo.size))
        return max(0, int((self.hi.ravel() - ends)[is_read].max()))

    def _stride_of(self, *arrays: Array, times: int = 1) -> Fraction | None:
        """By how much all of these move per position, where they vary along one dim, in its middle half.

        `times`: how many periods it must hold, beside a position.
        """
        if not self._varies_along_one_dim():
            return None
        count = self.lo.size // 4
        ends = np.stack([array.ravel() for array in arrays])[:, count : self.lo.size - count]
        for period in range(1, min(_LONGEST_PERIOD, (ends.shape[1] - 1) // times) + 1):
            steps = ends[:, period:] - ends[:, :-period]
            if np.all(steps == steps[0, 0]):
                return Fraction(int(steps[0, 0]), period)
        return None

    @property
    def _ratio(self) -> Fraction:
        """The stride of the shapes."""
        return Fraction(self.length, self.lo.size)

    def _varies_along_one_dim(self) -> bool:
        return self.lo.size > 0 and sum(size > 1 for size in self.lo.shape) == 1
