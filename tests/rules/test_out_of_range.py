"""Constant indices of positions that are not there are refused, as torch refuses them; the ends are taken.

Torch is asked beside: a shape is all that its meta kernels look at.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.errors import CaptureError

SHAPE = (1, 2, 4)


def at(*values: int) -> Tensor:
    return torch.tensor(values)


CALLS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "index_select": lambda x, i: x.index_select(2, at(i)),
    "index_select, negative dim": lambda x, i: x.index_select(-1, at(i)),
    "getitem": lambda x, i: x[..., at(0, i)],
    "a list": lambda x, i: x[:, :, [0, i]],
    "two together": lambda x, i: x[:, at(0, 1), at(0, i)],
    "apart": lambda x, i: x[at(0), :, at(i)],
    "behind a new dim": lambda x, i: x[None, :, :, at(i)],
    "setitem": lambda x, i: x.clone().index_put((at(0), at(0), at(i)), x.sum()),
    "gather": lambda x, i: x.gather(2, at(0, i).expand(1, 2, 2)),
    "take": lambda x, i: x.take(at(i + 4 if i >= 0 else i - 4)),
    "index_add": lambda x, i: x.index_add(2, at(i), x[..., :1]),
    "index_copy": lambda x, i: x.index_copy(2, at(i), x[..., :1]),
    "index_fill": lambda x, i: x.index_fill(2, at(i), 0.0),
    "scatter": lambda x, i: torch.zeros(SHAPE).scatter(2, at(i).expand(1, 1, 1), x[:, :1, :1]),
    "scatter_add": lambda x, i: x.scatter_add(2, at(i).expand(1, 1, 1), x),
    "scatter_reduce": lambda x, i: x.scatter_reduce(2, at(i).expand(1, 1, 1), x, "sum"),
    "embedding": lambda x, i: F.embedding(at(i), x[0].T),
}


class Called(nn.Module):
    """One of the calls."""

    def __init__(self, call: Callable[[Tensor, int], Tensor], index: int) -> None:
        super().__init__()
        self.call, self.index = call, index

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, self.index)


def is_refused(call: Callable[[Tensor, int], Tensor], index: int) -> bool:
    try:
        call(torch.rand(SHAPE), index)
    except (IndexError, RuntimeError):
        return True
    return False


@pytest.mark.parametrize("index", [-5, -4, -1, 0, 3, 4, 9])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_torch_refuses_is_refused(call: Callable[[Tensor, int], Tensor], index: int) -> None:
    model = Called(call, index)
    if is_refused(call, index):
        with pytest.raises(CaptureError, match=r"index -?\d+ is out of range for "):
            rfgraph.analyze(model, SHAPE, axes=(2,))
    else:
        check = rfgraph.verify(model, SHAPE, axes=(2,))
        assert check, str(check)


@pytest.mark.parametrize("size", [3, 5])
def test_a_mask_of_another_size_is_refused(size: int) -> None:
    model = Called(lambda x, i: x[..., torch.arange(i) > 1], size)
    with pytest.raises(CaptureError, match=f"a mask of size {size} is none of dim 2, of size 4"):
        rfgraph.analyze(model, SHAPE, axes=(2,))


def test_a_row_of_a_computed_table_is_read_alone() -> None:
    """A bound before: all rows, since a computed index may name any."""
    model = Called(lambda x, i: F.embedding(at(i, 0), x[0].T), 2)
    report = rfgraph.analyze(model, SHAPE, axes=(2,))
    assert [report.output.reads(0, row).tolist() for row in (0, 1)] == [[2], [0]]
    check = rfgraph.verify(model, SHAPE, axes=(2,))
    assert check and check.exact, str(check)
