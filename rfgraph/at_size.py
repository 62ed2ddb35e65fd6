"""`AtSize`: what every position of every node reads at the analysed size, worked out when it is asked for.

In: readings, the tracked axes. Out: sets and hulls.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

import networkx as nx
import numpy as np

from rfgraph.domains.lattice import Array, Lattice
from rfgraph.domains.sized import Sized, SizedDomain, TooLargeError
from rfgraph.graph import Axis
from rfgraph.propagate import Walk
from rfgraph.readings import Readings

BUDGET = 1 << 28
"""Bytes of sets kept for one axis before they give way to hulls."""
_LONGEST_PERIOD = 64


Index: TypeAlias = "tuple[int | None, ...]"
"""A position over all dims of a node; None along a dim: all of it."""


class AtSize:
    """Answers per position, one walk an axis: exact sets, or hulls where those exceed the budget."""

    def __init__(
        self,
        readings: Readings,
        axes: Sequence[Axis],
        budget: int = BUDGET,
    ) -> None:
        self._readings = readings
        self._axes = axes
        self._budget = budget
        self._hulls: dict[tuple[str, int, tuple[int, ...], bool], tuple[Array, Array]] = {}
        self._walks: dict[int, tuple[Lattice, Walk[Sized]]] = {}

    def sets(self, name: str, axis: int, local: bool = False) -> tuple[Lattice, Array] | None:
        """What each position of a node reads along axis number `axis`; None where it reads nothing.

        The array has the node's dims, of size 1 where the sets do not vary, and one for the set.
        `local` leaves whole-axis reads out.
        """
        try:
            lattice, walk = self._walked(name, axis, exact=True)
        except TooLargeError:
            del self._walks[axis]
            lattice, walk = self._walked(name, axis, exact=False)
        value = walk.values[name][0]
        if value is None:
            return None
        found = value.local if local else value.sets(lattice)
        return None if found is None else (lattice, found)

    def sets_at(
        self, name: str, axis: int, index: Index, local: bool = False
    ) -> tuple[Lattice, Array] | None:
        """What one position reads; where `index` is None, what any position along that dim reads."""
        found = self._sets_along(
            name, axis, [d for d, i in enumerate(index) if i is not None], local
        )
        if found is None:
            return None
        lattice, sets = found
        kept = tuple(i or 0 if n > 1 else 0 for i, n in zip(index, sets.shape[:-1], strict=True))
        return lattice, sets[kept]

    def _sets_along(
        self, name: str, axis: int, dims: Sequence[int], local: bool
    ) -> tuple[Lattice, Array] | None:
        """What each position over `dims` reads: united over all others, such as channels."""
        found = self.sets(name, axis, local)
        if found is None:
            return None
        lattice, sets = found
        others = tuple(dim for dim in range(sets.ndim - 1) if dim not in dims)
        return lattice, lattice.union.reduce(sets, axis=others, keepdims=True) if others else sets

    def _walked(self, name: str, axis: int, exact: bool) -> tuple[Lattice, Walk[Sized]]:
        """The walk of an axis, which has come as far as the node."""
        if axis not in self._walks:
            tracked = self._axes[axis]
            lattice = Lattice(self._readings.graph[tracked.input].shape[tracked.dim], exact)
            domain = SizedDomain(lattice, self._budget if exact else None)
            walk = Walk(self._readings, [tracked], domain)
            self._walks[axis] = (lattice, walk)
        walk = self._walks[axis][1]
        if name not in walk.values:
            walk.visit({name, *nx.ancestors(self._readings.graph.networkx, name)})
        return self._walks[axis]

    def reached(
        self, name: str, axis: int, rows: Sequence[int], dims: Sequence[int]
    ) -> tuple[Array, bool]:
        """[row, *dims]: which positions over `dims` of a node read each row; False: by hulls alone."""
        found = self._sets_along(name, axis, dims, local=False)
        if found is None:
            return np.zeros((len(rows), *(1,) * len(dims)), bool), True
        lattice, sets = found
        others = tuple(dim for dim in range(sets.ndim - 1) if dim not in dims)
        sets = np.squeeze(sets, others)
        return np.stack([lattice.holds(sets, row) for row in rows]), lattice.exact

    # --- figures of nodes without a closed form, over the positions along some of their dims ------

    def size_range(
        self, name: str, axis: int, dims: Sequence[int], local: bool
    ) -> tuple[int, int] | None:
        """The least and the largest size over the positions that read anything."""
        lo, hi = self._hull(name, axis, dims, local)
        spans = (hi - lo + 1)[hi >= lo]
        return (int(spans.min()), int(spans.max())) if spans.size else None

    def offset(self, name: str, axis: int, dims: Sequence[int], local: bool) -> int | None:
        """The least position that the first position reads."""
        lo, hi = self._hull(name, axis, dims, local)
        return int(lo.flat[0]) if lo.size and hi.flat[0] >= lo.flat[0] else None

    def _hull(self, name: str, axis: int, dims: Sequence[int], local: bool) -> tuple[Array, Array]:
        key = (name, axis, tuple(dims), local)
        if key not in self._hulls:  # every figure of a node asks for it
            found = self._sets_along(name, axis, dims, local)
            nothing = np.zeros(0, int), np.zeros(0, int)
            self._hulls[key] = nothing if found is None else found[0].hull(found[1])
        return self._hulls[key]

    def stride(self, name: str, axis: int, dims: Sequence[int], local: bool) -> Fraction | None:
        """The effective stride, where reads vary along one dim and are regular in its middle half."""
        lo, hi = self._hull(name, axis, dims, local)
        if sum(size > 1 for size in lo.shape) != 1:
            return None
        count = lo.size // 4
        inner = np.stack([lo.ravel(), hi.ravel()])[:, count : lo.size - count]
        for period in range(1, min(_LONGEST_PERIOD, inner.shape[1] - 1) + 1):
            steps = inner[:, period:] - inner[:, :-period]
            if np.all(steps == steps[0, 0]):
                return Fraction(int(steps[0, 0]), period)
        return None

    def reach(
        self, name: str, axis: int, dims: Sequence[int], local: bool
    ) -> tuple[int, int] | None:
        """How far left and right of `floor(stride * o)` any position reads, along the one dim it varies on.

        Where the stride is irregular, as in causal attention, that of the shapes stands for it.
        """
        lo, hi = self._hull(name, axis, dims, local)
        varying = [dim for dim, size in enumerate(lo.shape) if size > 1]
        if len(varying) != 1:
            return None
        tracked = self._axes[axis]
        stride = self.stride(name, axis, dims, local) or Fraction(
            self._readings.graph[tracked.input].shape[tracked.dim], lo.size
        )
        own = np.arange(lo.size) * stride.numerator // stride.denominator
        lo, hi = lo.ravel(), hi.ravel()
        some = hi >= lo
        if not some.any():
            return None
        return int((own - lo)[some].max()), int((hi - own)[some].max())
