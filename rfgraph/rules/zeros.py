"""Which entries of a constant the model fixes, to 0 or to what a softmax turns into 0.

In: a tensor of the model. Out: where it is fixed. Of a buffer, or of what the forward makes of none of its
parameters, that is what it holds. What is made of parameters is made again of others: an entry is fixed where
it is the same whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from rfgraph.graph import LOW, Operand
from rfgraph.graph.origins import Origin, origin_of

Test: TypeAlias = Callable[[Tensor], Tensor]

_FEW, _MANY = 4, 32
"""How many times parameters are drawn: many where values are cut or rounded, and 0 may come by chance."""
_CUTTING = frozenset(
    "relu relu6 clamp clip clamp_min clamp_max hardtanh max min maximum minimum amax amin threshold "
    "softshrink hardshrink hardsigmoid hardswish round floor ceil trunc fix sign sgn heaviside "
    "floor_divide".split()
)
_DECIDING = frozenset(
    "eq ne lt le gt ge isclose logical_and logical_or logical_xor logical_not sort argsort msort topk "
    "kthvalue median nanmedian mode quantile argmax argmin searchsorted bucketize nonzero unique "
    "bernoulli multinomial gumbel_softmax dropout histc one_hot".split()
)
"""By these the values of parameters choose which entries are 0: no number of draws shows another's choice."""


def is_zero(value: Tensor) -> Tensor:
    """Where a tensor is exactly 0."""
    return torch.eq(value, 0)


def is_low(value: Tensor) -> Tensor:
    """Where a tensor is as good as -inf."""
    if value.is_floating_point():
        return value <= LOW
    return torch.zeros(value.shape, dtype=torch.bool, device=value.device)


TESTS: dict[float, Test] = {0.0: is_zero, -inf: is_low}


def constant(value: Any) -> Tensor | None:
    """A tensor of the model, or one of the graph that depends on no input; None for any other."""
    if isinstance(value, Operand):
        value = None if value.known is None else value.known()
    return value if isinstance(value, Tensor) and not value.is_meta else None


def fixed(value: Any, kind: float, of_zeros: bool = False) -> Tensor | None:
    """Where a tensor, of the graph or of the model, is fixed to `kind`: 0 or -inf; None: nowhere.

    A constant that is 0 everywhere counts as one that is yet to be filled, unless `of_zeros`.
    """
    masked = value.masked if isinstance(value, Operand) else None
    if masked is not None and (masked.is_low if kind == -inf else masked.value == kind):
        return masked.where
    value = constant(value)
    if value is None:
        return None
    if isinstance(value, nn.Parameter) or value.is_meta:
        return None
    where = _settled(value, TESTS[kind])
    is_empty = kind == 0.0 and not of_zeros and bool(where.all())
    return where.cpu() if bool(where.any()) and not is_empty else None


def fixed_high(value: Tensor) -> Tensor | None:
    """Where a constant is fixed to what is as good as inf: what it is taken off becomes -inf."""
    if isinstance(value, nn.Parameter) or value.is_meta or not value.is_floating_point():
        return None
    where = _settled(value, lambda made: made >= -LOW)
    return where.cpu() if bool(where.any()) else None


def is_settled(value: Tensor) -> bool:
    """True for a constant that no parameter can change."""
    return not isinstance(value, nn.Parameter) and origin_of(value) is None


def _settled(value: Tensor, test: Test) -> Tensor:
    """Where a constant passes a test, whatever the parameters are."""
    where = test(value.detach())
    origin = origin_of(value) if bool(where.any()) else None
    if origin is None:
        return where
    names = set(map(_bare, origin.names))
    if origin.steps is None or not names.isdisjoint(_DECIDING):
        return torch.zeros_like(where)
    with torch.no_grad():
        for seed in range(_FEW if names.isdisjoint(_CUTTING) else _MANY):
            where = where & _again(origin, test, seed, where)
            if not bool(where.any()):
                break
    return where


def _again(origin: Origin, test: Test, seed: int, like: Tensor) -> Tensor:
    """Where the test is passed with other parameters, or they give no number.

    Nowhere, where the calls cannot be made with them.
    """
    generator = torch.Generator().manual_seed(seed // 2)  # each draw, then with the other signs
    scale = (1.0, -1.0, 4.0, -4.0)[seed % 4]

    def drawn(parameter: Tensor) -> Tensor:
        size, sign = torch.rand(2, *parameter.shape, generator=generator)
        values: Tensor = (size + 0.5) * scale * (1.0 if seed < 2 else (sign - 0.5).sign())
        return values.to(parameter.device, parameter.dtype)

    try:
        made: Tensor = origin.again(drawn)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return torch.zeros_like(like)
    if made.shape != like.shape:
        return torch.zeros_like(like)
    return torch.logical_or(test(made), made.isnan())


def _bare(name: str) -> str:
    """An operator's name without overload, underscores and `__`."""
    return name.partition(".")[0].strip("_")
