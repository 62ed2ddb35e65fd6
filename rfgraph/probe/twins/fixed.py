"""What a function of one element makes of what is fixed: of 0, and of what is as good as -inf.

In: a call on twins, and its twin as if nothing were fixed. Out: the same, with 0 and -inf where the function
makes these of them. The function itself is asked.
"""

from __future__ import annotations

from math import inf
from typing import Any

import torch
from torch import Tensor

from rfgraph.probe.twins.encoding import MINUS_INFINITY
from rfgraph.probe.twins.twin import Called, Twin, leaves

_LOWS = (MINUS_INFINITY, -3e38, -inf)


def at_fixed(call: Called, value: Tensor, made: Tensor) -> Tensor:
    """`made`, the twin of a function of `value`, right where `value` is fixed."""
    for kind, samples in ((0.0, (0.0,)), (-inf, _LOWS)):
        where = value == kind
        if bool(where.any()):
            made = torch.where(where, torch.full_like(made, _made_of(call, samples)), made)
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
