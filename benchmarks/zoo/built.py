"""A model of somebody's library, and what its forward takes.

In: what a library offers. Out: `Models`: how each is built, by name, with random weights and no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import nn


@dataclass(frozen=True)
class Given:
    """What a forward takes: `inputs` and `axes` as `rfgraph.analyze` has them."""

    inputs: Any = None
    axes: Sequence[int] | None = None


@dataclass(frozen=True)
class Built:
    """A model in eval mode, and what it may take, likeliest first."""

    model: nn.Module
    takes: tuple[Given, ...] = (Given(),)


Models: TypeAlias = Mapping[str, Callable[[], Built]]


def of_class(kind: Callable[..., nn.Module], *inputs: Any, **options: Any) -> Callable[[], Built]:
    """A class called with these options; `inputs`: what its forward may take."""
    takes = tuple(map(Given, inputs)) or (Given(),)
    return lambda: Built(kind(**options).eval(), takes)
