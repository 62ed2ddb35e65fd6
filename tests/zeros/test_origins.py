"""How a constant was made of parameters: the calls of a forward, made again with others in their place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.graph.origins import Origin, origin_of

N = 4


class Made(nn.Module):
    """x times what a function makes of a parameter, a mask and the module."""

    def __init__(self, make: Callable[[nn.Module], Tensor]) -> None:
        super().__init__()
        self.make = make
        self.w = nn.Parameter(torch.arange(1.0, N * N + 1).reshape(N, N))
        self.register_buffer("mask", torch.ones(N, N).tril())
        self.before = self.w.detach().t()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.make(self)


def constant(model: nn.Module) -> Tensor:
    graph = rfgraph.analyze(model, (1, 2, N, N)).captured
    (mul,) = (node for node in graph if node.op == "mul")
    (found,) = (value for value in mul.params["operands"] if isinstance(value, Tensor))
    return found


def written(model: Made) -> Tensor:
    made = torch.zeros(N, N)
    made[1:3] = model.w[1:3]
    made[2] = 0
    return made


def written_twice(model: Made) -> Tensor:
    model.w.data *= model.mask
    first = model.w * 1
    model.w.data *= model.mask.T
    return first + model.w


def set_anew(model: Made) -> Tensor:
    model.w.data = model.w.data * model.mask
    return model.w


def into(model: Made) -> Tensor:
    made = torch.empty(N, N)
    torch.mul(model.w, model.mask, out=made)
    return made


MADE: dict[str, tuple[Callable[[Made], Tensor], Callable[[Tensor], Tensor]]] = {
    "a product": (lambda m: m.w * m.mask, lambda w: w.tril()),
    "a view": (lambda m: m.w.view(-1).view(N, N), lambda w: w),
    "an attribute": (lambda m: m.w.T, lambda w: w.T),
    "parts": (lambda m: torch.cat(m.w.chunk(2, 1)[::-1], 1), lambda w: w.roll(2, 1)),
    "several at once": (
        lambda m: m.w.max(0)[0] + m.w.unbind(1)[2],
        lambda w: w.max(0)[0] + w[:, 2],
    ),
    "an index": (lambda m: m.w[:, torch.tensor([3, 0, 1, 1])], lambda w: w[:, [3, 0, 1, 1]]),
    "an assignment": (written, lambda w: torch.stack([w[0] * 0, w[1], w[2] * 0, w[3] * 0])),
    "writes one after another": (written_twice, lambda w: w.tril() + w.tril().triu()),
    "memory set anew": (set_anew, lambda w: w.tril()),
    "written into": (into, lambda w: w.tril()),
    "a module": (lambda m: F.softplus(m.w) * m.mask, lambda w: F.softplus(w).tril()),
}


@pytest.mark.parametrize("name", MADE)
def test_the_calls_are_made_again_of_other_parameters(name: str) -> None:
    make, expected = MADE[name]
    model = Made(make)
    before = model.w.detach().clone()
    origin = origin_of(constant(model))
    assert origin is not None and origin.steps
    other = torch.randn(N, N)
    assert torch.equal(origin.again(lambda p: other.clone()), expected(other))
    assert torch.equal(model.w, before)  # neither the capture nor this has written into it


def test_what_depends_on_no_parameter_has_no_origin() -> None:
    assert origin_of(constant(Made(lambda m: (0.9 ** torch.arange(N * 1.0)) * m.mask))) is None
    assert origin_of(constant(Made(lambda m: torch.ones_like(m.w).tril()))) is None
    assert origin_of(constant(Made(lambda m: m.w))) is None  # itself


def test_what_was_made_of_a_parameter_out_of_sight_is_known_to_be_so() -> None:
    assert origin_of(constant(Made(lambda m: m.before))) is not None
    found = origin_of(constant(Made(lambda m: m.before)))
    assert isinstance(found, Origin) and found.steps is None


def test_only_the_steps_that_lead_to_a_constant_are_kept() -> None:
    def made(model: Made) -> Tensor:
        model.w.exp().sum()  # what nobody uses
        return model.w * model.mask

    origin = origin_of(constant(Made(made)))
    assert origin is not None and origin.names == {"mul"}


def test_a_probe_that_cannot_make_a_constant_again_calls_nothing_of_it_fixed() -> None:
    check = rfgraph.verify(Made(lambda m: torch.linalg.lu(m.w)[2]), (1, 2, N, N))
    assert not check.mismatches
    assert [row.gradient for row in check.unread] == ["unreadable"]
