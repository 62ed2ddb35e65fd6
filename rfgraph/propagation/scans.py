"""`Scan`: reads that move with the output, as a relation over digits, and the forms that one has.

In: relations and digits. Out: scans in one form whatever the spelling, and along one dim where there is
such a form.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd, lcm

from rfgraph.algebra.digits import Digit, Digits, growing, is_plain, plain, tidy
from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Shape

_KEPT = 4096  # memo tables: of all nodes, few read alike in different ways
_LONGEST_PERIOD = 1024  # a relation with more phases than this is a table, not a law
_MOST_PHASES = 1 << 14  # resampled at one odd ratio after another
TOO_LONG = f"its reads repeat after more than {_MOST_PHASES} positions"


@dataclass(frozen=True, slots=True)
class Scan:
    """Reads that move with the output: `relation(z)`, with `z` given by `digits` (none: a constant).

    `relation` None: the reads vary along the digits' dims, and no relation says how. `past`: and all that
    the positions before it read. `crop`: all that may be read, where a crop bounds it at any size (`crops`);
    empty where that is not known.
    """

    relation: Relation | None
    digits: Digits
    past: bool = False
    crop: Positions | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of a scan at a node: a scan again, or a whole read of some kind; why at this size only.

    `past`: the kind of a read that goes back without a bound, where that begins here.
    """

    scan: Scan | None
    whole: str = ""
    limit: str = ""
    past: str = ""


def folded(relation: Relation, digits: Sequence[Digit]) -> Scan:
    """The scan whose digits have no common factor: that is the relation's, whatever the spelling."""
    if not digits:
        return Scan(relation, ())
    common = gcd(*(digit.coefficient for digit in digits))
    coarsest = max(
        digits, key=lambda d: (abs(d.coefficient), d.dim, d.weight, d.extent or 0, d.shift)
    )
    if coarsest.coefficient < 0:
        common = -common
    if common == 1:
        return Scan(relation, tidy(digits))
    steps = Relation(1, common, (Positions.of([0]),))
    rest = [digit._replace(coefficient=digit.coefficient // common) for digit in digits]
    return Scan(steps.compose(relation), tidy(rest))


def united(scan: Scan, shape: Shape) -> Scan | None:
    """What all places of the finer digits read together, along the dim of the coarsest; None: not along one.

    As after space-to-depth: the finer digits lie in the channels, all of which are read together.
    """
    if scan.relation is None or len(scan.digits) < 2:
        return None
    coarse = growing(scan.digits, shape)
    fine = [digit for digit in scan.digits if digit is not coarse]
    if not coarse.is_index or any(digit.dim == coarse.dim or digit.sized for digit in fine):
        return None
    places = Positions.of([0])
    for dim in sorted({digit.dim for digit in fine}):
        here = [digit for digit in fine if digit.dim == dim]
        if any(digit.shift > 0 for digit in here):
            return None  # positions put before the axis read nothing of it
        sums = (sum(digit.at(index) for digit in here) for index in range(shape[dim]))
        places = places.plus(Positions.of(sums))
    return folded(Relation(1, 1, (places,)).compose(scan.relation), [coarse])


def along_one(scan: Scan, own: Collection[int]) -> Scan | None:
    """The scan whose digits lie along one dim of `own`, as a relation of its index; else None."""
    dims = {digit.dim for digit in scan.digits}
    return _along_one(scan) if len(dims) == 1 and dims.issubset(own) else None


@lru_cache(maxsize=_KEPT)
def _along_one(scan: Scan) -> Scan | None:
    if scan.relation is None or any(digit.sized for digit in scan.digits):
        return None
    period = lcm(*(digit.weight * (digit.extent or 1) for digit in scan.digits))
    endless = [digit for digit in scan.digits if digit.extent is None]
    advance = sum(digit.coefficient * (period // digit.weight) for digit in endless)
    if period > _LONGEST_PERIOD or not advance:
        return None
    sets = (Positions.of([sum(d.at(index) for d in scan.digits)]) for index in range(period))
    steps = Relation(period, advance, sets)
    if is_too_long(steps, scan.relation):
        return None
    return Scan(steps.compose(scan.relation), plain(scan.digits[0].dim))


def shown(
    scans: tuple[Scan, ...], shape: Shape, own: Callable[[], Collection[int]]
) -> tuple[Scan, ...]:
    """The scans of a tensor of `shape` as a row shows them: in steps of its own dims where they have such.

    Digits that share a dim with other elements are united, as channels are. Digits along a dim that the axis
    has for itself, one of `own`, are steps of it.
    """
    if len(scans) > 1 and any(scan.crop for scan in scans):
        scans = _uncovered(scans)
    if all(is_plain(scan.digits) for scan in scans):
        return scans
    return _shown(scans, shape, frozenset(own()))


@lru_cache(maxsize=_KEPT)
def _shown(scans: tuple[Scan, ...], shape: Shape, own: frozenset[int]) -> tuple[Scan, ...]:
    joined: list[Scan] = []
    for scan in scans:
        form = along_one(scan, own) or among_channels(scan, shape) or scan
        alike = (i for i, mine in enumerate(joined) if _joinable(mine, form))
        place = next(alike, None)
        if place is None:
            joined.append(form)
        else:
            joined[place] = _union(joined[place], form)
    covered = [
        any(mine is not scan and _covers(mine, scan, shape) for mine in joined) for scan in joined
    ]
    return tuple(scan for scan, is_covered in zip(joined, covered, strict=True) if not is_covered)


def _uncovered(scans: tuple[Scan, ...]) -> tuple[Scan, ...]:
    """Without what moves within a crop of which every position reads all, as behind a softmax over it."""
    fixed = {i for s in scans if s.relation and not s.digits for i in s.relation.sets[0].members()}
    return tuple(
        scan
        for scan in scans
        if not (
            scan.digits and scan.crop and scan.crop.length and fixed.issuperset(scan.crop.members())
        )
    )


def is_too_long(outer: Relation, inner: Relation) -> bool:
    """One after the other has more phases than are worth keeping."""
    return outer.period * outer.turns_after(inner) > _MOST_PHASES


def are_too_long(one: Relation, other: Relation) -> bool:
    """The union of both has more phases than are worth keeping."""
    return lcm(one.period, other.period) > _MOST_PHASES


def _joinable(one: Scan, other: Scan) -> bool:
    """They move alike."""
    if one.relation is None or other.relation is None or one.digits != other.digits:
        return False
    is_one_law = one.relation.joinable(other.relation)
    return is_one_law and not are_too_long(one.relation, other.relation)


def _union(one: Scan, other: Scan) -> Scan:
    """What either reads, of two that move alike."""
    assert one.relation is not None and other.relation is not None
    return replace(one, relation=one.relation.join(other.relation))


def _covers(wide: Scan, scan: Scan, shape: Shape) -> bool:
    """`wide` reads all that the scan does, and moves along fewer digits: the window, for a place of it."""
    if wide.relation is None or scan.relation is None:
        return False
    if not _begins_within(scan.relation, wide.relation):  # told at once, where it is told at all
        return False
    kept = {digit[:1] + digit[2:5] for digit in wide.digits}
    own = [digit for digit in scan.digits if digit[:1] + digit[2:5] in kept]
    rest = [digit for digit in scan.digits if digit not in own]
    if not rest or not 0 < len(wide.digits) <= len(own):
        return False
    united_rest = scan.relation
    for digit in rest:
        places = Positions.progression(0, digit.coefficient, digit.count(shape[digit.dim]))
        united_rest = Relation(1, 1, (places,)).compose(united_rest)
    form = folded(united_rest, own)
    return _joinable(wide, form) and _union(wide, form) == wide


def _begins_within(one: Relation, wide: Relation) -> bool:
    """What the first position reads by one lies between what it reads by the other."""
    own, other = one.sets[0], wide.sets[0]
    return not own.length or (other.lo <= own.lo and own.hi <= other.hi)


def among_channels(scan: Scan, shape: Shape) -> Scan | None:
    """All channels together, where the finer digits share their dims with other elements."""
    if len(scan.digits) < 2:
        return None
    coarse = growing(scan.digits, shape)
    is_shared = all(not digit.is_index for digit in scan.digits if digit is not coarse)
    return united(scan, shape) if is_shared else None
