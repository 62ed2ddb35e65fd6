"""Writes: every spelling of a write through a view, held against the model itself, element by element.

Each case is run as it is, with one element of the input changed at a time; what changed is what was read. Nothing
of the capture is used by the oracle.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph

SHAPE = (1, 3, 6)
Forward = Callable[[Any, Tensor], Tensor]
CASES: dict[str, Forward] = {}
WIDE = {
    "masked_fill": "a filled element counts as read",
    "const_scatter": "the rule of scatter is an upper bound",
    "const_scatter_add": "the rule of scatter is an upper bound",
    "const_scatter_reduce": "the rule of scatter is an upper bound",
    "const_index_put": "the rule of index_put is an upper bound",
    "bool_mask_set": "the rule of an assignment by a mask is an upper bound",
    "index_set": "the rule of an assignment by an index is an upper bound",
    "relu_inplace_view": "a relu that is 0 shows nothing",
}
"""Cases in which the analysis may say more than the numbers, and why."""


class Model(nn.Module):
    def __init__(self, function: Forward) -> None:
        super().__init__()
        self.function = function
        self.drop, self.ident = nn.Dropout(), nn.Identity()
        self.register_buffer("buf", torch.zeros(SHAPE))
        self.register_buffer("steps", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def depended(model: nn.Module, x: Tensor) -> np.ndarray:
    """(*output, *input): which elements of the output change with which of the input."""
    before = deepcopy(model)(x.clone())
    found = np.zeros((*before.shape, *x.shape), dtype=bool)
    for position in np.ndindex(*x.shape):
        other = x.clone()
        other[position] += 0.37
        found[(..., *position)] = (deepcopy(model)(other) != before).numpy()
    return found


def reads_of(report: rfgraph.Report, rank: int) -> np.ndarray:
    """[axis][(*output, index)]: what the analysis says."""
    node = report.output
    found = np.zeros((rank, *node.shape, max(SHAPE)), dtype=bool)
    for position in np.ndindex(*node.shape):
        for axis in range(rank) if node.rfs else ():
            found[(axis, *position)][node.reads(axis, position)] = True
    return found


def case(function: Forward) -> Forward:
    CASES[function.__name__] = function
    return function


def z(x: Tensor) -> Tensor:
    return x.roll(1, -1)


@case
def slice_add(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = z(x)
    y[:, :1].add_(w[:, :1])
    return y


@case
def v_iadd(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    v = y[..., 2:-2]
    v += z(x)[..., 2:-2]
    return y


@case
def narrow(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.narrow(2, 1, 3).add_(z(x)[..., 1:4])
    return y


@case
def select(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.select(1, 2).add_(z(x)[:, 0])
    return y


@case
def view_idx(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.view(-1)[3:5].add_(x.sum())
    return y


@case
def reshape_contig(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.reshape(3, 6)[1].add_(z(x)[0, 0])
    return y


@case
def transpose_iadd(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    v = y.transpose(1, 2)[:, 1:3]
    v += z(x).transpose(1, 2)[:, 1:3]
    return y


@case
def squeeze_add(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.squeeze(0).add_(z(x)[0])
    return y


@case
def contiguous(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.contiguous().add_(z(x))
    return y


@case
def detach(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.detach().add_(z(x))
    return y


@case
def data(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.data.add_(z(x))
    return y


@case
def chunk(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    a, b = y.chunk(2, 2)
    b.add_(a)
    a.zero_()
    return y


@case
def split(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    p = y.split(2, 2)
    p[1].copy_(p[0])
    return y


@case
def unbind(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    p = y.unbind(1)
    p[2].add_(p[0])
    return y


@case
def nested_item(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[0][0] = x[0, 1]
    return y


@case
def index_add(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 0].index_add_(1, torch.tensor([0, 4]), x[:, 1, 2:4])
    return y


@case
def copy_(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1:].copy_(z(x)[:, 1:])
    return y


@case
def zero_(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1:, 2:4].zero_()
    return y


@case
def fill_(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1:, 2:4].fill_(x[0, 0, 0])
    return y


@case
def fill_num(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1:, 2:4].fill_(3.0)
    return y


@case
def masked_fill(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1:].masked_fill_(torch.tensor([True, False, True, False, False, False]), 1.0)
    return y


@case
def view_before(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    v = y[:, 0]
    y.add_(z(x))
    return v * 2


@case
def view_before2(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    v = y.transpose(1, 2)
    y[:, 0] = z(x)[:, 1]
    return v.sum(2)


@case
def ident(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = m.ident(y)
    w.add_(z(x))
    return y


@case
def dropout(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = m.drop(y)
    w += z(x)
    return y


@case
def fdropout(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = F.dropout(y, 0.5, False)
    y += z(x)
    return w


@case
def to_same(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = y.to(y.dtype)
    w += z(x)
    return y


@case
def to_other(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = y.to(torch.float32)
    w += z(x)
    return y


@case
def double(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = y.double()
    w += z(x)
    return y


@case
def real(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = y.real
    w += z(x)
    return y


@case
def expand(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = y.expand(1, 3, 6)
    w += z(x)
    return y


@case
def view_as(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = y.view_as(x)
    w += z(x)
    return y


@case
def full_slice(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = y[:]
    w += z(x)
    return y


@case
def rows(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    for r in y[0]:
        r.add_(x[0, 1])
    return y


@case
def out_(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    torch.add(x, z(x), out=y)
    return y


@case
def out_view(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    torch.add(x[:, :1], z(x)[:, :1], out=y[:, 1:2])
    return y


@case
def const_scatter_add(m: Any, x: Tensor) -> Tensor:
    return torch.zeros(1, 3, 6, dtype=x.dtype).scatter_add(
        2, torch.arange(6).flip(0).expand(1, 3, 6), x
    )


@case
def const_scatter(m: Any, x: Tensor) -> Tensor:
    return torch.zeros(1, 3, 6, dtype=x.dtype).scatter(
        2, torch.arange(6).flip(0).expand(1, 3, 6), x
    )


@case
def const_scatter_reduce(m: Any, x: Tensor) -> Tensor:
    return torch.zeros(1, 3, 6, dtype=x.dtype).scatter_reduce(
        2, torch.arange(6).flip(0).expand(1, 3, 6), x, "sum"
    )


@case
def const_index_put(m: Any, x: Tensor) -> Tensor:
    return torch.zeros(3, 6, dtype=x.dtype).index_put(
        (torch.tensor([0, 2]), torch.tensor([1, 3])), x[0, 0, :2]
    )[None]


@case
def fresh_zeros(m: Any, x: Tensor) -> Tensor:
    o = torch.zeros(1, 3, 6, dtype=x.dtype)
    for i in range(3):
        o[:, i] = x[:, (i + 1) % 3]
    return o


@case
def fresh_zeros_view(m: Any, x: Tensor) -> Tensor:
    o = torch.zeros(1, 3, 6, dtype=x.dtype)
    v = o[:, 1]
    o[:, 0] = x[:, 0]
    v.add_(x[:, 2])
    return o + v[:, None]


@case
def buffer_cache(m: Any, x: Tensor) -> Tensor:
    m.buf[:, :, 2:4] = x[:, :, :2]
    return m.buf * 2 + x


@case
def buffer_stat(m: Any, x: Tensor) -> Tensor:
    m.buf.mul_(0.9).add_(x * 0.1)
    return m.buf + x.roll(1, 1)


@case
def counter(m: Any, x: Tensor) -> Tensor:
    m.steps.add_(1)
    return x * m.steps


@case
def relu_inplace_view(m: Any, x: Tensor) -> Tensor:
    y = z(x) * 1
    F.relu(y[:, :1], inplace=True)
    y[:, 1:2].sigmoid_()
    return y


@case
def diagonal(m: Any, x: Tensor) -> Tensor:
    y = x[0] * 2
    y.diagonal().add_(x[0, :, 5])
    return y[None]


@case
def diag_fill(m: Any, x: Tensor) -> Tensor:
    y = x[0] * 2
    y.diagonal().fill_(0)
    return y[None]


@case
def unfoldw(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.unfold(2, 2, 2)[..., 0].add_(x[..., :3])
    return y


@case
def as_strided(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.as_strided((3,), (6,), 0).add_(x[0, 0, :3])
    return y


@case
def aug_index(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 0] += x[:, 1]
    y[:, :, ::2] *= 2
    return y


@case
def bool_mask_set(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, :, torch.tensor([True, False, True, False, False, False])] = 0
    return y


@case
def index_set(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, [0, 2]] = z(x)[:, [1, 1]]
    return y


@case
def permuted_write(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.permute(2, 0, 1)[0] = x[:, :, 3]
    return y


@case
def flatten_w(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.flatten()[4:6] = x[0, 2, :2]
    return y


@case
def unflatten_w(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.unflatten(2, (2, 3))[:, :, 1].add_(x[:, :, :3])
    return y


@case
def T_w(m: Any, x: Tensor) -> Tensor:
    y = x[0] * 2
    y.T[1] = x[0, :, 0]
    return y[None]


@case
def mT_w(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.mT[:, 1] = x[:, :, 0]
    return y


@case
def swap(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    a = y[:, 0].clone()
    y[:, 0] = y[:, 1]
    y[:, 1] = a
    return y


@case
def clone_not(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    v = y.clone()
    v.add_(z(x))
    return y


@case
def noncontig_reshape(m: Any, x: Tensor) -> Tensor:
    y = (x * 2).transpose(1, 2)
    v = y.reshape(-1)
    v.add_(1 * x.sum())
    return y.transpose(1, 2)


@case
def input_write(m: Any, x: Tensor) -> Tensor:
    x[:, 0] += x[:, 1]
    return x * 1


@case
def const_add_(m: Any, x: Tensor) -> Tensor:
    return torch.zeros(1, 3, 6, dtype=x.dtype).add_(z(x))


@case
def const_then(m: Any, x: Tensor) -> Tensor:
    c = torch.ones(1, 3, 6, dtype=x.dtype)
    y = x + c
    c.zero_()
    return y * c + x


@case
def hsplit(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    a, b = torch.tensor_split(y, 2, dim=2)
    a.copy_(b)
    return y


@case
def movedim(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.movedim(2, 0)[1] = x[:, :, 3]
    return y


@case
def put_zero(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1].zero_()
    y[:, 1] += x[:, 0]
    return y


@case
def wrapped(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    w = torch.stack([y[:, 0], y[:, 1]], 1)
    w[:, 0] = 5
    return y


@case
def setitem_ellipsis(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[...] = z(x)
    return y


@case
def none_index(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, None, 0] = x[:, None, 1]
    return y


@case
def unsq(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.unsqueeze(1)[:, 0, 1] = x[:, 0]
    return y


@pytest.mark.parametrize("name", CASES)
def test_a_write_is_in_the_graph_for_the_tensor_and_every_view_of_it(name: str) -> None:
    model = Model(CASES[name]).double().eval()
    x = torch.randn(SHAPE, dtype=torch.double)
    truth = depended(model, x)
    said = reads_of(rfgraph.analyze(model, x, axes=(1, 2)), 2)
    for axis, others in ((0, (-3, -1)), (1, (-3, -2))):
        projected = truth.any(axis=others)
        claimed = said[axis][..., : projected.shape[-1]]
        assert not (projected & ~claimed).any(), "understated"
        if name not in WIDE:
            assert np.array_equal(projected, claimed)


def ops_of(function: Forward) -> list[str]:
    return [node.op for node in rfgraph.analyze(Model(function), SHAPE).nodes]


def test_an_addition_to_a_part_is_one_write() -> None:
    """Python writes the part once more, into its own place."""

    def added(self: Model, x: Tensor) -> Tensor:
        y = x * 2
        y[:, 0] += x[:, 1]
        return y

    assert ops_of(added) == ["input", "mul", "getitem", "getitem", "add", "setitem"]


REFUSED: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "item": lambda y, value: y.__setitem__((..., slice(2)), value),
    "copy_": lambda y, value: y[..., :2].copy_(value),
    "add_": lambda y, value: y[..., :2].add_(value),
    "iadd": lambda y, value: operator.iadd(y[..., :2], value),
}


@pytest.mark.parametrize("how", REFUSED)
@pytest.mark.parametrize("start", ["copied", "zeros"])
def test_a_value_that_does_not_fit_is_refused_with_torchs_words(how: str, start: str) -> None:
    """At 4 positions the last two fit; at 6 there are four of them."""

    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.clone() if start == "copied" else torch.zeros_like(x)
            REFUSED[how](y, x[..., 2:])
            return y

    assert rfgraph.analyze(Half(), (1, 3, 4)).output.shape == (1, 3, 4)
    with pytest.raises(rfgraph.CaptureError, match=r"failed on .*\(1, 3, 4\), at test_writes.py"):
        rfgraph.analyze(Half(), (1, 3, 6), capture="fx")


@pytest.mark.parametrize("activation", [F.leaky_relu, nn.LeakyReLU])
def test_an_activation_in_place_of_a_part_out_of_order_is_a_write(activation: Any) -> None:
    """Of strides that are not torch's default, the shape is asked of torch, which must not write meanwhile."""
    module = activation(inplace=True) if isinstance(activation, type) else nn.Identity()

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = module

        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            part = y.transpose(1, 2)[:, ::2]
            self.act(part) if isinstance(activation, type) else activation(part, inplace=True)
            return y

    report = rfgraph.analyze(Half(), SHAPE, capture="fx", check=True)
    written = ["leaky_relu", "setitem", "permute"]
    assert [node.op for node in report.nodes] == ["input", "mul", "transpose", "getitem", *written]


def test_a_part_that_is_written_elsewhere_is_a_second_write() -> None:
    def moved(self: Model, x: Tensor) -> Tensor:
        y = x * 2
        part = y[:, 0]
        part += 1
        y[:, 1] = part
        return y

    assert ops_of(moved) == ["input", "mul", "getitem", "add", "setitem", "setitem"]


def test_dropout_in_place_writes_nothing_in_eval_mode() -> None:
    def dropped(self: Model, x: Tensor) -> Tensor:
        y = x * 2
        F.dropout(y.flatten(1), training=False, inplace=True)
        return y

    assert ops_of(dropped) == ["input", "mul", "flatten", "dropout"]


def beside_unknown(m: Any, x: Tensor) -> Tensor:
    """An operator without a rule between writes, on a view, and on what was written."""
    y = x * 2
    y[:, 0] += x[:, 1]
    part = y[:, 1:]
    far = torch.cdist(part[..., :2].transpose(1, 2), part[..., 2:4].transpose(1, 2))
    y[..., :2].add_(far[:, :1])
    part.mul_(3)
    return y


def into_unknown(m: Any, x: Tensor) -> Tensor:
    """A write into what an operator without a rule returned."""
    y = torch.cdist(x, x)
    y[:, 1:, 0] = x[:, 1:, 0]
    y.transpose(1, 2)[:, 2] += x[:, 0, 1:4]
    return y


@pytest.mark.parametrize("on_unknown", ["whole", "measure"])
@pytest.mark.parametrize("function", [beside_unknown, into_unknown])
def test_writes_beside_operators_without_a_rule_are_seen(
    function: Forward, on_unknown: Any, untaught: Callable[..., None]
) -> None:
    untaught("cdist")
    model = Model(function).double().eval()
    x = torch.randn(SHAPE, dtype=torch.double)
    truth = depended(model, x)
    report = rfgraph.analyze(model, x, axes=(1, 2), on_unknown=on_unknown, check=True)
    said = reads_of(report, 2)
    for axis, others in ((0, (-3, -1)), (1, (-3, -2))):
        projected = truth.any(axis=others)
        claimed = said[axis][..., : projected.shape[-1]]
        assert not (projected & ~claimed).any(), "understated"
        assert not claimed.all(), "nothing is known"


def test_what_an_operator_without_a_rule_writes_is_refused_or_seen() -> None:
    """Its name says that it writes, not what: `index_reduce_` has no rule of its own."""

    def forward(m: Any, x: Tensor) -> Tensor:
        y = x * 2
        y[:, :2].index_reduce_(2, torch.tensor([0, 3]), x[:, 1:, :2], "amax")
        return y

    model = Model(forward).double().eval()
    x = torch.randn(SHAPE, dtype=torch.double)
    for on_unknown in ("whole", "measure"):
        said = rfgraph.analyze(model, x, axes=(1, 2), on_unknown=on_unknown, check=True)  # type: ignore[arg-type]
        projected = depended(model, x).any(axis=(-3, -1))
        assert not (projected & ~reads_of(said, 2)[0][..., :3]).any()
