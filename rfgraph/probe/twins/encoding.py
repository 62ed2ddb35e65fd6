"""The numbers that a twin computes with: what stands for those of the model, and means of them.

In: tensors and numbers. Out: float64 tensors. Only 0 and -inf mean something; all else is 1, or above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor, nn

MINUS_INFINITY = -1e4
"""What is below this vanishes in a softmax: models write -1e9, or the least value of their dtype."""


def encoded(value: Tensor) -> Tensor:
    """The twin of a tensor of the model: 0 and -inf where it is fixed to these, else 1.

    A parameter that is 0 now may change; a constant all of zeros may be one seen through a view.
    """
    ones = torch.ones(value.shape, dtype=torch.float64, device=value.device)
    if isinstance(value, nn.Parameter):
        return ones
    low = value <= MINUS_INFINITY if value.is_floating_point() else torch.zeros_like(ones).bool()
    return ones.masked_fill(low, -inf).masked_fill(value == 0, 0.0)


def encoded_number(value: float | complex) -> float:
    """The same for a number."""
    if isinstance(value, complex):
        return float(value != 0)
    return 0.0 if value == 0 else -inf if value <= MINUS_INFINITY else 1.0


def kept(value: Tensor) -> Tensor:
    """0 where a constant factor of zeros and ones is 0, else 1; any other constant may be a weight."""
    ones = torch.ones(value.shape, dtype=torch.float64, device=value.device)
    if isinstance(value, nn.Parameter) or value.is_complex():
        return ones
    zero = value == 0
    is_mask = bool(zero.any()) and not bool(zero.all()) and bool((zero | (value == 1)).all())
    return ones.masked_fill(zero, 0.0) if is_mask else ones


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
