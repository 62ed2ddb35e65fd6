"""Tensors that are asked for their shape, dtype or device alone are not read, in whatever spelling.

A kernel, a mask or an index of the model, brought into the form of a traced tensor, is a constant. Truth is
the same model without the detour, or `verify`, or a change of one input element at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.capture import capture
from rfgraph.capture.lowering import Bound, is_settled
from rfgraph.graph import Operand
from rfgraph.probe import GradientProbe
from rfgraph.rules import VOCABULARY
from tests.probe.support import axis_set
from tests.rules.examples import w

Form = Callable[[Tensor, Tensor], Tensor]
ATEN = torch.ops.aten

IN_THE_TYPE_OF: dict[str, Form] = {
    "to": lambda k, x: k.to(x),
    "to, copied": lambda k, x: k.to(x, copy=True),
    "Tensor.to": lambda k, x: Tensor.to(k, x),
    "aten.to.other": lambda k, x: ATEN.to.other(k, x),
    "aten.to.other, by name": lambda k, x: ATEN.to.other(self=k, other=x),
    "type_as": lambda k, x: k.type_as(x),
    "type_as, by name": lambda k, x: k.type_as(other=x),
    "aten.type_as": lambda k, x: ATEN.type_as(k, x),
    "aten.type_as.default, by name": lambda k, x: ATEN.type_as.default(self=k, other=x),
    "dtype": lambda k, x: k.to(x.dtype),
    "new_tensor": lambda k, x: x.new_tensor(k.tolist()),
    "of a computed tensor": lambda k, x: k.to(torch.relu(x).mean(-1)),
}
IN_THE_SHAPE_OF: dict[str, Form] = {
    "expand_as": lambda k, x: k.expand_as(x),
    "expand_as, by name": lambda k, x: k.expand_as(other=x),
    "aten.expand_as": lambda k, x: ATEN.expand_as(k, x),
    "aten.expand_as, by name": lambda k, x: ATEN.expand_as(self=k, other=x),
    "expand": lambda k, x: k.expand(x.shape),
    "view_as": lambda k, x: k.expand(1, 2, 24).reshape(2, 24).view_as(x),
    "view_as, by name": lambda k, x: k.expand(1, 2, 24).reshape(2, 24).view_as(other=x),
    "aten.view_as, by name": lambda k, x: ATEN.view_as(self=k.expand(1, 2, 24).clone(), other=x),
    "reshape_as": lambda k, x: k.expand(1, 2, 24).reshape_as(x),
    "reshape_as, viewed": lambda k, x: k.expand(1, 2, 24).reshape(2, 24).reshape_as(other=x),
}
MADE_LIKE: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros_like": torch.zeros_like,
    "aten.zeros_like": lambda x: ATEN.zeros_like(self=x),
    "ones_like": lambda x: torch.ones_like(input=x),
    "full_like": lambda x: torch.full_like(x, 2.0),
    "full_like, by name": lambda x: torch.full_like(x, fill_value=2.0),
    "randint_like": lambda x: torch.randint_like(x, 9),
    "rand_like": torch.rand_like,
    "new_zeros": lambda x: x.new_zeros(1, 2, 24),
    "new_ones": lambda x: x.new_ones(size=(1, 2, 24)),
    "new_full": lambda x: x.new_full((1, 2, 24), 2.0),
    "drawn by a number": lambda x: torch.bernoulli(x.abs(), 0.5),
    "drawn in place": lambda x: (x + 1).bernoulli_(0.5),
    "drawn in place by a constant": lambda x: (x + 1).bernoulli_(torch.full((24,), 0.5)),
}


class Model(nn.Module):
    """`forward(x) = function(x)`, in double precision."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))  # the dtype of the model

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x) * self.scale


def image(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def law(rf: Any) -> tuple[Any, ...]:
    return rf.size, rf.stride, rf.offset, rf.whole, rf.closed_form, rf.holes


def assert_same_field(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor]) -> None:
    """The two functions have one field, as a law and at every position."""
    found, expected = (rfgraph.analyze(Model(f), image(1, 2, 24)).output for f in (one, other))
    assert law(found.rf) == law(expected.rf)
    assert found.shape == expected.shape
    for position in range(found.shape[-1]):
        ours, theirs = (node.reads(0, (0, 0, position)) for node in (found, expected))
        assert np.array_equal(ours, theirs), position


def assert_exact(function: Callable[[Tensor], Tensor], *shape: int) -> None:
    check = rfgraph.verify(Model(function), image(*(shape or (1, 2, 24))))
    assert check and check.exact, str(check)


# --- kernels ------------------------------------------------------------------------------------

_KERNELS: dict[str, tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]] = {
    "conv": (w(2, 2, 4), lambda x, k: F.conv1d(x, k, None, 3, 2, 2)),
    "depthwise": (w(2, 1, 4), lambda x, k: F.conv1d(F.pad(x, (3, 0)), k, groups=2)),
    "transposed": (w(2, 2, 3), lambda x, k: F.conv_transpose1d(x, k, None, 2, 1)),
}


@pytest.mark.parametrize("form", IN_THE_TYPE_OF)
@pytest.mark.parametrize("kind", _KERNELS)
def test_a_kernel_in_the_type_of_a_tensor_is_a_constant(kind: str, form: str) -> None:
    kernel, use = _KERNELS[kind]
    typed = IN_THE_TYPE_OF[form]
    assert_same_field(lambda x: use(x, typed(kernel, x)), lambda x: use(x, kernel))
    assert_exact(lambda x: use(x, typed(kernel, x)))


@pytest.mark.parametrize("form", IN_THE_SHAPE_OF)
def test_a_constant_in_the_shape_of_a_tensor_is_a_constant(form: str) -> None:
    bias, shaped = w(1, 2, 1), IN_THE_SHAPE_OF[form]
    kernel = w(2, 2, 4)

    def with_it(x: Tensor) -> Tensor:
        return F.conv1d(x + shaped(bias, torch.relu(x)), kernel, stride=3)

    assert_same_field(with_it, lambda x: F.conv1d(x + bias, kernel, stride=3))
    assert_exact(with_it)


_BOTH = {**IN_THE_TYPE_OF, **IN_THE_SHAPE_OF}


@pytest.mark.parametrize("form", [f for f in _BOTH if "view" not in f and "new" not in f])
def test_a_tensor_in_the_form_of_a_constant_is_read(form: str) -> None:
    shaped, like = _BOTH[form], w(1, 2, 24)
    assert_exact(lambda x: shaped(F.conv1d(x, w(2, 2, 4), padding=2)[..., :-1], like))
    wide, narrow = w(2, 2, 4), (0, 0, 11)
    node = rfgraph.analyze(
        Model(lambda x: shaped(F.conv1d(x, wide, padding=2)[..., :-1], like)), image(1, 2, 24)
    ).output
    assert node.reads(0, narrow).tolist() == [9, 10, 11, 12]


@pytest.mark.parametrize("form", ["to", "type_as", "expand_as", "view_as", "reshape_as"])
def test_of_two_tensors_the_one_that_is_asked_for_its_form_is_not_read(form: str) -> None:
    shaped, wide, point = _BOTH[form], w(2, 2, 4), w(2, 2, 1)

    def narrow(x: Tensor) -> Tensor:
        return shaped(F.conv1d(x, point), F.conv1d(x, wide, padding=2)[..., :-1])

    def broad(x: Tensor) -> Tensor:
        return shaped(F.conv1d(x, wide, padding=2)[..., :-1], F.conv1d(x, point))

    assert_same_field(narrow, lambda x: F.conv1d(x, point))
    assert_same_field(broad, lambda x: F.conv1d(x, wide, padding=2)[..., :-1])
    assert_exact(narrow)
    assert_exact(broad)


@pytest.mark.parametrize("form", MADE_LIKE)
def test_a_tensor_made_like_another_reads_nothing_of_it(form: str) -> None:
    made, wide = MADE_LIKE[form], w(2, 2, 4)

    def with_it(x: Tensor) -> Tensor:
        return x + made(F.conv1d(x, wide, padding=2)[..., :-1])

    assert_same_field(with_it, lambda x: x + 1.0)
    assert_exact(with_it)


def test_a_tensor_drawn_by_computed_probabilities_reads_these_alone() -> None:
    wide = w(2, 2, 4)

    def drawn(x: Tensor) -> Tensor:
        return F.conv1d(x, wide, padding=2)[..., :-1].bernoulli_(x.sigmoid())

    assert_same_field(drawn, lambda x: x)
    assert_exact(drawn)


def test_a_slope_computed_from_the_input_is_read() -> None:
    def model(x: Tensor) -> Tensor:
        return F.leaky_relu(x, x[0, 1, 5].sigmoid())

    node = rfgraph.analyze(Model(model), image(1, 2, 24)).output
    assert node.reads(0, (0, 0, 11)).tolist() == [5, 11]
    assert_exact(model)


def test_what_is_fixed_in_a_tensor_is_not_fixed_in_one_of_its_type() -> None:
    # torch.tril fixes zeros of its result; a kernel of that type has its own
    kernel = w(5, 5).abs()

    def model(x: Tensor) -> Tensor:
        low = torch.tril(x[:, :5, :5])[0]
        return (x[:, :5, :5] @ kernel.to(low)) + (x[:, :5, :5] @ kernel.reshape_as(low))

    node = rfgraph.analyze(Model(model), image(1, 5, 5)).output
    assert all(node.reads(0, (0, 0, p)).tolist() == [0, 1, 2, 3, 4] for p in range(5))
    assert_exact(model, 1, 5, 5)


# --- masks and indices --------------------------------------------------------------------------

_LATER = torch.ones(12, 12, dtype=torch.int64).triu(1)
_ORDER = torch.tensor([3, 9, 4, 0])


def _attention(x: Tensor) -> Tensor:
    return x.transpose(1, 2) @ torch.flip(x, (1,))


_CONSTANTS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "masked_fill": (
        lambda x: _attention(x).masked_fill(_LATER.to(x).bool(), -1e9).softmax(-1)[:, :1],
        lambda x: _attention(x).masked_fill(_LATER.bool(), -1e9).softmax(-1)[:, :1],
    ),
    "masked_fill, expanded": (
        lambda x: x.masked_fill((_LATER[:2] == 0).expand_as(x), 0.0),
        lambda x: x.masked_fill(_LATER[:2] == 0, 0.0),
    ),
    "a product": (
        lambda x: x * _LATER[5:7].type_as(x),
        lambda x: x * _LATER[5:7],
    ),
    "a product, viewed": (
        lambda x: x * _LATER[5:7].type_as(x).view_as(x),
        lambda x: x * _LATER[5:7],
    ),
    "a sum": (
        lambda x: (_attention(x) + (_LATER * -1e9).to(x)).softmax(-1)[:, 2:3],
        lambda x: (_attention(x) + _LATER * -1e9).softmax(-1)[:, 2:3],
    ),
    "where": (
        lambda x: torch.where((_LATER[:2] == 0).expand_as(x), x, 0.0),
        lambda x: torch.where(_LATER[:2] == 0, x, 0.0),
    ),
    "an index": (
        lambda x: x[:, :, _ORDER.to(x.long())],
        lambda x: x[:, :, _ORDER],
    ),
    "index_select": (
        lambda x: x.index_select(2, _ORDER.type_as(x.argmax(-1))),
        lambda x: x.index_select(2, _ORDER),
    ),
    "gather": (
        lambda x: x.gather(2, _ORDER.expand_as(x[..., :4])),
        lambda x: x.gather(2, _ORDER.expand(1, 2, 4)),
    ),
}


@pytest.mark.parametrize("use", _CONSTANTS)
def test_masks_and_indices_in_the_form_of_a_tensor_are_constants(use: str) -> None:
    with_it, without = _CONSTANTS[use]
    found, expected = (
        rfgraph.analyze(Model(f), image(1, 2, 12)).output for f in (with_it, without)
    )
    assert law(found.rf) == law(expected.rf)
    for position in range(found.shape[-1]):
        ours, theirs = (node.reads(0, (0, 0, position)) for node in (found, expected))
        assert np.array_equal(ours, theirs), position
    if use != "a sum":  # what is as good as -inf is none to the gradient of a sum
        assert_exact(with_it, 1, 2, 12)


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("to", {"input": "model", "asked": ("traced",)}, True),
        ("to", {"input": "traced", "asked": ("model",)}, False),
        ("type_as", {"input": "model", "options": "traced"}, True),
        ("expand_as", {"input": "traced", "other": "traced"}, False),
        ("view_as", {"input": "model", "other": "traced"}, True),
        ("zeros_like", {"input": "traced", "operands": ()}, False),  # written into, later
        ("full_like", {"input": "traced", "operands": (2.0,)}, False),
        ("new_tensor", {"input": "traced", "operands": ("model",)}, True),
        ("add", {"operands": ("model", "traced")}, False),
        ("add", {"operands": ("model", "model")}, False),
    ],
)
def test_a_call_is_settled_where_it_uses_tensors_of_the_model_alone(
    name: str, params: dict[str, Any], expected: bool
) -> None:
    stands = {"model": torch.ones(3), "traced": Operand(0, (2, 3), torch.float32)}

    def told(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(told, value))
        return stands[value] if isinstance(value, str) else value

    given = {key: told(value) for key, value in params.items()}
    assert is_settled(Bound(name, given, [], (), VOCABULARY.operators[name])) is expected


# --- a model of the literature ------------------------------------------------------------------

ZEROS = 3


def _sinc_kernel() -> Tensor:
    """Half-sample interpolation, as in Demucs: 2 * ZEROS taps."""
    t = torch.linspace(-ZEROS + 0.5, ZEROS - 0.5, 2 * ZEROS) * math.pi
    return (torch.sin(t) / t * torch.hann_window(4 * ZEROS + 1, periodic=False)[1::2]).view(
        1, 1, -1
    )


def upsample2(x: Tensor) -> Tensor:
    *other, time = x.shape
    kernel = _sinc_kernel().to(x)
    out = F.conv1d(x.view(-1, 1, time), kernel, padding=ZEROS)[..., 1:].view(*other, time)
    return torch.stack([x, out], dim=-1).view(*other, -1)


def downsample2(x: Tensor) -> Tensor:
    if x.shape[-1] % 2:
        x = F.pad(x, (0, 1))
    even, odd = x[..., ::2], x[..., 1::2]
    *other, time = odd.shape
    kernel = _sinc_kernel().to(x)
    out = F.conv1d(odd.view(-1, 1, time), kernel, padding=ZEROS)[..., :-1].view(*other, time)
    return (even + out).view(*other, -1).mul(0.5)


class Demucs(nn.Module):
    """Causal Demucs (Defossez et al. 2020) without its LSTM: kernel 4, stride 2, resampled by 4."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for inputs, hidden in ((1, 2), (2, 4)):
            down = nn.Conv1d(inputs, hidden, 4, 2), nn.ReLU(), nn.Conv1d(hidden, 2 * hidden, 1)
            self.encoder.append(nn.Sequential(*down, nn.GLU(1)))
            up = (
                nn.Conv1d(hidden, 2 * hidden, 1),
                nn.GLU(1),
                nn.ConvTranspose1d(hidden, inputs, 4, 2),
            )
            self.decoder.insert(0, nn.Sequential(*up))

    def forward(self, mix: Tensor) -> Tensor:
        length = mix.shape[-1]
        x = upsample2(upsample2(F.pad(mix, (0, 3))))
        skips = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        for decode in self.decoder:
            skip = skips.pop()
            x = decode(x + skip[..., : x.shape[-1]])
        return downsample2(downsample2(x))[..., :length]


def test_resampling_by_sinc_kernels_has_the_field_that_the_gradient_finds() -> None:
    model, size = Demucs(), 40
    output = rfgraph.analyze(model, (1, 1, size)).output
    assert output.rf.whole == (False,)
    graph = capture(model, (1, 1, size), VOCABULARY).graph
    (name,), (input,) = graph.outputs.values(), graph.inputs
    probe = GradientProbe(graph)
    for position in range(size):
        seen = axis_set(probe, name, {2: position}, input, 2)
        assert output.reads(0, (0, 0, position)).tolist() == list(seen), position


def test_resampling_by_sinc_kernels_is_verified() -> None:
    check = rfgraph.verify(Demucs(), (1, 1, 40))
    assert check, str(check)
    assert not check.unread, str(check)
