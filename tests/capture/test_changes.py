"""What a run has changed of a module since it began, beside what every run sets itself."""

from __future__ import annotations

import pytest
from torch import nn

from rfgraph.graph.guard.changes import Modules


def begun(module: nn.Module) -> Modules:
    """What it held, and then what a run sets."""
    own = module.__dict__
    parts = [own[name] for name in ("_parameters", "_buffers", "_modules")]
    before = {id(held): dict(held) for held in (own, *parts)}
    own["training"], own["_compiled_call_impl"] = False, print
    return Modules(before, training=False)


def test_what_a_run_sets_itself_is_no_change() -> None:
    module = nn.Conv1d(1, 1, 3)
    assert not begun(module).is_changed(module)


@pytest.mark.parametrize("name", ["last", "padding_mode", "dilation"])
def test_an_attribute_that_is_deleted_is_a_change(name: str) -> None:
    module = nn.Conv1d(1, 1, 3)
    module.last = 1  # type: ignore[assignment]
    modules = begun(module)
    delattr(module, name)
    assert modules.is_changed(module)


@pytest.mark.parametrize("name", ["last", "stride"])
def test_an_attribute_that_is_put_in_the_place_of_another_is_a_change(name: str) -> None:
    module = nn.Conv1d(1, 1, 3)
    module.last = 1  # type: ignore[assignment]
    modules = begun(module)
    delattr(module, name)
    module.new = 1  # type: ignore[assignment]
    assert modules.is_changed(module)
