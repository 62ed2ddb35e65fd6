"""Modules that only run another one: `torch.compile`, `DataParallel`.

In: a module. Out: the module it runs; a model that runs what is inside its wrappers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from torch import nn

_DATA_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(model: object) -> object:
    """The module inside `torch.compile(model)`, `DataParallel(model)`; else the model itself."""
    while (inside := _inside(model)) is not None:
        model = inside
    return model


def bypass(modules: Iterable[nn.Module]) -> None:
    """Let modules run what is inside the wrappers that they hold, and nothing compiled."""
    kinds = (*_compiled(), *_DATA_PARALLEL)
    for module in modules:
        own = module.__dict__
        for name, child in own["_modules"].items():
            if isinstance(child, kinds):
                own["_modules"][name] = unwrapped(child)
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
