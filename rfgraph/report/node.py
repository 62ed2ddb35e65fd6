"""`NodeReport`: one node of a model, and what it reads of each input.

In: a node, what it reads along each tracked axis. Out: fields, and the answers for single positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index

from rfgraph.errors import InputError
from rfgraph.graph import Axis, Indices, Node, Position
from rfgraph.report.axis import AxisReads
from rfgraph.report.field import ReceptiveField
from rfgraph.report.figures import PlainData, plain_data
from rfgraph.report.origins import Interned


def _indices(position: object) -> tuple[int, ...]:
    """A position as integers, of Python or numpy."""
    entries = position if isinstance(position, Iterable) else (position,)
    try:
        return tuple(map(index, entries))
    except TypeError:
        raise InputError(
            f"a position is an integer or a tuple of integers, got {position!r}"
        ) from None


@dataclass(frozen=True, eq=False)
class NodeReport:
    """One node of the model: what it is, and what it reads of each input (`rfs`)."""

    _node: Node
    _along: Mapping[Axis, AxisReads]

    @property
    def name(self) -> str:
        """Dotted module path; see `Node.name`."""
        return self._node.name

    @property
    def op(self) -> str:
        """Canonical operator, e.g. `conv2d`."""
        return self._node.op

    @property
    def module(self) -> str:
        """Class name of its module."""
        return self._node.module

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor, as analysed."""
        return self._node.shape

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the nodes it reads."""
        return self._node.operands

    @property
    def source(self) -> str:
        """`file:line` in the model's code."""
        return self._node.source

    @cached_property
    def rfs(self) -> Mapping[str, ReceptiveField]:
        """The field in each input that the node reads, by the input's name."""
        fields: dict[str, list[AxisReads]] = {}
        for axis, reads in self._along.items():
            if reads.is_connected:
                fields.setdefault(axis.input, []).append(reads)
        return {input: ReceptiveField(axes) for input, axes in fields.items()}

    def at(self, axis: Axis) -> AxisReads:
        """What it reads along an axis of `report.axes`; nothing, where it does not read the axis' input.

        Raises:
            InputError: this axis is not tracked.
        """
        if axis not in self._along:
            tracked = ", ".join(f"dim {dim} of {input!r}" for input, dim in self._along)
            raise InputError(f"{axis!r} is not tracked: the tracked axes are {tracked}")
        return self._along[axis]

    @property
    def rf(self) -> ReceptiveField:
        """The field in the model's only input.

        Raises:
            InputError: the model has several inputs (use `rfs[name]`), or the node reads none.
        """
        if len(self.rfs) != 1:
            told = (
                f"the inputs {sorted(self.rfs)}: use .rfs[name]" if self.rfs else "no tracked input"
            )
            raise InputError(f"node {self.name!r} reads {told}")
        return next(iter(self.rfs.values()))

    @property
    def dims(self) -> tuple[int, ...]:
        """The node's own dims that index space; where everything is read whole, its dims from 2 on."""
        found = {dim for field in self.rfs.values() for dim in field.dims}
        return tuple(sorted(found)) or tuple(range(2, len(self.shape)))

    def region(
        self, position: int | Sequence[int], input: str | None = None
    ) -> tuple[tuple[int, int], ...] | None:
        """The inclusive hull `(lo, hi)`, per tracked axis, of what one position reads at the analysed size.

        Borders included: what would fall into padding is not counted. None where nothing is read.

        Args:
            position: a tuple over `dims` (what any channel there reads), or over all dims of the node;
                an int where the node has one such dim.
            input: which input, where the model has several.

        Raises:
            InputError: a position outside the node, or an unknown input.
        """
        field = self._field(input)
        where = self._position(position, self.dims)
        hulls = [reads.hull(where) for reads in field]
        return None if None in hulls else tuple(hull for hull in hulls if hull is not None)

    def reads(self, axis: int, position: int | Sequence[int], input: str | None = None) -> Indices:
        """The exact indices that one position reads along tracked axis number `axis`, in ascending order.

        Raises:
            InputError: as `region`; also where it is so much of so long an axis that hulls alone are told.
        """
        field = self._field(input)
        if not 0 <= axis < len(field):
            raise InputError(f"{self.name!r} has {len(field)} tracked axes and no axis {axis}")
        dims = self.dims if isinstance(position, Iterable) else field[axis].dims
        return field[axis].members(self._position(position, dims or self.dims))

    def _field(self, input: str | None) -> ReceptiveField:
        if input is None:
            return self.rf
        if input not in self.rfs:
            raise InputError(f"node {self.name!r} does not read input {input!r}")
        return self.rfs[input]

    def _position(self, position: int | Sequence[int], dims: Sequence[int]) -> Position:
        """What a caller gives, over `dims` or over all of them, as a position."""
        given = _indices(position)
        dims = range(len(self.shape)) if len(given) == len(self.shape) else dims
        if len(given) != len(dims):
            raise InputError(
                f"a position in {self.name!r} is {len(dims)} integers, over its dims {tuple(dims)}, "
                f"or {len(self.shape)}, over all of them; got {position!r}"
            )
        where = dict(zip(dims, given, strict=True))
        if any(not 0 <= place < self.shape[dim] for dim, place in where.items()):
            raise InputError(f"{self.name!r} has shape {self.shape}: no position {position!r}")
        return where

    def __repr__(self) -> str:
        return f"NodeReport({self.name!r}, {self.op}, {dict(self.rfs)})"

    def to_dict(self, interned: Interned | None = None) -> PlainData:
        """Plain data for JSON; `interned`: see `ReceptiveField.to_dict`."""
        names = ("name", "op", "module", "shape", "operands", "source", "dims")
        fields = {name: field.to_dict(interned) for name, field in self.rfs.items()}
        return {**{name: plain_data(getattr(self, name)) for name in names}, "rfs": fields}
