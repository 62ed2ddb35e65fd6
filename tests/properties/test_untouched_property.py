"""Models that do anything to themselves are as they were: after success, failure, and an interrupt anywhere.

Drawn: what the forward does and in which order, where it fails and how, and the line of the guard's or the
forward's code at which an interrupt comes. Held against each other: deep pictures of before and after.
"""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rfgraph
from tests.capture import deep
from tests.capture.mutations import MUTATIONS, Hoard, roots
from tests.capture.test_untouched import InterruptAt, assert_untouched_where_interrupted, repair

FAILURES = [None, RuntimeError, KeyboardInterrupt, MemoryError]
todos = st.lists(st.sampled_from(sorted(MUTATIONS)), min_size=1, max_size=8)


def snapshot(model: Hoard) -> dict[str, object]:
    return deep.picture(*roots(model))


def outcome(model: Hoard, mode: str) -> str:
    try:
        rfgraph.analyze(model, (1, 2, 5, 5), mode=mode)  # type: ignore[arg-type]
    except rfgraph.RfgraphError:
        return "refused"
    except KeyboardInterrupt:
        return "interrupted"
    return "success"


@given(
    todos,
    st.sampled_from(FAILURES),
    st.integers(0, 8),
    st.sampled_from(["eval", "train"]),
    st.booleans(),
)
def test_a_model_is_untouched_wherever_its_forward_stops(
    todo: list[str], failure: type[BaseException] | None, at: int, mode: str, training: bool
) -> None:
    model = Hoard(todo, failure and failure("stop"), at).train(training)
    model.drop.train(not training)
    before = snapshot(model)
    ended = outcome(model, mode)
    assert ended != "success" if failure else ended != "interrupted"
    deep.assert_same(before, snapshot(model))
    assert deep.stand_ins(*roots(model)) == []


@given(todos, st.integers(0, 1 << 20), st.sampled_from(["eval", "train"]))
def test_a_model_is_untouched_wherever_an_interrupt_comes(
    todo: list[str], place: int, mode: str
) -> None:
    model = Hoard(todo)
    before = snapshot(model)
    with InterruptAt(-1) as counted:
        outcome(model, mode)
    deep.assert_same(before, snapshot(model))
    at = 1 + place % counted.count
    assert_untouched_where_interrupted(model, at, before, mode)


@given(todos)
def test_the_picture_sees_what_an_unguarded_forward_does(todo: list[str]) -> None:
    """The fault planted: without the guard every one of these models changes."""
    model = Hoard(todo)
    before = snapshot(model)
    try:
        with torch.no_grad():
            model(torch.ones(1, 2, 5, 5))
    except Exception:  # one thing undoes what another needs
        pass
    try:
        with pytest.raises(AssertionError, match=r"^\{"):
            deep.assert_same(before, snapshot(model))
    finally:
        repair()
        torch.set_grad_enabled(True)
        torch.manual_seed(0), random.seed(0)
