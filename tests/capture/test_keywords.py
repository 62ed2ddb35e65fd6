"""Tensors that come by name, `torch.add(input=a, other=b)`: read, viewed, written, and verified.

Truth is the model: the captured graph must compute what it computes, and read what poison finds; the twins of the
gradient probe are called by name, too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

SHAPE = (1, 2, 4, 6)
Function = Callable[[Tensor], object]
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "permute": lambda y: torch.permute(input=y, dims=(0, 1, 3, 2)),
    "transpose": lambda y: torch.transpose(input=y, dim0=2, dim1=3),
    "swapaxes": lambda y: torch.swapaxes(input=y, axis0=2, axis1=3),
    "movedim": lambda y: torch.movedim(input=y, source=1, destination=3),
    "narrow": lambda y: torch.narrow(input=y, dim=3, start=1, length=3),
    "select": lambda y: torch.select(input=y, dim=2, index=1),
    "chunk": lambda y: torch.chunk(input=y, chunks=2, dim=3)[1],
    "split": lambda y: torch.split(tensor=y, split_size_or_sections=2, dim=3)[1],
    "tensor_split": lambda y: torch.tensor_split(input=y, indices=(2,), dim=3)[1],
    "unbind": lambda y: torch.unbind(input=y, dim=2)[1],
    "reshape": lambda y: torch.reshape(input=y, shape=(1, 2, -1)),
    "unflatten": lambda y: torch.unflatten(input=y, dim=3, sizes=(2, 3)),
    "squeeze": lambda y: torch.squeeze(input=y, dim=0),
    "unsqueeze": lambda y: torch.unsqueeze(input=y, dim=0),
    "diagonal": lambda y: torch.diagonal(input=y, offset=1, dim1=2, dim2=3),
    "as_strided": lambda y: torch.as_strided(input=y, size=(2, 3), stride=(7, 2)),
}
WRITES: dict[str, Function] = {
    "relu_": lambda y: torch.relu_(input=y),
    "elu_": lambda y: F.elu_(input=y),
    "leaky_relu": lambda y: F.leaky_relu(input=y, inplace=True),
    "threshold_": lambda y: F.threshold_(input=y, threshold=0.0, value=1.0),
    "clamp_": lambda y: torch.clamp_(input=y, min=0.0),
    "dropout_": lambda y: torch.dropout_(input=y, p=0.5, train=False),
    "fill_": lambda y: torch.fill_(input=y[..., 1], value=2.0),
    "zero_": lambda y: torch.zero_(input=y[..., 1:3]),
    "index_put_": lambda y: torch.index_put_(
        input=y, indices=(torch.tensor([0]), torch.tensor([1])), values=y[0, :1] * 2
    ),
    "out": lambda y: torch.add(input=y, other=y.flip(-1), out=y),
}


SOME = torch.tensor([True, False, True, False, True, False])
PLACES, SIDE = torch.tensor([0, 3]), torch.zeros(1, 2, 4, 2, dtype=torch.long)
CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "add": lambda y: torch.add(input=y, other=y.flip(-1), alpha=2),
    "sub": lambda y: torch.sub(y, other=y.flip(2)),
    "div": lambda y: torch.div(input=y, other=y.flip(3)),
    "maximum": lambda y: torch.maximum(input=y, other=y.flip(3)),
    "addcmul": lambda y: torch.addcmul(input=y, tensor1=y, tensor2=y.flip(3), value=2.0),
    "lerp": lambda y: torch.lerp(input=y, end=y.flip(3), weight=0.5),
    "gelu": lambda y: F.gelu(input=y),
    "threshold": lambda y: F.threshold(y, 0.0, value=1.0),
    "prelu": lambda y: F.prelu(input=y, weight=torch.ones(2)),
    "masked_fill": lambda y: y.masked_fill(SOME, value=1.0),
    "masked_fill, all by name": lambda y: torch.masked_fill(input=y, mask=SOME, value=1.0),
    "masked_fill by what is computed": lambda y: y.masked_fill(y > 0, value=1.0),
    "masked_scatter": lambda y: y.masked_scatter(mask=SOME, source=y.flip(3)),
    "where": lambda y: torch.where(condition=SOME, input=y, other=y.flip(3)),
    "where as a method": lambda y: y.where(SOME, y.flip(3)),
    "where as a method, by name": lambda y: y.where(condition=SOME, other=y.flip(3)),
    "where as a method, a number": lambda y: y.where(SOME, other=0.0),
    "index_fill": lambda y: y.index_fill(dim=3, index=PLACES, value=1.0),
    "fill_diagonal_": lambda y: y[0, 0].clone().fill_diagonal_(fill_value=1.0, wrap=False),
    "index_select": lambda y: torch.index_select(input=y, dim=2, index=PLACES),
    "index_add": lambda y: y.index_add(dim=3, index=PLACES, source=y[..., :2], alpha=2),
    "index_copy": lambda y: torch.index_copy(input=y, dim=3, index=PLACES, source=y[..., :2]),
    "gather": lambda y: torch.gather(input=y, dim=3, index=SIDE),
    "scatter": lambda y: torch.scatter(input=y, dim=3, index=SIDE, src=y),
    "scatter of a number": lambda y: y.scatter(3, SIDE[..., :1], value=1.0),
    "take": lambda y: torch.take(input=y, index=PLACES),
    "mean": lambda y: torch.mean(input=y, dim=3),
    "cumsum": lambda y: torch.cumsum(input=y, dim=3),
    "matmul": lambda y: torch.matmul(input=y, other=y.mT),
    "bmm": lambda y: torch.bmm(input=y[0], mat2=y[0].mT),
    "addmm": lambda y: torch.addmm(input=y[0, 0, :, :4], mat1=y[0, 0], mat2=y[0, 0].mT),
    "outer": lambda y: torch.outer(input=y[0, 0, 0], vec2=y[0, 0, 1]),
    "dist": lambda y: torch.dist(input=y, other=y * 2),
    "attention": lambda y: F.scaled_dot_product_attention(query=y, value=y, key=y.flip(2)),
    "a mask by a method": lambda y: (
        (y @ y.mT).where(torch.ones(4, 4).tril().bool(), -torch.inf).softmax(-1) @ y
    ),
}


class Model(nn.Module):
    def __init__(self, write: Function) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, (1, 2), padding=(0, 1)).requires_grad_(False)
        self.write = write

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)[..., :6].clone()
        self.write(y)
        return y


class Calls(nn.Module):
    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


@pytest.mark.parametrize("name", CALLS)
def test_what_comes_by_name_is_read_as_what_comes_by_position(name: str) -> None:
    model = Calls(CALLS[name]).eval()
    check = rfgraph.verify(model, SHAPE, rows="all")
    assert check.exact, check
    assert rfgraph.analyze(model, SHAPE, check=True)


def test_the_method_where_takes_its_own_tensor_second() -> None:
    across = [
        list(rfgraph.analyze(Calls(CALLS[name]), SHAPE).output.reads(1, 1)) for name in _WHERE
    ]
    assert across == [[4], [4], [4], []]


_WHERE = ("where", *(f"where as a method{how}" for how in ("", ", by name", ", a number")))


def _written(view: Callable[[Tensor], Tensor]) -> Function:
    def write(y: Tensor) -> None:
        part = view(y)
        part += part.flip(-1)

    return write


@pytest.mark.parametrize("name", [*VIEWS, *WRITES])
def test_what_comes_by_name_is_written_as_what_comes_by_position(name: str) -> None:
    model = Model(WRITES[name] if name in WRITES else _written(VIEWS[name])).eval()
    report = rfgraph.analyze(model, SHAPE, check=True)
    torch.manual_seed(0)
    x = torch.randn(SHAPE)
    assert torch.equal(report.fx(x), model(x))
    assert rfgraph.verify(model, SHAPE, rows="all").exact


def test_empty_tensors_alone_are_put_side_by_side() -> None:
    class Joins(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            none = x.flatten()[:0]
            return torch.cat([none, none])

    assert rfgraph.analyze(Joins(), (1, 2, 5)).output.shape == (0,)
