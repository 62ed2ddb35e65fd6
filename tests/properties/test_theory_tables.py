"""The table of operators of the theory page, section 2: each operator against its formula.

Each row is analysed as a one-layer model, and its relation is compared with the formula written as
a membership test. Linear upsampling is compared with the gradient of torch's own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.algebra.relation import Relation

INPUTS, OUTPUTS = range(-60, 60), range(-9, 10)


class Does(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def relation_of(model: nn.Module, channels: int = 1) -> Relation:
    """The relation of a one-layer model along its last axis; the axis before it is left alone."""
    report = rfgraph.analyze(model, (1, channels, 24, 30), axes=(3,))
    return report.output.rf.relations[0]


def assert_row(relation: Relation, period: int, advance: int, reads: Callable[[int, int], bool]):
    """`relation` is the row of the table: its period, its advance, and whether `o` reads `i`."""
    assert (relation.period, relation.advance) == (period, advance)
    for o in OUTPUTS:
        assert relation.at(o) == tuple(i for i in INPUTS if reads(o, i)), o


WINDOWS = [(1, 1, 1, 0), (3, 1, 1, 1), (2, 2, 1, 0), (4, 3, 2, 5), (1, 2, 1, 0), (5, 1, 3, 2)]


@pytest.mark.parametrize(("k", "s", "d", "p"), WINDOWS)
def test_convolution(k: int, s: int, d: int, p: int) -> None:
    layer = nn.Conv2d(1, 1, (1, k), stride=(1, s), dilation=(1, d), padding=(0, p))
    formula = {o: {s * o - p + d * t for t in range(k)} for o in OUTPUTS}
    assert_row(relation_of(layer), 1, s, lambda o, i: i in formula[o])


@pytest.mark.parametrize(
    ("k", "s", "d", "p"), [(2, 2, 1, 0), (3, 2, 1, 1), (4, 3, 2, 2), (1, 2, 1, 0)]
)
def test_pooling(k: int, s: int, d: int, p: int) -> None:
    layer = nn.MaxPool2d((1, k), stride=(1, s), dilation=(1, d), padding=(0, p))
    formula = {o: {s * o - p + d * t for t in range(k)} for o in OUTPUTS}
    assert_row(relation_of(layer), 1, s, lambda o, i: i in formula[o])


@pytest.mark.parametrize(
    ("k", "s", "d", "p"),
    [(2, 2, 1, 0), (3, 2, 1, 1), (4, 2, 1, 1), (2, 3, 1, 0), (3, 3, 2, 4), (1, 1, 1, 0)],
)
def test_transposed_convolution(k: int, s: int, d: int, p: int) -> None:
    layer = nn.ConvTranspose2d(1, 1, (1, k), stride=(1, s), dilation=(1, d), padding=(0, p))
    taps = {o: {o + p - d * t for t in range(k)} for o in OUTPUTS}
    assert_row(relation_of(layer), s, 1, lambda o, i: s * i in taps[o])
    assert relation_of(layer) is Relation.window(k, s, d, p).converse()


@pytest.mark.parametrize("f", [1, 2, 3, 5])
def test_nearest_upsampling(f: int) -> None:
    relation = relation_of(nn.Upsample(scale_factor=(1, f), mode="nearest"))
    assert_row(relation, f, 1, lambda o, i: f * i <= o < f * (i + 1))


@pytest.mark.parametrize("f", [2, 3, 4, 5])
def test_linear_upsampling_reads_the_taps_of_non_zero_weight(f: int) -> None:
    relation = relation_of(nn.Upsample(scale_factor=(1, f), mode="bilinear", align_corners=False))
    signal = torch.zeros(1, 1, 9, dtype=torch.float64, requires_grad=True)
    resized = F.interpolate(signal, scale_factor=f, mode="linear", align_corners=False)
    assert (relation.period, relation.advance) == (f, 1)
    for o in range(3 * f, 6 * f):  # away from the borders, where taps are clamped
        (weights,) = torch.autograd.grad(resized[0, 0, o], signal, retain_graph=True)
        assert relation.at(o) == tuple(weights[0, 0].nonzero().flatten().tolist()), o


@pytest.mark.parametrize(("start", "step"), [(0, 1), (3, 1), (0, 2), (5, 4)])
def test_slice(start: int, step: int) -> None:
    relation = relation_of(Does(lambda x: x[..., start::step]))
    assert_row(relation, 1, step, lambda o, i: i == start + step * o)


@pytest.mark.parametrize(("left", "right"), [(0, 0), (4, 0), (0, 3), (2, 5), (-3, 1)])
def test_padding(left: int, right: int) -> None:
    relation = relation_of(Does(lambda x: F.pad(x, (left, right))))
    assert_row(relation, 1, 1, lambda o, i: i == o - left)


@pytest.mark.parametrize("f", [1, 2, 3])
def test_pixel_shuffle_and_unshuffle(f: int) -> None:
    shuffled = relation_of(nn.PixelShuffle(f), channels=f * f)
    assert_row(shuffled, f, 1, lambda o, i: i == o // f)
    unshuffled = relation_of(nn.PixelUnshuffle(f))
    assert_row(unshuffled, 1, f, lambda o, i: o == i // f)


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Identity(), nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1)])
def test_pointwise(layer: nn.Module) -> None:
    assert relation_of(layer) is Relation.identity()
    assert_row(relation_of(layer), 1, 1, lambda o, i: i == o)
