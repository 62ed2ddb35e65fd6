"""Whole numbers that a forward gives as tensors of the model, which torch takes for Python's.

Truth is the same call with Python's own numbers: the same graph, and the same figures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

Call = Callable[[Tensor, Callable[[int], Any]], Tensor]
CALLS: dict[str, Call] = {
    "pad": lambda x, n: F.pad(x, (n(2), n(1))),
    "pad by parts": lambda x, n: F.pad(x, [1, n(1) * 2, n(0), 1], mode="reflect"),
    "reshape": lambda x, n: x.reshape(n(2), 3, n(4), -1),
    "view": lambda x, n: x.view((n(2), n(3), -1)),
    "repeat": lambda x, n: x.repeat(1, 1, n(2), n(1)),
    "tile": lambda x, n: x.tile((n(2), n(1))),
    "expand": lambda x, n: x[:, :1].expand(-1, n(3), -1, -1),
    "unflatten": lambda x, n: x.unflatten(n(3), (n(3), n(2))),
    "split": lambda x, n: x.split([n(1), n(2)], n(1))[1],
    "split_with_sizes": lambda x, n: torch.split_with_sizes(x, [n(4), n(2)], 3)[0],
    "narrow": lambda x, n: x.narrow(n(-1), n(1), n(4)),
    "pixel_shuffle": lambda x, n: F.pixel_shuffle(x.repeat(1, 4, 1, 1), n(2)),
    "pixel_unshuffle": lambda x, n: F.pixel_unshuffle(x, n(2)),
    "layer_norm": lambda x, n: F.layer_norm(x, (n(4), n(6))),
    "roll": lambda x, n: x.roll((n(1), n(-2)), (n(2), n(3))),
    "fft": lambda x, n: torch.fft.rfft2(x, (n(4), n(5))).abs(),
    "moveaxis": lambda x, n: x.moveaxis(n(1), n(3)),
    "stride": lambda x, n: F.max_pool2d(x, n(2), stride=(n(1), n(2))),
}
SHAPE = (2, 3, 4, 6)


class Model(nn.Module):
    def __init__(self, call: Call, number: Callable[[int], Any]) -> None:
        super().__init__()
        self.call, self.number = call, number

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, self.number)


@pytest.mark.parametrize("name", CALLS)
def test_a_whole_number_that_is_a_tensor_is_one_of_pythons(name: str) -> None:
    own, other = (
        rfgraph.analyze(Model(CALLS[name], number).eval(), SHAPE)
        for number in (int, lambda n: torch.tensor(n))
    )
    told = [[(n.name, n.op, n.shape) for n in report.nodes] for report in (own, other)]
    assert told[0] == told[1]
    for axis in own.axes:
        assert [n.at(axis).relation for n in own.nodes] == [
            n.at(axis).relation for n in other.nodes
        ]
