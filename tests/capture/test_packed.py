"""Sequences of several lengths: packed, run through recurrent layers, padded again.

Truth is the model: each row of the input is changed at each step, and what the output does is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import (
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
)

import rfgraph
from rfgraph.errors import CaptureError

FEATURES, STEPS = 3, 6


class Packed(nn.Module):
    """Rows of the given lengths, packed, through a recurrent layer, and padded again."""

    def __init__(
        self, kind: type[nn.RNNBase], lengths: list[int], part: str = "output", **options: Any
    ) -> None:
        super().__init__()
        self.kept = dict(options)
        first = options.pop("batch_first", True)
        self.padding = {"total_length": options.pop("total_length", None), "padding_value": 0.5}
        self.given = options.pop("given", False)
        self.hooked = options.pop("hooked", False)
        self.layer = kind(FEATURES, 4, batch_first=first, **options)
        self.lengths, self.first, self.part = lengths, first, part
        if self.hooked:
            self.layer.register_forward_hook(lambda *_: None)

    def forward(self, x: Tensor) -> Tensor:
        packed = pack_padded_sequence(
            x, torch.tensor(self.lengths), self.first, enforce_sorted=False
        )
        begin = x[:, 0] if self.first else x[0]
        states = (begin[None, :, :1].expand(-1, -1, 4).contiguous(),) if self.given else ()
        output, last = self.layer(packed, *states)
        if self.part != "output":
            return last[0] if isinstance(last, tuple) else last
        padded, lengths = pad_packed_sequence(output, self.first, **self.padding)
        assert lengths.tolist() == self.lengths
        return padded


def changes(model: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """For each element of the output, (rows in, steps in): what changes it."""
    model = model.eval().double()
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = model(x)
        found = torch.zeros(*before.shape, *shape[:2], dtype=torch.bool)
        for row, step in torch.cartesian_prod(*map(torch.arange, shape[:2])).tolist():
            other = x.clone()
            other[row, step] += 0.37
            found[..., row, step] = model(other) != before
    model.float()
    return found


def check(model: nn.Module, shape: tuple[int, ...]) -> rfgraph.Report:
    """Every element reads the rows and steps that change it, and no others; the probes agree."""
    truth = changes(model, shape)
    report = rfgraph.analyze(model, shape, axes=(0, 1))
    verification = rfgraph.verify(model, shape, axes=(0, 1))
    assert verification, str(verification)
    for place in torch.cartesian_prod(*map(torch.arange, report.output.shape)).tolist():
        for axis in range(2):
            expected = truth[tuple(place)].any(1 - axis).nonzero().flatten().tolist()
            assert report.output.reads(axis, tuple(place)).tolist() == expected, (axis, place)
    return report


LAYERS: dict[str, dict[str, Any]] = {
    "lstm": {"kind": nn.LSTM},
    "gru": {"kind": nn.GRU},
    "rnn": {"kind": nn.RNN},
    "steps first": {"kind": nn.LSTM, "batch_first": False},
    "two directions": {"kind": nn.LSTM, "bidirectional": True},
    "two layers": {"kind": nn.GRU, "num_layers": 2},
    "two layers, two directions": {"kind": nn.GRU, "num_layers": 2, "bidirectional": True},
    "given states": {"kind": nn.GRU, "given": True},
    "padded to more": {"kind": nn.LSTM, "total_length": 8},
}
LENGTHS = {
    "one row": [4],
    "one whole row": [6],
    "equal": [5, 5],
    "whole": [6, 6, 6],
    "falling": [6, 4, 2],
    "unsorted, two alike": [2, 5, 2, 6],
    "one step": [1, 3],
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
def test_rows_are_read_where_they_come_from(options: dict[str, Any], lengths: list[int]) -> None:
    model = Packed(lengths=lengths, **options)
    shape = (len(lengths), STEPS, FEATURES)
    if not model.first:
        shape = (STEPS, len(lengths), FEATURES)
    check(model, shape)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("name", ["lstm", "gru", "two directions"])
def test_the_last_states_are_of_each_row_s_own_end(name: str, lengths: list[int]) -> None:
    check(Packed(lengths=lengths, part="states", **LAYERS[name]), (len(lengths), STEPS, FEATURES))


def test_a_causal_layer_of_packed_rows_does_not_look_ahead() -> None:
    report = rfgraph.analyze(Packed(nn.GRU, [6, 6]), (2, STEPS, FEATURES), axes=(1,))
    assert report.output.rf.lookahead == (0,)
    both = rfgraph.analyze(
        Packed(nn.GRU, [6, 6], bidirectional=True), (2, STEPS, FEATURES), axes=(1,)
    )
    assert both.output.reads(0, (0, 0, 4)).tolist() == list(range(6))


class Listed(nn.Module):
    """Sequences of several lengths, put side by side in one of torch's ways, two steps at a time."""

    def __init__(self, way: Callable[[list[Tensor]], Tensor]) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        pairs = x[:, 1:] + x[:, :-1]
        return self.way([pairs[0], pairs[0, :3], pairs[1, 1:]])


WAYS: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "padded": lambda rows: pad_sequence(rows, batch_first=True),
    "padded, steps first": lambda rows: pad_sequence(rows, padding_value=2.0).transpose(0, 1),
    "padded on the left": lambda rows: pad_sequence(rows, batch_first=True, padding_side="left"),
    "packed": lambda rows: pad_packed_sequence(pack_sequence(rows, False), batch_first=True)[0],
    "the packed data": lambda rows: pack_sequence(rows, enforce_sorted=False).data[None],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_lists_of_sequences(way: Callable[[list[Tensor]], Tensor]) -> None:
    check(Listed(way), (2, STEPS, FEATURES))


def test_the_graph_computes_what_the_model_computes() -> None:
    model = Packed(nn.LSTM, [2, 5, 6], bidirectional=True).eval()
    x = torch.randn(3, STEPS, FEATURES)
    report = rfgraph.analyze(model, (3, STEPS, FEATURES), axes=(1,))
    assert torch.allclose(report.fx(x), model(x), atol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "given states", "two directions"])
def test_a_layer_with_hooks_reads_the_same(name: str) -> None:
    check(Packed(lengths=[2, 5, 2, 6], hooked=True, **LAYERS[name]), (4, STEPS, FEATURES))


class Lengths(nn.Module):
    """Lengths that the input decides."""

    def forward(self, x: Tensor) -> Tensor:
        lengths = (x[..., 0] > 0).sum(1).clamp(min=1)
        packed = pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        return pad_packed_sequence(packed, True)[0]


def test_computed_lengths_are_refused_in_one_sentence() -> None:
    with pytest.raises(
        CaptureError, match=r"needs the values of 'sort'.*tolist.*depends on the data"
    ):
        rfgraph.analyze(Lengths(), (2, STEPS, FEATURES), axes=(1,))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([7], r"lengths \[7\] are none of a batch"),
        ([0, 3], "lengths are to fall, and to be 1 or more"),
        ([2, 2, 2], "index 2 is out of range for dim 0, of size 2"),
    ],
)
def test_lengths_that_torch_refuses_are_refused(lengths: list[int], message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        rfgraph.analyze(Packed(nn.GRU, lengths), (2, STEPS, FEATURES), axes=(1,))
