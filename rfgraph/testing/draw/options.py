"""`Options`: what the strategies may draw. In: the caller's keywords."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import strategies as st

from rfgraph.testing.describe import Layer, Shape

SMALLEST: Mapping[int, int] = {1: 5, 2: 4, 3: 3}
LARGEST: Mapping[int, int] = {1: 40, 2: 16, 3: 8}
"""Sizes of inputs by the number of spatial dims: brute force over every position stays cheap."""


@dataclass(frozen=True)
class Options:
    """What may be drawn.

    Attributes:
        largest: the most positions along one axis, of the input and of everything after it.
        channels: the most that a convolution makes.
    """

    largest: int
    channels: int = 4
    branches: bool = False
    gates: bool = False
    misaligned: bool = False
    moves: bool = False
    resampling: bool = False
    shared: bool = False
    several: bool = False
    writes: bool = False
    attention: bool = False
    cumulative: bool = False
    loops: bool = False
    masks: bool = False
    patches: bool = False
    recurrent: bool = False
    sizes: bool = False


Drawer: TypeAlias = Callable[[st.DrawFn, Shape, Options], tuple[Layer, ...]]
"""Draws a layer, or a few that belong together, for a tensor of the given shape."""


def divisors(number: int, most: int) -> list[int]:
    """The divisors of `number` up to `most`, in ascending order."""
    return [d for d in range(1, min(number, most) + 1) if number % d == 0]
