"""The audit: what it asks, what a question is, and that a new one is one file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

import rfgraph
from rfgraph.audit import questions, registry

PAGES = Path(rfgraph.__file__).parent.parent / "docs" / "findings"
DEEP = '''"""`deep`: models of three nodes or more."""

from rfgraph.audit.finding import Finding
from rfgraph.audit.registry import question


@question("deep")
def deep(report):
    """The third node."""
    for node in list(report)[3:4]:
        yield Finding.at(
            node, "is the third", id="deep", severity="note", why="", mend="", depth=3
        )
'''


@pytest.fixture(autouse=True)
def only_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test teaches is forgotten after it."""
    known = dict(registry.QUESTIONS)
    monkeypatch.setattr(registry, "QUESTIONS", known)
    monkeypatch.setattr(sys.modules["rfgraph.audit"], "QUESTIONS", known)


def deep_model() -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, (3, 2)), nn.ReLU(), nn.ReLU())


def test_a_new_question_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "deep" not in {found.id for found in rfgraph.audit(deep_model())}
    (tmp_path / "deep.py").write_text(DEEP)
    monkeypatch.setattr(questions, "__path__", [*questions.__path__, str(tmp_path)])
    audit = importlib.reload(sys.modules["rfgraph.audit"]).audit
    (found,) = audit(deep_model())
    assert (found.id, found.node, found.numbers) == ("deep", "2", {"depth": 3})
    assert str(found) == "note: deep at '2': is the third"  # no line of a model's own code


def test_a_question_of_ones_own_is_asked() -> None:
    @rfgraph.audit.question("large-kernel")
    def large(report: rfgraph.Report) -> Iterator[rfgraph.Finding]:
        for node in report:
            if node.op == "conv2d":
                yield rfgraph.Finding.at(
                    node, "is a convolution", id="large-kernel", severity="warning", why="", mend=""
                )

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 2))
    for audited in (model, rfgraph.analyze(model)):
        assert [(f.id, f.node) for f in rfgraph.audit(audited)] == [
            ("large-kernel", "0"),
            ("large-kernel", "1"),
        ]


def test_a_question_answers_by_its_own_id() -> None:
    @rfgraph.audit.question("mine")
    def mine(report: rfgraph.Report) -> Iterator[rfgraph.Finding]:
        yield rfgraph.Finding.at(report.output, "", id="yours", severity="error", why="", mend="")

    with pytest.raises(rfgraph.RfgraphError, match="'mine' answered with a finding of 'yours'"):
        rfgraph.audit(nn.Conv2d(3, 4, 3))


@pytest.mark.parametrize("id", ["", "Mine", "not causal", "-a"])
def test_an_id_is_made_of_words(id: str) -> None:
    with pytest.raises(rfgraph.InputError, match="must be words such as 'not-causal', got"):
        rfgraph.audit.question(id)


def test_every_question_has_a_page_and_every_page_a_question() -> None:
    titles = {page.stem: page.read_text().splitlines()[0] for page in PAGES.glob("*.md")}
    assert titles == {id: f"# {id}" for id in registry.QUESTIONS}
