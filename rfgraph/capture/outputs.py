"""The tensors in what a model returned, by their paths in the structure; and that structure in an fx graph.

In: what a forward returned. Out: (path, tensor) pairs; an argument for the graph's output node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import fx


def leaves(result: Any, path: str = "") -> list[tuple[str, torch.Tensor]]:
    """(path, tensor) of every tensor in what the model returned."""
    if isinstance(result, torch.Tensor):
        return [(path or "output", result)]
    inside = (leaves(value, f"{path}.{key}".lstrip(".")) for key, value in _entries(result))
    return [pair for pairs in inside for pair in pairs]


def _entries(result: Any) -> list[tuple[str, Any]]:
    if isinstance(result, Mapping):
        return [(str(key), value) for key, value in result.items()]
    if hasattr(result, "_fields"):
        return list(zip(result._fields, result, strict=True))
    if isinstance(result, tuple | list):
        return [(str(i), value) for i, value in enumerate(result)]
    if is_dataclass(result):
        return [(each.name, getattr(result, each.name)) for each in fields(result)]
    return []


def structure(result: Any, graph: fx.Graph, arg: Callable[[Any], Any]) -> Any:
    """What the graph returns: the same structure, with fx nodes for tensors."""
    if isinstance(result, Mapping) and not is_dataclass(result):
        return {key: structure(value, graph, arg) for key, value in result.items()}
    if is_dataclass(result) and not isinstance(result, type):
        named = {key: structure(value, graph, arg) for key, value in _entries(result)}
        return graph.call_function(type(result), (), named)
    if isinstance(result, tuple | list):
        parts = [structure(value, graph, arg) for value in result]
        if type(result) in (tuple, list):
            return type(result)(parts)
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    return arg(result)
