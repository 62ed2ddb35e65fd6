"""`verify`: what it says, in text and JSON; which node it blames; that the model is as it was."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node
from rfgraph.language.reads import Read, Reads, along, every
from rfgraph.rules import VOCABULARY
from tests.verify.mutants import taught


class Stack(nn.Module):
    """Two convolutions of which `steps` counts the runs; the third run may fail."""

    def __init__(self, failure: BaseException | None = None) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 2, 3, padding=1)
        self.norm = nn.BatchNorm1d(2)
        self.pool = nn.MaxPool1d(2)
        self.last = nn.Conv1d(2, 1, 4)
        self.drop = nn.Dropout()
        self.failure = failure

    def forward(self, x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():  # captured on stand-ins, which hold no values
            is_run = not x.is_meta
        if self.failure is not None and is_run:
            raise self.failure
        return self.last(self.drop(self.pool(F.relu(self.norm(self.first(x))))))


def wrong_pool(node: Node) -> Reads:
    """A pool of 2 that is said to start one further."""
    return (Read(0, (along(0), along(1), along(2, Relation.window(2, 2, 1, -1)))),)


def with_wrong(monkeypatch: pytest.MonkeyPatch, op: str, rule: Any) -> None:
    monkeypatch.setattr("rfgraph.analysis.VOCABULARY", taught(op, rule))


# --- what it says ---------------------------------------------------------------------------------


def test_agreement_is_true_exact_and_told_in_one_line() -> None:
    check = rfgraph.verify(Stack(), (1, 1, 20))
    assert check and check.agrees and check.exact and check.blame is None and check.mismatches == ()
    assert str(check).endswith("equal everywhere") and len(str(check).splitlines()) == 1
    assert check.rows[0].node == "x" and check.checked.rows == 20
    check.require()


def test_a_mismatch_is_false_and_told_with_the_node_to_blame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_wrong(monkeypatch, "max_pool1d", wrong_pool)
    check = rfgraph.verify(Stack(), (1, 1, 20))
    assert not check and check.blame is not None
    assert (check.blame.node, check.blame.op, check.blame.module) == (
        "pool",
        "max_pool1d",
        "MaxPool1d",
    )
    assert check.blame.params["kernel_size"] == (2,)
    assert check.mismatches[0].kind == "understated"
    assert "the first node to differ is 'pool' (max_pool1d" in str(check)
    assert "understated: {" in str(check) and check.blame.repro in str(check)
    with pytest.raises(rfgraph.VerificationError, match="the first node to differ is 'pool'"):
        check.require()


def test_a_read_that_is_too_wide_is_overstated(monkeypatch: pytest.MonkeyPatch) -> None:
    with_wrong(
        monkeypatch,
        "max_pool1d",
        lambda node: (Read(0, (along(0), along(1), every("pooling"))),),
    )
    check = rfgraph.verify(Stack(), (1, 1, 20))
    assert check.blame is not None and check.blame.node == "pool"
    assert check.mismatches[0].kind == "overstated"


def test_the_repro_is_code_that_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_wrong(monkeypatch, "max_pool1d", wrong_pool)
    check = rfgraph.verify(Stack(), (1, 1, 20))
    assert check.blame is not None
    exec(compile(check.blame.repro, "repro", "exec"), {})
    assert "1 mismatch" in capsys.readouterr().out
    monkeypatch.undo()
    exec(compile(check.blame.repro, "repro", "exec"), {})
    assert "equal everywhere" in capsys.readouterr().out


def test_json_holds_all_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with_wrong(monkeypatch, "max_pool1d", wrong_pool)
    check = rfgraph.verify(Stack(), (1, 1, 20))
    told = json.loads(check.to_json(tmp_path / "check.json"))
    assert told == json.loads((tmp_path / "check.json").read_text())
    assert {"model", "agrees", "exact", "faithful", "compared", "checked", "rows"} < told.keys()
    assert told["agrees"] is False and told["blame"]["node"] == "pool"
    assert told["mismatches"][0]["axis"] == {"input": "x", "dim": 2}
    assert list(told["mismatches"][0]["position"]) == ["2"]
    assert len(told["rows"]) == len(check.rows)


def test_nothing_compared_is_no_agreement() -> None:
    class Bits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(torch.int32)

    check = rfgraph.verify(Bits(), (1, 1, 6))
    assert not check and check.compared == 0 and [row.node for row in check.unread] == ["view"]
    assert "nothing could be compared" in str(check) and "not read by any probe: 'view'" in str(
        check
    )


# --- inputs ----------------------------------------------------------------------------------------


def test_a_whole_read_of_one_axis_leaves_the_other_as_it_is() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, (3, 5), padding=(1, 2))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.conv(x).mean(2, keepdim=True)

    assert rfgraph.verify(Gated(), (1, 1, 6, 9)).exact


def test_a_bidirectional_read_that_only_the_channels_together_make_whole() -> None:
    check = rfgraph.verify(nn.GRU(2, 2, bidirectional=True), {"input": (3, 1, 2)}, axes=(0,))
    assert check, str(check)


def test_axes_of_integers_are_read_by_the_gradient() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5, 3)
            self.conv = nn.Conv1d(3, 2, 2)

        def forward(self, words: Tensor) -> Tensor:
            return self.conv(self.table(words).transpose(1, 2))

    words = torch.randint(0, 5, (1, 7))
    check = rfgraph.verify(Words(), {"words": words}, axes={"words": (1,)})
    assert check and {row.gradient for row in check.rows if row.op != "input"} == {"equal"}


def test_an_input_that_is_said_not_to_be_read_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    shapes = {"a": (1, 1, 5), "b": (1, 1, 5)}
    assert rfgraph.verify(Two(), shapes).exact
    rule = VOCABULARY.operators["add"].rule
    with_wrong(monkeypatch, "add", lambda node: rule(node)[:1])
    check = rfgraph.verify(Two(), shapes)
    assert check.mismatches[0].axis == ("b", 2) and check.mismatches[0].analytic == ()


@pytest.mark.parametrize("rows", ["some", 0, -1, 1.5, True])
def test_rows_are_auto_all_or_a_number(rows: Any) -> None:
    with pytest.raises(rfgraph.InputError, match="rows must be 'auto', 'all' or a positive number"):
        rfgraph.verify(Stack(), (1, 1, 20), rows=rows)


def test_progress_is_told_by_stage() -> None:
    told: list[tuple[str, float]] = []
    rfgraph.verify(Stack(), (1, 1, 20), progress=lambda stage, share: told.append((stage, share)))
    assert {stage for stage, _ in told} >= {"poison", "gradient"}
    assert all(0 < share <= 1 for _, share in told) and ("poison", 1.0) in told


# --- the model is as it was ----------------------------------------------------------------------------


def state(model: nn.Module) -> dict[str, Any]:
    return {
        "tensors": copy.deepcopy(model.state_dict()),
        "flags": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "grads": [(p.grad, p.requires_grad) for p in model.parameters()],
        "random": torch.get_rng_state(),
    }


def assert_untouched(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert torch.equal(before.pop("random"), after.pop("random"))
    tensors, now = before.pop("tensors"), after.pop("tensors")
    assert all(torch.equal(tensors[name], now[name]) for name in tensors)
    assert before == after


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_untouched(training: bool) -> None:
    model = Stack().train(training)
    model.drop.train(not training)
    before = state(model)
    assert rfgraph.verify(model, (1, 1, 20))
    assert_untouched(before, state(model))


@pytest.mark.parametrize("failure", [RuntimeError("out of luck"), KeyboardInterrupt("out of luck")])
def test_the_model_is_untouched_after_a_failure(failure: BaseException) -> None:
    model = Stack(failure)
    model.drop.eval()
    before = state(model)
    expected = (
        KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else rfgraph.VerificationError
    )
    with pytest.raises(expected, match="out of luck"):
        rfgraph.verify(model, (1, 1, 20))
    assert_untouched(before, state(model))
