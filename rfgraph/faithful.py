"""Whether a captured graph computes what the model computes: both are run beside each other.

In: a model, its graph, the arguments it was captured with. Out: what differs, in words.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rfgraph.capture.arguments import Arguments
from rfgraph.capture.outputs import leaves
from rfgraph.graph import Graph, Node
from rfgraph.graph.guard import untouched
from rfgraph.graph.replay import example_inputs, returned

_TOLERANCE = 1e-3


def difference(model: nn.Module, graph: Graph, arguments: Arguments, training: bool = False) -> str:
    """How the graph differs from the model on the same tensors and the same random numbers; "" if nowhere.

    Shapes are compared at every node, values at what the model returns, up to rounding. The tensors are
    the caller's, and seeded random ones where there are but shapes.
    """
    own = {name: tensor for name, tensor in arguments.given.items() if not tensor.is_meta}
    inputs = {**example_inputs(graph, None), **own}
    args, kwargs = arguments.filled({name: tensor.clone() for name, tensor in inputs.items()})
    with untouched(model, training):
        torch.manual_seed(0)  # both draw the same, where they draw
        expected = [tensor for _, tensor in leaves(model(*args, **kwargs))]
    with untouched(model, training):  # anew: the model may have written into its buffers
        torch.manual_seed(0)
        shapes: list[str] = []
        found = leaves(returned(graph, inputs, lambda *made: shapes.extend(_shape(*made))))
    if len(expected) != len(found):  # an exported program returns them without their names
        return f"it returns {len(found)} tensors, the model {len(expected)}"
    pairs = zip(found, expected, strict=True)
    values = (_values(name, own, tensor) for (name, tensor), own in pairs)
    return next(filter(None, [*shapes, *values]), "")


def _shape(node: Node, value: Any) -> list[str]:
    """Says so where a tensor has another shape than it was captured with."""
    if not isinstance(value, torch.Tensor) or tuple(value.shape) == node.shape:
        return []
    return [f"{node.where()} has shape {tuple(value.shape)}, not {node.shape} as it was captured"]


def _values(name: str, expected: torch.Tensor, found: torch.Tensor) -> str:
    if expected.shape != found.shape:
        return f"{name!r} has shape {tuple(found.shape)}, in the model {tuple(expected.shape)}"
    if not expected.is_floating_point() or not expected.numel():
        return ""  # indices of near-equal values may differ
    scale = float(expected.abs().nan_to_num().max())
    if torch.allclose(expected, found, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True):
        return ""
    most = float((expected.double() - found.double()).abs().nan_to_num(nan=torch.inf).max())
    return f"{name!r} differs from the model's by up to {most:.3g}"
