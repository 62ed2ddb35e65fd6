"""The taps of a masked kernel as products of places, whose union it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rfgraph.rules.taps import boxes, taps_of


def drawn(*shape: int, seed: int, share: float = 0.5) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


@pytest.mark.parametrize("shape", [(5,), (1,), (3, 4), (2, 3, 4), (1, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_the_pattern(shape: tuple[int, ...], seed: int) -> None:
    pattern = drawn(*shape, seed=seed)
    united = torch.zeros_like(pattern)
    for box in boxes(pattern):
        united[torch.meshgrid(*map(torch.tensor, box), indexing="ij")] = True
    assert torch.equal(united, pattern)


def test_rows_that_are_alike_are_one_box() -> None:
    pattern = torch.ones(3, 4, dtype=torch.bool)
    pattern[2, 2:] = False
    assert sorted(boxes(pattern)) == [((0, 1), (0, 1, 2, 3)), ((2,), (0, 1))]
    assert list(boxes(torch.zeros(3, 4, dtype=torch.bool))) == []


def united(live: Tensor) -> Tensor:
    found = torch.zeros_like(live)
    for taps in taps_of(live):
        pairs = torch.ones(live.shape[:2], dtype=torch.bool) if taps.pairs is None else taps.pairs
        inside = torch.zeros(live.shape[2:], dtype=torch.bool)
        inside[torch.meshgrid(*map(torch.tensor, taps.places), indexing="ij")] = True
        found |= pairs.reshape(*pairs.shape, *(1,) * inside.ndim) & inside
    return found


@pytest.mark.parametrize("seed", range(4))
def test_channels_whose_taps_differ_are_told_apart(seed: int) -> None:
    live = drawn(3, 2, 2, 3, seed=seed)
    assert torch.equal(united(live), live)


def test_all_that_is_read_is_there_where_too_many_channels_differ() -> None:
    live = drawn(24, 24, 3, 3, seed=0)
    assert bool((united(live) | ~live).all())
    assert len(taps_of(live)) <= 16 * 3


def test_inputs_count_as_alike_before_outputs_do() -> None:
    # Output 0 reads the first two places, output 1 the last two: of each input others of them.
    live = torch.zeros(2, 24, 1, 8, dtype=torch.bool)
    for i in range(24):
        live[0, i, 0, :4] = torch.tensor([i >> bit & 1 for bit in range(4)]) == 1
        live[1, i, 0, 4:] = torch.tensor([i >> bit & 1 for bit in range(1, 5)]) == 1
    assert {taps.places for taps in taps_of(live)} == {((0,), (0, 1, 2, 3)), ((0,), (4, 5, 6, 7))}
    assert bool((united(live) | ~live).all())
