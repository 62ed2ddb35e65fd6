"""Methods that change a tensor's own sizes: it is a view from now on, of what its other views still see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rfgraph
from tests.capture.test_writes import Model, depended, reads_of

SHAPE = (1, 3, 6)
Forward = Callable[[Any, Tensor], Tensor]


def squeezed(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.squeeze_(0)
    y[1:] += y[:-1].roll(1, -1)
    return y


def unsqueezed(m: Any, x: Tensor) -> Tensor:
    y = x.roll(1, -1)
    assert y.unsqueeze_(1) is y and y.dim() == 4 and y.shape == (1, 1, 3, 6)
    return torch.nn.functional.avg_pool2d(y, (2, 3))


def turned(m: Any, x: Tensor) -> Tensor:
    y = x.roll(1, -1)
    y.transpose_(1, 2)
    return y.reshape(1, 3, 6)


def turned_by_name(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.swapaxes_(axis0=-1, axis1=1)
    return y[:, 1:]


def twice(m: Any, x: Tensor) -> Tensor:
    y = x.roll(1, -1)[0]
    return y.t_().unsqueeze_(0).swapdims_(0, 1)


def view_before(m: Any, x: Tensor) -> Tensor:
    """The view sees what is written through the tensor as it lies then."""
    y = x * 2
    part = y[:, :, 1:4]
    y.transpose_(1, 2)
    y[:, 2] += x[:, :, 0]
    return part


def written_through_the_view(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    part = y[:, 1]
    y.transpose_(1, 2)
    part += x[:, 2].roll(1, -1)
    return y


def copied_into(m: Any, x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y.add_(x.roll(2, -1))
    y.squeeze_()
    y[0].copy_(y[2].roll(1, -1))
    return y


def of_the_input(m: Any, x: Tensor) -> Tensor:
    x.squeeze_(0)
    return x[1:].roll(1, -1)


def nothing_to_drop(m: Any, x: Tensor) -> Tensor:
    y = x.roll(1, -1)
    return y.squeeze_(-1).mul_(2)


def out_of_order(m: Any, x: Tensor) -> Tensor:
    y = x.roll(1, -1)
    y.as_strided_((3, 2), (6, 1), 1)
    return y


CASES: dict[str, Forward] = {
    case.__name__: case
    for case in (
        *(squeezed, unsqueezed, turned, turned_by_name, twice, view_before),
        *(written_through_the_view, copied_into, of_the_input, nothing_to_drop, out_of_order),
    )
}


@pytest.mark.parametrize("name", CASES)
def test_a_tensor_that_is_reshaped_in_place_reads_what_it_holds(name: str) -> None:
    model = Model(CASES[name]).double().eval()
    x = torch.randn(SHAPE, dtype=torch.double)
    truth = depended(model, x)
    report = rfgraph.analyze(model, x.clone(), axes=(1, 2), capture="fx", check=True)
    said = reads_of(report, 2)
    for axis, others in ((0, (-3, -1)), (1, (-3, -2))):
        projected = truth.any(axis=others)
        assert np.array_equal(projected, said[axis][..., : projected.shape[-1]])


@pytest.mark.parametrize("name", CASES)
def test_its_graph_gives_what_the_model_gives(name: str) -> None:
    model = Model(CASES[name]).double().eval()
    x = torch.randn(SHAPE, dtype=torch.double)
    made = rfgraph.analyze(model, x.clone(), capture="fx").fx
    assert torch.equal(made(x.clone()), model(x.clone()))
    assert x.shape == SHAPE


@pytest.mark.parametrize("name", CASES)
def test_verify_agrees(name: str) -> None:
    check = rfgraph.verify(Model(CASES[name]).double().eval(), torch.randn(SHAPE).double())
    assert check.agrees, str(check)


def test_a_module_that_cannot_be_followed_after_it_is_refused() -> None:
    """What it has reshaped, a tensor that it was not given, cannot be turned back."""

    class Inner(nn.Module):
        held: Tensor

        def forward(self, x: Tensor) -> Tensor:
            self.held.unsqueeze_(0)
            return x.clone() if bool(x.sum() > 0) else -x

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Tensor) -> Tensor:
            self.inner.held = x * 2
            return self.inner(x) + self.inner.held

    with pytest.raises(rfgraph.CaptureError, match="'mul' is written in compiled code before"):
        rfgraph.analyze(Outer(), SHAPE, on_unknown="measure")


REFUSED = {
    "resize_": "'mul' changes its shape in place, at",
    "resize_as_": "'mul' changes its shape in place, at",
    "set_": "'mul' is written in compiled code",  # torch lets nobody see it
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_memory_is_refused(name: str) -> None:
    def resized(m: Any, x: Tensor) -> Tensor:
        y = x * 2
        getattr(y, name)(*((2, 3, 3) if name == "resize_" else (x[0],)))
        return y

    with pytest.raises(rfgraph.CaptureError, match=REFUSED[name]):
        rfgraph.analyze(Model(resized), SHAPE, capture="fx")


def test_a_buffer_is_left_as_it_is() -> None:
    def buffer(m: Any, x: Tensor) -> Tensor:
        m.buf.add_(x)
        m.buf.squeeze_(0)
        return m.buf

    model = Model(buffer)
    with pytest.raises(rfgraph.CaptureError, match="'add' changes its shape in place, at"):
        rfgraph.analyze(model, SHAPE, capture="fx")
    assert model.buf.shape == (1, 3, 6) and not model.buf.any()
