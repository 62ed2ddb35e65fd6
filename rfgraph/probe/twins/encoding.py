"""The numbers that a twin computes with: what stands for those of the model, and means of them.

In: tensors and numbers. Out: float64 tensors. Only 0 and -inf mean something; all else is 1, or above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor, nn

from rfgraph.graph.origins import Origin, origin_of
from rfgraph.graph.replay import UnreadableError

MINUS_INFINITY = -1e4
"""What is below this vanishes in a softmax: models write -1e9, or the least value of their dtype."""


def encoded(value: Tensor) -> Tensor:
    """The twin of a tensor of the model: 0 and -inf where it is fixed to these, else 1.

    A parameter is fixed nowhere. What was made of parameters is made again, of twins of them: what is 0
    there is 0 whatever they are.
    """
    if isinstance(value, nn.Parameter):
        return _ones(value)
    origin = origin_of(value)
    found = of_numbers(value)
    if origin is None or bool((found == 1).all()):
        return found
    for other in _made_again(origin):
        found = found.where(found == other, _ones(value))
    return found


def of_numbers(value: Tensor) -> Tensor:
    """The same for a tensor that depends on no parameter."""
    ones = _ones(value)
    low = value <= MINUS_INFINITY if value.is_floating_point() else torch.zeros_like(ones).bool()
    return ones.masked_fill(low, -inf).masked_fill(value == 0, 0.0)


def _made_again(origin: Origin) -> list[Tensor]:
    """What twins of the parameters give; without such twins, what two draws of them do."""
    from rfgraph.probe.twins.twin import Setting, Twin  # a twin is made of what is encoded here

    if origin.steps is None:
        return [torch.ones((), dtype=torch.float64)]
    setting = Setting()
    try:
        with torch._C._EnableTorchFunction():
            made = origin.again(lambda p: Twin.make(_ones(p), p.dtype, setting))
        return [made.value if isinstance(made, Twin) else of_numbers(made)]
    except (UnreadableError, RuntimeError, TypeError, ValueError, IndexError):
        return [of_numbers(origin.again(lambda p: torch.randn_like(p) * 2)) for _ in range(2)]


def _ones(like: Tensor) -> Tensor:
    return torch.ones(like.shape, dtype=torch.float64, device=like.device)


def encoded_number(value: float | complex) -> float:
    """The same for a number."""
    if isinstance(value, complex):
        return float(value != 0)
    return 0.0 if value == 0 else -inf if value <= MINUS_INFINITY else 1.0


def kept(value: Tensor) -> Tensor:
    """0 where a constant factor is fixed to 0, else 1; one that is 0 everywhere is yet to be filled."""
    zero = encoded(value) == 0
    return _ones(value) if bool(zero.all()) else _ones(value).masked_fill(zero, 0.0)


def mean(value: Tensor, dims: Sequence[int], keepdim: bool = True) -> Tensor:
    """The mean over dims of what is not -inf."""
    if not dims:
        return value
    low = value == -inf
    if not bool(low.any()):
        return value.mean(tuple(dims), keepdim=keepdim)
    count = (~low).sum(tuple(dims), keepdim=keepdim).clamp(min=1)
    return value.masked_fill(low, 0.0).sum(tuple(dims), keepdim=keepdim) / count


def average(*values: Tensor) -> Tensor:
    """The mean of tensors, broadcast to each other."""
    return sum(values[1:], values[0]) / len(values)


def without_low(value: Tensor) -> Tensor:
    """0 in the place of -inf."""
    low = value == -inf
    return value.masked_fill(low, 0.0) if bool(low.any()) else value
