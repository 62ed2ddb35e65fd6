"""A low number that is added hides nothing by itself: only a softmax, or an exponential, makes a zero of it.

The oracle is the model itself: each entry of its input is changed, in float64, and what changes is read.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

SIZE = 5
FIRST = torch.tensor([-32768.0, 0.0, 0.0, 0.0, 0.0])
ALL = torch.tensor([-32768.0])
IS_FIRST = torch.tensor([True, False, False, False, False])


def scores(x: Tensor) -> Tensor:
    """Row i, column j reads both."""
    return x.unsqueeze(-1) * (torch.arange(SIZE) + 1) * 0.3 + x.unsqueeze(-2) * 0.7


def causal(low: float, diagonal: int = 1) -> Tensor:
    return torch.full((SIZE, SIZE), low).triu(diagonal)


def weighed(shifted: Tensor, x: Tensor) -> Tensor:
    weights = shifted.exp()
    return (weights / weights.sum(-1, keepdim=True)) @ x.unsqueeze(-1)


def attention(x: Tensor, mask: Tensor) -> Tensor:
    tokens = x.unsqueeze(-1)
    return F.scaled_dot_product_attention(tokens, tokens, tokens, attn_mask=mask)


def by_maximum(x: Tensor) -> Tensor:
    found = scores(x) + causal(-1e9)
    return weighed(found - found.amax(-1, keepdim=True), x)


def by_max_of_two(x: Tensor) -> Tensor:
    found = scores(x) + causal(-1e9)
    return weighed(found - found.max(-1, keepdim=True)[0], x)


def by_logarithm(x: Tensor) -> Tensor:
    found = scores(x) + causal(-1e9)
    return (found - found.logsumexp(-1, keepdim=True)).exp() @ x.unsqueeze(-1)


EXACT: dict[str, Callable[[Tensor], Tensor]] = {
    "added": lambda x: x + ALL,
    "added in places": lambda x: x + torch.tensor([-32768.0, 0.0, 0.0, -1e9, 0.0]),
    "-inf itself": lambda x: x + torch.tensor([-inf, 0.0, 0.0, 0.0, 0.0]),
    "taken off": lambda x: x - torch.tensor([32768.0, 0.0, 0.0, 0.0, 0.0]),
    "scaled": lambda x: (x + FIRST) * 2,
    "scaled below 0": lambda x: (x + FIRST) * -2,
    "divided": lambda x: (x + FIRST) / torch.tensor(3.0),
    "absolute": lambda x: (x + FIRST).abs(),
    "clamped": lambda x: (x + FIRST).clamp(min=-1e5),
    "averaged": lambda x: (x + FIRST).mean(-1, keepdim=True),
    "joined": lambda x: torch.cat([x + ALL, x], -1),
    "padded": lambda x: F.pad(x + ALL, (1, 1)),
    "reshaped": lambda x: (x + ALL).reshape(SIZE, 1),
    "chosen": lambda x: torch.where(IS_FIRST, x + ALL, x),
    "filled, then added to": lambda x: x.masked_fill(IS_FIRST, -32768.0) + x.flip(-1),
    "filled with -inf": lambda x: x.masked_fill(IS_FIRST, -inf) + x.flip(-1),
    "exponential": lambda x: (x + FIRST).exp(),
    "sigmoid": lambda x: (x + FIRST).sigmoid(),
    "softmax": lambda x: (x + FIRST).softmax(-1),
    "softmax of it alone": lambda x: (x + ALL).softmax(-1),
    "softmax of it joined": lambda x: torch.cat([x + ALL, x], -1).softmax(-1),
    "softmax of it scaled": lambda x: ((x + FIRST) * 0.5).softmax(-1),
    "softmax of it added to": lambda x: ((x + FIRST) + x.flip(-1)).softmax(-1),
    "logarithm": lambda x: (x + FIRST).log_softmax(-1),
    "logarithm of what is filled": lambda x: x.masked_fill(IS_FIRST, -32768.0).log_softmax(-1),
    "smooth maximum": lambda x: (x + FIRST).logsumexp(-1, keepdim=True),
    "smooth maximum of it alone": lambda x: (x + ALL.expand(SIZE)).logsumexp(-1, keepdim=True),
    "scores": lambda x: (scores(x) + causal(-1e9)) @ x.unsqueeze(-1),
    "attention": lambda x: (scores(x) + causal(-1e9)).softmax(-1) @ x.unsqueeze(-1),
    "attention by its maximum": by_maximum,
    "attention by one of two maxima": by_max_of_two,
    "attention by a logarithm": by_logarithm,
    "torch's attention": lambda x: attention(x, causal(-1e9)),
}
BOUNDS: dict[str, Callable[[Tensor], Tensor]] = {
    "the largest alone counts": lambda x: (x + FIRST).amax(-1, keepdim=True),
    "the least alone counts": lambda x: F.softmin(x + FIRST, -1),
    "shifted back": lambda x: ((x + ALL) - (x + ALL).amax(-1, keepdim=True)).exp(),
    "one key has all the weight": lambda x: attention(x, causal(-32768.0, 0)),
    "one key is left": lambda x: (scores(x) + causal(-32768.0, 0)).softmax(-1) @ x.unsqueeze(-1),
    "a row is filled": lambda x: (
        scores(x).masked_fill(causal(1.0, 0).bool(), -32768.0).softmax(-1) @ x.unsqueeze(-1)
    ),
}
"""Here numbers decide, or vanish, which the analysis does not know."""


class Model(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def depends(function: Callable[[Tensor], Tensor]) -> dict[tuple[int, ...], set[int]]:
    x = torch.randn(1, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    made = function(x)
    found: dict[tuple[int, ...], set[int]] = {}
    for index in range(SIZE):
        other = x.clone()
        other[0, index] += 0.37
        again = function(other)
        for position in ((again != made) & ~(again.isnan() & made.isnan())).nonzero().tolist():
            found.setdefault(tuple(position), set()).add(index)
    return found


def reads(function: Callable[[Tensor], Tensor]) -> dict[tuple[int, ...], set[int]]:
    node = rfgraph.analyze(Model(function), (1, SIZE), axes=(1,)).nodes[-1]
    found = {
        position: set(node.reads(0, position)) for position in product(*map(range, node.shape))
    }
    return {position: read for position, read in found.items() if read}


@pytest.mark.parametrize("name", EXACT)
def test_what_a_low_number_is_added_to_is_read(name: str) -> None:
    assert reads(EXACT[name]) == depends(EXACT[name])


@pytest.mark.parametrize("name", BOUNDS)
def test_where_numbers_decide_nothing_is_missed(name: str) -> None:
    found = reads(BOUNDS[name])
    assert all(read <= found[position] for position, read in depends(BOUNDS[name]).items())


@pytest.mark.parametrize("name", [*EXACT, *BOUNDS])
def test_the_probes_say_the_same(name: str) -> None:
    function = {**EXACT, **BOUNDS}[name]
    found = rfgraph.verify(Model(function), (1, SIZE), axes=(1,))
    assert found.agrees and found.exact, str(found)
