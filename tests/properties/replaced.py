"""Layers with others in their place: those in which reads may never show, those that go back without a bound.

In: layers. Out: layers.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from rfgraph.testing.describe import (
    Attention,
    Conv,
    Cumulative,
    GlobalAdd,
    Layer,
    Pointwise,
    Recurrent,
    Residual,
    Softmax,
    Write,
)


def smooth(layers: tuple[Any, ...]) -> tuple[Any, ...]:
    """The layers with others for those in which what is read may never show.

    A ReLU may be 0 and a maximum that of the other branch, whatever the input; a sigmoid is positive, and a softmax
    has the mean that it has.
    """
    return tuple(map(_smooth, layers))


def _smooth(layer: Any) -> Any:
    if isinstance(layer, Pointwise) and layer.kind in ("relu", "sigmoid"):
        return replace(layer, kind="tanh")
    if isinstance(layer, Softmax):
        return GlobalAdd()
    if isinstance(layer, Residual) and layer.how == "maximum":
        layer = replace(layer, how="add")
    if isinstance(layer, Write) and layer.how in ("relu_", "F.relu", "nn.ReLU", "sigmoid_"):
        layer = replace(layer, how="mul_", value=0.5)
    changed = {}
    for field in fields(layer):
        value = getattr(layer, field.name)
        if field.name in ("branches", "parts"):
            changed[field.name] = tuple(map(smooth, value))
        elif isinstance(value, tuple) and any(isinstance(one, Layer | Write) for one in value):
            changed[field.name] = smooth(value)
    return replace(layer, **changed)


def without_past(layers: tuple[Any, ...]) -> tuple[Any, ...]:
    """The layers with others for those that go back without a bound, which read their own position alone."""
    return tuple(map(_local, layers))


def _local(layer: Any) -> Any:
    if isinstance(layer, Recurrent):
        return Conv(kernel_size=(1,), out_channels=layer.hidden)
    if isinstance(layer, Cumulative):
        return Pointwise(kind="tanh")
    if isinstance(layer, Attention) and layer.pairs == "causal":
        return Pointwise(kind="tanh")
    changed = {}
    for field in fields(layer):
        value = getattr(layer, field.name)
        if field.name in ("branches", "parts"):
            changed[field.name] = tuple(map(without_past, value))
        elif isinstance(value, tuple) and any(isinstance(one, Layer) for one in value):
            changed[field.name] = without_past(value)
    return replace(layer, **changed)


def goes_back(layers: tuple[Any, ...]) -> bool:
    """Is any of the layers one that goes back without a bound?"""
    return without_past(layers) != layers
