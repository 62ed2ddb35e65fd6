"""The periodic domain: closed forms, valid at any input size where nothing says otherwise.

In: reads. Out: `Periodic` values: the local relation of the axis, whole reads, and why a closed form ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import gcd
from operator import is_

from rfgraph.algebra.digits import Digit, Digits, growing, is_plain, plain, stretch, tidy
from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Shape
from rfgraph.language.reads import Law, Place, Read, unmoved
from rfgraph.propagation.growth import Growth
from rfgraph.propagation.masked import masked_dims
from rfgraph.propagation.scans import Scan, along_one, among_channels, folded
from rfgraph.propagation.trail import Origin, Trail, extend, merge

RESHAPE = "a reshape regroups the positions of this axis"
MEETING = "branches that move along the node's dims in different ways meet"
GROUP = "reads a group of positions whole, as many as the analysed size has"
SPLIT = (
    "a reshape splits this axis into a fixed number of parts, whose length the analysed size has"
)
_MOST_SCANS = 8  # a union of more differently moving parts than this is not worth keeping apart


@dataclass(frozen=True, slots=True, eq=False)
class Periodic:
    """What one tensor reads of one axis.

    Attributes:
        local: the union of these scans, whole-axis reads left out; empty where nothing local is left.
        whole: the nodes that read the whole axis, with the kind of read; None where none does.
        limits: why this holds at the analysed size only; None where it holds at any size.
        marks: what it rests on beside rules: laws inferred from measurements.
        reshapes: since which nodes a reshape spreads the axis over dims; None where it lies along one.
        meetings: since which nodes there are scans that move in different ways; None where all move alike.
    """

    local: tuple[Scan, ...]
    whole: Trail | None = None
    limits: Trail | None = None
    marks: Trail | None = None
    reshapes: Trail | None = None
    meetings: Trail | None = None

    @property
    def trails(self) -> tuple[Trail | None, ...]:
        """Whole reads, limits, marks, reshapes, meetings."""
        return self.whole, self.limits, self.marks, self.reshapes, self.meetings

    @property
    def why_sized(self) -> Iterator[Origin]:
        """Why this holds at the analysed size only, and where that began."""
        for trail in (self.limits, self.reshapes, self.meetings):
            yield from trail or ()


_ORIGIN = Positions.progression(0, 1, 1)
_SOURCES = {dim: Periodic((Scan(Relation.identity(), plain(dim)),)) for dim in range(8)}


class PeriodicDomain:
    """Composes reads into periodic relations (`docs/theory.md`).

    `growth` knows the dims that an axis has for itself; without it, none are known.
    """

    def __init__(self, growth: Growth | None = None) -> None:
        self._growth = growth
        # A dense block joins the same prefix of branches again and again.
        self._joined: dict[tuple[Periodic, Periodic], Periodic] = {}

    def initial(self, node: Node, dim: int) -> Periodic:
        return _SOURCES.get(dim) or Periodic((Scan(Relation.identity(), plain(dim)),))

    def compose(self, value: Periodic, read: Read, node: Node) -> Periodic | None:
        if node.masked is not None:
            return self._masked(value, read, node)
        places = read.dims
        for scan in value.local:  # a plain loop: this is asked of every axis of every operand
            for digit in scan.digits:
                if places[digit.dim] is not unmoved(digit.dim):
                    return self._composed(value, read, node)
        return value  # the axis stays where it is

    def _masked(self, value: Periodic, read: Read, node: Node) -> Periodic:
        """A constant mask fixes some positions: which ones read nothing is known at this size."""
        found = self._composed(value, read, node)
        moving = {digit.dim for scan in found.local for digit in scan.digits}
        if not moving:
            return found
        digits = tuple(map(Digit, sorted(moving | masked_dims(node))))
        limits = extend(found.limits, node.name, "a constant mask fixes positions at this size")
        return _since(replace(found, local=(Scan(None, digits),), limits=limits), node)

    def _composed(self, value: Periodic, read: Read, node: Node) -> Periodic:
        scans: list[Scan] = []
        whole, limits, marks = value.whole, value.limits, value.marks
        operand, growth = read.operand, self._growth
        own = partial(growth.own, node.operands[operand]) if growth else tuple
        step_of = _Composition(read.dims, node.operand_shapes[operand], node.shape, own).step
        for scan in value.local:
            step = step_of(scan)
            if step.whole:
                whole = extend(whole, node.name, step.whole)
            if step.limit:
                limits = extend(limits, node.name, step.limit)
            for digit in scan.digits:
                if read.dims[digit.dim].mark:
                    marks = extend(marks, node.name, read.dims[digit.dim].mark)
            if step.scan is not None and step.scan not in scans:
                clash = _absorb(scans, step.scan)
                limits = extend(limits, node.name, clash) if clash else limits
        trails = whole, limits, marks, value.reshapes, value.meetings
        return _since(Periodic(tuple(scans), *trails), node)

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


@dataclass(frozen=True, slots=True)
class _Step:
    """What becomes of a scan: a scan again, or a whole read of some kind; and why at this size only."""

    scan: Scan | None
    whole: str = ""
    limit: str = ""


@dataclass(frozen=True, slots=True)
class _Composition:
    """One read of an operand, applied to scans: what becomes of each.

    Attributes:
        places: what is read, dim by dim, of a tensor of `operand_shape`, by one of `shape`.
        own: the operand's dims that the axis has for itself.
    """

    places: tuple[Place, ...]
    operand_shape: Shape
    shape: Shape
    own: Callable[[], Collection[int]]

    def step(self, scan: Scan) -> _Step:
        """What becomes of a scan."""
        places = self.places
        if not scan.digits:
            return _Step(scan)  # a constant, whichever positions are read
        dim, relation = scan.digits[0].dim, scan.relation
        if relation is not None and scan.digits == plain(dim):
            step = _compose_plain(relation, places[dim])
            if step is not None:
                return step
        renamed = _renamed(scan, places)
        if renamed is not None:
            return _Step(renamed)
        if relation is None:
            return _unresolved(scan.digits, places)
        read = [places[digit.dim] for digit in scan.digits]
        lawless = next((place for place in read if place.law is None and len(place.dims) > 1), None)
        if lawless is not None:
            return _unresolved(scan.digits, places, lawless.reason)
        gone = any(map(_is_gone, read))
        return self.reduced(relation, scan.digits) if gone else self.moved(relation, scan.digits)

    def reduced(self, relation: Relation, digits: Digits) -> _Step:
        """Digits that are read whole or at a fixed position: what they add to z is the relation's."""
        grows = growing(digits, self.operand_shape)
        kept: list[Digit] = []
        spread = _ORIGIN
        kinds: list[str] = []
        limits: list[str] = []
        for digit in digits:
            place = self.places[digit.dim]
            if not _is_gone(place):
                kept.append(digit)
                continue
            added = _added(digit, place, self.operand_shape[digit.dim])
            if added is None:
                return _Step(None)  # a position put before the axis, such as a class token
            spread = spread.plus(added)
            kinds += [place.kind] * place.is_whole
            if digit is grows:  # the others are as many at any size
                limits.append(GROUP if place.is_whole else place.reason)
            elif digit.sized and added != _ORIGIN:
                limits.append(SPLIT)
        if len(kinds) == len(digits):
            return _Step(None, whole=kinds[0])
        if any(digit.sized for digit in kept) and gcd(*(digit.coefficient for digit in kept)) > 1:
            limits.append(SPLIT)
        limit = next(filter(None, limits), "")
        relation = Relation(1, 1, (spread,)).compose(relation)
        if not kept:
            return _Step(Scan(Relation.constant(relation.at(0)), ()), limit=limit)
        step = self.step(folded(relation, kept))
        return replace(step, limit=limit or step.limit)

    def moved(self, relation: Relation, digits: Digits) -> _Step:
        """Digits that the output moves along: each is renamed, moved or split by itself."""
        regroups = any(_regroups(self.places[digit.dim]) for digit in digits)
        kept: list[Digit] = []
        spread = _ORIGIN  # what the moves leave out of z
        for digit in digits:
            place = self.places[digit.dim]
            moved = None if place.law is None else _move(digit, place.law, self.shape)
            if moved is None and regroups:
                moved = _repeated(digit, place.law)
            if moved is None:
                flat = self.flattened(Scan(relation, digits), regroups)
                return flat or _unresolved(digits, self.places, _cut(place))
            kept += moved[0]
            spread = spread.plus(moved[1])
        reason = self.places[growing(digits, self.operand_shape).dim].reason
        return _Step(folded(Relation(1, 1, (spread,)).compose(relation), kept), limit=reason)

    def flattened(self, scan: Scan, regroups: bool) -> _Step | None:
        """The same in steps of the dim that the axis has for itself, if it has one: there is a relation."""
        flat = along_one(scan, self.own)
        if flat is None and not regroups:
            flat = among_channels(scan, self.operand_shape)
        return None if flat is None or flat.digits == scan.digits else self.step(flat)


def _renamed(scan: Scan, places: tuple[Place, ...]) -> Scan | None:
    """The scan, where its dims are but put in another order, as most reads do; None for any other read."""
    digits: list[Digit] = []
    for digit in scan.digits:
        place = places[digit.dim]
        if not place.dims or place is not unmoved(place.dims[0]):
            return None
        digits.append(Digit(place.dims[0], *digit[1:]))
    unresolved = scan.relation is None  # then one digit says that the reads vary along its dim
    return Scan(scan.relation, tuple(sorted(set(digits))) if unresolved else tidy(digits))


def _compose_plain(relation: Relation, place: Place) -> _Step | None:
    """The common case: the axis lies along one dim, unmoved. None: in a reshape."""
    law = place.law
    if law is None:
        if place.is_whole:
            return _Step(None, whole=place.kind)
        return _Step(Scan(None, tuple(map(Digit, sorted(place.dims)))), limit=place.reason)
    if law.extent is not None:
        return None
    if not law.digits:
        return _Step(Scan(_constant(relation, law), ()), limit=place.reason)
    return _Step(Scan(law.relation.compose(relation), law.digits), limit=place.reason)


def _constant(relation: Relation, law: Law) -> Relation:
    """What is read where one position is picked, whatever the output's."""
    return Relation.constant(relation.at(law.relation.sets[0].lo))


def _regroups(place: Place) -> bool:
    """It is a place of a number, as one dim of a reshape is."""
    return place.law is not None and place.law.extent is not None


def _is_gone(place: Place) -> bool:
    """The output does not move along it: it is read whole, or at a fixed position."""
    return place.is_whole or (place.law is not None and not place.law.digits)


def _added(digit: Digit, place: Place, size: int) -> Positions | None:
    """What a digit that is gone adds to z; None where the position lies before the axis."""
    if place.law is None:
        return Positions.progression(0, digit.coefficient, digit.count(size))
    index = place.law.relation.sets[0].lo
    return None if index < digit.shift else Positions.of([digit.at(index)])


def _move(digit: Digit, law: Law, shape: Shape) -> tuple[Sequence[Digit], Positions] | None:
    """The digits of the output that a digit becomes, and what they leave out of z; None where none do."""
    if law.extent is not None:
        parts = stretch(digit, law.digits, law.weight, law.extent, shape)
        return None if parts is None else (parts, _ORIGIN)
    if law.relation.period != 1 or len(law.digits) != 1 or not law.digits[0].is_index:
        return None
    reads, ((target, scale, *_),) = law.relation.sets[0], law.digits
    if digit.is_index:
        coefficient = digit.coefficient
        moved = digit._replace(dim=target, coefficient=coefficient * law.relation.advance * scale)
        return ([moved], reads.scale(coefficient)) if law.relation.advance else None
    if law.relation.advance == scale == 1 and reads.length == 1:
        return [digit._replace(dim=target, shift=digit.shift - reads.lo)], _ORIGIN
    return None


def _repeated(digit: Digit, law: Law | None) -> tuple[Sequence[Digit], Positions] | None:
    """The digit where an operator repeats every position, as nearest upsampling does; None for any other."""
    if law is None or law.extent is not None or len(law.digits) != 1:
        return None
    factor = law.relation.period
    if not (digit.is_index and law.digits[0].is_index and law.relation is Relation.spread(factor)):
        return None
    return [digit._replace(dim=law.digits[0].dim, weight=factor)], _ORIGIN


def _cut(place: Place) -> str:
    """Why no digits say what is read."""
    if _regroups(place):
        return "a reshape cuts across the axis"
    return "an operator slides over regrouped positions"


def _unresolved(digits: Digits, places: tuple[Place, ...], limit: str = "") -> _Step:
    """No relation says how the reads vary; along which dims they may vary is still known."""
    read = [places[digit.dim] for digit in digits]
    varying = sorted({dim for place in read for dim in place.dims})
    kinds = [place.kind for place in read if place.is_whole]
    if kinds and not varying:
        return _Step(None, whole=kinds[0])
    return _Step(Scan(None, tuple(map(Digit, varying))), limit=limit)


def _join(one: Periodic, other: Periodic, node: Node) -> tuple[Periodic, bool]:
    """The union of two values; True where it says that something begins at this node."""
    scans, clash = list(one.local), ""
    for scan in other.local:
        if scan not in scans:
            clash = _absorb(scans, scan) or clash
    whole, limits, marks, reshapes, meetings = map(merge, one.trails, other.trails)
    if clash:
        limits = extend(limits, node.name, clash)
    too_many = len(scans) > _MOST_SCANS
    if too_many:
        dims = sorted({digit.dim for scan in scans for digit in scan.digits})
        scans = [Scan(None, tuple(map(Digit, dims)))]
        limits = extend(limits, node.name, "too many differently moving branches meet")
    joined = _since(Periodic(tuple(scans), whole, limits, marks, reshapes, meetings), node)
    meets = meetings is None and joined.meetings is not None
    is_one = joined.local == one.local and all(map(is_, joined.trails, one.trails))
    return (one if is_one else joined), bool(clash) or too_many or meets


def _since(value: Periodic, node: Node) -> Periodic:
    """What this node makes, with since which nodes its scans are not one along one dim, if they are not."""
    reshapes, meetings, local = value.reshapes, value.meetings, value.local
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


def _absorb(scans: list[Scan], scan: Scan) -> str:
    """Join `scan` into the one that moves alike, or append it. Returns the clash of rates, if any."""
    clash = ""
    for i, mine in enumerate(scans):
        if mine.digits != scan.digits or mine.relation is None or scan.relation is None:
            continue
        if mine.relation.joinable(scan.relation):
            joined = mine.relation.join(scan.relation)
            scans[i] = mine if joined is mine.relation else replace(mine, relation=joined)
            return ""
        clash = (
            f"rate mismatch: branches of effective strides {mine.relation.stride} "
            f"and {scan.relation.stride} meet"
        )
    scans.append(scan)
    return clash
