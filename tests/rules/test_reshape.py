"""Reshapes of tensors without elements: a strip of an input may leave a node none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph.rules.reshape import groups


@pytest.mark.parametrize(
    ("operand", "shape"),
    [((0, 3), (3, 0)), ((1, 0, 2), (0,)), ((0,), (4, 0, 1)), ((2, 0), (2, 0)), ((0, 3), (2, 0, 5))],
)
def test_dims_of_no_elements_are_paired_once_each(
    operand: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    pairs = groups(operand, shape)
    assert [dim for before, _ in pairs for dim in before] == [*range(len(operand))]
    assert [dim for _, after in pairs for dim in after] == [*range(len(shape))]


def test_a_model_that_leaves_nothing_of_a_strip_is_verified() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(1, 1, (1, 1, 3), padding=(0, 0, 2), dilation=(1, 1, 2))

        def forward(self, x: Tensor) -> Tensor:
            y = torch.zeros(x.shape)
            y[..., 1:2, :, :].copy_(self.conv(x)[..., :1, :, :])
            return y

    check = rfgraph.verify(Written(), (1, 1, 3, 3, 3))
    assert check.exact, str(check)
