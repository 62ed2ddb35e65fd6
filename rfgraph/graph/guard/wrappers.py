"""Modules that only run another one: `torch.compile`, `DataParallel`.

In: a module. Out: the module it runs; a tree without wrappers, and a model that runs what is inside them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from torch import nn

Modules: TypeAlias = Mapping[str, nn.Module]
"""The modules of a tree by path."""
_DATA_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(model: Any) -> Any:
    """The module inside `torch.compile(model)`, `DataParallel(model)`; else the model itself."""
    while (inside := _inside(model)) is not None:
        model = inside
    return model


def tree(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of the tree by path, as `model.named_modules()` has them, at a third of the time.

    In the place of a wrapper is what it runs.
    """
    kinds = (*_compiled(), *_DATA_PARALLEL)
    found = {"": model}
    seen = {id(model)}

    def visit(inside: Mapping[str, nn.Module | None], prefix: str) -> None:
        for name, child in inside.items():
            if isinstance(child, kinds):
                child = unwrapped(child)
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                path = prefix + name
                found[path] = child
                below = child.__dict__.get("_modules")  # a TorchScript module has none
                if below:
                    visit(below, f"{path}.")

    visit(model.__dict__.get("_modules", {}), "")
    return found


def bypass(modules: Iterable[nn.Module]) -> None:
    """Let modules run what is inside the wrappers that they hold, and nothing compiled."""
    kinds = (*_compiled(), *_DATA_PARALLEL)
    for module in modules:
        own = module.__dict__
        inside = own["_modules"]
        for name, child in inside.items() if inside else ():
            if isinstance(child, kinds):
                inside[name] = unwrapped(child)
        if own.get("_compiled_call_impl") is not None:
            own["_compiled_call_impl"] = None


def _inside(module: object) -> nn.Module | None:
    """What a wrapper runs, unless it has hooks, which may change that."""
    if isinstance(module, _compiled()):
        inside = module._modules["_orig_mod"]
    elif isinstance(module, _DATA_PARALLEL):
        inside = module._modules["module"]
    else:
        return None
    return None if module._forward_hooks or module._forward_pre_hooks else inside


def _compiled() -> tuple[type[nn.Module], ...]:
    """Asks without importing the compiler, which takes seconds: what it made, it made when loaded."""
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    return () if compiler is None else (compiler.OptimizedModule,)
