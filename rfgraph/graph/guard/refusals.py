"""What cannot be put back, or run on numbers: found before anything runs.

In: a module. Out: the path of the first module that is so, or an error of one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from rfgraph.errors import InputError
from rfgraph.graph.guard.contents import LAZY

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
    modules = tree(model)
    scripted = _first(model, modules, lambda kind: issubclass(kind, torch.jit.ScriptModule))
    if scripted is not None:
        raise InputError(
            f"{scripted} is a TorchScript module, whose code cannot be followed: pass the "
            "module that it was made from"
        )
    return modules


def lazy(model: nn.Module, modules: list[nn.Module] | None = None) -> str | None:
    """The first lazy module that has no weights yet; `modules`: those of the tree, where they are known."""
    kinds = set(map(type, _tensors(modules or tree(model))))
    if not any(issubclass(kind, LAZY) for kind in kinds):
        return None
    named = model.named_modules()
    return next(
        _named(path) for path, m in named if any(isinstance(x, LAZY) for x in _tensors([m]))
    )


def on_meta(model: nn.Module) -> str | None:
    """The first module whose tensors are on the meta device."""
    for path, module in model.named_modules():
        if any(tensor is not None and tensor.is_meta for tensor in _tensors([module])):
            return _named(path)
    return None


def refuse_without_numbers(model: object) -> None:
    """Raise `InputError` for a model that there is nothing to compute with."""
    if not isinstance(model, nn.Module):
        return  # what it is then, is said elsewhere
    if (path := lazy(model)) is not None:
        raise InputError(
            f"{path} is a lazy module without weights yet, so there is nothing to compute with: run the "
            "model once on an input first"
        )
    if (path := on_meta(model)) is not None:
        raise InputError(
            f"{path} is on the meta device, which holds no numbers to compute with: move the model to "
            "another device with to_empty and give it weights"
        )


def quantised(model: nn.Module, modules: list[nn.Module] | None = None) -> str | None:
    """The first quantised module; `modules`: those of the tree, where they are known."""
    return _first(model, modules or tree(model), _is_quantised)


def _is_quantised(kind: type) -> bool:
    name = f"{kind.__module__}.{kind.__name__}"
    return name.startswith(_QUANTISED) and not name.startswith(_IN_FLOATS)


def tree(model: nn.Module) -> list[nn.Module]:
    """As `model.modules()`, at a third of the time."""
    found = {id(model): model}
    stack = [model]
    while stack:
        own = stack.pop().__dict__
        for child in own.get("_modules", {}).values():  # a TorchScript module has none
            if child is not None and id(child) not in found:
                found[id(child)] = child
                stack.append(child)
    return list(found.values())


def _tensors(modules: list[nn.Module]) -> Iterator[torch.Tensor | None]:
    for module in modules:
        yield from module._parameters.values()
        yield from module._buffers.values()


def _first(model: nn.Module, modules: list[nn.Module], is_so: Callable[[type], bool]) -> str | None:
    """The first module whose class is so: paths are asked for where there is one."""
    kinds = {kind for kind in set(map(type, modules)) if is_so(kind)}
    if not kinds:
        return None
    return next(_named(path) for path, module in model.named_modules() if type(module) in kinds)


def _named(path: str) -> str:
    return repr(path) if path else "the model"
