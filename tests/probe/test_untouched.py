"""A model is the same after a probe as before it: also after an error, and after KeyboardInterrupt."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rfgraph.graph import Graph
from rfgraph.probe import GradientProbe, PoisonProbe, effective
from tests.probe.support import graph_of, joint, output_of, row


class Fussy(nn.Module):
    """Everything that a run of a model may change."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3)
        self.norm = nn.BatchNorm1d(2)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Conv1d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.relu(self.norm(self.conv(x))))
        x[:, :, 0] = 0
        x += self.norm.running_mean.view(1, -1, 1)  # type: ignore[union-attr,operator]
        return self.last(x)  # type: ignore[no-any-return]


def snapshot(model: nn.Module) -> dict[str, Any]:
    return {
        "state": copy.deepcopy(model.state_dict()),
        "flags": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "ids": [id(tensor) for tensor in (*model.parameters(), *model.buffers())],
        "grads": [parameter.grad for parameter in model.parameters()],
        "random": torch.get_rng_state(),
        "modes": torch.is_grad_enabled(),
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name in ("flags", "hooks", "ids", "grads", "modes"):
        assert before[name] == after[name], name
    assert torch.equal(before["random"], after["random"])
    for name, tensor in before["state"].items():
        assert torch.equal(tensor, after["state"][name]), name


def by_gradient(graph: Graph) -> object:
    return joint(GradientProbe(graph), output_of(graph), (4,))


def by_poison(graph: Graph) -> object:
    return PoisonProbe(graph).rows("x", 2)


def by_weights(graph: Graph) -> object:
    return effective(graph)


PROBES = [by_gradient, by_poison, by_weights]


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("training", [False, True])
def test_a_probe_changes_nothing(probe: Callable[[Graph], object], training: bool) -> None:
    model = Fussy().train(training)
    model.drop.train(not training)
    graph = graph_of(model, (1, 2, 12))
    before = snapshot(model)
    probe(graph)
    assert_same(before, snapshot(model))


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nor_does_one_that_is_stopped(
    probe: Callable[[Graph], object], error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Fussy().train()
    graph = graph_of(model, (1, 2, 12))
    before = snapshot(model)

    def stop(*_: Any) -> Tensor:
        raise error("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(type(model.last), "forward", stop)
        with pytest.raises(error, match="stopped"):
            probe(graph)
    assert_same(before, snapshot(model))


def test_a_table_that_normalises_its_rows_when_read_keeps_them() -> None:
    model = nn.Embedding(5, 3, max_norm=0.1)
    graph = graph_of(model, {"input": torch.zeros(1, 4, dtype=torch.long)})
    before = snapshot(model)
    PoisonProbe(graph)
    joint(GradientProbe(graph), output_of(graph), {1: 0})
    assert_same(before, snapshot(model))


def test_given_inputs_stay_as_they_are() -> None:
    given = {"x": torch.randn(1, 2, 12)}
    copied = given["x"].clone()
    graph = graph_of(Fussy(), (1, 2, 12))
    row(PoisonProbe(graph, given), "x", 2, 3)
    effective(graph, given)
    joint(GradientProbe(graph, given), output_of(graph), (4,))
    assert torch.equal(given["x"], copied)
    assert not given["x"].requires_grad
