"""Calls and graphs by seed: draw, hold, count; a fault is cut down to what shows it.

In: a seed. Out: counts and faults. What is drawn depends on the seed alone.
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from dataclasses import dataclass, field

from tests.float64 import in_float64
from tests.hostile.drawer import Drawer
from tests.hostile.oracle import Fault, held
from tests.hostile.program import Program
from tests.hostile.shrink import shrunk
from tests.hostile.special import draws

SIZES = (1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8)


@dataclass
class Tally:
    counts: Counter[str] = field(default_factory=Counter)
    overstated: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name in ("counts", "overstated", "refused", "drawn"):
            getattr(self, name).update(getattr(other, name))
        self.faults += other.faults


def call(operator: str, seed: int, cut: bool = True) -> Tally:
    """One call of an operator, on an input that may be empty or of one position."""
    rng = random.Random(f"{operator} {seed}")
    with in_float64(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(6):
            drawer = Drawer(rng, *_shape(rng))
            if rng.random() < 0.12:
                drawer.add("before", lambda g: g.one_of(*BEFORE), tries=1)
            ways = draws(operator)
            if ways and drawer.add(operator, rng.choice(ways), tries=4):
                tally = _held(drawer.program(), rng, cut)
                tally.drawn[operator] += 1
                tally.counts["calls"] += 1
                return tally
    return Tally(Counter({"calls that torch refused": 1}))


def graph(seed: int, names: list[str], cut: bool = True) -> Tally:
    """5 to 40 calls, each of the input or of what came before."""
    rng = random.Random(f"graph {seed}")
    with in_float64(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawer = Drawer(rng, *_shape(rng, rank=(3, 4, 4, 4, 5)))
        wanted = 5 + int(36 * rng.random() ** 2)  # most are short: a long one costs as much as ten
        for _ in range(3 * wanted):
            if len(drawer.statements) >= wanted:
                break
            operator = rng.choice(names) if rng.random() < 0.6 else rng.choice(LOCAL)
            ways = draws(operator)
            if ways:
                drawer.add(operator, rng.choice(ways), tries=1)
        tally = _held(drawer.program(), rng, cut)
        tally.counts["graphs"] += 1
        tally.counts["statements of graphs"] += len(drawer.statements)
        return tally


LOCAL = (
    "conv1d conv2d conv_transpose2d avg_pool2d max_pool2d interpolate pad getitem setitem add mul cat stack flip roll "
    "reshape permute unfold relu sub narrow reflection_pad circular_pad im2col unflatten flatten chunk"
).split()
"""What keeps most of its input local; else all of a graph is soon read whole."""


BEFORE = (
    "x.sum()",
    "x[..., :0]",
    "x[:0]",
    "x[..., 0]",
    "x.flatten()",
    "x[..., :1]",
    "x.mT",
    "x[:, None]",
    "x.mean(0)",
)
"""No dims, nothing in it, other strides."""


def _shape(
    rng: random.Random, rank: tuple[int, ...] = (1, 2, 3, 3, 4, 4, 4, 5)
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    shape = [rng.choice(SIZES) for _ in range(rng.choice(rank))]
    while _count(shape) > 300:
        shape[rng.randrange(len(shape))] = rng.randint(1, 3)
    axes = tuple(range(len(shape)))
    if len(shape) < 3 or rng.random() < 0.3:
        return tuple(shape), axes
    return tuple(shape), None


def _count(shape: list[int]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def _held(program: Program, rng: random.Random, cut: bool) -> Tally:
    if not program.statements:
        return Tally()
    state = rng.getrandbits(32)
    found = held(program, random.Random(state), told=state % 8 == 0)
    faults = [shrunk(fault, state) for fault in found.faults] if cut else found.faults
    kinds = {statement.name: statement.operator for statement in program.statements}
    tally = Tally(faults=faults)
    for text, count in found.counts.items():
        where = tally.refused if "refused:" in text else tally.counts
        where[text] += count
    tally.counts["variables"] += len(program.statements)
    tally.overstated.update(kinds[name] for name in found.overstated)
    tally.counts["faults"] += len(found.faults)
    return tally
