"""The tensors in what a model returned, by their paths in the structure; and that structure in an fx graph.

In: what a forward returned. Out: (path, tensor) pairs; an argument for the graph's output node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx

from rfgraph.capture.containers import made, opened


def leaves(result: Any) -> list[tuple[str, torch.Tensor]]:
    """(path, tensor) of every tensor in what the model returned; a path that repeats is suffixed _1, _2."""
    found: dict[str, torch.Tensor] = {}
    for path, tensor in _leaves(result, ""):
        unique, number = path or "output", 0
        while unique in found:
            number += 1
            unique = f"{path}_{number}"
        found[unique] = tensor
    return list(found.items())


def _leaves(result: Any, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(result, torch.Tensor):
        yield path, result
        return
    container, parts = opened(result) or (None, ())
    for key, part in zip(container.keys if container else (), parts, strict=True):
        yield from _leaves(part, f"{path}.{key}".lstrip("."))


def structure(result: Any, graph: fx.Graph, arg: Callable[[Any], Any]) -> Any:
    """What the graph returns: the same structure, with fx nodes for tensors.

    `arg`: a tensor, or what is no container, as the graph holds it.
    """
    found = None if isinstance(result, torch.Tensor) else opened(result)
    if found is None:
        return arg(result)
    container, parts = found[0], [structure(part, graph, arg) for part in found[1]]
    if container.is_plain:
        return container.made(parts)
    return graph.call_function(made, (arg(container), parts))
