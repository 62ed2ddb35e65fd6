"""The numbers that a twin computes with: what stands for those of the model, and means of them.

In: tensors and numbers. Out: float64 tensors. Only 0 and what is low mean something; all else is 1, or above
0. Low is -inf; `NUMBER` for one that is as good as that; `SUMMED` for one added to what is read, whose
gradient stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor, nn

from rfgraph.graph.origins import origin_of

MINUS_INFINITY = -1e4
"""What is below this vanishes in a softmax: models write -1e9, or the least value of their dtype."""
NUMBER, SUMMED = -1e200, -1e50
_NUMBER, _LOW = -1e100, -1e20  # what is below these is one, however often it was halved


def numbers(value: Tensor) -> Tensor:
    """The twin of a tensor that depends on no parameter: 0, or low, where it is, else 1."""
    made = ones(value).masked_fill(value == 0, 0.0)
    if not value.is_floating_point():
        return made
    return made.masked_fill(value <= MINUS_INFINITY, NUMBER).masked_fill(value == -inf, -inf)


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
    if value <= MINUS_INFINITY:
        return -inf if value == -inf else NUMBER
    return float(value != 0)


def mean(value: Tensor, dims: Sequence[int], keepdim: bool = True) -> Tensor:
    """The mean over dims of what is not fixed to -inf, or to a number as good as that."""
    return mean_where(~is_fixed_low(value), value, dims, keepdim)


def mean_where(counted: Tensor, value: Tensor, dims: Sequence[int], keepdim: bool = True) -> Tensor:
    """The mean over dims of what is counted."""
    if not dims:
        return value
    value = without_low(value)
    if bool(counted.all()):
        return value.mean(tuple(dims), keepdim=keepdim)
    count = counted.sum(tuple(dims), keepdim=keepdim).clamp(min=1)
    return value.masked_fill(~counted, 0.0).sum(tuple(dims), keepdim=keepdim) / count


def average(*values: Tensor) -> Tensor:
    """The mean of tensors, broadcast to each other."""
    return sum(values[1:], values[0]) / len(values)


def without_low(value: Tensor) -> Tensor:
    """0 in the place of what is fixed to be low, 1 in that of a low number added to what is read."""
    low = is_low(value)
    if not bool(low.any()):
        return value
    read = torch.where(low, value.masked_fill(value == -inf, 0.0), torch.zeros_like(value))
    lifted = torch.where(low, read - read.detach() + 1.0, value)
    return lifted.masked_fill(is_fixed_low(value), 0.0)


def is_low(value: Tensor) -> Tensor:
    """Where the twin of a tensor is as good as -inf."""
    return value < _LOW


def is_fixed_low(value: Tensor) -> Tensor:
    """Where nothing that is read has been added to that."""
    return value < _NUMBER


def lowered(value: Tensor, like: Tensor) -> Tensor:
    """`value`, low where `like` is: -inf, a number, or a number added to what is read."""
    summed = value - value.detach() + SUMMED
    held = like.detach().masked_fill(~is_fixed_low(like), 0.0)
    return torch.where(is_fixed_low(like), held, torch.where(is_low(like), summed, value))


def outweighed(value: Tensor, dim: int) -> Tensor:
    """Where it vanishes beside the others along `dim`: a number does not where all are as low."""
    low = is_low(value)
    return low & ~((value != -inf) & low.all(dim, keepdim=True))


def highest(value: Tensor, dim: int) -> Tensor:
    """A maximum, exact or smooth, leaves out what is low beside others; it is low where all are."""
    made = mean_where(~outweighed(value, dim), value, [dim])
    return lowered(made, value.detach().amax(dim, keepdim=True))


def read_from(value: Tensor) -> Tensor:
    """The same low numbers, as if they had been added to what is read; -inf stays."""
    return value.detach().where(value == -inf, torch.full_like(value, SUMMED))
