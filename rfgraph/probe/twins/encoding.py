"""The numbers that a twin computes with: what stands for those of the model, and means of them.

In: tensors and numbers. Out: float64 tensors. Only 0 and -inf mean something; all else is 1, or above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor, nn

from rfgraph.graph.origins import origin_of

MINUS_INFINITY = -1e4
"""What is below this vanishes in a softmax: models write -1e9, or the least value of their dtype."""


def numbers(value: Tensor) -> Tensor:
    """The twin of a tensor that depends on no parameter: 0 and -inf where it is these, else 1."""
    low = value <= MINUS_INFINITY if value.is_floating_point() else torch.zeros_like(value).bool()
    return ones(value).masked_fill(low, -inf).masked_fill(value == 0, 0.0)


def settled(value: Tensor) -> Tensor:
    """The same for any tensor of the model: 1 for one that was made of parameters, or is one."""
    if isinstance(value, nn.Parameter) or origin_of(value) is not None:
        return ones(value)
    return numbers(value)


def ones(like: Tensor) -> Tensor:
    """As many of them."""
    return torch.ones(like.shape, dtype=torch.float64, device=like.device)


def encoded_number(value: float | complex) -> float:
    """The same for a number."""
    if isinstance(value, complex):
        return float(value != 0)
    return 0.0 if value == 0 else -inf if value <= MINUS_INFINITY else 1.0


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
