"""`ReceptiveField`: what one position of a node reads of one input, axis by axis.

In: abstract values. Out: the views of `docs/theory.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import inf
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from rfgraph import table
from rfgraph.at_size import AtSize, Index
from rfgraph.digits import plain
from rfgraph.domains.periodic import Periodic
from rfgraph.errors import InputError
from rfgraph.relation import Relation

T = TypeVar("T")


class Cause(NamedTuple):
    """A node that reads the whole of an input axis, the kind of read, and its axes (0: the first tracked)."""

    node: str
    kind: str
    axes: tuple[int, ...]


class Limit(NamedTuple):
    """A node from which on the answer holds at the analysed size only, or rests on a measurement; why."""

    node: str
    reason: str


_VIEWS = (
    *("size", "size_range", "stride", "offset", "dilation", "holes", "density"),
    *("period", "advance", "reach", "halo", "whole", "closed_form"),
)


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What one position of a node reads of one input: one entry per tracked axis, in input pixels.

    Where the whole axis is read (`whole`), `size`, `reach` and `halo` are `math.inf` and what depends
    on the position is None: ask `local`. Where no relation describes the reads (`limits` say why),
    sizes, strides and offsets are counted at the analysed size, borders included, and the views that
    only a relation has are None.
    """

    _node: str
    _values: tuple[Periodic, ...]
    _axes: tuple[int, ...]
    _at_size: AtSize
    _is_local: bool = False

    def _each(
        self,
        view: Callable[[Relation], T],
        when_whole: T | None,
        counted: Callable[[str, int, tuple[int, ...], bool], T | None] | None = None,
    ) -> tuple[T | None, ...]:
        """`view` of each axis' relation; without one, what is `counted` over all positions."""

        def of(axis: int, value: Periodic) -> T | None:
            if value.whole is not None:
                return when_whole
            law = _law(value)
            if law is not None:
                return view(law)
            if counted is None:
                return None
            return counted(self._node, self._axes[axis], self.dims_of(axis), self._is_local)

        return tuple(of(axis, value) for axis, value in enumerate(self._values))

    @property
    def size(self) -> tuple[float | None, ...]:
        """`hi - lo + 1`; the largest over the phases, or over all positions where there is no relation."""
        return tuple(None if pair is None else pair[1] for pair in self.size_range)

    @property
    def size_range(self) -> tuple[tuple[float, float] | None, ...]:
        """The least and the largest size over the phases, or over all positions."""
        return self._each(lambda law: law.size_range, (inf, inf), self._at_size.size_range)

    @property
    def stride(self) -> tuple[Fraction | None, ...]:
        """Effective stride (Araujo, Norris and Sim 2019, doi 10.23915/distill.00021): a `Fraction`.

        Without a relation: of the positions in the middle of the node, None where they are irregular.
        """
        return self._each(lambda law: law.stride, None, self._at_size.stride)

    @property
    def offset(self) -> tuple[int | None, ...]:
        """The least position that output 0 reads: minus the effective padding."""
        return self._each(lambda law: law.offset, None, self._at_size.offset)

    @property
    def dilation(self) -> tuple[int | None, ...]:
        """The greatest common divisor of the gaps between the positions one output reads."""
        return self._each(lambda law: law.dilation, 1)

    @property
    def holes(self) -> tuple[int | None, ...]:
        """Positions inside the hull that are not read; the most over the phases."""
        return self._each(lambda law: law.holes, 0)

    @property
    def density(self) -> tuple[float | None, ...]:
        """Positions read / size; the least over the phases."""
        return self._each(lambda law: law.density, 1.0)

    @property
    def period(self) -> tuple[int | None, ...]:
        """After how many outputs the reads repeat."""
        return self._each(lambda law: law.period, None)

    @property
    def advance(self) -> tuple[int | None, ...]:
        """By how many input positions they have moved then."""
        return self._each(lambda law: law.advance, None)

    @property
    def phases(self) -> tuple[tuple[tuple[int, ...], ...] | None, ...]:
        """The positions that outputs `0 .. period - 1` read."""
        return self._each(lambda law: law.phases, None)

    @property
    def reach(self) -> tuple[tuple[float, float] | None, ...]:
        """How far left and right of `floor(stride * o)` any output `o` reads: context and look-ahead."""
        return self._each(lambda law: law.reach, (inf, inf), self._at_size.reach)

    @property
    def halo(self) -> tuple[tuple[float, float] | None, ...]:
        """How far left and right of itself a tile aligned to the period reads."""
        return self._each(lambda law: law.halo, (inf, inf))

    def center(self, output: int) -> tuple[Fraction | None, ...]:
        """`(lo + hi) / 2` of what position `output` reads, along each axis."""
        return self._each(lambda law: law.center(output), None)

    @property
    def whole(self) -> tuple[bool, ...]:
        """Is the whole input axis read?"""
        return tuple(value.whole is not None for value in self._values)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The nodes that read a whole axis, in the order of the model."""
        axes: dict[tuple[str, str], list[int]] = {}
        for axis, value in enumerate(self._values):
            for origin in value.whole or ():
                axes.setdefault(origin, []).append(axis)
        return tuple(Cause(node, kind, tuple(found)) for (node, kind), found in axes.items())

    @cached_property
    def local(self) -> ReceptiveField | None:
        """The field along the same paths with whole-axis reads left out; None where nothing is left."""
        if not any(value.local for value in self._values):
            return None
        if not any(self.whole):
            return self
        values = (replace(value, whole=None) for value in self._values)
        return replace(self, _values=tuple(values), _is_local=True)

    @property
    def closed_form(self) -> tuple[bool, ...]:
        """Does the answer hold at any input size? Else at the analysed size only: see `limits`."""
        return tuple(_is_closed(value) for value in self._values)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Why the answer holds at the analysed size only, in the order of the model."""
        origins: dict[tuple[str, str], None] = {}
        for value in self._values:
            if not _is_closed(value):
                origins.update(dict.fromkeys(value.limits or ()))
                if _spread(value):
                    origins[self._node, _spread(value)] = None
        return tuple(Limit(*origin) for origin in origins)

    @property
    def marks(self) -> tuple[Limit, ...]:
        """What the answer rests on beside rules: nodes whose law was inferred from measurements."""
        origins = dict.fromkeys(o for value in self._values for o in value.marks or ())
        return tuple(Limit(*origin) for origin in origins)

    @property
    def relations(self) -> tuple[Relation | None, ...]:
        """The relation from positions along the node's own dim to input positions, where there is one.

        None for a whole read, and where a reshape has spread the axis over the node's dims.
        """
        return tuple(
            None if value.whole is not None or not _is_plain(value) else _law(value)
            for value in self._values
        )

    @property
    def dims(self) -> tuple[int, ...]:
        """The node's own dims along which its reads vary."""
        found = {dim for axis in range(len(self._values)) for dim in self.dims_of(axis)}
        return tuple(sorted(found))

    def dims_of(self, axis: int) -> tuple[int, ...]:
        """The node's own dims along which the reads of one axis vary."""
        digits = (digit for scan in self._values[axis].local for digit in scan.digits)
        return tuple(sorted({digit.dim for digit in digits}))

    def hull_at(self, axis: int, index: Index) -> tuple[int, int] | None:
        """The extremes of what the position `index` (over all dims) reads along an axis of this field."""
        found = self._at_size.sets_at(self._node, self._axes[axis], index, self._is_local)
        if found is None:
            return None
        lo, hi = found[0].hull(found[1])
        return (int(lo), int(hi)) if lo <= hi else None

    def members_at(self, axis: int, index: Index) -> npt.NDArray[np.int64]:
        """All that the position `index` reads along an axis of this field."""
        found = self._at_size.sets_at(self._node, self._axes[axis], index, self._is_local)
        if found is None:
            return np.zeros(0, np.int64)
        lattice, sets = found
        if not lattice.exact:
            raise InputError(
                f"the sets of an axis of {lattice.length} positions exceed the memory budget: only hulls "
                "are known, ask region()"
            )
        return lattice.members(sets)

    def __repr__(self) -> str:
        sizes = table.each(self.size, table.number)
        return f"ReceptiveField(size={sizes}, stride={table.each(self.stride, table.number)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: `null` for an infinite size (see `whole`), a string for a fraction."""
        return {
            **{view: plain_data(getattr(self, view)) for view in _VIEWS},
            "causes": [{**cause._asdict(), "axes": list(cause.axes)} for cause in self.causes],
            "limits": [limit._asdict() for limit in self.limits],
            "marks": [mark._asdict() for mark in self.marks],
            "local": self.local.to_dict() if self.local is not None and any(self.whole) else None,
        }


def _law(value: Periodic) -> Relation | None:
    """The relation of all local reads, in steps of the axis' coordinate."""
    if not value.local:
        return Relation.nothing()
    return value.local[0].relation if len(value.local) == 1 else None


def _is_plain(value: Periodic) -> bool:
    digits = value.local[0].digits if value.local else ()
    return len(digits) == 0 or digits == plain(digits[0].dim)


def _is_closed(value: Periodic) -> bool:
    if not value.local:
        return True  # nothing, or the whole axis, at any size
    return value.limits is None and not _spread(value) and _law(value) is not None


def _spread(value: Periodic) -> str:
    """Why the local reads are no relation along one dim of the node, or nothing."""
    if len({scan.digits for scan in value.local}) > 1:
        return "branches that move along the node's dims in different ways meet"
    return "" if _is_plain(value) else "a reshape regroups the positions of this axis"


def plain_data(value: Any) -> Any:
    """A view as JSON knows it: lists, `null` for an infinity, a string for a fraction."""
    if isinstance(value, tuple | list):
        return [plain_data(entry) for entry in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else str(value)
    return None if value == inf else value
