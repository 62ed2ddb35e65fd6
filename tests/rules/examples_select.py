"""Examples of indexing, splitting, and putting tensors side by side.

In: tables of indices. Out: `EXAMPLES`.
"""

from __future__ import annotations

import operator

import torch

from tests.rules.examples import Example, ex, w

_PICKED = torch.tensor([3, 0, 0, 2])
_ROWS, _COLUMNS = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 3])
_COMPUTED = "a computed index reads everything"
_MASK = torch.tensor([True, False, True])


def _getitem() -> list[Example]:
    return [
        ex(lambda x: x[1], (2, 3)),
        ex(lambda x: x[:, -1], (2, 3)),
        ex(lambda x: x[:, 1:], (2, 4)),
        ex(lambda x: x[..., ::2], (2, 1, 5)),
        ex(lambda x: x[..., -3:-1, 1::3], (2, 4, 5)),
        ex(lambda x: x[:, None, 1, ..., None], (2, 3, 2)),
        ex(lambda x: x[:, 2, 1:7:3], (2, 3, 8)),
        ex(lambda x: operator.getitem(x, (slice(None), slice(None, -1))), (2, 3)),
        ex(lambda x: x[:, _PICKED], (2, 4)),
        ex(lambda x: x[[2, 0]], (3, 2)),
        ex(lambda x: x[:, [2, -1], 1:], (2, 4, 3)),
        ex(lambda x: x[0, :, _PICKED], (2, 2, 4)),
        ex(lambda x: x[None, 1, _PICKED], (2, 4)),
        ex(lambda x: x[_ROWS, _COLUMNS], (2, 4)),
        ex(lambda x: x[_ROWS, :, _COLUMNS], (2, 2, 4)),
        ex(lambda x: x[:, _ROWS[:, None], _COLUMNS], (2, 2, 4)),
        ex(lambda x: x[..., _MASK], (2, 3)),
        ex(lambda x: x[_MASK, 1:], (3, 3)),
        ex(lambda x: x[torch.tensor([[True, False], [True, True]])], (2, 2, 2)),
        ex(lambda i: w(4, 2)[i], (1, 3), draw="index", conservative=_COMPUTED),
        ex(lambda x, i: x[i], (3, 2), (2,), draw=("normal", "index"), conservative=_COMPUTED),
    ]


def _picked() -> dict[str, list[Example]]:
    return {
        "narrow": [
            ex(lambda x: torch.narrow(x, 1, 1, 3), (2, 5)),
            ex(lambda x: x.narrow(-2, 0, 2), (3, 2)),
            ex(lambda x: x.narrow(0, -2, 2), (4, 2)),
        ],
        "select": [
            ex(lambda x: torch.select(x, 1, 2), (2, 3, 2)),
            ex(lambda x: x.select(-1, -2), (2, 3)),
            ex(lambda x: x.select(0, 0), (2, 2, 3)),
        ],
        "index_select": [
            ex(lambda x: torch.index_select(x, 1, _PICKED), (2, 4)),
            ex(lambda x: x.index_select(-2, torch.tensor([2, 1, 0])), (3, 2)),
            ex(
                lambda x, i: x.index_select(1, i),
                (2, 3),
                (4,),
                draw=("normal", "index"),
            ),
        ],
    }


def _split() -> dict[str, list[Example]]:
    return {
        "unbind": [
            ex(torch.unbind, (2, 3)),
            ex(lambda x: x.unbind(-1), (2, 1, 3)),
            ex(lambda x: tuple(x), (2, 3)),
        ],
        "chunk": [
            ex(lambda x: torch.chunk(x, 3, 1), (2, 8)),
            ex(lambda x: x.chunk(2, dim=-1), (2, 5)),
            ex(lambda x: x.chunk(4), (6, 2)),
        ],
        "tensor_split": [
            ex(lambda x: torch.tensor_split(x, 3, dim=1), (2, 8)),
            ex(lambda x: x.tensor_split((1, 4), -1), (2, 6)),
            ex(lambda x: x.tensor_split([2, -1]), (5, 2)),
            ex(lambda x: torch.tensor_split(x, indices=(1, 3), dim=1), (2, 6)),
            ex(lambda x: torch.tensor_split(x, sections=4, dim=0), (6, 2)),
        ],
        "split": [
            ex(lambda x: torch.split(x, 3, 1), (2, 7)),
            ex(lambda x: x.split(2, dim=-1), (2, 5)),
            ex(lambda x: x.split([1, 3, 2]), (6, 2)),
            ex(lambda x: torch.split(x, split_size_or_sections=(2, 3), dim=-2), (5, 2)),
        ],
    }


def _merged() -> dict[str, list[Example]]:
    return {
        "cat": [
            ex(lambda x, y: torch.cat((x, y)), (2, 3), (1, 3)),
            ex(lambda x, y: torch.cat([x, y], dim=-1), (2, 3), (2, 2)),
            ex(lambda x, y, z: torch.cat((x, y, z), 1), (2, 1, 2), (2, 3, 2), (2, 2, 2)),
            ex(lambda x: torch.cat((w(2, 2), x, w(2, 1)), 1), (2, 3)),
            ex(lambda x: torch.cat((x, x), 1), (2, 3)),
            ex(lambda x, y: torch.concat((y, x), -2), (2, 3), (1, 3)),
            ex(lambda x, y: torch.concatenate((x, y)), (2,), (3,)),
            ex(lambda x: torch.cat((torch.zeros(0, dtype=x.dtype), x), 1), (2, 3)),
        ],
        "stack": [
            ex(lambda x, y: torch.stack((x, y)), (2, 3), (2, 3)),
            ex(lambda x, y, z: torch.stack([x, y, z], -1), (2,), (2,), (2,)),
            ex(lambda x, y: torch.stack((x, y), dim=1), (3, 2), (3, 2)),
            ex(lambda x: torch.stack((w(2, 3), x), -2), (2, 3)),
            ex(lambda x: torch.stack((x,), 1), (2, 3)),
        ],
    }


EXAMPLES: dict[str, list[Example]] = {
    "getitem": _getitem(),
    **_picked(),
    **_split(),
    **_merged(),
}
