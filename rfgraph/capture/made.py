"""Functions that make a tensor of what they are given, where that holds tensors of the graph.

In: their arguments. Out: the same tensor by operators that have rules: `torch.as_tensor(x, dtype=d)` is
`x.to(d)`, `torch.tensor([a, b])` of tensors without dims a stack, `x.where(mask, y)` is
`torch.where(mask, x, y)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor


def as_tensor(data: Any, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """`torch.as_tensor`: a tensor itself, where it is what is asked for."""
    made = _joined(data)
    return made if dtype is None and device is None else made.to(device=device, dtype=dtype)


def asarray(
    obj: Any,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`torch.asarray`: a tensor itself, unless a copy is asked for."""
    made = as_tensor(obj, dtype, device)
    return made.clone() if copy else made


def tensor(
    data: Any,
    *,
    dtype: torch.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """`torch.tensor`: a copy."""
    return as_tensor(data, dtype, device).detach().clone()


def where(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    """`Tensor.where`, whose own tensor is the second argument of the function."""
    return torch.where(condition, input, other)


def _joined(data: Any) -> Tensor:
    """Nested lists of numbers, some of which are tensors without dims, as one tensor.

    Raises:
        TypeError: a tensor in a list has more than one element, as torch raises.
    """
    if isinstance(data, Tensor):
        return data
    if not isinstance(data, list | tuple):
        return torch.tensor(data)
    parts = [_joined(part) for part in data]
    for part, given in zip(parts, data, strict=True):
        if isinstance(given, Tensor) and part.numel() != 1:
            raise TypeError("only one element tensors can be converted to Python scalars")
    dtype = reduce(torch.promote_types, (part.dtype for part in parts))
    scalars = (
        p.reshape(()) if isinstance(g, Tensor) else p for p, g in zip(parts, data, strict=True)
    )
    return torch.stack([part.to(dtype) for part in scalars])


SPELLED: Mapping[str, Callable[..., Any]] = {
    "as_tensor": as_tensor,
    "asarray": asarray,
    "tensor": tensor,
}
"""Functions, by name."""
METHODS: Mapping[str, Callable[..., Any]] = {"where": where}
"""Methods that are another call of the function."""
