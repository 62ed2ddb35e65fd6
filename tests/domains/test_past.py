"""Past reads: what goes back without a bound has a bounded side, which moves with the output at any size."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from torch import Tensor, nn

import rfgraph
from rfgraph.algebra.relation import Relation
from rfgraph.propagation.past import ends
from rfgraph.rules import recurrent
from rfgraph.testing import assert_causal
from tests.relation.strategies import FORWARD, relations

LENGTH = 24


class Recurrent(nn.Module):
    """Windows before and behind a recurrent layer."""

    def __init__(self, layer: type[nn.RNNBase], **options: object) -> None:
        super().__init__()
        self.before = nn.Conv1d(4, 4, 5, padding=2)
        self.layer = layer(4, 4, batch_first=True, **options)  # type: ignore[arg-type]
        self.after = nn.Conv1d(4, 4, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.layer(self.before(x).transpose(1, 2))
        return self.after(outputs.transpose(1, 2))


class CausalAttention(nn.Module):
    """Patches of four, causal attention over them, a causal convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix = nn.Conv1d(4, 4, 4, stride=4), nn.Conv1d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).transpose(1, 2)[:, None]
        tokens = tokens + F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True)
        return self.mix(F.pad(tokens[:, 0].transpose(1, 2), (2, 0)))


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def strided(x: Tensor) -> Tensor:
    """Only even positions are read, up to 6 o - 4."""
    return F.pad(x[..., ::2], (2, 0)).cumsum(-1)[..., ::3]


def upsampled(x: Tensor) -> Tensor:
    return F.interpolate(x.cummax(-1).values, scale_factor=2) + F.interpolate(x, scale_factor=2)


# model -> size of the local field, stride, right reach, right halo, look-ahead: by hand.
CASES: dict[str, tuple[nn.Module, tuple[object, ...]]] = {
    "LSTM": (Recurrent(nn.LSTM), (6, 2, 3, 2, 2)),  # o reads up to 2 o + 1 + 2
    "GRU": (Recurrent(nn.GRU, num_layers=2), (6, 2, 3, 2, 2)),
    "RNN": (Recurrent(nn.RNN), (6, 2, 3, 2, 2)),
    "attention": (CausalAttention(), (12, 4, 3, 0, 0)),
    "strided": (Function(strided), (1, 6, -4, -9, 0)),
    "upsampled": (Function(upsampled), (1, 0.5, 0, 0, 0)),
    "trapezoid": (Function(lambda x: torch.cumulative_trapezoid(x, dim=-1)), (2, 1, 1, 1, 1)),
    "two": (Function(lambda x: F.pad(x.cumsum(-1), (0, 1))[..., 1:].cumprod(-1)), (1, 1, 1, 1, 1)),
    "product": (
        Function(lambda x: x.logcumsumexp(-1) * F.pad(x, (0, 3))[..., 3:]),
        (4, 1, 3, 3, 3),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_bounded_side_of_a_past_read(name: str) -> None:
    model, (size, stride, right, halo, lookahead) = CASES[name]
    (reads,) = rfgraph.analyze(model, (1, 4, LENGTH)).output.rf
    assert (reads.size, reads.whole, reads.unbounded) == (inf, False, "past")
    assert reads.closed_form and reads.limits == () and reads.relation is None
    assert (reads.stride, reads.lookahead) == (stride, lookahead)
    assert (reads.reach, reads.halo) == ((inf, right), (inf, halo))
    assert reads.local is not None and (reads.local.size, reads.local.closed_form) == (size, True)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("length", [LENGTH, 40])
def test_the_bounded_side_is_that_of_the_sets(name: str, length: int) -> None:
    """By the definitions of theory.md, over all positions whose end is not cut off at the right border."""
    (reads,) = rfgraph.analyze(CASES[name][0], (1, 4, length)).output.rf
    assert reads.stride is not None and reads.end is not None
    (dim,) = reads.dims
    count = rfgraph.analyze(CASES[name][0], (1, 4, length)).output.shape[dim]
    tops = {o: members[-1] for o in range(count) if len(members := reads.members({dim: o}))}
    inner = {o: top for o, top in tops.items() if reads.end.at(o)[-1] < length}
    assert len(inner) > 3
    assert all(top == max(reads.end.at(o)) for o, top in inner.items())
    assert max(top - o * reads.stride // 1 for o, top in inner.items()) == reads.reach[1]


@pytest.mark.parametrize("name", CASES)
def test_past_reads_agree_with_both_probes(name: str) -> None:
    check = rfgraph.verify(CASES[name][0], (1, 4, LENGTH))
    assert check.exact and check.unread == (), str(check)


@pytest.mark.parametrize("name", [name for name, (_, figures) in CASES.items() if not figures[-1]])
def test_past_reads_without_look_ahead_are_causal(name: str) -> None:
    assert_causal(CASES[name][0], (1, 4, LENGTH))


def test_causes_and_notes_of_a_past_read() -> None:
    report = rfgraph.analyze(Recurrent(nn.LSTM), (1, 4, LENGTH))
    assert [(c.node, c.kind) for c in report.output.rf.causes] == [("layer", "recurrent")]
    assert "unbounded past, look-ahead 2: layer (recurrent)" in str(report)
    assert report.output.rf.to_dict()["local"]["size"] == [6]


def test_one_position_of_a_past_read_is_no_past_read() -> None:
    """Position 5 of a cumulative sum reads 0 .. 5 at any size; what is read of the last one moves with it."""
    report = rfgraph.analyze(Function(lambda x: x.cumsum(-1)[..., 5]), (1, 4, LENGTH))
    (reads,) = report.output.rf
    assert (reads.size, reads.unbounded, reads.closed_form) == (6, None, True)
    assert reads.members({}).tolist() == [0, 1, 2, 3, 4, 5]


def test_what_is_turned_round_holds_at_this_size() -> None:
    report = rfgraph.analyze(Function(lambda x: x.flip(-1).cumsum(-1).flip(-1)), (1, 4, LENGTH))
    (reads,) = report.output.rf
    assert (reads.unbounded, reads.closed_form, reads.lookahead) == (None, False, LENGTH - 1)
    assert reads.members({2: 20}).tolist() == [20, 21, 22, 23]
    assert any(limit.reason.startswith("an operator turns round") for limit in reads.limits)


def test_reading_all_of_a_past_read_is_a_whole_read() -> None:
    (reads,) = rfgraph.analyze(Function(lambda x: x.cumsum(-1).mean(-1)), (1, 4, LENGTH)).output.rf
    assert (reads.whole, reads.unbounded) == (True, None)


@given(relations(advances=FORWARD).map(lambda twin: twin.relation))
@example(Relation.window(2, 3, 1, 0))  # gaps between windows
@example(Relation.window(3, 4, 1, 0).converse())  # phases that read nothing
def test_the_ends_of_a_relation_pass_all_that_lies_before(relation: Relation) -> None:
    """What the ends pass at an output lies between the furthest end before it and its own."""
    if not any(reads.length for reads in relation.sets):
        return
    tops = [max(relation.at(o), default=None) for o in range(-150, 12)]
    for output in range(-2, 12):
        before = max(top for top in tops[: output + 150] if top is not None)
        own = tops[output + 150]
        end = before if own is None else own
        assert set(ends(relation).at(output)) == set(range(before + 1, end + 1))


# --- two directions -------------------------------------------------------------------------------


class Half(nn.Module):
    """One half of what a layer of two directions says, behind a window of three."""

    def __init__(self, layer: type[nn.RNNBase], second: bool, **options: Any) -> None:
        super().__init__()
        self.window = nn.Conv1d(4, 4, 3, padding=1)
        self.layer = layer(4, 3, batch_first=True, bidirectional=True, **options)
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.layer(self.window(x).mT)
        return outputs.chunk(2, -1)[self.second].mT


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_each_half_of_two_directions_reads_one_side(layer: type[nn.RNNBase]) -> None:
    for second, sides in ((False, (inf, 1)), (True, (inf, inf))):
        model = Half(layer, second)
        (reads,) = rfgraph.analyze(model, (1, 4, LENGTH)).output.rf
        assert (reads.closed_form, reads.reach, reads.whole) == (True, sides, second)
        assert reads.local is not None and reads.local.size == 3
        for place in (0, 9, LENGTH - 1):
            here = (
                [*range(max(place - 1, 0), LENGTH)] if second else [*range(min(place + 2, LENGTH))]
            )
            assert reads.members({2: place}).tolist() == here
        check = rfgraph.verify(model, (1, 4, LENGTH))
        assert check.exact, str(check)


def test_a_second_layer_of_two_directions_reads_all_of_both() -> None:
    for second in (False, True):
        model = Half(nn.LSTM, second, num_layers=2)
        (reads,) = rfgraph.analyze(model, (1, 4, LENGTH)).output.rf
        assert reads.whole and len(reads.members({2: 3})) == LENGTH
        assert rfgraph.verify(model, (1, 4, LENGTH)).exact


def test_a_half_that_reads_the_other_side_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    half = recurrent._half
    monkeypatch.setattr(
        recurrent, "_half", lambda dim, count, size, second: half(dim, count, size, not second)
    )
    check = rfgraph.verify(Half(nn.GRU, False), (1, 4, LENGTH))
    assert not check.agrees and check.mismatches[0].kind == "understated"
