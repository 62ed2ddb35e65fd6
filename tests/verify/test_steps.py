"""What counts as a read where a value is constant between steps, or because a dim has one position."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

_EDGES = torch.tensor([-0.5, 0.5])
OWN: dict[str, Callable[[Tensor], Tensor]] = {
    "greater": lambda x: x > 0,
    "sign": torch.sign,
    "round": torch.round,
    "floor division": lambda x: x // 1,
    "not": torch.logical_not,
    "is NaN": torch.isnan,
    "step": lambda x: torch.heaviside(x, torch.ones(1)),
    "one of two classes": lambda x: F.one_hot((x > 0).long(), 2),
    "bucket": lambda x: torch.bucketize(x, _EDGES),
    "place among boundaries": lambda x: torch.searchsorted(_EDGES, x),
    "softmax over one": lambda x: x[:, :1].softmax(1),
    "layer norm over one": lambda x: F.layer_norm(x[:, :1].mT, (1,)).mT,
    "normalize over one": lambda x: F.normalize(x[:, :1], dim=1),
    "variance of one": lambda x: x[:, :1].var(1, correction=0),
}
ALL: dict[str, Callable[[Tensor], Tensor]] = {
    "any": lambda x: (x > 0).any(-1),
    "all": lambda x: (x > 0).all(-1),
    "count": lambda x: x.count_nonzero(-1),
    "place of the maximum": lambda x: x.argmax(-1),
    "place of the maximum so far": lambda x: x.cummax(-1)[1],
    "order": lambda x: x.argsort(-1),
    "places of the two largest": lambda x: x.topk(2, -1)[1],
}


class Steps(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("name", [*OWN, *ALL])
def test_what_moves_a_value_over_a_step_is_read(name: str) -> None:
    model = Steps({**OWN, **ALL}[name])
    assert rfgraph.analyze(model, (1, 2, 5)).output.rf.size == (1 if name in OWN else inf,)
    assert rfgraph.verify(model, (1, 2, 5)).agrees
