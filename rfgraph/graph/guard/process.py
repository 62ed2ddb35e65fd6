"""`Process`: the state of torch, numpy and Python that does not belong to a model.

In: nothing. Out: random states, the mode of gradients, and the stack of function modes, put back.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from torch.nn.modules import module as module_hooks


class Process:
    """What it was when this was made; `put_back` may be called again where it was interrupted."""

    def __init__(self) -> None:
        self._random = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
        self._cuda = _cuda_states()
        self._grad = torch.is_grad_enabled()
        self._dtype = torch.get_default_dtype()
        self._modes = _modes()

    def without_gradients(self) -> None:
        torch.set_grad_enabled(False)

    def put_back(self) -> None:
        if list(map(id, _modes())) != list(map(id, self._modes)):
            while torch._C._len_torch_function_stack():
                torch._C._pop_torch_function_stack()
            for mode in self._modes:
                torch._C._push_on_torch_function_stack(mode)
        torch.set_grad_enabled(self._grad)
        if torch.get_default_dtype() != self._dtype:
            torch.set_default_dtype(self._dtype)
        torch.set_rng_state(self._random[0])
        np.random.set_state(self._random[1])  # noqa: NPY002
        random.setstate(self._random[2])
        if self._cuda is not None:
            torch.cuda.set_rng_state_all(self._cuda)


def global_hooks() -> list[dict[int, object]]:
    """The hooks that torch calls for every module: a forward may register one."""
    named = vars(module_hooks).items()
    return [d for name, d in named if name.startswith("_global_") and isinstance(d, dict)]


def _modes() -> list[object]:
    """The function modes that are entered, the outermost first."""
    return list(map(torch._C._get_function_stack_at, range(torch._C._len_torch_function_stack())))


def _cuda_states() -> list[torch.Tensor] | None:
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    return list(torch.cuda.get_rng_state_all())
