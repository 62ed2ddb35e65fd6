"""A fault cut down: fewer statements, as long as the same kind of fault is still there.

In: a fault. Out: one of a smaller program.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace

from tests.hostile.oracle import Fault, held
from tests.hostile.program import Program, Statement


def shrunk(fault: Fault, state: int, most: int = 150) -> Fault:
    """The smallest that is found within so many tries."""
    left, smaller = most, True
    while smaller and left > 0:
        smaller = False
        for program in _smaller(fault.program):
            left -= 1
            found = _again(program, fault, state)
            if found is not None:
                fault, smaller = found, True
                break
            if left <= 0:
                break
    return fault


def _again(program: Program, fault: Fault, state: int) -> Fault | None:
    try:
        faults = held(program, random.Random(state), positions=40).faults
    except Exception:  # a program that torch refuses
        return None
    return next(
        (found for found in faults if found.kind == fault.kind and _alike(found, fault)), None
    )


def _alike(one: Fault, other: Fault) -> bool:
    return one.kind != "crash" or one.told[:24] == other.told[:24]


def _smaller(program: Program) -> Iterator[Program]:
    statements = program.statements
    for size in (len(statements) // 2, len(statements) // 4):
        for start in range(len(statements) - size, -1, -max(size, 1)) if size > 1 else ():
            yield from _without(program, set(range(start, start + size)))
    for k in reversed(range(len(statements))):
        yield from _without(program, {k})
        for other in statements[k].uses:
            yield replace(program, statements=_renamed(statements, k, other))


def _without(program: Program, gone: set[int]) -> Iterator[Program]:
    """Without these and all that draws on them."""
    names: set[str] = set()
    kept: list[Statement] = []
    for k, statement in enumerate(program.statements):
        if k in gone or statement.uses & names:
            names.add(statement.name)
        else:
            kept.append(statement)
    if kept:
        yield replace(program, statements=tuple(kept))


def _renamed(statements: tuple[Statement, ...], gone: int, other: str) -> tuple[Statement, ...]:
    """One statement left out: what draws on it draws on another variable."""
    name = statements[gone].name
    return tuple(
        replace(s, lines=tuple(re.sub(rf"\b{name}\b", other, line) for line in s.lines))
        for k, s in enumerate(statements)
        if k != gone
    )
