"""Recurrent layers: LSTM, GRU, RNN.

In: their nodes. Out: reads. Output 0 is the sequence, the others are the last states.
"""

from __future__ import annotations

from torch import nn

from rfgraph.graph import Node, Operand
from rfgraph.language.reads import Place, Read, Reads, along, every, up_to
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
