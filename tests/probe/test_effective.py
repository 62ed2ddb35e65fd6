"""The effective receptive field of models whose gradient is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from rfgraph.errors import InputError, VerificationError
from rfgraph.probe import effective
from tests.probe.support import graph_of


def weighted(*weights: float) -> nn.Module:
    conv = nn.Conv1d(1, 1, len(weights), padding=len(weights) // 2, bias=False)
    conv.weight.data = torch.tensor([[list(weights)]], dtype=torch.float32)
    return conv


def test_the_mass_of_one_convolution() -> None:
    found = effective(graph_of(weighted(1, -2, 10, 3, 4), (1, 1, 11)))
    expected = np.zeros(11)
    expected[3:8] = np.array([1, 2, 10, 3, 4]) / 20
    assert np.allclose(found.map, expected)
    assert [(s.share, s.side) for s in found.shares] == [(0.2, 1), (0.3, 1), (0.5, 1), (0.99, 5)]
    assert found.shares[3].area == 5 / 11
    assert (found.node, found.input, found.center, found.samples) == (
        "conv1d",
        "input",
        (5,),
        8,
    ) or (found.input == "input" and found.center == (5,) and found.samples == 8)


def test_squared_gradients_weigh_otherwise() -> None:
    found = effective(graph_of(weighted(1, -2, 4, 3, 1), (1, 1, 11)), magnitude="squared")
    assert np.allclose(found.map[3:8], np.array([1, 4, 16, 9, 1]) / 31)
    assert "squared gradient" in found.protocol()


def test_inputs_are_averaged_and_named_in_the_protocol() -> None:
    model = nn.Sequential(weighted(1, 1, 1), nn.ReLU())
    graph = graph_of(model, (1, 1, 9))
    ones, minus = torch.ones(1, 1, 9), -torch.ones(1, 1, 9)
    found = effective(graph, [{"input": ones}, {"input": minus}])  # the second one's ReLU is dead
    assert np.allclose(found.map[3:6], 1 / 3)
    assert "2 given inputs of 9" in found.protocol()
    with pytest.raises(VerificationError, match="is zero everywhere"):
        effective(graph, {"input": minus})


def test_a_rectangle_is_cut_at_the_border() -> None:
    model = nn.AvgPool2d((3, 9), 1, (1, 4))
    found = effective(graph_of(model, (1, 1, 5, 15)))
    assert found.map.shape == (5, 15)
    assert np.isclose(found.map.sum(), 1)
    assert [s.side for s in found.shares] == [
        3,
        3,
        5,
        9,
    ]  # 9/27 of the mass within 3, 15/27 within 5
    assert found.shares[3].area == 5 * 9 / (5 * 15)


def test_another_node_and_position() -> None:
    model = nn.Sequential(weighted(1, 1, 1), weighted(1, 1, 1))
    found = effective(graph_of(model, (1, 1, 11)), node="0", position=(2,))
    assert np.flatnonzero(found.map).tolist() == [1, 2, 3]
    assert found.position == ((2, 2),)


def test_what_has_no_gradient_is_refused() -> None:
    tokens = graph_of(nn.Embedding(5, 3), {"input": torch.zeros(1, 4, dtype=torch.long)})
    with pytest.raises(InputError, match="no input holds real numbers"):
        effective(tokens)
    with pytest.raises(InputError, match="no node named 'conv'"):
        effective(graph_of(weighted(1, 1, 1), (1, 1, 9)), node="conv")
