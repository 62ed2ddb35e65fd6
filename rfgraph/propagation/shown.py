"""`Shown`: an abstract value as a row shows it, and whether it holds at any size.

In: a periodic value, the shape of its tensor, the dims that an axis has for itself. Out: scans and
relations in steps of the tensor's own dims.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property, reduce

from rfgraph.algebra.digits import is_plain
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Shape
from rfgraph.propagation.periodic import Periodic
from rfgraph.propagation.scans import Scan, shown


@dataclass(frozen=True, eq=False)
class Shown:
    """A value in steps of its tensor's own dims, where it has a form in those.

    `own`: the dims that one axis has for itself.
    """

    value: Periodic
    shape: Shape
    own: Callable[[], Collection[int]]

    @cached_property
    def scans(self) -> tuple[Scan, ...]:
        """The local reads."""
        return shown(self.value.local, self.shape, self.own)

    @property
    def law(self) -> Relation | None:
        """The relation of all local reads, over one coordinate; None where there is none."""
        if not self.scans:
            return Relation.nothing()
        return self.scans[0].relation if len(self.scans) == 1 else None

    @cached_property
    def end(self) -> Relation | None:
        """Of a past read: the relation whose right side is where it ends, local reads included; or None."""
        scans = (*self.scans, *self.value.past)
        laws = [scan.relation for scan in scans if scan.relation is not None]
        is_one = len({scan.digits for scan in scans}) == 1 and is_plain(scans[0].digits)
        if not self.value.past or not is_one or len(laws) < len(scans):
            return None
        return reduce(Relation.join, laws) if all(map(laws[0].joinable, laws)) else None

    @property
    def has_steps(self) -> bool:
        """One law in steps of the tensor's own, or no reads that move."""
        return self.law is not None and all(is_plain(scan.digits) for scan in self.scans)

    @property
    def is_closed(self) -> bool:
        """Does it hold at any size? Nothing, and the whole axis, do."""
        if self.value.past:
            return self.value.limits is None and self.end is not None
        return self.has_steps and (self.value.limits is None or not self.value.local)

    @property
    def carriers(self) -> tuple[int, ...]:
        """The tensor's dims that carry the axis: its reads may vary along these, and along no other."""
        return tuple(sorted({digit.dim for scan in self.value.scans for digit in scan.digits}))
