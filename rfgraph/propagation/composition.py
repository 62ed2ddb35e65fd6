"""`Composition`: one read of an operand, applied to the scans of a value.

In: the places that a node reads, a scan. Out: a scan again, or a whole read; and why at this size only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from math import gcd
from typing import NamedTuple

from rfgraph.algebra.digits import Digit, Digits, growing, plain, stretch, tidy
from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Shape
from rfgraph.language.reads import Law, Place, unmoved
from rfgraph.propagation.past import begun, gone_on
from rfgraph.propagation.scans import (
    TOO_LONG,
    Scan,
    Step,
    along_one,
    among_channels,
    folded,
    is_too_long,
)

GROUP = "reads a group of positions whole, as many as the analysed size has"
SPLIT = (
    "a reshape splits this axis into a fixed number of parts, whose length the analysed size has"
)
MERGED = "a position is picked of merged axes, which is another at another size"
_ORIGIN = Positions.progression(0, 1, 1)


class Composition(NamedTuple):
    """One read of an operand, applied to scans: what becomes of each.

    Attributes:
        places: what is read, dim by dim, of a tensor of `operand_shape`, by one of `shape`.
        own: the operand's dims that the axis has for itself.
        merged: those that grow with several axes.
    """

    places: tuple[Place, ...]
    operand_shape: Shape
    shape: Shape
    own: Callable[[], Collection[int]]
    merged: Callable[[], Collection[int]]

    def step(self, scan: Scan) -> Step:
        """What becomes of a scan."""
        places = self.places
        if not scan.digits:
            return Step(scan)  # a constant, whichever positions are read
        if scan.past:
            renamed = _renamed(scan, places)
            return gone_on(scan, places) if renamed is None else Step(renamed)
        dim, relation = scan.digits[0].dim, scan.relation
        if relation is not None and scan.digits == plain(dim):
            step = _compose_plain(relation, places[dim])
            if step is not None:
                return step
        renamed = _renamed(scan, places)
        if renamed is not None:
            return Step(renamed)
        if relation is None:
            return _unresolved(scan.digits, places)
        read = [places[digit.dim] for digit in scan.digits]
        lawless = next((place for place in read if place.law is None and len(place.dims) > 1), None)
        if lawless is not None:
            return _unresolved(scan.digits, places, lawless.reason)
        gone = any(map(_is_gone, read))
        if not gone:
            return self.moved(relation, scan.digits)
        return self.reduced(relation, scan.digits, scan.crop is not None)

    def reduced(self, relation: Relation, digits: Digits, is_cropped: bool = False) -> Step:
        """Digits that are read whole or at a fixed position: what they add to z is the relation's.

        `is_cropped`: each takes as many values at any size.
        """
        grows = None if is_cropped else growing(digits, self.operand_shape)
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
                return Step(None)  # a position put before the axis, such as a class token
            spread = spread.plus(added)
            kinds += [place.kind] * place.is_whole
            if self.picks_of_merged(digit, place):
                limits.append(place.reason or MERGED)
            elif digit is grows:  # the others are as many at any size
                limits.append(GROUP if place.is_whole else place.reason)
            elif digit.sized and not is_cropped and added != _ORIGIN:
                limits.append(SPLIT)
        if len(kinds) == len(digits):
            return Step(None, whole=kinds[0])
        if (
            any(d.sized for d in kept)
            and not is_cropped
            and gcd(*(digit.coefficient for digit in kept)) > 1
        ):
            limits.append(SPLIT)
        limit = next(filter(None, limits), "")
        relation = Relation(1, 1, (spread,)).compose(relation)
        if not kept:
            return Step(Scan(Relation.constant(relation.at(0)), ()), limit=limit)
        step = self.step(folded(relation, kept))
        return replace(step, limit=limit or step.limit)

    def picks_of_merged(self, digit: Digit, place: Place) -> bool:
        """Does it pick of merged axes? The first position is the first of each of them, at any size."""
        if digit.is_index or place.law is None or digit.dim not in self.merged():
            return False
        return place.law.relation.sets[0].hi > digit.shift

    def moved(self, relation: Relation, digits: Digits) -> Step:
        """Digits that the output moves along: each is renamed, moved or split by itself."""
        kept: list[Digit] = []
        spread = _ORIGIN  # what the moves leave out of z
        moves = [self.move(digit) for digit in digits]
        if None in moves:
            flat = self.flattened(Scan(relation, digits))
            if flat is not None:
                return flat
            moves = [
                move or _repeated(digit, self.places[digit.dim].law)
                for move, digit in zip(moves, digits, strict=True)
            ]
        for move, digit in zip(moves, digits, strict=True):
            if move is None:
                return _unresolved(digits, self.places, _cut(self.places[digit.dim]))
            kept += move[0]
            spread = spread.plus(move[1])
        reason = self.places[growing(digits, self.operand_shape).dim].reason
        return Step(folded(Relation(1, 1, (spread,)).compose(relation), kept), limit=reason)

    def move(self, digit: Digit) -> tuple[Sequence[Digit], Positions] | None:
        """The digits of the output that a digit becomes, and what they leave out of z; None where none do."""
        law = self.places[digit.dim].law
        return None if law is None else _move(digit, law, self.shape)

    def flattened(self, scan: Scan) -> Step | None:
        """The same in steps of the dim that the axis has for itself, if it has one: there is a relation."""
        flat = along_one(scan, self.own())
        if flat is None and not any(_regroups(self.places[digit.dim]) for digit in scan.digits):
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
    ordered = tuple(sorted(set(digits))) if unresolved else tidy(digits)
    return Scan(scan.relation, ordered, scan.past)


def _compose_plain(relation: Relation, place: Place) -> Step | None:
    """The common case: the axis lies along one dim, unmoved. None: in a reshape."""
    law = place.law
    if law is None:
        if place.is_whole:
            return Step(None, whole=place.kind)
        return Step(Scan(None, tuple(map(Digit, sorted(place.dims)))), limit=place.reason)
    if law.extent is not None:
        return None
    if not law.digits:
        return Step(Scan(_constant(relation, law), ()), limit=place.reason)
    if is_too_long(law.relation, relation):
        return Step(Scan(None, tuple(map(Digit, sorted(place.dims)))), limit=TOO_LONG)
    moved = Scan(law.relation.compose(relation), law.digits)
    return begun(moved, place) if law.past else Step(moved, limit=place.reason)


def _constant(relation: Relation, law: Law) -> Relation:
    """What is read where the same positions are picked, whatever the output's."""
    picked = law.relation.sets[0].members()
    return Relation.constant({i for place in picked for i in relation.at(place)})


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
    indices = [i for i in place.law.relation.sets[0].members() if i >= digit.shift]
    return Positions.of(map(digit.at, indices)) if indices else None


def _move(digit: Digit, law: Law, shape: Shape) -> tuple[Sequence[Digit], Positions] | None:
    """See `Composition.move`."""
    if law.extent is not None:
        parts = stretch(digit, law.digits, law.weight, law.extent, shape)
        return None if parts is None else (parts, _ORIGIN)
    if law.past or law.relation.period != 1 or not all(each.is_index for each in law.digits):
        return None
    reads, advance = law.relation.sets[0], law.relation.advance
    if digit.is_index:
        moved = [_times(digit, advance * each.coefficient, each) for each in law.digits]
        return (moved, reads.scale(digit.coefficient)) if advance else None
    ((target, scale, *_), *others) = law.digits
    if advance == scale == 1 and reads.length == 1 and not others:
        return [digit._replace(dim=target, shift=digit.shift - reads.lo)], _ORIGIN
    return None


def _times(digit: Digit, scale: int, moved: Digit) -> Digit:
    """An index in steps of which another one moves, along that one's dim."""
    bounded, sized = digit.bounded or moved.bounded, digit.sized or moved.sized
    coefficient = digit.coefficient * scale
    return Digit(moved.dim, coefficient, bounded=bounded, sized=sized)


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


def _unresolved(digits: Digits, places: tuple[Place, ...], limit: str = "") -> Step:
    """No relation says how the reads vary; along which dims they may vary is still known."""
    read = [places[digit.dim] for digit in digits]
    varying = sorted({dim for place in read for dim in place.dims})
    kinds = [place.kind for place in read if place.is_whole]
    if kinds and not varying:
        return Step(None, whole=kinds[0])
    return Step(Scan(None, tuple(map(Digit, varying))), limit=limit)
