"""What cannot be put back, or run on numbers: found before anything runs.

In: a module. Out: the path of the first module that is so, or an error of one sentence.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from rfgraph.errors import InputError

_QUANTISED = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")
_IN_FLOATS = (
    "torch.ao.nn.quantized.reference.",
    "torch.ao.nn.quantized.modules.functional_modules.FloatFunctional",
    "torch.ao.nn.quantized.modules.functional_modules.FXFloatFunctional",
)
"""Classes that are kept beside the quantised ones, and compute with floats."""


def modules_of(model: nn.Module) -> list[nn.Module]:
    """The modules of the tree, as `model.modules()` has them.

    Raises:
        InputError: a TorchScript module, whose state is not Python's.
    """
    found = {id(model): model}
    stack = [model]
    while stack:
        module = stack.pop()
        if isinstance(module, torch.jit.ScriptModule):
            path = next(path for path, known in model.named_modules() if known is module)
            raise InputError(
                f"{_named(path)} is a TorchScript module, whose code cannot be followed: pass the "
                "module that it was made from"
            )
        for child in module.__dict__["_modules"].values():
            if child is not None and id(child) not in found:
                found[id(child)] = child
                stack.append(child)
    return list(found.values())


def lazy(model: nn.Module) -> str | None:
    """The first lazy module that has no weights yet."""
    for path, module in model.named_modules():
        own = (*module._parameters.values(), *module._buffers.values())
        if any(isinstance(tensor, UninitializedParameter | UninitializedBuffer) for tensor in own):
            return _named(path)
    return None


def on_meta(model: nn.Module) -> str | None:
    """The first module whose tensors are on the meta device."""
    for path, module in model.named_modules():
        own = (*module._parameters.values(), *module._buffers.values())
        if any(tensor is not None and tensor.is_meta for tensor in own):
            return _named(path)
    return None


def quantised(model: nn.Module) -> str | None:
    """The first quantised module."""
    for path, module in model.named_modules():
        name = f"{type(module).__module__}.{type(module).__name__}"
        if name.startswith(_QUANTISED) and not name.startswith(_IN_FLOATS):
            return _named(path)
    return None


def _named(path: str) -> str:
    return repr(path) if path else "the model"
