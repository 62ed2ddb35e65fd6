"""Tensors made of tensors: `torch.as_tensor`, `asarray`, `tensor`, of one or of a list of some without dims."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import rfgraph

Forward = Callable[[Tensor], Tensor]
SHAPE = (1, 2, 5, 7)


class Model(nn.Module):
    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, (2, 3))
        self.made = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.made(self.conv(x))


def written(y: Tensor) -> Tensor:
    torch.as_tensor(y).mul_(torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0]))
    return y


def copied(y: Tensor) -> Tensor:
    torch.tensor(y).zero_()
    torch.asarray(y, copy=True).zero_()
    return y


ALONE: dict[str, Forward] = {
    "as_tensor": torch.as_tensor,
    "of a dtype": lambda y: torch.as_tensor(y, dtype=torch.float64, device="cpu"),
    "asarray": lambda y: torch.asarray(y, dtype=torch.float64),
    "a copy": lambda y: torch.tensor(y, dtype=torch.float32),
    "to_dense": lambda y: y.to_dense(),
    "written into what is left of it": copied,
}
LISTS: dict[str, Forward] = {
    "a list": lambda y: torch.tensor([y[0, 0, 1, 2], 3.0, y[0, 1, 2, 0]]),
    "nested": lambda y: torch.as_tensor([[y[0, 0, 0, 1], 0], [1, y[0, :1, 1, 1]]]),
    "numbers of two kinds": lambda y: torch.asarray((y.double()[0, 0, 0, 0], 2)),
}


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize("name", [*ALONE, *LISTS])
def test_what_is_made_of_tensors_reads_them(name: str) -> None:
    model = Model({**ALONE, **LISTS}[name]).eval()
    report = rfgraph.analyze(model, SHAPE, check=True)
    torch.manual_seed(0)
    x = torch.randn(SHAPE)
    given, expected = report.fx(x), model(x)
    assert torch.equal(given, expected) and given.dtype is expected.dtype
    assert rfgraph.verify(model, SHAPE, rows="all").exact


@pytest.mark.parametrize("name", ALONE)
def test_a_tensor_of_a_tensor_reads_its_own_element(name: str) -> None:
    assert rfgraph.analyze(Model(ALONE[name]).eval(), SHAPE).output.rf.size == (2, 3)


def test_what_is_written_into_a_tensor_of_a_tensor_is_written_into_both() -> None:
    report = rfgraph.analyze(Model(written).eval(), SHAPE, check=True)
    assert [list(report.output.reads(1, position)) for position in (0, 1)] == [[], [1, 2, 3]]


def test_a_list_of_a_tensor_with_dims_is_refused_as_torch_refuses_it() -> None:
    with pytest.raises(rfgraph.CaptureError, match="only one element tensors can be converted"):
        rfgraph.analyze(Model(lambda y: torch.tensor([y[0, 0, 0], 1.0])).eval(), SHAPE)
