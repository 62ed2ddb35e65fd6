"""The phases that a report states, against the gradient of a positive float64 twin: position by position.

The twin is linear with positive weights, so an input position has a gradient other than zero exactly
where it is read. Nothing of rfgraph computes the expectation.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import rfgraph
from tests import models


def positions_read(
    twin: nn.Module, shape: tuple[int, ...], axis: int, outputs: list[int]
) -> list[set[int]]:
    """The positions along input dim `axis` that have a gradient, for each of these output positions."""
    signals = torch.zeros(len(outputs), *shape[1:], dtype=torch.float64, requires_grad=True)
    made = twin(signals)  # one sample for each output position: samples do not mix
    total = sum(
        made[sample].select(axis - 1, output).sum() for sample, output in enumerate(outputs)
    )
    (gradients,) = torch.autograd.grad(total, signals)
    others = [dim for dim in range(1, len(shape)) if dim != axis]
    return [set(sample.nonzero().flatten().tolist()) for sample in gradients.abs().amax(dim=others)]


def assert_phases_are_what_the_gradient_reads(
    model: nn.Module, shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    """Over two whole periods in the middle of the output, along each of these dims of the input."""
    report = rfgraph.analyze(model, shape)
    field = report.output.rf
    twin = models.positive_twin(model)
    for axis in axes:
        phases, advance = field.phases[axis - 2], field.advance[axis - 2]
        period = len(phases)
        turn = report.output.shape[axis] // 2 // period
        outputs = list(range(turn * period, (turn + 2) * period))
        stated = [
            {i + advance * (output // period) for i in phases[output % period]}
            for output in outputs
        ]
        assert min(map(min, stated)) >= 0, "the input is too small for an interior output"
        assert max(map(max, stated)) < shape[axis], "the input is too small for an interior output"
        assert positions_read(twin, shape, axis, outputs) == stated


UNETS = [
    ("transposed", 2, 96),
    ("transposed", 3, 192),
    ("transposed", 4, 320),
    ("transposed", 5, 576),
    ("nearest", 3, 192),
    ("bilinear", 2, 96),
    ("bilinear", 3, 192),
    ("bilinear", 4, 352),
    ("bilinear", 5, 640),
]


@pytest.mark.parametrize(("up", "depth", "size"), UNETS)
def test_unet(up: str, depth: int, size: int) -> None:
    narrow = 2**depth
    model = models.UNet(depth, up)
    assert_phases_are_what_the_gradient_reads(model, (1, 1, size, narrow), (2,))
    assert_phases_are_what_the_gradient_reads(model, (1, 1, narrow, size), (3,))


def test_causal_tcn() -> None:
    assert_phases_are_what_the_gradient_reads(models.CausalTCN(), (1, 1, 300), (2,))


@pytest.mark.parametrize("dilations", [(2, 2, 2), (1, 2, 5), (1, 2, 9), (3, 1, 4, 2)])
def test_dilated_stacks_with_their_holes(dilations: tuple[int, ...]) -> None:
    assert_phases_are_what_the_gradient_reads(models.dilated(*dilations), (1, 1, 48, 56), (2, 3))


def test_a_strided_residual_net_with_two_different_axes() -> None:
    model = models.lopsided_resnet()
    assert_phases_are_what_the_gradient_reads(model, (1, 1, 80, 90), (2, 3))


def test_a_densely_connected_net_over_all_its_channels() -> None:
    layers: list[nn.Module] = [
        models.conv(3, 2, 1, inputs=1),
        models.DenseBlock(3),
        nn.AvgPool2d(2),
    ]
    model = nn.Sequential(*layers, models.DenseBlock(2))
    assert_phases_are_what_the_gradient_reads(model, (1, 1, 96, 84), (2, 3))


# --- the twin itself ----------------------------------------------------------------------------

SMALL: list[Callable[[], nn.Module]] = [lambda: models.UNet(2), models.lopsided_resnet]


@pytest.mark.parametrize("build", SMALL)
def test_the_twin_is_linear_and_positive(build: Callable[[], nn.Module]) -> None:
    twin = models.positive_twin(build())
    one, two = (torch.rand(1, 1, 32, 48, dtype=torch.float64) for _ in range(2))
    assert torch.allclose(twin(one + 3 * two), twin(one) + 3 * twin(two))
    assert (twin(one) > 0).all()


def test_the_gradient_sees_a_single_missing_tap() -> None:
    model = nn.Sequential(nn.Conv1d(1, 1, 5, bias=False))
    twin = models.positive_twin(model)
    twin[0].weight[0, 0, 3] = 0
    assert positions_read(twin, (1, 1, 20), 2, [6]) == [{6, 7, 8, 10}]
