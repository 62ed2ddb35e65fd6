"""What a function of one element makes of what is fixed: of 0, and of what is as good as -inf.

In: a call on twins, and its twin as if nothing were fixed. Out: the same, with 0 and -inf where the function
makes these of them. The function itself is asked.
"""

from __future__ import annotations

from math import inf
from typing import Any

import torch
from torch import Tensor

from rfgraph.probe.twins.encoding import MINUS_INFINITY, is_fixed_low, is_low, lowered
from rfgraph.probe.twins.twin import Called, Twin, leaves

_VANISHING = frozenset("exp exp2 sigmoid expit softplus ndtr".split())
_LOWS = (MINUS_INFINITY, -3e38, -inf)


def at_fixed(call: Called, value: Tensor, made: Tensor) -> Tensor:
    """`made`, the twin of a function of `value`, right where `value` is fixed.

    Of a low number and what it was added to, only an exponential makes 0.
    """
    zero, low = value == 0, is_low(value)
    if bool(zero.any()):
        made = torch.where(zero, torch.full_like(made, _made_of(call, (0.0,))), made)
    if bool(low.any()):
        of_low = _made_of(call, _LOWS)
        where = low if of_low == 0 and call.name in _VANISHING else is_fixed_low(value)
        made = torch.where(where, torch.full_like(made, float(of_low != 0)), made)
        made = (
            lowered(made, torch.where(low, value, torch.ones_like(value))) if of_low < 0 else made
        )
    return made


def _made_of(call: Called, samples: tuple[float, ...]) -> float:
    """0 or -inf, where the function makes that of all samples; else 1."""
    first, *rest = call.args
    others = leaves((rest, dict(call.kwargs)))
    if not isinstance(first, Twin) or any(isinstance(other, Tensor) for other in others):
        return 1.0
    found: Any = call.function(torch.tensor(samples), *rest, **call.kwargs)
    if found.is_complex() or found.dtype is torch.bool:
        return 1.0
    return 0.0 if bool((found == 0).all()) else -inf if bool((found <= -1e4).all()) else 1.0
