"""How numbers are written: as a person reads them, and as JSON knows them.

In: figures. Out: text; plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from math import inf
from typing import Any, TypeAlias, TypeVar

PlainData: TypeAlias = dict[str, Any]
"""What JSON knows: text, numbers, truth values, None, lists and dicts of these."""
T = TypeVar("T")


def number(value: object) -> str:
    """A number as a person writes it; `?` where there is none."""
    if value is None:
        return "?"
    if value == inf:
        return "whole"
    return str(Fraction(value)) if isinstance(value, Fraction) else str(value)


def each(values: Iterable[T], show: Callable[[T], str]) -> str:
    """Per-axis values: one where all are alike, else joined by x."""
    shown = [show(value) for value in values]
    return shown[0] if len(set(shown)) == 1 else " x ".join(shown)


def plain_data(value: object) -> object:
    """A view as JSON knows it: lists, `null` for an infinity, a string for a fraction."""
    if isinstance(value, tuple | list):
        return [plain_data(entry) for entry in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else str(value)
    return None if value == inf else value
