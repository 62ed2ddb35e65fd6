"""Recurrent layers, LSTM, GRU, RNN, and their cells.

In: their nodes. Out: reads. Output 0 is the sequence, the others are the last states.
"""

from __future__ import annotations

import torch
from torch import nn

from rfgraph.graph import Node, Operand
from rfgraph.language.reads import Place, Read, Reads, along, every, mixed, same, up_to, whole
from rfgraph.language.vocabulary import Spelling
from rfgraph.rules.registry import rule

_WHOLE = every("recurrent")


def recurrent(node: Node) -> Reads:
    """LSTM, GRU and RNN over a sequence.

    Reads:      its own step, and every step before it, of its own sample; all steps in both directions
                together, and for the last states; all features; all of the sample's initial states.
    Formula:    R(o) = {0 .. o} along time.
    Example:    5 steps, one direction: output step 2 reads steps 0, 1, 2.
    Precision:  exact for the sequence, all its features together. Conservative for one feature of two
                directions, which goes one way, and for states, which read no initial state of later layers.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """
    params = node.params
    sequence = params["input"]
    batched = len(sequence.shape) == 3
    time = 1 if batched and params["batch_first"] else 0
    states = node.output > 0
    own: Place = _WHOLE  # last states, and outputs of both directions together
    if not states and not params["bidirectional"]:
        own = up_to(time, "recurrent")
    sample = along(1 if states else 1 - time)

    def step(place: Place) -> Read:
        dims: list[Place] = [every("linear")] * len(sequence.shape)
        dims[time] = place
        if batched:
            dims[1 - time] = sample
        return Read(sequence.index, tuple(dims))

    reads = [step(own)] if states else [step(along(time)), step(own)]
    initial = params["hx"] if isinstance(params["hx"], tuple | list) else (params["hx"],)
    for state in initial:
        if isinstance(state, Operand):
            kept: list[Place] = [_WHOLE] * len(state.shape)
            if batched:
                kept[1] = sample
            reads.append(Read(state.index, tuple(kept)))
    return tuple(reads)


for _name, _module in {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}.items():
    rule(
        _module,
        name=_name,
        signature="input, hx=None, *, batch_first=False, bidirectional=False",
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
