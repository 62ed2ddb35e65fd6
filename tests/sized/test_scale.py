"""What is asked of long axes and deep models: of many positions at once, of few steps, in the budget."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rfgraph
from rfgraph.algebra.digits import Digit
from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.capture import recurrent, shapes
from rfgraph.language.reads import ByLaw, Law, Place, table
from rfgraph.propagation.laid_out import read_at
from rfgraph.propagation.lattice import Lattice
from tests.sized.poison import Apply


def _sets(rows: np.ndarray, size: int) -> list[set[int]]:
    return [{int(i) for i in column if i < size} for column in rows.T]


LAWS = {
    "a window": ByLaw(Law((Digit(2),), Relation.window(3, 2, 4, 5)), (2,)),
    "phases": ByLaw(
        Law((Digit(2),), Relation(3, 2, map(Positions.of, ([0, 1], [], [1, 4, 9])))), (2,)
    ),
    "clamped": ByLaw(Law((Digit(2),), Relation.window(2, 3, 1, 4)), (2,), 11),
    "digits of two dims": ByLaw(Law((Digit(1, 2, 2, 3), Digit(2, 4)), Relation.window(2)), (1, 2)),
    "a place of a number": ByLaw(Law((Digit(1, 4), Digit(2)), weight=2, extent=3), (1, 2)),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_law_says_of_many_positions_what_it_says_of_each(name: str) -> None:
    law, size = LAWS[name], 11
    index = np.indices((6, 7)[-len(law.dims) :]).reshape(len(law.dims), -1)
    rows = read_at(Place(law.dims, law, None), index, size)
    each = [{i for i in law(tuple(at)) if 0 <= i < size} for at in index.T.tolist()]
    assert _sets(rows, size) == each and any(each)


def test_more_positions_than_are_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfgraph.propagation.laid_out._AT_ONCE", 4)
    rows = read_at(table(0, lambda o: range(o // 3)), np.arange(9)[None], 2)
    assert _sets(rows, 2) == [set(range(min(o // 3, 2))) for o in range(9)]


def test_the_taps_of_unfold_are_asked_of_no_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfgraph.propagation.laid_out._one_by_one", pytest.fail)
    node = rfgraph.analyze(Apply(lambda m, x: F.unfold(x, (3, 2), padding=1)), (1, 4, 6, 5)).output
    assert node.region((0, 7, 8)) == ((0, 0), (2, 2))  # tap (0, 1) of window (1, 2)
    assert node.region((0, 6, 0)) is None  # padding


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
def test_a_recurrent_layer_is_asked_of_few_steps(
    layer: type[nn.RNNBase], both: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, steps = layer(3, 5, 2, batch_first=True, bidirectional=both), []
    told = recurrent.in_few_steps(
        shapes.on_meta, model, (torch.empty(4, 19, 3, device="meta"),), {}
    )
    asked = shapes.on_meta(model, (torch.empty(4, 19, 3, device="meta"),), {})
    for mine, theirs in zip(shapes.tensors_in(told), shapes.tensors_in(asked), strict=True):
        assert (mine.shape, mine.stride(), mine.dtype) == (
            theirs.shape,
            theirs.stride(),
            theirs.dtype,
        )

    def counted(target: object, args: tuple[torch.Tensor, ...], kwargs: object) -> object:
        steps.append(args[0].shape[1])
        return shapes.on_meta(target, args, kwargs)

    recurrent.in_few_steps(counted, model, (torch.empty(4, 900, 3, device="meta"),), {})
    assert max(steps) < 5


def test_what_is_dilated_beyond_the_axis_is_not_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    empty, counts = Lattice.empty, []

    def counted(self: Lattice, *shape: int) -> np.ndarray:
        counts.extend(shape)
        return empty(self, *shape)

    monkeypatch.setattr(Lattice, "empty", counted)
    far = nn.Conv1d(1, 1, 7, dilation=1 << 20, padding=3 << 20)
    node = rfgraph.analyze(far, (1, 1, 40)).output
    assert node.reads(0, 5).tolist() == [5] and max(counts) <= 40


@pytest.mark.parametrize("past", [nn.LSTM(3, 2, batch_first=True), "attention", "cumsum"])
def test_past_reads_are_accumulated_and_not_listed(
    past: nn.Module | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rfgraph.propagation.laid_out._one_by_one", pytest.fail)
    forwards = {
        "attention": lambda m, x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        "cumsum": lambda m, x: x[:, 1::2].cumsum(1),
    }
    model = Apply(forwards[past]) if isinstance(past, str) else past
    name = next(iter(rfgraph.analyze(model, (1, 9, 3), axes=(1,)).outputs))
    node = rfgraph.analyze(model, (1, 9, 3), axes=(1,)).outputs[name]
    last = 7 if past == "cumsum" else 3
    assert node.region((0, 3, 0)) == ((1 if past == "cumsum" else 0, last),)


def test_branches_whose_reads_repeat_after_millions_are_told_by_sets() -> None:
    def steps(x: torch.Tensor, size: int) -> torch.Tensor:
        return F.interpolate(F.max_pool1d(x, size), scale_factor=size)[..., :381]

    node = rfgraph.analyze(Apply(lambda m, x: steps(x, 127) + steps(x, 131)), (1, 1, 400)).output
    assert not node.rf.closed_form[0] and node.rf.period == (None,)
    assert any("repeat after more than" in limit.reason for limit in node.rf.limits)
    assert node.reads(0, 129).tolist() == list(range(254))  # of 127 .. 253, and of 0 .. 130
