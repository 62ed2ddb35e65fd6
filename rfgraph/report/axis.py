"""`AxisReads`: what one node reads along one tracked axis, and the figures of it.

In: an abstract value, sets on demand. Out: figures (`docs/theory.md`, Views), hulls, members.

A figure is defined once, in `Figures`. It is one value of an `AxisReads`, a tuple over the axes of a
`ReceptiveField`, and a row in the forms that it names: those lists are made from the definitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, partial
from math import inf
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, get_args, overload

import numpy as np
import numpy.typing as npt

from rfgraph.algebra.relation import Relation
from rfgraph.errors import InputError
from rfgraph.graph import Axis, Position
from rfgraph.propagation.hulls import Hulls
from rfgraph.propagation.periodic import Periodic
from rfgraph.propagation.scans import Scan
from rfgraph.propagation.sets import AtSize, varies
from rfgraph.propagation.shown import Shown
from rfgraph.propagation.trail import Origin, Trail, Whence
from rfgraph.propagation.unions import Unions

T = TypeVar("T")

Form: TypeAlias = Literal["table", "frame", "json", "attribute"]
"""Where a figure is listed, and in every form after it: the table and CSV, DataFrames, JSON, nowhere."""


class Limit(NamedTuple):
    """A node from which on the answer holds at the analysed size only, or rests on a measurement; why."""

    node: str
    reason: str


class Figure(property, Generic[T]):
    """A figure: a value of an `AxisReads`; of a tuple of them, one value an axis."""

    def __init__(self, of: Callable[[AxisReads], T], form: Form) -> None:
        super().__init__(of)
        self.__doc__ = of.__doc__  # else the class' own, by which help() shows nothing
        self.of = of
        self.form = form

    @overload
    def __get__(self, reads: None, owner: type | None = None) -> Figure[T]: ...
    @overload
    def __get__(self, reads: AxisReads, owner: type | None = None) -> T: ...
    @overload
    def __get__(self, reads: tuple[AxisReads, ...], owner: type | None = None) -> tuple[T, ...]: ...
    def __get__(self, reads: Any, owner: type | None = None) -> Any:
        if isinstance(reads, tuple):
            return tuple(map(self.of, reads))
        return self if reads is None else self.of(reads)


def figure(form: Form) -> Callable[[Callable[[AxisReads], T]], Figure[T]]:
    """Make a function of an `AxisReads` a figure that is listed in `form` and in those that say more."""
    return lambda of: Figure(of, form)


def figures(form: Form) -> tuple[str, ...]:
    """The names of the figures that a form lists, in the order of their definition."""
    forms = get_args(Form)
    listed = forms[: forms.index(form) + 1]
    return tuple(
        name for name, f in vars(Figures).items() if isinstance(f, Figure) and f.form in listed
    )


class Figures:
    """The figures, in input pixels.

    Where the whole axis is read (`whole`), `size`, `reach`, `lookahead` and `halo` are `math.inf` and what
    depends on the position is None: ask `local`. Where no relation describes the reads (`limits` say why),
    sizes, strides and offsets are counted at the analysed size, borders included, and what only a relation
    has is None.
    """

    @figure("table")
    @staticmethod
    def size(reads: AxisReads) -> float | None:
        """`hi - lo + 1`; the largest over the phases, or over all positions where there is no relation."""
        return None if reads.size_range is None else reads.size_range[1]

    @figure("json")
    @staticmethod
    def size_range(reads: AxisReads) -> tuple[float, float] | None:
        """The least and the largest size over the phases, or over all positions."""
        endless = (inf, inf)
        return reads.view(lambda law: law.size_range, endless, Hulls.size_range, lambda _: endless)

    @figure("table")
    @staticmethod
    def stride(reads: AxisReads) -> Fraction | None:
        """Effective stride (Araujo, Norris and Sim 2019, doi 10.23915/distill.00021): a `Fraction`.

        Without a relation: of the positions in the middle of the node, None where they are irregular.
        """
        return reads.view(lambda law: law.stride, None, Hulls.stride, lambda end: end.stride)

    @figure("table")
    @staticmethod
    def dilation(reads: AxisReads) -> int | None:
        """The greatest common divisor of the gaps between the positions one output reads."""
        return reads.view(lambda law: law.dilation, 1)

    @figure("table")
    @staticmethod
    def offset(reads: AxisReads) -> int | None:
        """The least position that output 0 reads: minus the effective padding."""
        return reads.view(lambda law: law.offset, None, Hulls.offset)

    @figure("frame")
    @staticmethod
    def holes(reads: AxisReads) -> int | None:
        """Positions inside the hull that are not read; the most over the phases."""
        return reads.view(lambda law: law.holes, 0)

    @figure("frame")
    @staticmethod
    def density(reads: AxisReads) -> float | None:
        """Positions read / size; the least over the phases."""
        return reads.view(lambda law: law.density, 1.0)

    @figure("json")
    @staticmethod
    def period(reads: AxisReads) -> int | None:
        """After how many outputs the reads repeat."""
        return reads.view(lambda law: law.period, past=lambda end: end.period)

    @figure("json")
    @staticmethod
    def advance(reads: AxisReads) -> int | None:
        """By how many input positions they have moved then."""
        return reads.view(lambda law: law.advance, past=lambda end: end.advance)

    @figure("attribute")
    @staticmethod
    def phases(reads: AxisReads) -> tuple[tuple[int, ...], ...] | None:
        """The positions that outputs `0 .. period - 1` read."""
        return reads.view(lambda law: law.phases)

    @figure("attribute")
    @staticmethod
    def interior(reads: AxisReads) -> tuple[int, int] | None:
        """The first and the last position of those, in a row, that read what the relation says.

        At the analysed size, what lies outside of the input left out. Nearer to a border, padding of a map on
        the way is read, which reads nothing. None where there is no relation, or no such position.
        """
        law, dims = reads.relation, reads.dims
        if law is None or len(dims) > 1:
            return None
        return reads.at_size.interior(reads.node, reads.axis, law, dims, reads.is_left)

    @figure("json")
    @staticmethod
    def reach(reads: AxisReads) -> tuple[float, float] | None:
        """How far left and right of `floor(stride * o)` any output `o` reads; left: its context."""
        endless = (inf, inf)
        return reads.view(
            lambda law: law.reach, endless, Hulls.reach, lambda end: (inf, end.reach[1])
        )

    @figure("frame")
    @staticmethod
    def lookahead(reads: AxisReads) -> float | None:
        """How far beyond the end of its own hop any output reads, at least 0; None where none moves."""
        return reads.view(
            lambda law: law.lookahead, inf, Hulls.lookahead, lambda end: end.lookahead
        )

    @figure("json")
    @staticmethod
    def halo(reads: AxisReads) -> tuple[float, float] | None:
        """How far left and right of itself a tile aligned to the period reads."""
        return reads.view(lambda law: law.halo, (inf, inf), past=lambda end: (inf, end.halo[1]))

    @figure("frame")
    @staticmethod
    def whole(reads: AxisReads) -> bool:
        """Is the whole input axis read?"""
        return reads.value.whole is not None

    @figure("frame")
    @staticmethod
    def unbounded(reads: AxisReads) -> Literal["past"] | None:
        """`"past"` where all positions up to one that moves with the output are read, as by an LSTM."""
        return "past" if not reads.whole and reads.end is not None else None

    @figure("frame")
    @staticmethod
    def united(reads: AxisReads) -> bool:
        """Are channels that read differently united? Then the figures are a bound: some channels read less.

        True, too, where that cannot be told. What is picked of them has a row of its own.
        """
        return reads.is_united

    @figure("frame")
    @staticmethod
    def closed_form(reads: AxisReads) -> bool:
        """Does the answer hold at any input size? Else at the analysed size only: see `limits`."""
        return reads.shown.is_closed


@dataclass(frozen=True, eq=False)
class AxisReads(Figures):
    """What one position of a node reads along one tracked axis: its law where it has one, its sets where not.

    Attributes:
        node, axis: the node's name, and the axis.
        value: the abstract value that the figures are views of.
        is_connected: False where no path leads from the axis' input to the node: nothing is read.
        at_size: sets on demand.
        unions: whether channels that read differently are united.
    """

    node: str
    axis: Axis
    value: Periodic = field(repr=False)
    is_connected: bool
    at_size: AtSize = field(repr=False)
    unions: Unions = field(repr=False)
    _is_local: bool = False

    def view(
        self,
        view: Callable[[Relation], T | None],
        when_whole: T | None = None,
        counted: Callable[[Hulls], T | None] | None = None,
        past: Callable[[Relation], T | None] = lambda end: None,
    ) -> T | None:
        """A view of the law; where there is none, what is `counted` over all positions.

        `past`: of a past read, a view of its `end`.
        """
        if self.whole:
            return when_whole
        law, view = (self.end, past) if self.value.past else (self.law, view)
        if law is not None:
            return view(law)
        return None if counted is None else counted(self._hulls)

    @cached_property
    def _hulls(self) -> Hulls:
        length = self.at_size.length(self.axis)
        along = self.at_size.sets_along(self.node, self.axis, self.dims, self._is_local)
        if along is None:
            return Hulls(np.zeros(0, int), np.zeros(0, int), length)
        lattice, sets = along
        return Hulls(*lattice.hull(sets), length)

    @cached_property
    def shown(self) -> Shown:
        """What it reads in steps of the node's own dims, where it has a form in those."""
        return Shown(
            self.value, self.at_size.shape(self.node), partial(self.at_size.own, self.node)
        )

    @property
    def scans(self) -> tuple[Scan, ...]:
        """What it reads locally."""
        return self.shown.scans

    @property
    def law(self) -> Relation | None:
        """The relation of all local reads, over one coordinate; None where there is none."""
        return self.shown.law

    @property
    def end(self) -> Relation | None:
        """Of a past read: the relation whose right side is where it ends, local reads included; or None."""
        return self.shown.end

    def center(self, output: int) -> Fraction | None:
        """`(lo + hi) / 2` of what position `output` reads."""
        return self.view(lambda law: law.center(output))

    @property
    def relation(self) -> Relation | None:
        """The relation from positions along the node's own dim to input positions, where there is one.

        None for a whole or a past read, and where a reshape has spread the axis over the node's dims.
        """
        return self.law if self.shown.has_steps and not self.is_endless else None

    @cached_property
    def is_united(self) -> bool:
        """See `united`."""
        return self.unions.unites(self.node, self.axis)

    @property
    def is_left(self) -> bool:
        """Is this what is left where whole-axis and past reads are left out?"""
        return self._is_local

    @property
    def is_endless(self) -> bool:
        """Is the whole axis read, or all up to a position? `local` leaves such reads out."""
        return self.whole or bool(self.value.past)

    @property
    def carriers(self) -> tuple[int, ...]:
        """The node's own dims that carry the axis: its reads may vary along these, and along no other."""
        return self.shown.carriers

    @cached_property
    def dims(self) -> tuple[int, ...]:
        """The node's own dims along which its reads vary, all channels together.

        Where no law says so, those of the sets at the analysed size; where they happen to be the same
        everywhere at this size, all that may vary.
        """
        scans = (*self.scans, *self.value.past)
        moving = tuple(sorted({digit.dim for scan in scans for digit in scan.digits}))
        if all(scan.relation is not None for scan in scans):
            return moving
        along = self.at_size.sets_along(self.node, self.axis, moving, self._is_local)
        varying = (dim for dim in moving if along is None or varies(*along, dim))
        return tuple(varying) or moving

    @property
    def whence(self) -> Whence:
        """Where in the model came about what `causes`, `limits` and `marks` list."""
        limits: tuple[Trail | None, ...] = ()
        if not self.closed_form:
            limits = (self.value.limits,) if self.shown.has_steps else self.value.why_sized
        causes = (self.value.whole, self.value.since)
        return Whence.of(causes, limits, (self.value.marks,))

    @property
    def causes(self) -> tuple[Origin, ...]:
        """The nodes that read without a bound, each with the kind of read, in the order of the model."""
        origins = self.at_size.origins.of_all(self.whence.causes)
        return tuple(sorted(origins, key=self._place)) if self.value.since else origins

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Why the answer holds at the analysed size only: where that began, in the order of the model."""
        origins = self.at_size.origins.of_all(self.whence.limits)
        return tuple(Limit(*origin) for origin in sorted(origins, key=self._place))

    def _place(self, origin: tuple[str, str]) -> int:
        return self.at_size.order[origin[0]]

    @property
    def marks(self) -> tuple[Limit, ...]:
        """What the answer rests on beside rules: nodes whose law was inferred from measurements."""
        return tuple(Limit(*origin) for origin in self.at_size.origins.of_all(self.whence.marks))

    @property
    def local(self) -> AxisReads | None:
        """The same paths with whole-axis and past reads left out; None where nothing is left."""
        if not self.value.local:
            return None
        return self.bounded if self.is_endless else self

    @cached_property
    def bounded(self) -> AxisReads:
        """The same paths with whole-axis and past reads left out; it reads nothing where nothing is left."""
        value = replace(self.value, whole=None, past=(), since=None)
        return replace(self, value=value, _is_local=True)

    def hull(self, position: Position) -> tuple[int, int] | None:
        """The extremes of what a position reads at the analysed size; None where it reads nothing."""
        found = self.at_size.sets_at(self.node, self.axis, position, self._is_local)
        if found is None:
            return None
        lo, hi = found[0].hull(found[1])
        return (int(lo), int(hi)) if lo <= hi else None

    def members(self, position: Position) -> npt.NDArray[np.int64]:
        """All that a position reads at the analysed size, in ascending order.

        Raises:
            InputError: it is so much of so long an axis that hulls alone are told.
        """
        members = self.at_size.members(self.node, self.axis, position, self._is_local)
        if members is None:
            raise InputError(
                f"the sets of an axis of {self.at_size.length(self.axis)} positions exceed the memory "
                "budget: only hulls are known, ask region()"
            )
        return members
