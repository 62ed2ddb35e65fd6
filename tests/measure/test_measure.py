"""`on_unknown="measure"`: operators without a rule, run by themselves to see what they read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.capture import capture
from rfgraph.graph import Node
from rfgraph.rules import VOCABULARY
from tests.capture.test_untouched import assert_same, snapshot


class Opaque(nn.Module):
    """A leaf that leaves torch, so that its code cannot be followed."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.from_numpy(self.function(torch.from_numpy(x.detach().numpy().copy())).numpy())


class NumpyRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.from_numpy(np.maximum(x.detach().numpy(), 0))

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad


class Clipped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return NumpyRelu.apply(x)


def between(leaf: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), leaf, nn.Conv2d(3, 1, (2, 3)))


def measured(leaf: nn.Module, shape: tuple[int, ...] = (1, 2, 24, 30)) -> rfgraph.Report:
    return rfgraph.analyze(between(leaf), shape, on_unknown="measure")


KNOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "pointwise": lambda x: x.tanh() * 2,
    "window": lambda x: F.avg_pool2d(x, (3, 4), 2, padding=1),
    "dilated": lambda x: F.max_pool2d(x, 3, 1, dilation=(2, 1)),
    "transposed": lambda x: F.conv_transpose2d(x, torch.ones(3, 1, 3, 2), stride=2, groups=3),
    "nearest": lambda x: F.interpolate(x, scale_factor=(3, 2)),
    "strided slice": lambda x: x[:, :, 1::3, :],
    "reflect": lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"),
}


class Followed(nn.Module):
    """The same function, as a model that can be followed."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("name", KNOWN)
def test_a_measured_operator_gives_what_its_rule_gives(name: str) -> None:
    found = measured(Opaque(KNOWN[name])).output
    expected = rfgraph.analyze(between(Followed(KNOWN[name])), (1, 2, 24, 30)).output
    assert found.shape == expected.shape
    assert found.rf.relations == expected.rf.relations
    assert found.rf.closed_form == (True, True)
    for position in [
        (0, 0),
        (1, 2),
        tuple(n - 1 for n in found.shape[2:]),
        tuple(n // 2 for n in found.shape[2:]),
    ]:
        assert found.region(position) == expected.region(position)
        for axis in (0, 1):
            assert found.reads(axis, position).tolist() == expected.reads(axis, position).tolist()


def test_an_inferred_law_is_marked_in_every_row_that_it_reaches() -> None:
    report = measured(Opaque(KNOWN["window"]))
    assert report["0"].rf.marks == ()
    for name in ("1", "2"):
        marks = [(mark.node, mark.reason) for mark in report[name].rf.marks]
        assert marks == [("1", "inferred from measurements at two sizes")]
    rows = [line for line in str(report).splitlines() if "inferred from measurements" in line]
    assert len(rows) == 2
    assert report.to_dict()["nodes"][2]["rfs"]["input"]["marks"]


def test_a_custom_autograd_function_is_measured_with_its_module() -> None:
    report = measured(Clipped())
    assert report["1"].rf.relations == report["0"].rf.relations
    assert report["1"].rf.marks


def test_what_holds_at_one_size_only_says_that_it_was_measured() -> None:
    report = measured(Opaque(lambda x: x.flip(2)))
    field = report["1"].rf
    assert field.closed_form == (False, True) and field.stride == (-1, 1)
    assert [(limit.node, limit.reason) for limit in field.limits] == [
        ("1", "measured at this size")
    ]
    assert "this size only: measured at this size (1)" in str(report)
    assert report["1"].region((0, 0)) == ((22, 23), (0, 1))


def test_a_fixed_size_operator_is_answered_at_its_size() -> None:
    weight = torch.linspace(0.5, 1.5, 24 * 30).view(24, 30)
    field = measured(Opaque(lambda x: x * weight))["1"].rf
    assert (
        field.closed_form == (False, False)
        and field.relations == measured(Clipped())["1"].rf.relations
    )


def test_a_measured_whole_read_names_its_cause() -> None:
    field = measured(Opaque(lambda x: x - x.mean((2, 3), keepdim=True))).output.rf
    assert field.whole == (True, True)
    assert [(cause.node, cause.kind) for cause in field.causes] == [("1", "measured")]


def test_positions_that_move_across_dims_are_looked_up() -> None:
    report = measured(Opaque(lambda x: x.reshape(1, 3, 30, 24)))
    followed = rfgraph.analyze(between(Followed(lambda x: x.reshape(1, 3, 30, 24))), (1, 2, 24, 30))
    for position in [(0, 0), (4, 7), (29, 23)]:
        for axis in (0, 1):
            reads = report["1"].reads(axis, position).tolist()
            assert reads == followed["1.reshape"].reads(axis, position).tolist()


def test_a_dead_gate_and_a_blocked_nan_are_both_seen_through(
    untaught: Callable[..., None],
) -> None:
    untaught("i0", "msort")
    # No gradient passes where relu is shut; no NaN passes nan_to_num. Each trial finds what the other cannot.
    shut = measured(Opaque(lambda x: (x - 100).relu()))["1"].rf
    assert shut.relations == measured(Clipped())["1"].rf.relations

    class Blocked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.i0(x.nan_to_num(0.5)).msort()

    field = rfgraph.analyze(between(Blocked()), (1, 2, 24, 30), on_unknown="measure")["1.msort"].rf
    assert field.size == (3, 3)


def test_an_operator_that_cannot_be_run_alone_is_refused() -> None:
    class Picky(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if type(x) is Tensor and bool(x.isnan().any()):
                raise RuntimeError("no NaN, please")
            return torch.from_numpy(x.detach().numpy().copy())

    with pytest.raises(
        rfgraph.UnsupportedOperatorError,
        match=r"the operator of node '1' \(Picky.*\) could not be measured: RuntimeError: no NaN, please",
    ):
        measured(Picky())


def test_a_module_that_fails_on_any_tensor_tells_why_it_could_not_be_followed() -> None:
    with pytest.raises(
        rfgraph.CaptureError, match=r"needs the values of '1.detach' \(numpy\(\), in '1'"
    ):
        measured(Opaque(lambda x: x.no_such_method()))


@pytest.mark.parametrize("leaf", [Opaque(KNOWN["window"]), Opaque(lambda x: x.no_such_method())])
def test_the_model_is_untouched_by_measuring(leaf: nn.Module) -> None:
    model = between(leaf).train()
    before = snapshot(model)
    with contextlib.suppress(rfgraph.CaptureError):
        rfgraph.analyze(model, (1, 2, 24, 30), on_unknown="measure")
    assert_same(before, snapshot(model))


def test_without_measuring_the_same_model_is_refused() -> None:
    with pytest.raises(
        rfgraph.CaptureError, match=r"needs the values of '1.detach'.*on_unknown='measure'"
    ):
        rfgraph.analyze(between(Clipped()), (1, 2, 24, 30))


# --- an operator of a compiled library, which has no meta kernel --------------------------------------

_library = torch.library.Library("rfgraph_tests", "DEF")
_library.define("smooth(Tensor x, int width) -> Tensor")
_library.impl("smooth", lambda x, width: F.avg_pool2d(x, width, 1), "CPU")


class Smooth(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.rfgraph_tests.smooth(x, 4)


def test_an_operator_of_a_compiled_library_is_measured_by_itself() -> None:
    report = measured(Smooth())
    node = report["1.smooth"]
    assert node.op == "smooth" and node.rf.size == (6, 6) and node.rf.offset == (-1, -1)
    assert node.rf.marks and node.shape == (1, 3, 21, 27)


def test_an_operator_of_a_compiled_library_can_be_taught_by_its_name() -> None:
    vocabulary = VOCABULARY.copy()

    @rfgraph.rule(
        "rfgraph_tests::smooth",
        signature="x, width",
        name="smooth",
        infer=lambda params, shapes: (*shapes[0][:2], *(n - 3 for n in shapes[0][2:])),
        vocabulary=vocabulary,
    )
    def smooth(node: Node) -> list[rfgraph.Read]:
        window = rfgraph.Relation.window(node.params["width"])
        dims = (rfgraph.along(0), rfgraph.along(1))
        return [rfgraph.Read(0, (*dims, rfgraph.along(2, window), rfgraph.along(3, window)))]

    graph = capture(between(Smooth()), (1, 2, 24, 30), vocabulary).graph
    assert graph["1.smooth"].known and graph["1.smooth"].params["width"] == 4
