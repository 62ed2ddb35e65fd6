"""Dims that grow with one axis alone: against the shapes that the model has where one axis is longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import rfgraph
from tests.sized.poison import Apply

Shape = tuple[int, ...]
SHAPE = (1, 2, 6, 8)
FUNCTIONS: dict[str, tuple[Callable[..., Tensor], list[set[int]]]] = {
    # of each node behind the input: the dims that one axis has for itself
    "tokens": (lambda self, x: x.flatten(2), [set()]),
    "tokens and back": (
        lambda self, x: (x.flatten(2) + 1).unflatten(2, (-1, x.shape[3])),
        [set(), set(), {2, 3}],
    ),
    "a class token": (
        lambda self, x: torch.cat([torch.zeros(1, 2, 1), x.flatten(2)], 2)[..., 1:],
        [set(), set(), set()],
    ),
    "windows": (lambda self, x: x.unflatten(2, (-1, 2)), [{2, 4}]),
    "halves": (lambda self, x: x.unflatten(3, (2, -1)), [{2, 4}]),
    "windows in the batch": (
        lambda self, x: x.unflatten(2, (-1, 2)).transpose(1, 2).flatten(0, 1),
        [{2, 4}, {1, 4}, {0, 3}],
    ),
    "scores": (lambda self, x: x[..., 0].mT @ x[..., 0], [{2}, {1}, {2}, {1, 2}]),
    "scores in one dim": (
        lambda self, x: (x[..., 0].mT @ x[..., 0]).flatten(1),
        [{2}, {1}, {2}, {1, 2}, set()],
    ),
    "a spectrum": (lambda self, x: torch.fft.rfft(x).abs(), [{2}, {2}]),
    "a spectrum in one dim": (lambda self, x: torch.fft.rfft(x).abs().flatten(2), [{2}, {2}, set()]),
    "columns": (lambda self, x: F.unfold(x, 2), [set()]),
    "frames": (lambda self, x: x.unfold(3, 4, 1), [{2, 3}]),
    "a mean that is expanded": (lambda self, x: x.mean(3, True) + x, [{2}, {2, 3}]),
    "repeats": (lambda self, x: x[..., None].expand(-1, -1, -1, -1, 3).flatten(3), [{2, 3}] * 3),
    "upsampling": (lambda self, x: F.interpolate(x, scale_factor=(2, 1)), [{2, 3}]),
    "a sum over height": (lambda self, x: x.sum(2), [{2}]),
    "two axes along one dim": (lambda self, x: x[..., :6] + x[..., :6].mT, [{2, 3}, {2, 3}, {2, 3}, {2, 3}]),
}  # fmt: skip


def shapes(function: Callable[..., Tensor], shape: Shape) -> tuple[list[Shape], list[set[int]]]:
    """Of every node behind the input: its shape, and the dims that one axis has for itself."""
    report = rfgraph.analyze(Apply(function), shape)
    at_size = report.output.at(report.axes[0]).at_size
    nodes = [node for node in report.nodes if node.op != "input"]
    return [node.shape for node in nodes], [set(at_size.own(node.name)) for node in nodes]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_dims_of_one_axis_are_those_that_are_longer_with_it(name: str) -> None:
    function, expected = FUNCTIONS[name]
    here, own = shapes(function, SHAPE)
    assert own == expected
    if name == "two axes along one dim":
        return  # it takes no other width
    taller, wider = (shapes(function, shape)[0] for shape in ((1, 2, 12, 8), (1, 2, 6, 16)))
    for dims, *sizes in zip(own, here, taller, wider, strict=True):
        for dim in dims:
            n, tall, wide = (size[dim] for size in sizes)
            assert (tall > n) + (wide > n) <= 1, (name, dim)


def test_without_tracked_axes_there_are_none() -> None:
    report = rfgraph.analyze(Apply(lambda self, x: x.flatten(2) * 2), SHAPE, axes=(2,))
    reads = report.output.at(report.axes[0])
    assert reads.at_size.own(report.output.name) == {2}  # the width is not tracked: a factor as any
    assert reads.closed_form and reads.relation == rfgraph.Relation.spread(8)
