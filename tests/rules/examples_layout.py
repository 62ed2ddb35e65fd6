"""Examples of operators that move positions, and of reshapes.

In: tables of shapes. Out: `EXAMPLES`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.rules.examples import Example, ex, w


def _permuted() -> dict[str, list[Example]]:
    found = {
        "permute": [
            ex(lambda x: x.permute(0, 2, 1), (2, 3, 4)),
            ex(lambda x: torch.permute(x, (2, 0, 1)), (2, 3, 4)),
            ex(lambda x: x.permute(dims=(-1, 0, -2)), (2, 1, 3)),
            ex(lambda x: x.permute([1, 3, 0, 2]), (2, 3, 1, 4)),
        ],
        "T": [ex(lambda x: x.T, (2, 3))],
        "t": [ex(torch.t, (2, 3)), ex(lambda x: x.t(), (4,))],
    }
    for name in ("transpose", "swapaxes", "swapdims"):
        function = getattr(torch, name)
        found[name] = [
            ex(lambda x, f=function: f(x, 0, 2), (2, 3, 4)),
            ex(lambda x, n=name: getattr(x, n)(-1, -3), (1, 2, 3, 2)),
            ex(lambda x, f=function: f(x, 1, 1), (2, 3)),
        ]
    found["transpose"] += [
        ex(lambda x: x.mT, (2, 3, 2)),
        ex(lambda x: x.transpose(dim0=1, dim1=0), (2, 3)),
    ]
    for name in ("movedim", "moveaxis"):
        function = getattr(torch, name)
        found[name] = [
            ex(lambda x, f=function: f(x, 0, 2), (2, 3, 4)),
            ex(lambda x, f=function: f(x, (0, -1), (1, 0)), (2, 3, 4)),
            ex(lambda x, n=name: getattr(x, n)(-1, 1), (2, 3, 1, 4)),
        ]
    return found


def _padded() -> dict[str, list[Example]]:
    return {
        "pad": [
            ex(lambda x: F.pad(x, (2, 1)), (2, 3)),
            ex(lambda x: F.pad(x, (1, 0, 0, 2), value=1.5), (2, 3, 2)),
            ex(lambda x: F.pad(x, (-1, 2, 1, -2)), (2, 4, 4)),
            ex(lambda x: F.pad(x, (2, 1), mode="reflect"), (1, 2, 4)),
            ex(lambda x: F.pad(x, (1, 3, 2, 0), mode="replicate"), (1, 2, 3, 2)),
            ex(lambda x: F.pad(x, [2, 1, 0, 3], "circular"), (1, 1, 3, 4)),
            ex(lambda x: F.pad(x, (1, 0, 2, 1, 1, 1), mode="reflect"), (1, 1, 2, 3, 2)),
            ex(lambda x: F.pad(x, (1, -1), mode="replicate"), (2, 4)),
            ex(lambda x: F.pad(x, (2, -1), mode="circular"), (1, 2, 4)),
            ex(lambda x: F.pad(x, (-1, 2, 1, -2), mode="circular"), (1, 1, 4, 4)),
            ex(lambda x: F.pad(x, (-1, 2, 1, -2), mode="reflect"), (1, 4, 4)),
        ],
        "constant_pad": [
            ex(nn.ConstantPad1d((2, 1), 0.5), (2, 3)),
            ex(nn.ConstantPad2d(1, 0.5), (1, 2, 2, 3)),
            ex(nn.ConstantPad3d((1, 0, -1, 2, 0, 1), 0.5), (1, 2, 3, 2)),
            ex(nn.ZeroPad2d((0, 2, 1, 0)), (2, 2, 3)),
            ex(nn.ZeroPad1d(2), (1, 2, 3)),
            ex(nn.ZeroPad3d(1), (1, 1, 1, 2, 1)),
        ],
        "reflection_pad": [
            ex(nn.ReflectionPad1d((2, 1)), (2, 4)),
            ex(nn.ReflectionPad2d((1, 2, 0, 1)), (1, 2, 3, 4)),
            ex(nn.ReflectionPad3d(1), (1, 2, 2, 3)),
        ],
        "replication_pad": [
            ex(nn.ReplicationPad1d((3, 1)), (1, 2, 3)),
            ex(nn.ReplicationPad2d((0, 2, 3, 1)), (1, 2, 3)),
            ex(nn.ReplicationPad3d((1, 0, 0, 2, 1, 1)), (1, 1, 2, 3, 2)),
        ],
        "circular_pad": [
            ex(nn.CircularPad1d((2, 3)), (2, 4)),
            ex(nn.CircularPad2d((1, 2, 0, 3)), (1, 2, 3, 2)),
            ex(nn.CircularPad3d(1), (1, 1, 2, 1, 3)),
        ],
    }


_TIMES = torch.tensor([1, 0, 3])


def _moved() -> dict[str, list[Example]]:
    return {
        "roll": [
            ex(lambda x: torch.roll(x, 2, 1), (2, 5)),
            ex(lambda x: x.roll(-1, -1), (2, 4)),
            ex(lambda x: torch.roll(x, (1, -2), (0, 2)), (3, 2, 5)),
            ex(lambda x: torch.roll(x, shifts=(1, 2), dims=(1, 1)), (2, 5)),
            ex(lambda x: x.roll(7), (4,)),
            ex(lambda x: x.roll(2), (2, 3)),
        ],
        "flip": [
            ex(lambda x: torch.flip(x, (0, 2)), (2, 3, 4)),
            ex(lambda x: x.flip(-1), (2, 3)),
            ex(lambda x: x.flip(dims=(1,)), (2, 3, 2)),
            ex(lambda x: x.flip(0, 1), (2, 3)),
            ex(lambda x: x.flip(()), (2, 3)),
        ],
        "fliplr": [ex(torch.fliplr, (2, 3)), ex(lambda x: x.fliplr(), (2, 3, 2))],
        "flipud": [ex(torch.flipud, (3, 2)), ex(lambda x: x.flipud(), (3,))],
        "repeat": [
            ex(lambda x: x.repeat(2, 3), (2, 3)),
            ex(lambda x: x.repeat((3, 1, 2)), (2, 3)),
            ex(lambda x: x.repeat(1, 2), (3, 1)),
        ],
        "diagonal": [
            ex(torch.diagonal, (3, 3)),
            ex(lambda x: x.diagonal(1), (2, 4)),
            ex(lambda x: x.diagonal(offset=-1, dim1=1, dim2=-1), (2, 3, 4)),
            ex(lambda x: torch.diagonal(x, 0, 2, 0), (3, 2, 2)),
        ],
        "tile": [
            ex(lambda x: torch.tile(x, (2,)), (2, 3)),
            ex(lambda x: x.tile(2, 1, 2), (2, 3)),
        ],
        "repeat_interleave": [
            ex(lambda x: torch.repeat_interleave(x, 3, dim=1), (2, 3)),
            ex(lambda x: x.repeat_interleave(2, -2), (2, 2, 3)),
            ex(lambda x: x.repeat_interleave(2), (3,)),
            ex(lambda x: x.repeat_interleave(2), (2, 3)),
            ex(lambda x: x.repeat_interleave(_TIMES, dim=1), (2, 3)),
            ex(lambda x: torch.repeat_interleave(x, _TIMES, -2), (3, 2)),
        ],
    }


def _regrouped() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {
        "reshape": [ex(lambda x: torch.reshape(x, (3, 4)), (2, 6))],
        "view": [ex(lambda x: x.view(torch.int64), (2, 3))],
        "reshape_as": [
            ex(lambda x, y: x.reshape_as(y), (2, 6), (3, 1, 4)),
            ex(lambda x, y: x.reshape_as(other=y), (4, 3), (2, 6)),
        ],
        "view_as": [
            ex(lambda x, y: x.view_as(y), (4, 3), (2, 6)),
            ex(lambda x, y: torch.ops.aten.view_as(self=x, other=y), (2, 6), (4, 3)),
            ex(lambda x: x.view_as(w(6, 2)), (3, 4)),
        ],
        "ravel": [ex(torch.ravel, (2, 3)), ex(lambda x: x.ravel(), (2, 1, 3))],
        "flatten": [
            ex(torch.flatten, (2, 3, 2)),
            ex(lambda x: x.flatten(1), (2, 3, 2)),
            ex(lambda x: torch.flatten(x, 1, 2), (2, 3, 2, 2)),
            ex(lambda x: x.flatten(start_dim=-2), (2, 3, 4)),
            ex(lambda x: x.flatten(0, 1), (1, 3, 2)),
            ex(nn.Flatten(), (2, 2, 1, 3)),
            ex(nn.Flatten(0, -2), (2, 3, 2)),
        ],
        "unflatten": [
            ex(lambda x: torch.unflatten(x, 1, (2, 3)), (2, 6)),
            ex(lambda x: x.unflatten(-1, (-1, 2)), (3, 4)),
            ex(nn.Unflatten(1, (2, 2)), (2, 4, 3)),
        ],
    }
    for name in ("reshape", "view"):
        found[name] += [
            ex(lambda x, n=name: getattr(x, n)(2, 3, 4), (2, 12)),
            ex(lambda x, n=name: getattr(x, n)(2, -1), (2, 3, 4)),
            ex(lambda x, n=name: getattr(x, n)(-1), (2, 1, 3)),
            ex(lambda x, n=name: getattr(x, n)((4, 2, 3)), (2, 4, 3)),
            ex(lambda x, n=name: getattr(x, n)(1, 2, 1, 6, 1), (4, 1, 3)),
            ex(lambda x, n=name: getattr(x, n)(2, 2, 2, 2), (1, 4, 4)),
            ex(lambda x, n=name: getattr(x, n)(1), (1, 1)),
        ]
    return found


def _ones() -> dict[str, list[Example]]:
    """Dims of size 1 come, go and are spread out."""
    return {
        "squeeze": [
            ex(torch.squeeze, (1, 3, 1, 2)),
            ex(lambda x: x.squeeze(1), (2, 1, 3)),
            ex(lambda x: x.squeeze(0), (2, 1, 3)),
            ex(lambda x: x.squeeze((0, -1)), (1, 2, 1, 3, 1)),
            ex(lambda x: x.squeeze(dim=-2), (1, 1, 3)),
        ],
        "unsqueeze": [
            ex(lambda x: torch.unsqueeze(x, 0), (2, 3)),
            ex(lambda x: x.unsqueeze(-1), (2, 3)),
            ex(lambda x: x.unsqueeze(dim=-2), (2, 3)),
        ],
        "expand": [
            ex(lambda x: x.expand(2, 4), (2, 1)),
            ex(lambda x: x.expand((3, -1, 4)), (2, 1)),
            ex(lambda x: x.expand(-1, 1, 2), (3, 1, 1)),
        ],
        "broadcast_to": [
            ex(lambda x: torch.broadcast_to(x, (2, 3, 2)), (3, 1)),
            ex(lambda x: x.broadcast_to((2, 3)), (1,)),
        ],
        "expand_as": [
            ex(lambda x, y: x.expand_as(y), (3, 1), (2, 3, 2)),
            ex(lambda x, y: x.expand_as(other=y), (1,), (2, 3)),
            ex(lambda x: x.expand_as(w(2, 4)), (2, 1)),
        ],
    }


EXAMPLES: dict[str, list[Example]] = {
    **_permuted(),
    **_padded(),
    **_moved(),
    **_regrouped(),
    **_ones(),
}
