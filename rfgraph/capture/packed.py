"""Sequences of several lengths, packed or padded, as the operators that they are made of.

In: the arguments of torch's functions for them, and of recurrent layers that are given such a sequence;
the lengths are known, what is packed may be computed. Out: what they return. So a row that is packed is
read where it comes from, and a layer of two directions begins each row at its own end.

`data` holds the rows step by step: at step t those rows that are so long, and `batch_sizes[t]` says how many;
the longest rows come first (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.rnn.PackedSequence.html).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rfgraph.graph.calls import Args, Kwargs


def pack(input: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    """`torch._VF._pack_padded_sequence`: the data, and how many rows each step has."""
    steps = lengths.tolist()
    if not steps or steps != sorted(steps, reverse=True) or steps[-1] < 1:
        raise RuntimeError(f"lengths are to fall, and to be 1 or more, but are {steps}")
    by_step = input.transpose(0, 1) if batch_first else input
    sizes = torch.tensor([sum(t < length for length in steps) for t in range(steps[0])])
    if by_step.shape[1] != len(steps) or by_step.shape[0] < steps[0]:
        raise RuntimeError(f"lengths {steps} are none of a batch of {tuple(input.shape)}")
    if steps[0] == steps[-1]:
        return by_step.narrow(0, 0, steps[0]).flatten(0, 1), sizes
    places = [(t, row) for t in range(steps[0]) for row in range(int(sizes[t]))]
    at, rows = torch.tensor(places).unbind(1)
    return by_step[at, rows], sizes


def pad(
    data: Tensor, batch_sizes: Tensor, batch_first: bool, padding_value: float, total_length: int
) -> tuple[Tensor, Tensor]:
    """`torch._VF._pad_packed_sequence`: the rows side by side, and their lengths."""
    lengths = _lengths(batch_sizes)
    rows = [_rows(data, batch_sizes, row, row + 1) for row in range(len(lengths))]
    if lengths[0] == lengths[-1]:
        rows = [_rows(data, batch_sizes, 0, len(lengths))]
    filled = [_filled(row, total_length - len(row), padding_value) for row in rows]
    padded = torch.cat(filled, 1) if len(filled) > 1 else filled[0]
    return padded.transpose(0, 1) if batch_first else padded, torch.tensor(lengths)


def side_by_side(
    sequences: Tensor | Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """`torch.nn.utils.rnn.pad_sequence`: sequences of several lengths, as one tensor."""
    longest = max(len(each) for each in sequences)
    filled = [_filled(each, longest - len(each), padding_value, padding_side) for each in sequences]
    return torch.stack(filled, 0 if batch_first else 1)


def is_given(args: Args, kwargs: Kwargs) -> bool:
    """Is a recurrent layer called on a packed sequence?"""
    return isinstance(args[0] if args else kwargs.get("input"), PackedSequence)


def layer(module: nn.RNNBase, input: PackedSequence, hx: Any = None) -> tuple[Any, Any]:
    """What a recurrent layer returns of a packed sequence: rows of one length are run together."""
    data, sizes, order, back = input
    lengths, start = _lengths(sizes), 0
    outputs, states = [], []
    for length, group in groupby(lengths):
        stop = start + sum(1 for _ in group)
        part = _rows(data, sizes, start, stop)
        given = None if hx is None else _own(hx, order, start, stop)
        output, state = module(part.transpose(0, 1) if module.batch_first else part, given)
        outputs.append((output.transpose(0, 1) if module.batch_first else output, length))
        states.append(state)
        start = stop
    flat = torch.cat([output.flatten(0, 1) for output, _ in outputs]) if start else data
    if len(outputs) > 1:  # row by row, and now step by step
        flat = flat[_by_step(outputs, sizes)]
    return PackedSequence(flat, sizes, order, back), _states(states, back)


def _by_step(outputs: Sequence[tuple[Tensor, int]], sizes: Tensor) -> Tensor:
    """Where among the groups' outputs, one behind the other, each element of the packed data is."""
    starts: list[tuple[int, int]] = []  # of each row: its first place, the way to its next step
    begin = 0
    for output, length in outputs:
        count = output.shape[1]
        starts += [(begin + row, count) for row in range(count)]
        begin += length * count
    steps = enumerate(sizes.tolist())
    return torch.tensor([first + t * way for t, n in steps for first, way in starts[:n]])


def _lengths(batch_sizes: Tensor) -> list[int]:
    sizes = batch_sizes.tolist()
    return [sum(row < size for size in sizes) for row in range(sizes[0])]


def _rows(data: Tensor, batch_sizes: Tensor, start: int, stop: int) -> Tensor:
    """The rows from `start` to `stop`, of one length, as (steps, rows, ...)."""
    sizes = batch_sizes.tolist()
    count = sum(start < size for size in sizes)
    if sizes[0] == sizes[-1] == stop - start:
        return data.reshape(-1, stop, *data.shape[1:])
    begins = [sum(sizes[:t]) for t in range(count)]
    return data[torch.tensor([[begin + row for row in range(start, stop)] for begin in begins])]


def _filled(steps: Tensor, missing: int, value: float, side: str = "right") -> Tensor:
    if not missing:
        return steps
    both = (missing, 0) if side == "left" else (0, missing)
    return F.pad(steps, (*[0] * (2 * steps.dim() - 2), *both), value=value)


def _own(state: Any, order: Tensor | None, start: int, stop: int) -> Any:
    """The states of some rows, sorted as they are packed."""
    if isinstance(state, tuple | list):
        return tuple(_own(each, order, start, stop) for each in state)
    ordered = state if order is None else state.index_select(1, order)
    return ordered if stop - start == state.shape[1] else ordered[:, start:stop]


def _states(parts: list[Any] | tuple[Any, ...], back: Tensor | None) -> Any:
    """The last states of all rows, in the order in which they came."""
    if isinstance(parts[0], tuple):
        return tuple(_states(each, back) for each in zip(*parts, strict=True))
    whole = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    return whole if back is None else whole.index_select(1, back)


SPELLED: Mapping[str, Callable[..., Any]] = {
    "_pack_padded_sequence": pack,
    "_pad_packed_sequence": pad,
    "pad_sequence": side_by_side,
}
