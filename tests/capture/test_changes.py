"""What a forward has changed of a module since it began."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rfgraph.graph.guard.changes import Began


def begun(module: nn.Module) -> Began:
    return Began(module.modules())


def test_what_is_as_it_was_is_no_change() -> None:
    module = nn.Sequential(nn.Conv1d(1, 1, 3), nn.BatchNorm1d(1))
    assert not begun(module).is_changed(module)


@pytest.mark.parametrize("name", ["last", "padding_mode", "dilation"])
def test_an_attribute_that_is_deleted_is_a_change(name: str) -> None:
    module = nn.Conv1d(1, 1, 3)
    module.last = 1  # type: ignore[assignment]
    began = begun(module)
    delattr(module, name)
    assert began.is_changed(module)


@pytest.mark.parametrize("name", ["last", "stride"])
def test_an_attribute_that_is_put_in_the_place_of_another_is_a_change(name: str) -> None:
    module = nn.Conv1d(1, 1, 3)
    module.last = 1  # type: ignore[assignment]
    began = begun(module)
    delattr(module, name)
    module.new = 1  # type: ignore[assignment]
    assert began.is_changed(module)


def test_another_flag_tensor_or_child_anywhere_inside_is_a_change() -> None:
    module = nn.Sequential(nn.Conv1d(1, 1, 3), nn.Sequential(nn.BatchNorm1d(1)))
    for change in (
        lambda: setattr(module[1][0], "training", False),
        lambda: module[1][0].register_buffer("running_mean", torch.zeros(1)),
        lambda: setattr(module[0], "bias", None),
        lambda: module[1].append(nn.ReLU()),
        lambda: delattr(module[1], "0"),
    ):
        began = begun(module)
        change()
        assert began.is_changed(module)


def test_a_module_that_was_made_since_is_not_changed() -> None:
    began = begun(nn.ReLU())
    assert not began.is_changed(nn.Conv1d(1, 1, 3))
