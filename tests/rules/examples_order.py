"""Examples of operators that go through a dim in order, choose by data, assign, or cut windows.

In: tables of names. Out: `EXAMPLES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.rules.deformable import deform_conv2d
from tests.rules.examples import Example, ex, w

_EDGES = torch.tensor([-0.5, 0.0, 0.5])
_AT = torch.tensor([[2, 0, 1], [1, 1, 0]])
_CHOSEN = "what is not chosen counts as read"


def _ordered() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for name in ("cummax", "cummin"):
        function = getattr(torch, name)
        found[name] = [
            ex(lambda x, f=function: f(x, 1)[0], (2, 4, 2)),
            ex(lambda x, n=name: getattr(x, n)(dim=-1).values, (2, 3)),
            ex(lambda x, f=function: f(x, dim=0), (3,), conservative="the first index is 0"),
        ]
    for name in ("cumsum", "cumprod", "logcumsumexp"):
        function = getattr(torch, name)
        found[name] = [
            ex(lambda x, f=function: f(x, 1), (2, 4, 2)),
            ex(lambda x, n=name: getattr(x, n)(dim=-1), (2, 3)),
            ex(lambda x, f=function: f(x, dim=0), (3,)),
        ]
    found["msort"] = [ex(torch.msort, (3, 2)), ex(lambda x: x.msort(), (4,))]
    for name in ("sort", "argsort"):
        function = getattr(torch, name)
        found[name] = [
            ex(function, (2, 3)),
            ex(lambda x, f=function: f(x, dim=0, descending=True), (3, 2)),
            ex(lambda x, n=name: getattr(x, n)(-2), (2, 3, 2)),
        ]
    found["topk"] = [ex(lambda x: torch.topk(x, 2), (2, 4)), ex(lambda x: x.topk(1, 0), (3, 2))]
    found["kthvalue"] = [
        ex(lambda x: torch.kthvalue(x, 2), (2, 4)),
        ex(lambda x: x.kthvalue(1, dim=0), (3, 2)),
        ex(lambda x: torch.kthvalue(x, 2, 1, True), (2, 3, 2)),
    ]
    return found


def _sampled() -> dict[str, list[Example]]:
    return {
        "grid_sample": [
            ex(
                lambda x, g: F.grid_sample(x, g, align_corners=False),
                *((1, 2, 2, 3), (1, 2, 1, 2)),
                draw=("normal", "narrow"),
            ),
            ex(
                lambda x: F.grid_sample(x, 0.5 * w(1, 2, 1, 2).tanh(), align_corners=True),
                (1, 1, 3, 4),
                conservative=_CHOSEN,
            ),
        ],
        "deform_conv2d": [
            ex(
                lambda x, o: deform_conv2d(x, w(1, 1, 1, 2), o),
                *((1, 1, 2, 4), (1, 4, 2, 3)),
                draw=("normal", "normal"),
            )
        ],
        "affine_grid": [
            ex(
                lambda m: F.affine_grid(m, (2, 1, 2, 3), align_corners=False),
                (2, 2, 3),
                conservative="a coordinate reads its own row of the matrix",
            ),
        ],
        "take": [
            ex(lambda x: torch.take(x, _AT), (2, 3)),
            ex(lambda x: x.take(_AT), (3,)),
            ex(lambda x: x.take(torch.tensor([-1, 0, -7])), (2, 1, 4)),
            ex(lambda x: x.take(torch.tensor(4)), (2, 3)),
            ex(lambda x: x.take(torch.zeros(0, 2).long()), (2, 3)),
            ex(lambda x, i: torch.take(x, i), *((3,), (2,)), draw=("normal", "index")),
        ],
        "bucketize": [
            ex(lambda x: torch.bucketize(x, _EDGES.to(x)), (2, 3)),
            ex(
                lambda x, b: torch.bucketize(input=x, boundaries=b),
                (2, 3),
                (4,),
            ),
        ],
        "searchsorted": [
            ex(lambda x: torch.searchsorted(_EDGES.to(x), x), (2, 3)),
            ex(lambda x, b: torch.searchsorted(b, x), (2, 3), (2, 4)),
            ex(lambda x, b: torch.searchsorted(b, x), (2, 3), (4,)),
        ],
        "gather": [
            ex(lambda x: torch.gather(x, 1, _AT), (2, 3)),
            ex(lambda x: x.gather(0, _AT), (3, 3)),
            ex(lambda x, i: x.gather(-1, i), (2, 3), (2, 2), draw=("normal", "index")),
        ],
    }


def _set(assign: Callable[..., Any]) -> Callable[..., Tensor]:
    """An assignment, which returns nothing, as a function that returns what was written into."""

    def build(x: Tensor, *values: Tensor) -> Tensor:
        assign(x, *values)
        return x

    return build


def _assign(index: Any) -> Callable[..., Tensor]:
    def build(x: Tensor, value: Tensor) -> Tensor:
        x[index] = value
        return x

    return build


def _constant(index: Any) -> Callable[[Tensor], Tensor]:
    def build(x: Tensor) -> Tensor:
        x[index] = 7.0
        return x

    return build


_ALL = slice(None)


def _assigned() -> dict[str, list[Example]]:
    return {
        "setitem": [
            ex(_assign((_ALL, slice(1, None, 2))), (2, 5), (2, 2)),
            ex(_assign((_ALL, slice(1, -1))), (2, 5), (2, 3)),
            ex(_assign((slice(0, 2), ..., slice(None, 2))), (3, 2, 4), (2, 2, 2)),
            ex(_assign((_ALL, 1)), (2, 3), (2,)),
            ex(_assign((_ALL, -1, slice(0, 2))), (2, 3, 3), (2,)),
            ex(_assign((1, slice(2, None))), (2, 4), (1,)),
            ex(_assign(0), (2, 3), (3,)),
            ex(_assign(...), (2, 3), (3,)),
            ex(_assign((_ALL, slice(0, 2))), (2, 3), ()),
            ex(_constant((_ALL, slice(0, 2))), (2, 3)),
            ex(_constant((0, 1)), (2, 3)),
        ],
    }


def _filled() -> dict[str, list[Example]]:
    """What is written over a whole tensor, and where elements lie in memory."""
    found = {
        "copy": [
            ex(lambda x, v: x.copy_(v), (2, 3), (2, 3)),
            ex(lambda x, v: x.copy_(v), (2, 3), (3,)),
            ex(lambda v: torch.zeros(2, 3, dtype=v.dtype).copy_(v), (2, 1)),
            ex(lambda x: x.copy_(torch.ones(3)), (2, 3)),
        ],
        "fill": [
            ex(lambda x, v: x.fill_(v), (2, 3), ()),
            ex(lambda x: torch.fill(x, 3.0), (2, 3)),
        ],
        "as_strided": [
            ex(lambda x: x.as_strided((3,), (4,)), (3, 4)),
            ex(lambda x: torch.as_strided(x, (2, 2), (1, 3), 2), (3, 4)),
        ],
        "zero": [ex(lambda x: x.zero_(), (2, 3))],
    }
    for name in ("normal", "uniform", "random", "exponential", "geometric", "log_normal"):
        args = (0.5,) if name == "geometric" else ()
        found[name] = [ex(lambda x, n=f"{name}_", a=args: getattr(x, n)(*a), (2, 3))]
    return found


def _scattered() -> dict[str, list[Example]]:
    found = {
        "index_fill": [
            ex(lambda x: x.index_fill(1, _ROWS, 3.0), (2, 4)),
            ex(lambda x: x.index_fill_(-2, _ROWS, 3.0), (4, 2)),
            ex(lambda x, v: x.index_fill(1, _ROWS, v), (2, 4), ()),
        ],
        "index_put": [
            ex(lambda x, v: x.index_put((_ROWS,), v), (3, 2), (2, 2)),
            ex(lambda x, v: x.index_put((_ROWS,), v), (3, 2), ()),
        ],
        "masked_scatter": [
            ex(lambda x, v: x.masked_scatter(_AT > 0, v), (2, 3), (2, 3)),
        ],
        "scatter_reduce": [
            ex(lambda x, v: x.scatter_reduce(1, _AT, v, "sum"), (2, 3), (2, 3)),
        ],
    }
    for name in ("scatter", "scatter_add"):
        left = "torch leaves one of what is put twice" if name == "scatter" else ""
        found[name] = [
            ex(
                lambda x, v, n=name: getattr(torch, n)(x, 1, _AT, v),
                *((2, 3), (2, 3)),
                conservative=left,
            ),
            ex(lambda x, v, n=name + "_": getattr(x, n)(0, _AT, v), (3, 3), (2, 3)),
        ]
    for name in ("index_add", "index_copy"):
        found[name] = [
            ex(lambda x, v, n=name: getattr(x, n)(1, _ROWS, v), (2, 4), (2, 2)),
            ex(lambda v, n=name: getattr(torch.zeros(4, 3, dtype=v.dtype), n)(0, _ROWS, v), (2, 3)),
        ]
    return found


_ROWS = torch.tensor([2, 0])


def _windows() -> dict[str, list[Example]]:
    return {
        "unfold": [
            ex(lambda x: x.unfold(1, 3, 2), (2, 7)),
            ex(lambda x: x.unfold(-2, 2, 2), (2, 4, 3)),
            ex(lambda x: x.unfold(0, 2, 3), (6, 2)),
            ex(lambda x: x.unfold(1, 2, 2), (2, 5)),
        ],
        "im2col": [
            ex(lambda x: F.unfold(x, 2), (1, 2, 3, 3)),
            ex(nn.Unfold((1, 3), dilation=(1, 2), padding=(0, 1), stride=(2, 1)), (1, 2, 3, 4)),
            ex(nn.Unfold((2, 1), stride=2), (2, 4, 3)),
        ],
        "col2im": [
            ex(lambda x: F.fold(x, (3, 4), (2, 3)), (1, 6, 4)),
            ex(nn.Fold((4, 5), (2, 1), stride=(2, 3), padding=(1, 0)), (1, 4, 6)),
            ex(nn.Fold((3, 3), 2, dilation=2), (4, 1)),
        ],
    }


class _Recurrent(nn.Module):
    """One output of a recurrent layer, which returns states beside it."""

    def __init__(self, layer: nn.Module, output: int = 0) -> None:
        super().__init__()
        self.layer, self.output = layer, output
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, 0.2, 0.9)

    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        given = (tuple(states) if len(states) > 1 else states[0]) if states else None
        sequence, last = self.layer(x, given)
        last = last[0] if isinstance(last, tuple) else last
        return last if self.output else sequence


def _recurrent() -> dict[str, list[Example]]:
    return {
        "lstm": [
            ex(_Recurrent(nn.LSTM(2, 2)), (3, 2, 2)),
            ex(
                _Recurrent(nn.LSTM(2, 1, batch_first=True, bidirectional=True)),
                (2, 3, 2),
            ),
            ex(_Recurrent(nn.LSTM(2, 2, num_layers=2)), (4, 2)),
            ex(_Recurrent(nn.LSTM(2, 3, proj_size=2, bidirectional=True)), (4, 2)),
            ex(_Recurrent(nn.LSTM(2, 1, num_layers=2, bidirectional=True)), (3, 1, 2)),
            ex(_Recurrent(nn.LSTM(2, 1, batch_first=True), 1), (2, 3, 2)),
            ex(_Recurrent(nn.LSTM(2, 1)), (3, 2, 2), (1, 2, 1), (1, 2, 1)),
        ],
        "gru": [
            ex(_Recurrent(nn.GRU(2, 2)), (3, 2, 2)),
            ex(_Recurrent(nn.GRU(2, 1, bidirectional=True), 1), (3, 2, 2)),
            ex(_Recurrent(nn.GRU(2, 1, batch_first=True)), (2, 3, 2), (1, 2, 1)),
        ],
        "rnn": [
            ex(_Recurrent(nn.RNN(2, 2)), (3, 2, 2)),
            ex(
                _Recurrent(nn.RNN(2, 1, batch_first=True, bidirectional=True)),
                (2, 3, 2),
            ),
        ],
    }


class _Cell(nn.Module):
    """A cell with positive weights, from states that are given."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell
        for parameter in cell.parameters():
            nn.init.uniform_(parameter, 0.2, 0.9)

    def forward(self, x: Tensor, *states: Tensor) -> Any:
        given = (states if len(states) > 1 else states[0]) if states else None
        return self.cell(x, given)


def _cells() -> dict[str, list[Example]]:
    return {
        "lstm_cell": [
            ex(_Cell(nn.LSTMCell(3, 2)), (2, 3)),
            ex(_Cell(nn.LSTMCell(2, 3)), (2, 2), (2, 3), (2, 3)),
            ex(_Cell(nn.LSTMCell(3, 2)), (3,)),
        ],
        "gru_cell": [
            ex(_Cell(nn.GRUCell(3, 2)), (2, 3)),
            ex(_Cell(nn.GRUCell(2, 3)), (2, 2), (2, 3)),
            ex(
                lambda x, v: torch.gru_cell(x, w(2, 1), v, w(3, 1)),
                *((2, 2), (3, 2)),
            ),
        ],
        "rnn_cell": [
            ex(_Cell(nn.RNNCell(3, 2)), (2, 3)),
            ex(_Cell(nn.RNNCell(2, 3, nonlinearity="relu")), (2, 2), (2, 3), draw="unit"),
        ],
    }


EXAMPLES: dict[str, list[Example]] = {
    **_cells(),
    **_ordered(),
    **_sampled(),
    **_assigned(),
    **_filled(),
    **_scattered(),
    **_windows(),
    **_recurrent(),
}
