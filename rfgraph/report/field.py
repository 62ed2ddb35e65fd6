"""`ReceptiveField`: what one position of a node reads of one input, axis by axis.

In: the reads of a node along each axis of the input. Out: the figures of each, and what they say together.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from rfgraph.algebra.relation import Relation
from rfgraph.report.axis import AxisReads, Figures, Limit, figures
from rfgraph.report.figures import PlainData, each, number, plain_data
from rfgraph.report.origins import Interned


class Cause(NamedTuple):
    """A node that reads an input axis without a bound, the kind of read, and the numbers of its axes."""

    node: str
    kind: str
    axes: tuple[int, ...]


class ReceptiveField(Figures, tuple[AxisReads, ...]):
    """What one position of a node reads of one input: one `AxisReads` for each of its tracked axes, in order.

    Every figure is a tuple with one entry for each axis, in input pixels: `field.size[0]` is `field[0].size`.

    Where the whole axis is read (`whole`), `size`, `reach`, `lookahead` and `halo` are `math.inf` and
    what depends on the position is None: ask `local`. Where no relation describes the reads (`limits` say
    why), sizes, strides and offsets are counted at the analysed size, borders included, and the figures
    that only a relation has are None.
    """

    def center(self, output: int) -> tuple[Fraction | None, ...]:
        """`(lo + hi) / 2` of what position `output` reads, along each axis."""
        return tuple(reads.center(output) for reads in self)

    @property
    def relations(self) -> tuple[Relation | None, ...]:
        """The relation from positions along the node's own dim to input positions, where there is one.

        None for a whole read, and where a reshape has spread the axis over the node's dims.
        """
        return tuple(reads.relation for reads in self)

    @property
    def dims(self) -> tuple[int, ...]:
        """The node's own dims along which its reads vary."""
        return tuple(sorted({dim for reads in self for dim in reads.dims}))

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The nodes that read an axis whole, or all of it up to a position, in the order of the model."""
        axes: dict[tuple[str, str], list[int]] = {}
        for place, reads in enumerate(self):
            for origin in reads.causes:
                axes.setdefault(origin, []).append(place)
        return tuple(Cause(node, kind, tuple(places)) for (node, kind), places in axes.items())

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Why the answer holds at the analysed size only, and the nodes where that began."""
        return tuple(dict.fromkeys(limit for reads in self for limit in reads.limits))

    @property
    def marks(self) -> tuple[Limit, ...]:
        """What the answer rests on beside rules: nodes whose law was inferred from measurements."""
        return tuple(dict.fromkeys(mark for reads in self for mark in reads.marks))

    @property
    def local(self) -> ReceptiveField | None:
        """The field along the same paths without whole-axis and past reads; None where nothing is left."""
        if all(reads.local is None for reads in self):
            return None
        return ReceptiveField(reads.bounded for reads in self) if self.is_endless else self

    @property
    def is_endless(self) -> bool:
        """Is some axis read whole, or all of it up to a position?"""
        return any(reads.is_endless for reads in self)

    def __repr__(self) -> str:
        sizes = each(self.size, number)
        return f"ReceptiveField(size={sizes}, stride={each(self.stride, number)})"

    def to_dict(self, interned: Interned | None = None) -> PlainData:
        """Plain data for JSON: `null` for an infinite size (see `whole`), a string for a fraction.

        With `interned`, causes, limits and marks are the numbers of its entries, one an axis.
        """
        told: PlainData = (
            {
                "causes": [{**cause._asdict(), "axes": list(cause.axes)} for cause in self.causes],
                "limits": [limit._asdict() for limit in self.limits],
                "marks": [mark._asdict() for mark in self.marks],
            }
            if interned is None
            else interned.row([reads.whence for reads in self])
        )
        local = self.local if self.is_endless else None
        return {
            **{name: plain_data(getattr(self, name)) for name in figures("json")},
            **told,
            "local": None if local is None else local.to_dict(interned),
        }
