"""Twins of recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rfgraph.probe.twins.encoding import average, mean
from rfgraph.probe.twins.twin import Called, Result, Twin, nothing, traced, twin


@twin("lstm gru rnn_tanh rnn_relu")
def recurrent(
    call: Called,
    sequence: Tensor,
    states: object,
    weights: Sequence[Tensor],
    biased: bool,
    layers: int,
    dropout: float,
    training: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """A running mean over the steps so far; over those to come, for the direction that goes back."""
    if not isinstance(sequence, Twin):  # the states alone depend on the input
        steps = torch.zeros(tuple(sequence.shape), dtype=torch.float64, device=sequence.device)
    else:
        steps = sequence.value
    steps = (steps.transpose(0, 1) if batch_first else steps).mean(
        -1, keepdim=True
    )  # time, sample, 1
    if call.setting.cut:
        return _stepwise(call, steps, batch_first)
    starts = [state.mean((0, 2), keepdim=True) for state in traced((states,))]
    if starts:
        steps = average(steps, *starts)
    there = _running(steps)
    if not bidirectional:
        outputs = [there]
    elif layers == 1:
        outputs = [there, _running(steps.flip(0)).flip(0)]
    else:  # a second layer reads both directions of the first
        outputs = [steps.mean(0, keepdim=True).expand_as(steps)] * 2
    shapes = [tuple(shape.shape) for shape in call.shapes()]
    hidden = shapes[0][-1] // len(outputs)
    result = torch.cat([part.expand(-1, -1, hidden) for part in outputs], -1)
    last = steps.mean(0, keepdim=True)
    return (
        result.transpose(0, 1) if batch_first else result,
        *(last.expand(shape) for shape in shapes[1:]),
    )


def _stepwise(call: Called, steps: Tensor, batch_first: bool) -> tuple[Tensor, ...]:
    """Each step alone; the last states read every step, and so nothing."""
    outputs, *states = nothing(call)
    read = (steps.transpose(0, 1) if batch_first else steps).expand_as(outputs)
    return (read, *states)


def _running(steps: Tensor) -> Tensor:
    """The mean of each step and all before it."""
    counts = torch.arange(1, len(steps) + 1, dtype=steps.dtype, device=steps.device)
    return steps.cumsum(0) / counts.view(-1, 1, 1)


@twin("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell")
def cell(call: Called, sequence: Tensor, states: object, *weights: object) -> Result:
    """All features of the input and of the hidden state; the cell state's own."""
    hidden, *cells = states if isinstance(states, tuple | list) else (states,)
    shapes = call.shapes()
    is_pair = isinstance(shapes, tuple | list)
    terms = [mean(value, [-1]) for value in traced((sequence, hidden))]
    terms += [value.mean() for value in traced(weights) if not call.setting.cut]
    made = average(*terms, *traced(cells)).expand((shapes[0] if is_pair else shapes).shape)
    return (made, made) if is_pair else made
