"""Assertions about values are taken to hold, and the report says so; what decides by values is refused."""

from __future__ import annotations

import pytest

import rfgraph
from tests.capture import asserting as models

HELD = [
    *(models.Plain, models.WithText, models.Not, models.Both, models.Guard, models.Else),
    *(models.OfTorch, models.Inside),
]
REFUSED = [*(models.Branch, models.Caught, models.Either, models.Many, models.Number, models.Kept)]


@pytest.mark.parametrize("model", HELD)
def test_an_assertion_is_taken_to_hold(model: type[models.Asserting]) -> None:
    report = rfgraph.analyze(model(), (1, 1, 9), check=True)
    assert report.output.rf.size == (3,)
    assert report.notes[-1].startswith("taken to hold: an assertion about values, at asserting.py:")
    assert rfgraph.verify(model(), (1, 1, 9)).exact


@pytest.mark.parametrize("model", REFUSED)
def test_a_decision_is_refused(model: type[models.Asserting]) -> None:
    with pytest.raises(rfgraph.CaptureError, match="the model's Python code needs the values of"):
        rfgraph.analyze(model(), (1, 1, 9))


def test_each_is_told_once() -> None:
    (_, note) = rfgraph.analyze(models.Both(), (1, 1, 9)).notes
    assert note.count("taken to hold") == 1
