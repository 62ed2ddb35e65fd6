"""The taps of a kernel that the model does not fix to 0, as products of positions.

In: where a kernel may be other than 0, over (outputs, inputs of a group, *window). Out: `Taps`: which output
channels read which input channels at which places of the window. A masked kernel is no product of its dims;
it is the union of several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_MOST = 16  # kinds of pairs of channels that are told apart


@dataclass(frozen=True, eq=False)
class Taps:
    """`pairs[o, i]` of channels read all places whose index along window dim d is in `places[d]`.

    `pairs` None: all of them.
    """

    pairs: Tensor | None
    places: tuple[Sequence[int], ...]


def taps_of(live: Tensor) -> list[Taps]:
    """The taps of a kernel.

    Exact where no more than 16 kinds of pairs of channels read different places; else all inputs of an
    output count as alike, or all channels.
    """
    window, connected = tuple(live.shape[2:]), live.flatten(2).any(2)
    each = live.flatten(2)
    by_output = each.any(1, keepdim=True).expand_as(each)
    for alike in (each, by_output):
        found = _told_apart(alike, connected, window)
        if found is not None:
            return found
    united = each.any(1).any(0).reshape(window)
    return [Taps(_unless_all(connected), box) for box in boxes(united)]


def _unless_all(pairs: Tensor) -> Tensor | None:
    return None if bool(pairs.all()) else pairs


def _told_apart(live: Tensor, connected: Tensor, window: tuple[int, ...]) -> list[Taps] | None:
    """One for each kind of pair; None where there are too many."""
    kinds, kind_of = torch.unique(live.reshape(-1, live.shape[2]), dim=0, return_inverse=True)
    if len(kinds) > _MOST:
        return None
    of_pairs = kind_of.reshape(live.shape[:2])
    return [
        Taps(_unless_all((of_pairs == number) & connected), box)
        for number, pattern in enumerate(kinds)
        for box in boxes(pattern.reshape(window))
    ]


def boxes(pattern: Tensor) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Products of places whose union is where a pattern holds: places with the same rest are one."""
    if pattern.ndim == 1:
        places = tuple(pattern.nonzero().flatten().tolist())
        yield from [(places,)] if places else []
        return
    rests: dict[bytes, list[int]] = {}
    for place, rest in enumerate(pattern):
        rests.setdefault(rest.numpy().tobytes(), []).append(place)
    for alike in rests.values():
        for box in boxes(pattern[alike[0]]):
            yield (tuple(alike), *box)
