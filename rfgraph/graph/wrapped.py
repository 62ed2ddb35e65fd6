"""Tensors inside of a function that `torch.func` transforms (`vmap`, `grad`): wrappers, without memory.

In: a tensor. Out: the tensor whose elements a wrapper shows.
"""

from __future__ import annotations

import torch
from torch._C import _functorch


def is_transforming() -> bool:
    """Does this thread run a function that `torch.func` transforms?"""
    return _functorch.peek_interpreter_stack() is not None


def within(tensor: torch.Tensor) -> torch.Tensor:
    """What a wrapper holds, in the end; any other tensor itself."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor
