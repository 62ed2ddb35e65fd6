"""A forward that rewrites its modules while it runs: what a module computes by is what it has at the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

SHAPE = (2, 2, 9)
Forward = Callable[[Any, Tensor], Tensor]
CASES: dict[str, Forward] = {}


class Model(nn.Module):
    def __init__(self, function: Forward) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3)
        self.norm = nn.BatchNorm1d(2)
        self.drop = nn.Dropout(0.5)
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def case(function: Forward) -> Forward:
    CASES[function.__name__] = function
    return function


@case
def weight_in_place(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        m.conv.weight.mul_(2.0)
    return m.conv(x)


@case
def weight_replaced(m: Any, x: Tensor) -> Tensor:
    m.conv.weight = nn.Parameter(m.conv.weight.detach() * 3)
    return m.conv(x)


@case
def data_replaced(m: Any, x: Tensor) -> Tensor:
    m.conv.weight.data = m.conv.weight.data + 1
    return m.conv(x)


@case
def between_two_calls(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    m.conv.weight.data.zero_()
    return y + m.conv(x)


@case
def attribute_for_a_while(m: Any, x: Tensor) -> Tensor:
    m.conv.dilation = (2,)
    y = m.conv(x)
    m.conv.dilation = (1,)
    return y


@case
def statistics(m: Any, x: Tensor) -> Tensor:
    m.norm.running_mean.add_(1.0)
    return m.norm(x)


@case
def flag(m: Any, x: Tensor) -> Tensor:
    m.drop.train()
    return m.drop(x)


@case
def made_in_the_forward(m: Any, x: Tensor) -> Tensor:
    return nn.Softmax(dim=2)(m.conv(x))


OF_DATA = ("data_replaced", "between_two_calls")
"""Forwards that write `.data`, which torch.export refuses."""
BY_EXPORT = sorted(CASES.keys() - {*OF_DATA})


@pytest.mark.parametrize(
    ("capture", "name"), [*(("fx", n) for n in CASES), *(("export", n) for n in BY_EXPORT)]
)
def test_what_is_captured_computes_what_the_model_computes(capture: Any, name: str) -> None:
    model = Model(CASES[name])
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    report = rfgraph.analyze(model, SHAPE, capture=capture, check=True)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert report.output.rfs


@pytest.mark.parametrize("name", OF_DATA)
def test_what_torch_cannot_export_is_refused(name: str) -> None:
    with pytest.raises(rfgraph.CaptureError, match="Model could not be exported"):
        rfgraph.analyze(Model(CASES[name]), SHAPE, capture="export")


def test_modules_that_are_as_they_were_and_ones_made_since_are_one_node_each() -> None:
    nodes = [node.name for node in rfgraph.analyze(Model(CASES["made_in_the_forward"]), SHAPE)]
    assert nodes == ["x", "conv", "Softmax"]
    rewritten = [node.name for node in rfgraph.analyze(Model(CASES["weight_in_place"]), SHAPE)]
    assert rewritten == ["x", "conv.conv1d"]
    between = [node.name for node in rfgraph.analyze(Model(CASES["between_two_calls"]), SHAPE)]
    assert between == ["x", "conv", "conv.conv1d", "add"]


def replaced(m: Any, x: Tensor) -> Tensor:
    m.attention.out_proj = nn.Linear(2, 2)
    return m.attention(*(x.transpose(1, 2),) * 3)[0]


def written(m: Any, x: Tensor) -> Tensor:
    m.attention.out_proj.weight.data.mul_(2.0)
    return m.attention(*(x.transpose(1, 2),) * 3)[0]


@pytest.mark.parametrize("function", [replaced, written])
def test_a_module_whose_child_is_rewritten_is_looked_into(function: Forward) -> None:
    """The function that attention calls is the node, not the module that is no longer what it was."""
    report = rfgraph.analyze(Model(function), SHAPE)
    assert "attention.multi_head_attention" in report and "attention" not in list(report.graph)
    assert report.output.rf.whole == (True,)


def test_what_is_written_into_a_bias_is_read_through_the_module() -> None:
    """It was a silent wrong answer: three samples, where all are read."""

    def by_bias(m: Any, x: Tensor) -> Tensor:
        m.conv.bias.data.copy_(x.mean((0, 2)).repeat(2)[:3])
        return m.conv(x)

    model = Model(by_bias).double().eval()
    x = torch.randn(SHAPE, dtype=torch.double)
    node = rfgraph.analyze(model, x, check=True).output
    assert node.rf.whole == (True,) and node.rf.local is not None and node.rf.local.size == (3,)
    bias = model.conv.bias.detach().clone()
    for position in range(SHAPE[2]):
        other = x.clone()
        other[:, :, position] += 1
        with torch.no_grad():
            changed = model(other) != model(x)
            model.conv.bias.copy_(bias)
        assert changed.any(dim=(0, 1)).all()
    check = rfgraph.verify(model, x)
    assert check.faithful and not check.mismatches, str(check)


def test_the_attribute_at_the_call_says_what_is_read() -> None:
    node = rfgraph.analyze(Model(CASES["attribute_for_a_while"]), SHAPE).output
    assert node.rf.size == (5,) and node.rf.dilation == (2,)


def test_a_mask_that_is_written_in_the_forward_is_the_one_that_counts() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 5, padding=2)
            self.register_buffer("mask", torch.ones(1, 1, 5))

        def forward(self, x: Tensor) -> Tensor:
            self.mask[..., 3:] = 0
            self.conv.weight.data.mul_(self.mask)
            return F.relu(self.conv(x))

    report = rfgraph.analyze(Masked(), (1, 1, 12), check=True)
    assert report.output.rf.size == (5,) and [node.op for node in report][1:] == ["conv1d", "relu"]
