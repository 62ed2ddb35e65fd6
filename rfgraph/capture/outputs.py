"""The tensors in what a model returned, by their paths in the structure; and that structure in an fx graph.

In: what a forward returned. Out: (path, tensor) pairs; an argument for the graph's output node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import fx
from torch.fx.node import Argument

from rfgraph.capture.containers import attributes, made, opened
from rfgraph.errors import CaptureError


def leaves(result: object) -> list[tuple[str, torch.Tensor]]:
    """(path, tensor) of every tensor in what the model returned; a path that repeats is suffixed _1, _2."""
    found: dict[str, torch.Tensor] = {}
    for path, tensor in _leaves(result, ""):
        unique, number = path or "output", 0
        while unique in found:
            number += 1
            unique = f"{path}_{number}"
        found[unique] = tensor
    return list(found.items())


def _leaves(
    result: object, path: str, above: tuple[int, ...] = ()
) -> Iterator[tuple[str, torch.Tensor]]:
    """`above`: what `result` is within, which may be within it again."""
    if isinstance(result, torch.Tensor):
        yield path, result
    elif id(result) not in above and (found := opened(result) or attributes(result)):
        for key, part in zip(found[0].keys, found[1], strict=True):
            yield from _leaves(part, f"{path}.{key}".lstrip("."), (*above, id(result)))


def structure(
    result: object, graph: fx.Graph, arg: Callable[[object], Argument], above: tuple[int, ...] = ()
) -> Argument:
    """What the graph returns: the same structure, with fx nodes for tensors.

    `arg`: a tensor, or what holds none, as the graph holds it. `above`: what `result` is within.

    Raises:
        CaptureError: a container that is within itself.
    """
    if isinstance(result, torch.Tensor):
        return arg(result)
    found = opened(result)
    if found is None and any(True for _ in _leaves(result, "")):
        found = attributes(result)  # what holds no tensor stays what it is
    if found is None:
        return arg(result)
    if id(result) in above:
        kind = type(result).__name__
        raise CaptureError(f"the forward returns a {kind} that holds itself; return its tensors")
    inside = (*above, id(result))
    container = found[0]
    parts = [structure(part, graph, arg, inside) for part in found[1]]
    if container.is_plain:
        held: Argument = container.made(parts)
        return held
    return graph.call_function(made, (arg(container), parts))
