"""A module that keeps things, which another module names by this one, and a function within a function."""

from __future__ import annotations

from typing import Any

HELD: list[Any] = []
NESTED: list[Any] = []


def keep(x: Any) -> None:
    def inner() -> None:
        NESTED.append(x)

    inner()
