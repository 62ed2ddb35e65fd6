"""`flex_attention`: scores changed by a function, a mask made by one, compiled or not; and `vmap` by itself.

Truth is the model: every step of the input is changed, and what the output does is looked at.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import rfgraph
from rfgraph.errors import CaptureError

STEPS, WIDTH, HEADS = 9, 8, 2
COMPILED = torch.compile(flex_attention)
SLOPES = torch.tensor([0.5, 0.25])


class Flex(nn.Module):
    """Attention over the steps, by `flex_attention` called in some way."""

    def __init__(
        self,
        score: Callable[..., Tensor] | None = None,
        mask: Callable[..., Tensor] | None = None,
        call: Callable[..., Any] = flex_attention,
        grouped: bool = False,
    ) -> None:
        super().__init__()
        self.score, self.mask, self.call, self.grouped = score, mask, call, grouped
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.bias = nn.Parameter(torch.randn(HEADS, 2 * STEPS))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.project(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts
        if self.grouped:
            key, value = key[:, :1], value[:, :1]
        blocks = None
        if self.mask is not None:
            steps = x.shape[1]
            blocks = create_block_mask(self.mask, None, None, steps, steps, device="cpu")
        options = {"score_mod": self.score, "block_mask": blocks, "enable_gqa": self.grouped}
        out = self.call(query, key, value, **options)
        return out.transpose(1, 2).flatten(2)


def causal(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return q >= k


def band(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return (q - k).abs() <= 2


def late(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """The first three steps see nothing at all; the next sees two."""
    return (q >= k + 2) & (q > 2)


def only_past(score: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return torch.where(q >= k, score, -float("inf"))


def sloped(score: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return score + SLOPES[h].to(score) * (k - q)


MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "compiled": {"call": COMPILED},
    "causal": {"mask": causal},
    "causal, compiled": {"mask": causal, "call": COMPILED},
    "band": {"mask": band},
    "rows that see nothing": {"mask": late},
    "scores of the past": {"score": only_past},
    "slopes": {"score": sloped},
    "slopes in a band": {"score": sloped, "mask": band},
    "fewer heads of keys": {"mask": causal, "grouped": True},
}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():  # torch says that the plain spelling is slow
        warnings.filterwarnings("ignore", "flex_attention called without")
        yield


def changes(model: nn.Module) -> Tensor:
    """(steps out, steps in): what changes what."""
    model = model.eval().double()
    x = torch.randn(
        1, STEPS, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    found = torch.zeros(STEPS, STEPS, dtype=torch.bool)
    with torch.no_grad():
        before = model(x)
        for step in range(STEPS):
            other = x.clone()
            other[:, step] += 0.37
            found[:, step] = (model(other) - before).abs().amax((0, 2)) > 1e-12
    return found


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_each_step_reads_what_changes_it(options: dict[str, Any]) -> None:
    model = Flex(**options)
    shape = (1, STEPS, WIDTH)
    check = rfgraph.verify(model, shape, axes=(1,))
    assert check and check.exact, str(check)
    report = rfgraph.analyze(model, shape, axes=(1,))
    truth = changes(Flex(**{**options, "call": flex_attention}))
    for step in range(STEPS):
        expected = truth[step].nonzero().flatten().tolist()
        field = report.output
        reads = field.reads(0, step) if field.dims == (1,) else range(STEPS)
        assert list(map(int, reads)) == expected, step


def test_the_graph_computes_what_the_model_computes() -> None:
    model = Flex(sloped, late).eval()
    x = torch.randn(1, STEPS, WIDTH)
    with torch.no_grad():  # torch has no gradient of it on CPU
        expected = model(x)
    assert torch.allclose(rfgraph.analyze(model, x.shape, axes=(1,)).fx(x), expected, atol=1e-6)


def test_a_bias_of_the_model_is_looked_up() -> None:
    model = Flex()
    model.score = lambda score, b, h, q, k: score + model.bias[h, q - k + STEPS]
    check = rfgraph.verify(model, (1, STEPS, WIDTH), axes=(1,))
    assert check and check.exact, str(check)


# --- functions that torch.func transforms ----------------------------------------------------------


class Mapped(nn.Module):
    """A function of rows, mapped over a tensor."""

    def __init__(self, of: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.of = of
        self.register_buffer("table", torch.arange(12.0).reshape(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.of(self, x)


def test_vmap_of_constants_makes_a_constant() -> None:
    model = Mapped(lambda m, x: x[..., 1:5] * torch.vmap(lambda row: (row > 1) * 1.0)(m.table)[0])
    assert rfgraph.analyze(model, (1, 2, 6), axes=(2,)).output.reads(0, 2).tolist() == [3]


@pytest.mark.parametrize(
    "of",
    [
        lambda m, x: torch.vmap(torch.sin)(x),
        lambda m, x: torch.vmap(lambda row: m.table[0, 0] * row)(x),
        lambda m, x: torch.vmap(lambda row: row * x.sum())(m.table),
        lambda m, x: torch.func.grad(lambda y: (y**2).sum())(x),
        lambda m, x: torch.func.jvp(torch.sin, (x,), (torch.ones_like(x),))[1],
    ],
    ids=["vmap", "vmap beside a constant", "within vmap of a constant", "grad", "jvp"],
)
def test_a_transformed_function_of_the_input_is_refused(of: Callable[..., Tensor]) -> None:
    with pytest.raises(
        CaptureError, match=r"torch\.func transforms a function of what is computed"
    ):
        rfgraph.analyze(Mapped(of), (1, 2, 6), axes=(2,))


def test_a_buffer_written_under_vmap_is_refused_and_stays() -> None:
    model = Mapped(lambda m, x: x + torch.vmap(lambda row: row.add_(1).sum())(m.table).sum())
    before = model.table.clone()
    with pytest.raises(CaptureError, match=r"torch\.func transforms a function that writes into"):
        rfgraph.analyze(model, (1, 2, 6), axes=(2,))
    assert torch.equal(model.table, before)
