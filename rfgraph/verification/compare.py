"""`hold`: what the analysis claims of one position along one axis, against what a probe has seen there.

In: a claim, the positions that were seen. Out: an entry of the ledger. Also: at which positions of a node
it is worth to ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from rfgraph.errors import InputError
from rfgraph.graph import Axis, Indices, Marks, Position
from rfgraph.report import Report
from rfgraph.report.axis import AxisReads
from rfgraph.verification.ledger import Entry
from rfgraph.verification.verdicts import Kind, Mismatch, Verdict

_BOUNDS = frozenset(("data-dependent", "measured", "unknown"))
"""Kinds of whole reads that claim to be upper bounds and no more."""
_NOTHING: Indices = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Claim:
    """What the analysis says that a position reads along an axis, sorted.

    Attributes:
        exact: False: it reads some of these, from the first to the last.
        bound: the analysis itself says that fewer may be read.
        local: the reads of a whole axis are left out.
    """

    members: Indices
    exact: bool = True
    bound: bool = False
    local: bool = False


def claim(reads: AxisReads | None, position: Position, local: bool = False) -> Claim:
    """What the analysis says of a position; `local`: without the reads of a whole axis."""
    bound = reads is not None and any(cause.text in _BOUNDS for cause in reads.causes)
    source = reads.local if local and reads is not None else reads
    if source is None:
        return Claim(_NOTHING, True, bound, local)
    try:
        return Claim(source.members(position), True, bound, local)
    except InputError:  # an axis so long that hulls alone are kept
        hull = source.hull(position)
        members = _NOTHING if hull is None else np.arange(hull[0], hull[1] + 1)
        return Claim(members, False, bound, local)


def hold(node: str, axis: Axis, position: Position, claimed: Claim, seen: Indices) -> Entry:
    """One position of a node along one axis: the claim of the analysis against what the gradient has seen."""
    verdict = verdict_of(claimed, seen)
    firm = claimed.exact and not claimed.bound
    if verdict == "equal" or (verdict == "inside" and not firm):
        return Entry(node, "gradient", verdict, 1)
    kind: Kind = "understated" if verdict == "outside" else "overstated"
    sides = tuple(map(int, claimed.members)), tuple(map(int, seen))
    mismatch = Mismatch(node, "gradient", kind, axis, dict(position), *sides, claimed.local)
    return Entry(node, "gradient", verdict, 1, mismatch)


def verdict_of(claimed: Claim, seen: Indices) -> Verdict:
    """How the positions that a probe has seen lie in those that are claimed."""
    members = claimed.members
    if not np.isin(seen, members).all():
        return "outside"
    if claimed.exact or not len(members):
        return "equal" if len(seen) == len(members) else "inside"
    ends = len(seen) > 0 and seen[0] == members[0] and seen[-1] == members[-1]
    return "equal" if ends else "inside"


def projected(mask: Marks, dim: int) -> Indices:
    """The positions along one dim at which a mask holds anything."""
    others = tuple(d for d in range(mask.ndim) if d != dim)
    return np.flatnonzero(mask.any(axis=others))


# --- where to ask -----------------------------------------------------------------------------------


def at(report: Report, name: str, axis: Axis) -> AxisReads | None:
    """What a node reads along an axis; None where no path leads there."""
    reads = report[name].at(axis)
    return reads if reads.is_connected else None


def views_of(report: Report, name: str) -> list[tuple[int, ...]]:
    """The dims over which positions are told apart: those that carry an axis, all others united.

    Where the analysis says that an axis is read whole, and carried by no dim, the numbers could show it
    along any dim: each of them in turn, too.
    """
    reads = [each for axis in report.axes if (each := at(report, name, axis)) is not None]
    own = tuple(sorted({dim for each in reads for dim in each.carriers}))
    if not any(each.whole and not each.carriers for each in reads):
        return [own or report[name].dims]
    sizes = enumerate(report[name].shape)
    return list(dict.fromkeys([own, *((dim,) for dim, size in sizes if size > 1)]))


def positions_of(report: Report, name: str, limit: int) -> Iterator[Position]:
    """Borders, the centre and every phase behind it, along all dims of a view at a time."""
    reads = (at(report, name, axis) for axis in report.axes)
    period = max((each.period or 1 for each in reads if each is not None), default=1)
    for dims in views_of(report, name):
        sizes = [report[name].shape[dim] for dim in dims]
        if 0 in sizes:
            continue
        for position in islice(_corners_and_phases(sizes, min(period, limit)), limit):
            yield dict(zip(dims, position, strict=True))


def _corners_and_phases(sizes: Sequence[int], period: int) -> Iterator[tuple[int, ...]]:
    places = [
        list(dict.fromkeys([0, n - 1, *((n // 2 + phase) % n for phase in range(period))]))
        for n in sizes
    ]
    mixed = [  # the centre of each dim beside the borders of the others
        tuple(p[2 % len(p)] if number == d else p[0] for number, p in enumerate(places))
        for d in range(len(places))
    ]
    count = max(map(len, places), default=1)
    together = [tuple(place[k % len(place)] for place in places) for k in range(count)]
    yield from dict.fromkeys([*mixed, *together])
