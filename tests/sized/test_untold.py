"""Channels that are read whole in the end are not told apart, but where somebody asks for one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph.propagation import sets
from tests.sized.poison import Apply, rows_reaching, with_windows

Function = Callable[..., Tensor]
LENGTH = 9


def beside(self: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([x, self.three(x)], 1)


def masked(self: nn.Module, x: Tensor) -> Tensor:
    """Of two channels that read differently, one is fixed at some positions."""
    fixed = torch.zeros(1, 4, LENGTH, dtype=torch.bool)
    fixed[:, 3, 2:5] = True
    return beside(self, x).masked_fill(fixed, 0.0)


MODELS: dict[str, Function] = {
    "read whole": lambda self, x: beside(self, x).sum(1),
    "behind a pointwise layer": lambda self, x: beside(self, x).relu().mT.mean(2),
    "picked": lambda self, x: beside(self, x)[:, 1:3].sum(1),
    "read whole and picked": lambda self, x: beside(self, x).sum(1) + beside(self, x)[:, 0],
    "one that both read": lambda self, x: (lambda y: y.mean(1) + y[:, 0])(beside(self, x)),
    "masked": lambda self, x: masked(self, x).sum(1),
    "turned": lambda self, x: beside(self, x).flip(1).sum(1),
    "the end": beside,
}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("name", MODELS)
def test_every_position_of_every_node(name: str, order: int) -> None:
    model = with_windows(MODELS[name])
    report = rfgraph.analyze(model, (1, 2, LENGTH))
    axis = report.axes[0]
    assert rfgraph.verify(model, (1, 2, LENGTH)).exact
    for node in [*report.nodes][::order]:
        part = Apply(lambda self, x, n=node.name: values(report, x)[n])
        expected = rows_reaching(part, (1, 2, LENGTH), 2)
        dims = node.at(axis).dims
        others = tuple(d for d in range(len(node.shape)) if d not in dims)
        for position in np.ndindex(*node.shape):
            here = np.flatnonzero(expected[position]).tolist()
            assert node.reads(0, position).tolist() == here, (node.name, position)
            row = np.flatnonzero(expected.any(others)[tuple(position[d] for d in dims)]).tolist()
            along = {dim: position[dim] for dim in dims}
            assert node.at(axis).members(along).tolist() == row, (node.name, along)


def values(report: rfgraph.Report, x: Tensor) -> dict[str, Tensor]:
    """What each node of the graph holds, by running it."""
    found: dict[str, Tensor] = {}

    class Kept(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            result = super().run_node(n)
            found.update({n.name: result} if isinstance(result, Tensor) else {})
            return result

    Kept(report.fx.double()).run(x)
    names = {node.fx.name: node.name for node in report.captured if node.fx is not None}
    return {names[name]: value for name, value in found.items() if name in names}


def test_features_are_laid_out_where_they_are_asked_for() -> None:
    class Speech(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.LSTM(3, 8, batch_first=True, bidirectional=True)
            self.head = nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(x)[0])

    report = rfgraph.analyze(Speech(), (1, 20, 3), axes=(1,))
    axis, layer = report.axes[0], report["layer"]
    at_size = layer.at(axis).at_size
    assert layer.at(axis).members({1: 4}).tolist() == [*range(20)]
    assert at_size._walks.keys() == {(axis, False)}
    (_, walk) = at_size._walks[axis, False]
    assert all(part.sets.shape[2] == 1 for part in walk.values["layer"][axis].parts)
    assert layer.reads(0, (0, 4, 7)).tolist() == [*range(5)]
    assert layer.reads(0, (0, 4, 8)).tolist() == [*range(4, 20)]


def test_channels_that_are_united_too_soon_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "_is_lost", lambda *given: True)
    check = rfgraph.verify(with_windows(MODELS["one that both read"]), (1, 2, LENGTH))
    assert {(m.node, m.kind) for m in check.mismatches} == {("getitem", "overstated")}
