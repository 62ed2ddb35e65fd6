"""Past reads: all that is read up to a position. The side that is bounded moves with the output.

In: scans that go back without a bound, and what a node reads of them. Out: what becomes of them.

The past scan of a relation E reads, at z, the union of E(y) over all y <= z. What a window reads of it is
what its last position reads: a past scan again, of what E reads where the window's end has passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from rfgraph.algebra.digits import Digit, plain
from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Shape
from rfgraph.language.reads import Law, Place
from rfgraph.propagation.scans import Scan, Step
from rfgraph.propagation.trail import Trail

TURNED = "an operator turns round what is read up to a position"
WRAPPED = "what is read up to a position begins at the other end"
SPLIT = "a reshape splits what is read up to a position"


def begun(scan: Scan, place: Place) -> Step:
    """All that is read up to a position, and what it reads there is `scan`."""
    if scan.relation is not None and scan.relation.advance <= 0:
        return replace(_unresolved([place], TURNED), past=place.kind)
    return Step(replace(scan, past=True), limit=place.reason, past=place.kind)


def gone_on(scan: Scan, places: Sequence[Place]) -> Step:
    """What becomes of a past scan at a node that reads `places` of the tensor."""
    dims = {digit.dim for digit in scan.digits}
    read = [places[dim] for dim in sorted(dims)]
    kinds = [place.kind for place in read if place.is_whole]
    if len(kinds) == len(read):
        return Step(None, whole=kinds[0])
    place, relation = read[0], scan.relation
    if relation is None or place.law is None or scan.digits != plain(min(dims)):
        return _unresolved(read, next(filter(None, (each.reason for each in read)), ""))
    if place.law.extent is not None:
        return _unresolved(read, SPLIT)
    if not place.law.digits:
        last = place.law.relation.sets[0].hi
        return Step(Scan(Relation.constant(passed(relation, last)), ()), limit=place.reason)
    if place.law.relation.advance <= 0:
        return _unresolved(read, place.reason or TURNED)
    ended = ends(place.law.relation).compose(relation)
    return Step(Scan(ended, place.law.digits, True), limit=place.reason)


def _unresolved(read: Sequence[Place], limit: str) -> Step:
    """No relation says how far it reads."""
    varying = sorted({dim for place in read for dim in place.dims})
    return Step(Scan(None, tuple(map(Digit, varying)), past=bool(varying)), limit=limit)


def passed(relation: Relation, last: int) -> set[int]:
    """What the positions up to the last one read, those that a crop has left out before the first, too."""
    lead = max((reads.hi for reads in relation.sets if reads.length), default=0) + 1
    first = -relation.period * -(-max(lead, 0) // max(relation.advance, 1))
    before = {i for place in range(first, 0) for i in relation.at(place) if i >= 0}
    return before.union(*map(relation.at, range(last + 1)))


def ends(relation: Relation) -> Relation:
    """For each output, the positions that the end of what is read has passed since the output before."""
    period, advance = relation.period, relation.advance
    if relation.period == 1 and relation.advance == 1:
        return Relation(1, 1, (Positions.of([relation.sets[0].hi]),))
    before = max((each.hi for each in relation.sets if each.length), default=0) - advance
    highest = list(
        accumulate(
            (each.hi if each.length else before for each in relation.sets), max, initial=before
        )
    )
    sets = (Positions.of(range(low + 1, high + 1)) for low, high in pairwise(highest))
    return Relation(period, advance, sets)


def wraps_round(place: Place, size: int, shape: Shape) -> bool:
    """Does the first output read the other end, as by circular padding and a cyclic shift?

    `size`: of what is read; `shape`: of the output.
    """
    if place.law is None or len(place.dims) != 1 or not size or not shape[place.dims[0]]:
        return False
    length = shape[place.dims[0]]
    first = [o for o in range(min(2, length)) if any(i < 0 for i in place.law.at((o,), place.dims))]
    return bool(first) and all(goes_round(place, place.law, o, size, length) for o in first)


def goes_round(place: Place, law: Law, output: int, size: int, length: int) -> bool:
    """Is what lies before the first of `size` positions read as far before the last one, or further round?

    A fold at the beginning stays near it; the other end may be a position that is read anyway. `length`: how
    many outputs there are.
    """
    for each in range(output, min(length, output + size)):
        told, read = set(law.at((each,), place.dims)), list(place.positions((each,)))
        around = {i % size for i in told if i < 0}
        landed = [i for i in around if read.count(i) > (i in told)]
        if landed != [0]:  # what repeats the first position stays there
            return bool(landed)
    return True


def unbounded(step: Step, wraps: Trail | None) -> Step:
    """A past read that begins: of what wraps round, it reads the other end ever after."""
    if not wraps or step.scan is None:
        return step
    return replace(step, scan=replace(step.scan, relation=None))
