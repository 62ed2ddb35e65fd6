"""The periodic domain: closed forms, valid at any input size where nothing says otherwise.

In: reads. Out: `Periodic` values: the local relation of the axis, whole reads, and why a closed form ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import is_
from typing import NamedTuple, TypeAlias

from rfgraph.algebra.digits import Digit, is_plain, plain
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node
from rfgraph.language.reads import Read, in_place, unmoved
from rfgraph.propagation.composition import Composition
from rfgraph.propagation.crops import both, cropped_alike, within
from rfgraph.propagation.growth import Growth
from rfgraph.propagation.masked import hides, leaves_out, masked_dims
from rfgraph.propagation.past import WRAPPED, unbounded, wraps_round
from rfgraph.propagation.scans import TOO_LONG, Scan, are_too_long
from rfgraph.propagation.trail import Trail, extend, merge

RESHAPE = "a reshape regroups the positions of this axis"
MEETING = "branches that move along the node's dims in different ways meet"
_MOST_SCANS = 8  # a union of more differently moving parts than this is not worth keeping apart


@dataclass(frozen=True, slots=True, eq=False)
class Periodic:
    """What one tensor reads of one axis.

    Attributes:
        local: the union of these scans, whole-axis and past reads left out; empty where nothing is left.
        past: what goes back without a bound: `relation` says what its bounded side reads.
        whole: the nodes that read the whole axis, with the kind of read; None where none does.
        since: the nodes that read all up to a position, with the kind of read; None where none does.
        limits: why this holds at the analysed size only; None where it holds at any size.
        marks: what it rests on beside rules: laws inferred from measurements.
        reshapes: since which nodes a reshape spreads the axis over dims; None where it lies along one.
        meetings: since which nodes there are scans that move in different ways; None where all move alike.
        wraps: since which nodes what lies before the beginning is read from the other end; None: none is.
        unmasked: of a tensor that a mask of the model hides positions of, what the others read; else None.
    """

    local: tuple[Scan, ...]
    past: tuple[Scan, ...] = ()
    whole: Trail | None = None
    since: Trail | None = None
    limits: Trail | None = None
    marks: Trail | None = None
    reshapes: Trail | None = None
    meetings: Trail | None = None
    wraps: Trail | None = None
    unmasked: Unmasked | None = None

    @property
    def scans(self) -> tuple[Scan, ...]:
        """Those of local and of past reads."""
        return self.local + self.past if self.past else self.local

    @property
    def trails(self) -> tuple[Trail | None, ...]:
        """Whole reads, past reads, limits, marks, reshapes, meetings, wraps."""
        told = self.whole, self.since, self.limits, self.marks
        return (*told, self.reshapes, self.meetings, self.wraps)

    @property
    def why_sized(self) -> tuple[Trail | None, ...]:
        """Why this holds at the analysed size only, and where that began."""
        return self.limits, self.reshapes, self.meetings


Dims: TypeAlias = Callable[[], Collection[int]]
"""Asked for where they are needed alone."""


class Unmasked(NamedTuple):
    """What a masked node reads where its mask hides nothing, at any size."""

    node: Node
    value: Periodic


_SOURCES = {dim: Periodic((Scan(Relation.identity(), plain(dim)),)) for dim in range(8)}

PICKED = "positions are picked of what the analysed size has there"


class PeriodicDomain:
    """Composes reads into periodic relations (`docs/theory.md`).

    `growth` knows the dims that an axis has for itself; without it, none are known.
    """

    def __init__(self, growth: Growth | None = None) -> None:
        self._growth = growth
        # A dense block joins the same prefix of branches again and again.
        self._joined: dict[tuple[Periodic, Periodic], Periodic] = {}

    def carrying(self, value: Periodic) -> frozenset[int]:
        """The dims of a tensor along which it reads the axis."""
        return frozenset(digit.dim for scan in value.scans for digit in scan.digits)

    def alike(self, one: Periodic, other: Periodic) -> bool:
        """At this size, and at any."""
        trails = (map(is_, each.trails, (None,) * len(each.trails)) for each in (one, other))
        return {*one.scans} == {*other.scans} and len({tuple(each) for each in trails}) == 1

    def of_this_size(self, value: Periodic, node: Node, dims: Collection[int]) -> Periodic:
        """Another size has others there, where a dim is longer with an axis; channels are the model's."""
        if self._growth is None or self._growth.growing(node.name).isdisjoint(dims):
            return value
        return replace(value, limits=extend(value.limits, node.name, PICKED))

    def initial(self, node: Node, dim: int) -> Periodic:
        return _SOURCES.get(dim) or Periodic((Scan(Relation.identity(), plain(dim)),))

    def keeps(self, read: Read, node: Node) -> bool:
        return read.dims is in_place(len(read.dims)) and node.masked is None

    def compose(self, value: Periodic, read: Read, node: Node) -> Periodic | None:
        if node.masked is not None:
            return self._masked(value, read, node)
        if value.unmasked is not None:
            value = self._left(value, read, node) or replace(value, unmasked=None)
        places = read.dims
        for scan in value.scans:  # a plain loop: this is asked of every axis of every operand
            for digit in scan.digits:
                if places[digit.dim] is not unmoved(digit.dim):
                    return self._composed(value, read, node)
        return value  # the axis stays where it is

    def _left(self, value: Periodic, read: Read, node: Node) -> Periodic | None:
        """What is read where a mask of the operand hides nothing, if all that is read lies there."""
        unmasked = value.unmasked
        is_left = unmasked is not None and leaves_out(read, unmasked.node, node)
        return unmasked.value if unmasked and is_left else None

    def _masked(self, value: Periodic, read: Read, node: Node) -> Periodic:
        """A constant mask fixes some positions: which ones read nothing is known at this size."""
        left = self._left(value, read, node)
        found = self._composed(left or value, read, node)
        moving = {digit.dim for scan in found.scans for digit in scan.digits}
        if node.masked is not None and node.masked.hiding is None:
            return replace(found, unmasked=Unmasked(node, found))
        if not moving or not hides(node, moving):
            return found
        digits = tuple(map(Digit, sorted(moving | masked_dims(node))))
        limits = merge(value.limits, found.limits) if left else found.limits
        limits = extend(limits, node.name, "a constant mask fixes positions at this size")
        local = (Scan(None, digits, crop=cropped_alike(found.local)),) if found.local else ()
        past = (Scan(None, digits, past=True),) if found.past else ()
        masked = replace(found, local=local, past=past, limits=limits)
        return _since(replace(masked, unmasked=Unmasked(node, found)), node)

    def _composed(self, value: Periodic, read: Read, node: Node) -> Periodic:
        scans: list[Scan] = []
        whole, since, limits, marks = value.whole, value.since, value.limits, value.marks
        operand, places, before, wraps = read.operand, read.dims, value.scans, value.wraps
        sizes = node.operand_shapes[operand]
        composition = Composition(places, sizes, node.shape, *self._grown(node, operand))
        told = _rates_clash(before)
        for scan in before:
            crops = scan.crop is not None
            for digit in scan.digits:
                place = places[digit.dim]
                crops = crops or place.bounded
                if place.mark:
                    marks = extend(marks, node.name, place.mark)
                if place.at is not None and wraps_round(place, sizes[digit.dim], node.shape):
                    wraps = extend(wraps, node.name, WRAPPED)
            step = composition.step(scan)
            if crops:
                step = within(scan, step, composition, partial(self._growing, node, operand))
            if step.whole:
                whole = extend(whole, node.name, step.whole)
            if step.past:
                since = extend(since, node.name, step.past)
                step, limits = unbounded(step, wraps), merge(limits, wraps)
            if step.limit:
                limits = extend(limits, node.name, step.limit)
            if step.scan is not None and step.scan not in scans:
                clash = _absorb(scans, step.scan)
                limits = extend(limits, node.name, clash) if clash and not told else limits
        trails = whole, since, limits, marks, value.reshapes, value.meetings, wraps
        return _since(Periodic(*_apart(scans), *trails), node)

    def _grown(self, node: Node, operand: int) -> tuple[Dims, Dims]:
        """The dims of an operand that the axis has for itself, and those that several axes share."""
        if self._growth is None:
            return tuple, tuple
        name = node.operands[operand]
        return partial(self._growth.own, name), partial(self._growth.merged, name)

    def _growing(self, node: Node, operand: int) -> Collection[int]:
        """The dims of an operand that are longer where an axis is."""
        return () if self._growth is None else self._growth.growing(node.operands[operand])

    def join(self, values: Sequence[Periodic], node: Node) -> Periodic | None:
        if not values:
            return None
        result = values[0]
        for value in values[1:]:
            if value is not result:
                pair = (result, value)
                joined = self._joined.get(pair)
                if joined is None:
                    joined, begins = _join(result, value, node)
                    if not begins:  # what begins at a node is told at each node where it does
                        self._joined[pair] = joined
                result = joined
        return result


def _rates_clash(scans: Sequence[Scan]) -> bool:
    """Do some move alike, which are apart since their rates differ?"""
    return len(scans) > 1 and len({(scan.digits, scan.past) for scan in scans}) < len(scans)


def _join(one: Periodic, other: Periodic, node: Node) -> tuple[Periodic, bool]:
    """The union of two values; True where it says that something begins at this node."""
    scans, clash = list(one.scans), ""
    for scan in other.scans:
        if scan not in scans:
            clash = _absorb(scans, scan) or clash
    trails = map(merge, one.trails, other.trails)
    whole, since, limits, marks, reshapes, meetings, wraps = trails
    if clash:
        limits = extend(limits, node.name, clash)
    too_many = len(scans) > _MOST_SCANS
    if too_many:
        dims = sorted({digit.dim for scan in scans for digit in scan.digits})
        crop = cropped_alike(scans)
        scans = [
            Scan(None, tuple(map(Digit, dims)), past, crop)
            for past in {scan.past for scan in scans}
        ]
        limits = extend(limits, node.name, "too many differently moving branches meet")
    told = whole, since, limits, marks, reshapes, meetings, wraps
    unmasked, begins = _join_unmasked(one, other, node)
    joined = _since(Periodic(*_apart(scans), *told, unmasked), node)
    meets = meetings is None and joined.meetings is not None
    is_one = joined.scans == one.scans and all(map(is_, joined.trails, one.trails))
    return (one if is_one and not unmasked else joined), clash != "" or too_many or meets or begins


def _join_unmasked(one: Periodic, other: Periodic, node: Node) -> tuple[Unmasked | None, bool]:
    """Of two values of one node, what they read where its mask hides nothing; see `_join`."""
    if node.masked is None or one.unmasked is other.unmasked is None:
        return None, False
    first, second = (each.unmasked.value if each.unmasked else each for each in (one, other))
    joined, begins = _join(first, second, node)
    return Unmasked(node, joined), begins


def _since(value: Periodic, node: Node) -> Periodic:
    """What this node makes, with since which nodes its scans are not one along one dim, if they are not."""
    reshapes, meetings, local = value.reshapes, value.meetings, value.scans
    if reshapes is meetings is None and (
        not local or (len(local) == 1 and is_plain(local[0].digits))
    ):
        return value  # as most are
    spread = [scan for scan in local if not is_plain(scan.digits)]
    if not spread:
        reshapes = None
    elif reshapes is None and any(scan.relation is not None for scan in spread):
        reshapes = extend(None, node.name, RESHAPE)
    if len({scan.digits for scan in local}) < 2:
        meetings = None
    elif meetings is None:
        meetings = extend(None, node.name, MEETING)
    if reshapes is value.reshapes and meetings is value.meetings:
        return value
    return replace(value, reshapes=reshapes, meetings=meetings)


def _apart(scans: Sequence[Scan]) -> tuple[tuple[Scan, ...], tuple[Scan, ...]]:
    """Local scans, and those that go back without a bound."""
    past = tuple([scan for scan in scans if scan.past])
    return (tuple([scan for scan in scans if not scan.past]), past) if past else (tuple(scans), ())


def _absorb(scans: list[Scan], scan: Scan) -> str:
    """Join `scan` into the one that moves alike, or append it. Returns the clash of rates, if any."""
    clash = ""
    for i, mine in enumerate(scans):
        if mine.digits != scan.digits or mine.past != scan.past:
            continue
        if mine.relation is None or scan.relation is None:
            continue
        if not mine.relation.joinable(scan.relation):
            clash = (
                f"rate mismatch: branches of effective strides {mine.relation.stride} "
                f"and {scan.relation.stride} meet"
            )
        elif are_too_long(mine.relation, scan.relation):
            clash = TOO_LONG
        else:
            joined = mine.relation.join(scan.relation)
            if joined is not mine.relation or scan.crop != mine.crop:
                scans[i] = replace(mine, relation=joined, crop=both(mine.crop, scan.crop))
            return ""
    scans.append(scan)
    return clash
