"""Past reads by their definition: all up to a position, which moves with the output.

In: what each position reads, found by changing the input; a row. Out: what differs. `docs/theory.md`, Past reads.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, inf

from rfgraph import AxisReads

Sets = dict[int, frozenset[int]]
"""Output position -> the input positions that it reads."""


def past_differs(row: AxisReads, found: Sets) -> str | None:
    """What differs of what positions side by side read; None where they are fewer than two periods."""
    period, advance = row.period, row.advance
    assert period is not None and advance is not None
    if len(found) < 2 * period:
        return None
    outputs = sorted(found)
    for one, other in pairwise(outputs):
        if not found[one] <= found[other] or (found[one] and min(found[one]) != min(found[other])):
            return f"position {other} does not read all that position {one} does: {found}"
    ends = {o: max(read, default=-1) for o, read in found.items()}
    if any(ends[o + period] != ends[o] + advance for o in outputs[:-period]):
        return f"the ends do not move by {advance} each {period}: {ends}"
    mine = _figures(ends, period, advance)
    differ = {
        name: (getattr(row, name), value)
        for name, value in mine.items()
        if getattr(row, name) != value
    }
    return f"(reported, by definition): {differ}; ends: {ends}" if differ else ""


def _figures(ends: dict[int, int], period: int, advance: int) -> dict[str, object]:
    """The figures of section 3 of the theory, of the side that has a bound."""
    last = list(ends.items())[:period]
    rate = Fraction(advance, period)
    tile = [end - o // period * advance for o, end in last]
    return {
        "stride": rate,
        "size": inf,
        "reach": (inf, max(end - floor(rate * o) for o, end in last)),
        "lookahead": max(0, *(end - (ceil(rate * (o + 1)) - 1) for o, end in last)),
        "halo": (inf, max(end - (advance - 1) for end in tile)),
        "offset": None,
    }
