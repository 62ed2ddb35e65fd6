"""What cannot be put back, or run on numbers: found before anything runs.

In: the modules of a tree. Out: the path of the first that is so, or an error of one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

from rfgraph.errors import InputError
from rfgraph.graph.guard.contents import LAZY
from rfgraph.graph.guard.wrappers import Modules, tree

_QUANTISED = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")
_IN_FLOATS = (
    "torch.ao.nn.quantized.reference.",
    "torch.ao.nn.quantized.modules.functional_modules.FloatFunctional",
    "torch.ao.nn.quantized.modules.functional_modules.FXFloatFunctional",
)
"""Classes that are kept beside the quantised ones, and compute with floats."""


def refuse_scripted(modules: Modules) -> None:
    """Raise `InputError` for a TorchScript module, whose state is not Python's."""
    scripted = _first(modules, lambda kind: issubclass(kind, torch.jit.ScriptModule))
    if scripted is not None:
        raise InputError(
            f"{scripted} is a TorchScript module, whose code cannot be followed: pass the "
            "module that it was made from"
        )


def lazy(modules: Modules) -> str | None:
    """The first lazy module that has no weights yet."""
    kinds = set(map(type, _tensors(modules.values())))
    if not any(issubclass(kind, LAZY) for kind in kinds):
        return None
    named = modules.items()
    return next(
        _named(path) for path, m in named if any(isinstance(x, LAZY) for x in _tensors([m]))
    )


def on_meta(modules: Modules) -> str | None:
    """The first module whose tensors are on the meta device."""
    for path, module in modules.items():
        if any(tensor is not None and tensor.is_meta for tensor in _tensors([module])):
            return _named(path)
    return None


def refuse_without_numbers(model: object) -> None:
    """Raise `InputError` for a model that there is nothing to compute with."""
    if not isinstance(model, nn.Module):
        return  # what it is then, is said elsewhere
    modules = tree(model)
    if (path := lazy(modules)) is not None:
        raise InputError(
            f"{path} is a lazy module without weights yet, so there is nothing to compute with: run the "
            "model once on an input first"
        )
    if (path := on_meta(modules)) is not None:
        raise InputError(
            f"{path} is on the meta device, which holds no numbers to compute with: move the model to "
            "another device with to_empty and give it weights"
        )


def quantised(modules: Modules) -> str | None:
    """The first quantised module."""
    return _first(modules, _is_quantised)


def _is_quantised(kind: type) -> bool:
    name = f"{kind.__module__}.{kind.__name__}"
    return name.startswith(_QUANTISED) and not name.startswith(_IN_FLOATS)


def _tensors(modules: Iterable[nn.Module]) -> Iterator[torch.Tensor | None]:
    for module in modules:
        yield from module._parameters.values()
        yield from module._buffers.values()


def _first(modules: Modules, is_so: Callable[[type], bool]) -> str | None:
    """The first module whose class is so."""
    kinds = {kind for kind in set(map(type, modules.values())) if is_so(kind)}
    if not kinds:
        return None
    return next(_named(path) for path, module in modules.items() if type(module) in kinds)


def _named(path: str) -> str:
    return repr(path) if path else "the model"
