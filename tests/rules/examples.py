"""`Example`: one operator on small operands, to be held against its rule.

In: a callable or a module, the shapes of its operands, how their elements are drawn. Out: what
`tests/test_registry.py` captures, runs and compares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Build = Callable[..., Any]  # a function of the operands, or a module


@dataclass(frozen=True, eq=False)
class Example:
    """One operator applied to operands of `shapes`.

    Attributes:
        build: a function of the operands, or a module.
        draws: how the elements of each operand are drawn, a name in `DRAWS`.
        conservative: why the rule says more than the truth; empty where it says exactly the truth.
        training: train mode.
        reference: what is run in place of `build` where `build` cannot run here, or returns
            memory that nobody has written.
    """

    build: Build
    shapes: tuple[tuple[int, ...], ...]
    draws: tuple[str, ...] = field(default=())
    conservative: str = ""
    training: bool = False
    reference: Build | None = None


def ex(
    build: Build,
    *shapes: tuple[int, ...],
    draw: str | tuple[str, ...] = "normal",
    conservative: str = "",
    training: bool = False,
    reference: Build | None = None,
) -> Example:
    """An example; one `draw` serves all operands."""
    if isinstance(build, nn.Module):
        build = build.double()
        randomised(build)
    draws = (draw,) * len(shapes) if isinstance(draw, str) else draw
    return Example(build, shapes, draws, conservative, training, reference)


def w(*shape: int) -> Tensor:
    """A constant of the model: random, none zero, in double precision; one for each shape."""
    generator = torch.Generator().manual_seed(sum(size * 11**i for i, size in enumerate(shape, 1)))
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return drawn + drawn.sign() * 0.1


def randomised(module: nn.Module) -> None:
    """Give every parameter of a module random values, none zero: zeros and ones hide what is read."""
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.data.copy_(w(*parameter.shape))
        parameter.requires_grad_(False)


def _drawn(kind: Callable[..., Tensor], *args: Any, dtype: Any = torch.float64) -> Any:
    return lambda shape, generator: kind(*args, shape, generator=generator, dtype=dtype)


_SPECIAL = torch.tensor([1.0, float("nan"), float("inf"), -float("inf"), 0.0], dtype=torch.float64)

DRAWS: dict[str, Callable[[tuple[int, ...], torch.Generator], Tensor]] = {
    "normal": _drawn(torch.randn),
    "wide": lambda shape, g: 10 * torch.randn(shape, generator=g, dtype=torch.float64),
    "narrow": lambda shape, g: 0.4 * torch.randn(shape, generator=g, dtype=torch.float64),
    "positive": lambda shape, g: 0.2 + 3 * torch.rand(shape, generator=g, dtype=torch.float64),
    "negative": lambda shape, g: -0.2 - 3 * torch.rand(shape, generator=g, dtype=torch.float64),
    "above one": lambda shape, g: 1.1 + 3 * torch.rand(shape, generator=g, dtype=torch.float64),
    "unit": lambda shape, g: 0.02 + 0.96 * torch.rand(shape, generator=g, dtype=torch.float64),
    "signs": lambda shape, g: 1.0 * torch.randint(-1, 2, shape, generator=g, dtype=torch.float64),
    "special": lambda shape, g: _SPECIAL[torch.randint(0, 5, shape, generator=g)],
    "bool": lambda shape, g: torch.randint(0, 2, shape, generator=g).bool(),
    "mostly true": lambda shape, g: torch.rand(shape, generator=g) < 0.8,
    "mostly false": lambda shape, g: torch.rand(shape, generator=g) < 0.2,
    "integer": _drawn(torch.randint, 0, 9, dtype=torch.int64),
    "index": _drawn(torch.randint, 0, 3, dtype=torch.int64),
    "complex": _drawn(torch.randn, dtype=torch.complex128),
    "half real": lambda shape, g: torch.complex(
        torch.randn(shape, generator=g), torch.randint(0, 2, shape, generator=g).float()
    ),
    "single": _drawn(torch.randn, dtype=torch.float32),
}
"""How operands are drawn. What saturates, compares or rounds needs a draw that shows it doing so."""
