"""Recurrent layers that a graph holds as one call of all their weights, as the modules that they were.

In: the arguments of `aten.lstm.input` and its like. Out: what the module of these weights returns, flat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def recurrent(kind: str, **options: object) -> Callable[..., tuple[object, ...]]:
    """`aten.lstm.input` and its like: the layer with these weights."""

    def spelled(
        input: Tensor,
        hx: object,
        weights: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[object, ...]:
        layer = _layer(
            kind, weights, has_biases, num_layers, dropout, bidirectional, batch_first, options
        )
        layer.train(train)
        output, states = layer(input, tuple(hx) if isinstance(hx, list) else hx)
        return (output, *states) if isinstance(states, tuple) else (output, states)

    return spelled


def _layer(
    kind: str,
    weights: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    bidirectional: bool,
    batch_first: bool,
    options: dict[str, object],
) -> nn.RNNBase:
    by_layer = 4 if has_biases else 2
    directions = 2 if bidirectional else 1
    projected = len(weights) == (by_layer + 1) * num_layers * directions
    gates = {"LSTM": 4, "GRU": 3}.get(kind, 1)
    if projected:
        options = {**options, "proj_size": weights[1].shape[1]}
    with torch._C.DisableTorchFunction():
        layer: nn.RNNBase = getattr(nn, kind)(
            weights[0].shape[1],
            weights[0].shape[0] // gates,
            num_layers,
            bias=has_biases,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device="meta",
            **options,
        )
        for name, weight in zip(layer._flat_weights_names, weights, strict=True):
            layer._parameters[name] = (
                weight
                if isinstance(weight, nn.Parameter)
                else nn.Parameter(weight, requires_grad=False)
            )
        layer._flat_weights = [layer._parameters[name] for name in layer._flat_weights_names]
    return layer
