"""What the tests of the probes share: a graph of a model, and naive probes to hold the real ones against.

In: models. Out: graphs, index sets. No figure here comes from the
analysis: graphs are only what the probes run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rfgraph.capture import capture
from rfgraph.graph import Graph, Marks
from rfgraph.probe import GradientProbe, PoisonProbe
from rfgraph.probe.gradient import Position
from rfgraph.probe.parts import LeftOut
from rfgraph.rules import VOCABULARY


def graph_of(model: nn.Module, inputs: Any, training: bool = False) -> Graph:
    return capture(model, inputs, VOCABULARY, training).graph


def output_of(graph: Graph) -> str:
    (name,) = graph.outputs.values()
    return name


class Function(nn.Module):
    """A function of one tensor as a model, with modules that it may call."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


def naive(
    model: nn.Module,
    shape: tuple[int, ...],
    position: tuple[int, ...],
    channels: slice = slice(None),
    dtype: torch.dtype = torch.float32,
) -> np.ndarray:
    """What most tools do: the gradient of the model as it is, at one random input."""
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    made = model.to(dtype).eval()(x)
    made[(slice(None), channels, *position)].sum().backward()
    assert x.grad is not None
    return (x.grad != 0).numpy()


def joint(
    probe: GradientProbe, node: str, at: Position, left_out: LeftOut | None = None
) -> Mapping[str, Marks]:
    """Input -> which of its elements a node depends on at one position."""
    return probe.joints(node, [at], left_out)[0]


def row(probe: PoisonProbe, input: str, dim: int, index: int) -> Mapping[str, Marks]:
    """Node -> which of its elements turn NaN when one row of an input is NaN."""
    return {name: found[0] for name, found in probe.rows(input, dim, [index]).items()}


def axis_set(
    probe: GradientProbe,
    node: str,
    at: Position,
    input: str,
    dim: int,
    left_out: LeftOut | None = None,
) -> np.ndarray:
    """The positions along one dim of one input that a node depends on, sorted."""
    mask = joint(probe, node, at, left_out)[input]
    others = tuple(d for d in range(mask.ndim) if d != dim % mask.ndim)
    return np.flatnonzero(mask.any(axis=others))


def span(positions: np.ndarray) -> tuple[int, int, int]:
    """First, last, count."""
    return int(positions[0]), int(positions[-1]), len(positions)


def along(mask: np.ndarray, dim: int) -> np.ndarray:
    """The positions along one dim that a mask holds."""
    return np.flatnonzero(mask.any(axis=tuple(d for d in range(mask.ndim) if d != dim)))
