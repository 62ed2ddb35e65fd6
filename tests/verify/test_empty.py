"""Tensors without elements in the middle of a model: nothing reads, and `verify` says so of every operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

SHAPE = (2, 4, 6, 5)
Forward = Callable[[Tensor], Tensor]


class Cut(nn.Module):
    """What an operator makes of nothing, put beside something."""

    def __init__(self, inside: Forward, dim: int) -> None:
        super().__init__()
        self.inside, self.dim = inside, dim

    def forward(self, x: Tensor) -> Tensor:
        nothing = self.inside(x.narrow(self.dim, 0, 0))
        return x * 2 + nothing.sum()


OF_NO_BATCH: dict[str, Forward] = {
    "conv": nn.Conv2d(4, 3, (2, 3)),
    "transposed": nn.ConvTranspose2d(4, 3, 2, 2),
    "linear": nn.Linear(5, 3),
    "matmul": lambda x: x @ x.transpose(-1, -2),
    "constant matmul": lambda x: x.triu() @ torch.ones(5, 2),
    "einsum": lambda x: torch.einsum("bchw,bchv->bcwv", x.tril(), x),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "softmax": lambda x: x.softmax(-1),
    "max_pool": nn.MaxPool2d(2),
    "avg_pool": nn.AvgPool2d(2),
    "adaptive": nn.AdaptiveAvgPool2d(2),
    "batch_norm": nn.BatchNorm2d(4),
    "layer_norm": nn.LayerNorm(5),
    "group_norm": nn.GroupNorm(2, 4),
    "pad": lambda x: F.pad(x, (1, 2)),
    "cumsum": lambda x: x.cumsum(2),
    "sort": lambda x: x.sort(-1).values,
    "gather": lambda x: x.gather(2, torch.zeros(0, 4, 1, 5, dtype=torch.long)),
    "index": lambda x: x[:, [0, 2]],
    "put": lambda x: x.index_copy(1, torch.tensor([0]), x[:, 1:2]),
    "cat": lambda x: torch.cat([x, x.flip(2)], 1),
    "shuffle": nn.PixelShuffle(2),
    "unfold": lambda x: F.unfold(x, 2),
    "flatten": lambda x: x.flatten(1),
    "where": lambda x: x.where(x > 0, x.roll(1, -1)),
    "std": lambda x: x.std(-1),
    "dist": lambda x: torch.cdist(x, x),
    "norm": lambda x: F.normalize(x, dim=1),
    "mse": lambda x: F.mse_loss(x, x.flip(-1), reduction="none"),
}
OF_NO_COLUMNS: dict[str, Forward] = {
    "sum": lambda x: x.sum(-1),
    "matmul": lambda x: x @ torch.ones(0, 3),
    "einsum": lambda x: torch.einsum("bchw,wv->bchv", x, torch.ones(0, 2)),
    "relu": lambda x: x.relu(),
    "pad": lambda x: F.pad(x, (1, 2)),
    "cat": lambda x: torch.cat([x, x], -1),
    "cumsum": lambda x: x.cumsum(-1),
    "flatten": lambda x: x.flatten(1),
    "transpose": lambda x: x.transpose(-1, 1),
    "any": lambda x: (x > 0).any(-1).to(x.dtype),
    "prod": lambda x: x.prod(-1),
}
CASES = [
    *(pytest.param(made, 0, id=f"{name}, no batch") for name, made in OF_NO_BATCH.items()),
    *(pytest.param(made, 3, id=f"{name}, no columns") for name, made in OF_NO_COLUMNS.items()),
]


@pytest.mark.parametrize(("inside", "dim"), CASES)
def test_an_operator_on_nothing_is_verified(inside: Forward, dim: int) -> None:
    check = rfgraph.verify(Cut(inside, dim).eval(), SHAPE)
    assert check.agrees, str(check)
    output = rfgraph.analyze(Cut(inside, dim).eval(), SHAPE).output
    assert [output.reads(axis, (1, 3, 4, 2)).tolist() for axis in (0, 1)] == [[4], [2]]


def test_a_position_of_a_tensor_without_elements_reads_nothing() -> None:
    class Slice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :0]

    node = rfgraph.analyze(Slice(), (3, 5), axes=(0, 1)).output
    for dim in (0, 1):
        reads = node.at(rfgraph.Axis("x", dim))
        assert reads.members({0: 1}).tolist() == [] and reads.hull({0: 1}) is None


NOTHING: dict[str, Forward] = {
    "a slice": lambda x: x[..., :0],
    "a slice past the end": lambda x: x[..., 9:],
    "no batch": lambda x: x[:0],
    "a crop": lambda x: F.pad(x, (-2, -3)),
    "a product": lambda x: x.new_zeros(2, 4, 6, 0) * x[..., :1],
    "pooled": lambda x: F.adaptive_avg_pool2d(x, (3, 0)),
    "pooled by the largest": lambda x: F.adaptive_max_pool2d(x, (0, 2)),
    "resampled": lambda x: F.interpolate(x, scale_factor=(0.5, 0.1), mode="area"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_an_output_without_elements_is_verified(name: str) -> None:
    class Made(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return NOTHING[name](x)

    report = rfgraph.analyze(Made(), SHAPE)
    assert report.output.shape == NOTHING[name](torch.zeros(SHAPE)).shape
    assert rfgraph.verify(Made(), SHAPE, rows="all").exact


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_what_torch_does_not_resample_to_nothing_is_refused(mode: str) -> None:
    class Made(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=0.1, mode=mode)

    with pytest.raises(rfgraph.CaptureError, match="both must be positive"):
        rfgraph.analyze(Made(), SHAPE)
