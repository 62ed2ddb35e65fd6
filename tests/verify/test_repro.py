"""The code of a blamed node: it is run before it is shown, and says where it does not show the fault."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph.graph import Node
from rfgraph.language.reads import Reads
from rfgraph.rules import VOCABULARY
from tests.verify.mutants import taught


class Rolled(nn.Module):
    """Tokens, rolled along dim 1."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.roll(2, 1))


def told(monkeypatch: pytest.MonkeyPatch, op: str, rule: Any, model: nn.Module) -> str:
    monkeypatch.setattr("rfgraph.analysis.VOCABULARY", taught(op, rule))
    check = rfgraph.verify(model, (1, 6, 4), axes=(1,))
    assert check.blame is not None and check.blame.repro in str(check)
    return check.blame.repro


def test_code_that_shows_the_fault_tracks_the_dims_that_the_model_did(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = told(monkeypatch, "roll", lambda node: (rfgraph.same(3),), Rolled())
    assert code.endswith("print(rfgraph.verify(Model(), {\"x0\": (1, 6, 4)}, axes={'x0': (1,)}))")
    assert code.startswith("import torch\n")
    capsys.readouterr()
    exec(compile(code, "repro", "exec"), {})
    assert "1 mismatch" in capsys.readouterr().out


def only_in_the_model(node: Node) -> Reads:
    """Wrong in the model, where the node runs in another module than alone."""
    rule = VOCABULARY.operators["roll"].rule
    return (rfgraph.same(3),) if node.module == "Rolled" else rule(node)


def test_code_that_does_not_show_the_fault_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    code = told(monkeypatch, "roll", only_in_the_model, Rolled())
    first, *rest = code.splitlines()
    assert first == "# alone, the operator agrees: the fault shows only in the model"
    assert rest[0] == "import torch"


class Mine(nn.Module):
    """An operator of the user's own, which the code would have to import."""

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, 1)


def test_code_that_cannot_be_run_by_itself_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = VOCABULARY.copy()
    rfgraph.rule(Mine, vocabulary=vocabulary)(lambda node: (rfgraph.same(3),))
    for user in ("rfgraph.analysis", "rfgraph.verification.run"):
        monkeypatch.setattr(f"{user}.VOCABULARY", vocabulary)
    check = rfgraph.verify(nn.Sequential(nn.Linear(4, 4), Mine()), (1, 6, 4), axes=(1,))
    assert check.blame is not None and check.blame.node == "1"
    assert check.blame.repro.startswith("# this cannot be run by itself: ")


def test_random_numbers_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_rng_state()
    told(monkeypatch, "roll", lambda node: (rfgraph.same(3),), Rolled())
    assert torch.equal(before, torch.get_rng_state())
