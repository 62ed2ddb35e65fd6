"""Crops: slices with fixed ends, of which as many positions are read at any size.

In: what a node reads of a scan or a part. Out: what a crop bounds; what is left of it where it is read whole,
which is no read of the whole axis.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from rfgraph.algebra.digits import Digit, is_plain
from rfgraph.algebra.positions import EMPTY, Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Shape
from rfgraph.language.reads import Place
from rfgraph.propagation.composition import MERGED, Composition
from rfgraph.propagation.past import passed
from rfgraph.propagation.scans import Scan, Step

REGROUPED = "a crop of regrouped positions has those of the analysed size"
ACCUMULATED = "what is read of a crop, up to a position, is more at each position"


def bounds(
    dims: Collection[int], places: Sequence[Place], growing: Callable[[], Collection[int]]
) -> bool:
    """Does the node crop what `dims` of its operand carry, as long as it may be at another size?

    `growing`: the dims of the operand that are longer where an axis is. A place of a window is not.
    """
    cropped = {dim for dim in dims if places[dim].bounded}
    if not cropped or len(cropped) == len(dims):
        return bool(cropped)
    return cropped.issuperset(set(dims).intersection(growing()) or dims)


def within(
    scan: Scan, step: Step, composition: Composition, growing: Callable[[], Collection[int]]
) -> Step:
    """The step of a scan that a crop bounds: before the node, or there. `growing`: see `bounds`."""
    places, shape = composition.places, composition.shape
    if scan.crop is not None and step.whole:
        return Step(_all(scan, composition.operand_shape))
    if scan.crop is not None and step.past:
        moving = sorted({dim for digit in scan.digits for dim in places[digit.dim].dims})
        step = Step(Scan(None, tuple(map(Digit, moving))), limit=ACCUMULATED)
    if step.scan is None or not step.scan.digits:
        return step
    dims = {digit.dim for digit in scan.digits}
    if scan.crop is None and not bounds(dims, places, growing):
        return step
    crop = _extent(step.scan, shape)
    if crop is None:
        return Step(None)  # positions put before the axis, such as class tokens
    cropped = [digit for digit in scan.digits if places[digit.dim].bounded]
    limit = "" if all(digit.is_index for digit in cropped) else REGROUPED
    crop = _clipped(crop, scan.crop or EMPTY)
    if crop.length and all(shape[digit.dim] == 1 for digit in step.scan.digits):  # at any size
        picks = any(composition.picks_of_merged(digit, places[digit.dim]) for digit in cropped)
        one = Scan(Relation.constant(crop.members()), ())
        return replace(step, scan=one, limit=step.limit or MERGED * picks)
    return replace(step, scan=replace(step.scan, crop=crop), limit=step.limit or limit)


def cropped_alike(scans: Sequence[Scan]) -> Positions | None:
    """The crop of reads that no relation describes any more: unknown where all are cropped, else none."""
    return EMPTY if scans and all(scan.crop is not None for scan in scans) else None


def both(one: Positions | None, other: Positions | None) -> Positions | None:
    """The crop of two reads that move alike: there is one where both have one."""
    if one is None or other is None:
        return None
    return one.union(other) if one.length and other.length else EMPTY


def _all(scan: Scan, shape: Shape) -> Scan | None:
    """What all positions of a tensor of `shape` read together, which is the same whatever the output."""
    if scan.relation is None:
        return Scan(None, ())
    reads = _extent(scan, shape)
    if reads is None:
        return None
    return Scan(Relation.constant(_clipped(reads, scan.crop or EMPTY).members()), ())


def _extent(scan: Scan, shape: Shape) -> Positions | None:
    """All that a tensor of `shape` reads by a scan; empty where that is not known, None where nothing."""
    if scan.relation is None:
        return EMPTY
    if scan.past:
        return Positions.of(passed(scan.relation, shape[scan.digits[0].dim] - 1))
    places = Positions.of([0])
    for dim in sorted({digit.dim for digit in scan.digits}):
        here = tuple(digit for digit in scan.digits if digit.dim == dim)
        if is_plain(here):
            places = places.plus(Positions.progression(0, 1, shape[dim]))
            continue
        first = max(0, *(digit.shift for digit in here))
        sums = (sum(digit.at(index) for digit in here) for index in range(first, shape[dim]))
        places = places.plus(Positions.of(sums))
    reads = scan.relation.image(places)
    return reads if reads.length else None


def _clipped(reads: Positions, crop: Positions) -> Positions:
    """Those that lie in the crop, which is empty where it is not known."""
    if not crop.length or crop.covers(reads):
        return reads
    return Positions.of(set(reads.members()).intersection(crop.members()))
