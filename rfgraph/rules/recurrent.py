"""Recurrent layers, LSTM, GRU, RNN, and their cells.

In: their nodes. Out: reads. Output 0 is the sequence, the others are the last states.
"""

from __future__ import annotations

import torch
from torch import nn

from rfgraph.graph import Node, Operand
from rfgraph.language.reads import (
    Place,
    Read,
    Reads,
    along,
    every,
    from_here,
    mixed,
    same,
    table,
    up_to,
    whole,
)
from rfgraph.language.vocabulary import Spelling
from rfgraph.rules.registry import rule

_WHOLE, _FEATURES = every("recurrent"), every("linear")


def recurrent(node: Node) -> Reads:
    """LSTM, GRU and RNN over a sequence.

    Reads:      its own step, and every step before it, of its own sample; of two directions, the features of
                the second read every step behind it; in several layers of two directions, and for the last
                states, all steps; all features; all of the sample's initial states.
    Formula:    R(o) = {0 .. o} along time; {o .. n - 1} for the features of a second direction.
    Example:    5 steps, one direction: output step 2 reads steps 0, 1, 2.
    Precision:  exact for the sequence, all its features together. Conservative in the closed form of a second
                direction, which is a whole read, and for states, which read no initial state of later layers.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """
    params = node.params
    sequence = params["input"]
    rank, batched = len(sequence.shape), len(sequence.shape) == 3
    time = 1 if batched and params["batch_first"] else 0
    sample = along(1 if node.output else 1 - time)

    def step(place: Place, features: Place = _FEATURES) -> Read:
        dims: list[Place] = [features] * rank
        dims[time] = place
        if batched:
            dims[1 - time] = sample
        return Read(sequence.index, tuple(dims))

    initial = params["hx"] if isinstance(params["hx"], tuple | list) else (params["hx"],)
    states = [_initial(each, sample, batched) for each in initial if isinstance(each, Operand)]
    if node.output:
        return (step(_WHOLE), *states)
    there = up_to(time, "recurrent")
    if not params["bidirectional"]:
        return (step(along(time)), step(there), *states)
    if params["num_layers"] > 1:  # the second reads both directions of the first
        return (step(along(time)), step(_WHOLE), *states)
    count, size = node.shape[-1] // 2, sequence.shape[-1]
    first, second = (_half(rank - 1, count, size, is_second) for is_second in (False, True))
    back = from_here(time, sequence.shape[time], "recurrent")
    return (step(along(time)), step(there, first), step(back, second), *states)


def _half(dim: int, count: int, size: int, is_second: bool) -> Place:
    """All of a dim of `size`, for the first `count` outputs along `dim`, or for the others."""
    return table(
        dim,
        lambda o: range(size) if (o >= count) == is_second else (),
        None,
        "one of two directions",
    )


def _initial(state: Operand, sample: Place, batched: bool) -> Read:
    kept: list[Place] = [_WHOLE] * len(state.shape)
    if batched:
        kept[1] = sample
    return Read(state.index, tuple(kept))


for _name, _module in {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}.items():
    rule(
        _module,
        name=_name,
        signature="input, hx=None, *, batch_first=False, bidirectional=False, num_layers=1",
    )(recurrent)


def cell(node: Node) -> Reads:
    """One step of LSTM, GRU and RNN.

    Reads:      all features of its own sample, of the input and of the hidden state; of the cell state
                the output's own; all of weights that are computed.
    Formula:    out[n, f] reads input[n, :], h[n, :] and c[n, f].
    Example:    GRUCell(3, 2) on (4, 3): output (1, 0) reads the input at (1, 0 .. 2) and h at (1, 0 .. 1).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html
    """
    states = node.params["hx"]
    hidden, *cells = states if isinstance(states, tuple | list) else (states,)
    rank = len(node.shape)
    reads = [
        mixed(rank, [rank - 1], "linear", operand.index)
        for operand in (node.params["input"], hidden)
        if isinstance(operand, Operand)
    ]
    reads += [same(rank, each.index) for each in cells if isinstance(each, Operand)]
    computed = (each for each in node.params.get("weights", ()) if isinstance(each, Operand))
    return (*reads, *(whole(len(each.shape), "linear", each.index) for each in computed))


_CELLS: dict[str, tuple[Spelling, ...]] = {
    "lstm_cell": (nn.LSTMCell, torch.lstm_cell),
    "gru_cell": (nn.GRUCell, torch.gru_cell),
    "rnn_cell": (nn.RNNCell, torch.rnn_tanh_cell, torch.rnn_relu_cell),
}
for _name, _targets in _CELLS.items():
    rule(*_targets, name=_name, signature="input, hx=None, *weights")(cell)
