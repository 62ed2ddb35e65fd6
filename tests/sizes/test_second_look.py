"""A forward that asks for a size is looked at twice: what differs holds at the analysed size only, and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph import analysis, gallery
from rfgraph.algebra.relation import Relation
from rfgraph.sizes.compare import COMPUTED, RATE, SOMETIMES


class Model(nn.Module):
    """A convolution of 3 taps, and what becomes of it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3, padding=1)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.conv(x))


def reads(function: Callable[..., Any], size: int = 12, node: str = "output") -> rfgraph.AxisReads:
    report = rfgraph.analyze(Model(function), (1, 2, size))
    return (report.output if node == "output" else report[node]).rf[0]


# --- what a forward asks for --------------------------------------------------------------------

ASKED: dict[str, tuple[Callable[[Tensor], Any], set[tuple[str, int | None]]]] = {
    "the shape": (lambda y: y.view(y.shape), {("conv", None)}),
    "all sizes": (lambda y: y.view(y.size()), {("conv", None)}),
    "one size": (lambda y: y[..., : y.size(-1)], {("conv", 2)}),
    "by keyword": (lambda y: y[..., : y.size(dim=1)], {("conv", 1)}),
    "how many": (lambda y: y / y.numel(), {("conv", None)}),
    "the length": (lambda y: y * len(y), {("conv", 0)}),
    "of what is made of it": (lambda y: (z := y.tanh())[..., : z.size(2)], {("tanh", 2)}),
    "strides": (lambda y: y.as_strided(y.shape, y.stride()), {("conv", None)}),
    "nothing but the rank": (lambda y: y * y.ndim * y.dim(), set()),
    "nothing but the dtype": (lambda y: y.to(y.dtype).to(y.device), set()),
    "nothing, and writes": (lambda y: y.clone()[..., 2:5].add_(1), set()),
    "nothing, and zeros alike": (lambda y: y + torch.zeros_like(y), set()),
}


@pytest.mark.parametrize("name", ASKED)
def test_which_sizes_a_forward_asks_for(name: str) -> None:
    function, asked = ASKED[name]
    assert rfgraph.analyze(Model(function), (1, 2, 12)).captured.asked == asked


@pytest.mark.parametrize("name", gallery.MODELS)
def test_models_that_do_not_ask(name: str) -> None:
    asked = rfgraph.analyze(gallery.MODELS[name]()).captured.asked
    assert bool(asked) == (name == "vit")


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The inputs of every capture."""
    seen: list[Any] = []

    def capture(model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        seen.append(inputs)
        return original(model, inputs, *args, **options)

    original = analysis._capture
    monkeypatch.setattr(analysis, "_capture", capture)
    yield seen


ONCE: dict[str, Callable[[Tensor], Any]] = {
    "nothing": lambda y: y.relu(),
    "the batch": lambda y: y.reshape(y.size(0), 24),
    "the channels": lambda y: y.mean(-1, keepdim=True) * y.size(1) + y.tanh() / y.tanh().size(1),
    "pieces of the channels": lambda y: y.unbind(1)[0] + y.split(1, 1)[1][:, 0],
}


@pytest.mark.parametrize("name", ONCE)
def test_who_asks_for_no_tracked_size_is_captured_once(name: str, captures: list[Any]) -> None:
    rfgraph.analyze(Model(ONCE[name]), (1, 2, 12))
    assert len(captures) == 1


TWICE: dict[str, Callable[[Tensor], Any]] = {
    "the shape": lambda y: y * y.shape[0],
    "the length": lambda y: y * y.size(2),
    "of what a whole read gives": lambda y: y * y.mean(-1).size(0),
    "positions one by one": lambda y: y.unbind(-1)[0],
    "pieces": lambda y: y.split(4, -1)[0],
    "resampled to a size": lambda y: F.interpolate(y, size=24),
}


@pytest.mark.parametrize("name", TWICE)
def test_who_asks_for_a_tracked_size_is_captured_twice(name: str, captures: list[Any]) -> None:
    rfgraph.analyze(Model(TWICE[name]), (1, 2, 12))
    assert [tuple(each.leaves["x"].shape) for each in captures[1:]] == [(1, 2, 23)]


# --- what differs at another size ---------------------------------------------------------------

SIZED: dict[str, tuple[Callable[[Tensor], Any], str, str]] = {
    # a forward, the node where it begins, why
    "from a quarter on": (lambda y: y[..., y.shape[-1] // 4 :].relu(), "getitem", COMPUTED),
    "to a multiple": (lambda y: F.pad(y, (-y.shape[-1] % 8, 0)).relu(), "pad", COMPUTED),
    "the last": (lambda y: y[..., y.shape[-1] - 1].relu(), "getitem", COMPUTED),
    "a window of half": (
        lambda y: F.avg_pool1d(y, y.shape[-1] // 2, 1).relu(),
        "avg_pool1d",
        COMPUTED,
    ),
    "to a given size": (lambda y: F.interpolate(y, size=4).relu(), "interpolate", RATE),
    "to twice the size that is": (
        lambda y: F.interpolate(y, size=24, mode="linear").relu(),
        "interpolate",
        RATE,
    ),
    "where it is short": (
        lambda y: (F.pad(y, (1, 0)) if y.shape[-1] < 20 else y).relu(),
        "pad",
        SOMETIMES,
    ),
}


@pytest.mark.parametrize("name", SIZED)
def test_what_differs_holds_at_this_size_and_names_where_it_began(name: str) -> None:
    function, node, reason = SIZED[name]
    assert reads(function, node="conv").closed_form
    for each in (node, "relu"):
        found = reads(function, node=each)
        assert not found.closed_form and found.limits == ((node, reason),)
    assert reads(function, node=node).size is not None


def test_what_differs_keeps_its_figures() -> None:
    found = reads(lambda y: y[..., y.shape[-1] // 4 :])
    assert (found.size, found.stride, found.offset) == (3, 1, 2) and found.dims == (2,)
    assert found.members({2: 0}).tolist() == [2, 3, 4]


CLOSED: dict[str, tuple[Callable[[Tensor], Any], Relation]] = {
    "padded to a multiple, and cropped again": (
        lambda y: F.pad(y, (-y.shape[-1] % 8, 0)).relu()[..., -y.shape[-1] % 8 :],
        Relation.window(3, 1, 1, 1),
    ),
    "padded behind to a multiple": (
        lambda y: F.pad(y, (0, -y.shape[-1] % 8)),
        Relation.window(3, 1, 1, 1),
    ),
    "up to the size of another": (
        lambda y: F.interpolate(F.max_pool1d(y, 2), size=y.shape[-1:]),
        Relation.spread(2).compose(Relation.window(2, 2)).compose(Relation.window(3, 1, 1, 1)),
    ),
    "the first": (lambda y: y[..., 0] * y.shape[-1], Relation.constant([-1, 0, 1])),
}


@pytest.mark.parametrize("name", CLOSED)
def test_what_is_the_same_at_both_sizes_is_closed(name: str) -> None:
    function, relation = CLOSED[name]
    found = reads(function)
    assert found.closed_form and found.limits == () and found.relation is relation


def test_the_last_step_counts_from_the_end() -> None:
    last = reads(lambda y: y[..., -1])
    assert [limit.reason for limit in last.limits] == ["counts from the end at this size"]


# --- pooling by the size ------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [F.avg_pool1d, F.max_pool1d])
def test_a_pool_as_wide_as_its_tensor_is_a_pooling_of_the_whole_axis(pool: Any) -> None:
    found = reads(lambda y: (pool(y, y.shape[-1]) * y).relu())
    assert found.whole and found.closed_form
    assert [(cause.text) for cause in found.causes] == ["pooling"]
    assert found.local is not None and found.local.relation is Relation.window(3, 1, 1, 1)


def test_a_pool_along_one_axis_keeps_the_other() -> None:
    class Strips(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.avg_pool2d(x, (x.shape[2], 3), (x.shape[2], 1))

    rows, columns = rfgraph.analyze(Strips(), (1, 1, 6, 9)).output.rf
    assert rows.whole and not columns.whole and columns.relation is Relation.window(3)
    assert rfgraph.verify(Strips(), (1, 1, 6, 9)).exact


def test_a_window_that_happens_to_be_as_wide_is_one() -> None:
    found = reads(lambda y: F.avg_pool1d(y, 12) * y.shape[0])
    assert not found.whole and found.closed_form and found.size == 14


# --- models that take one size ------------------------------------------------------------------


class OneSize(nn.Module):
    """A head of 12 positions, in front of which a size is asked for."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.head = nn.Parameter(torch.ones(12))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x * self.head)


def test_a_model_that_takes_one_size_says_that_it_was_not_looked_at_again() -> None:
    report = rfgraph.analyze(OneSize(lambda y: y[..., y.shape[-1] // 4 :]), (1, 2, 12))
    assert report.output.rf.closed_form == (True,)
    assert report.notes[-1] == (
        "the forward asks for its size and takes no second one: closed forms are those of its operators"
    )
    assert not any("second" in note for note in rfgraph.analyze(nn.ReLU(), (1, 2, 12)).notes)


def test_a_pool_by_the_size_is_whole_there_too() -> None:
    asks = rfgraph.analyze(OneSize(lambda y: F.avg_pool1d(y, y.shape[-1])), (1, 2, 12))
    assert asks.output.rf.whole == (True,)
    knows = rfgraph.analyze(OneSize(lambda y: F.avg_pool1d(y, 12)), (1, 2, 12))
    assert knows.output.rf.whole == (False,) and knows.output.rf.closed_form == (True,)


def test_two_inputs_are_looked_at_in_proportion(captures: list[Any]) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, half: Tensor) -> Tensor:
            quarter, wide = x.shape[-1] // 4, F.interpolate(half, size=x.shape[-1:])
            return (
                x[..., quarter:]
                + F.interpolate(half, scale_factor=2)[..., quarter:]
                + wide[..., :1]
            )

    report = rfgraph.analyze(Two(), {"x": (1, 2, 12), "half": (1, 2, 6)})
    assert [dict(each.leaves)["half"].shape[2] for each in captures[1:]] == [13, 12]
    limits = report.output.rfs["x"].limits
    assert [(limit.node, limit.reason) for limit in limits] == [("getitem", COMPUTED)]
    assert report["interpolate"].rf.closed_form == (True,)


def test_the_second_look_leaves_the_model_as_it_was() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[int] = []

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(x.shape[-1])
            return x

    model = Counts()
    rfgraph.analyze(model, (1, 2, 12))
    assert model.seen == []


def test_graphs_that_exist_are_looked_at_twice_too() -> None:
    traced = torch.fx.symbolic_trace(Model(lambda y: y[..., y.size(2) // 4 :]))
    report = rfgraph.analyze(traced, (1, 2, 12))
    assert [limit.reason for limit in report.output.rf.limits] == [COMPUTED]


def test_programs_of_any_length_are_looked_at_twice_too() -> None:
    size = 4 * torch.export.Dim("quarter", min=2, max=4096)
    model = Model(lambda y: y[..., y.shape[-1] // 4 :])
    program = torch.export.export(model, (torch.zeros(1, 2, 12),), dynamic_shapes=({2: size},))
    report = rfgraph.analyze(program, (1, 2, 12))
    assert [limit.reason for limit in report.output.rf.limits] == [COMPUTED]


def test_what_is_exported_is_looked_at_twice_as_it_does_not_tell_what_was_asked() -> None:
    model = Model(lambda y: y[..., y.shape[-1] // 4 :])
    report = rfgraph.analyze(model, (1, 2, 12), capture="export")
    assert [limit.reason for limit in report.output.rf.limits] == [COMPUTED]


def test_axes_whose_grids_share_no_factor_are_not_made_longer_without_end() -> None:
    # One position of 3, of 4 and of 5: the common grid is 60, and at the size after that it is 6 million.
    model = nn.Sequential(nn.ReLU(), nn.Upsample(size=1, mode="nearest"))
    check = rfgraph.verify(model, (1, 1, 3, 4, 5))
    assert check.exact, str(check)
    assert check.second_size == {"input": (1, 1, 183, 184, 185)}


class Beside(nn.Module):
    """One input resampled to as many positions as a pool leaves of the other."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.up, self.pool = nn.Upsample(size=size), nn.AvgPool1d(2)

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        return self.up(x) + self.pool(side)


@pytest.mark.parametrize("size", [1, 2])
def test_inputs_that_do_not_grow_alike_are_looked_at_with_one_position_more(size: int) -> None:
    """At larger ones, one position would be repeated, and two do not fit."""
    report = rfgraph.analyze(Beside(size), {"x": (1, 1, 6), "side": (1, 1, 2 * size)})
    row = report["up"].rfs["x"]
    assert row.closed_form == (False,)
    assert [limit.reason for limit in row.limits] == [RATE]


# --- second sizes that tell -----------------------------------------------------------------------

TELLING: dict[str, Callable[[Tensor], Any]] = {
    "in front, to a multiple of 4": lambda x: F.pad(x, (-x.shape[-1] % 4, 0)),
    "from a quarter of what is padded to a multiple of 16": lambda x: (
        y := F.pad(x, (0, -x.shape[-1] % 16))
    )[..., y.shape[-1] // 4 :],
    "from a quarter of what is pooled": lambda x: (y := F.max_pool1d(x, 4))[
        ..., y.shape[-1] // 4 :
    ],
}


@pytest.mark.parametrize("name", TELLING)
@pytest.mark.parametrize("size", range(4, 33))
def test_a_size_that_is_the_same_in_both_looks_tells_nothing(name: str, size: int) -> None:
    """A remainder or a part of the size may be the same by chance at a second one."""
    report = rfgraph.analyze(Plain(TELLING[name]), (1, 1, size))
    assert not report.output.at(("x", 2)).closed_form


class Plain(nn.Module):
    """A function, as a model."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (1, 1, 5, 6), (1, 1, 12, 11)])
def test_a_pool_by_the_size_is_whole_beside_an_axis_of_one_position(shape: Any) -> None:
    """Its one row is repeated where there are more: that is no reason not to look there."""
    conv = nn.Conv2d(1, 1, (2, 3), stride=3, padding=(0, 2), dilation=2)

    def forward(x: Tensor) -> Tensor:
        y: Tensor = conv(x)
        return y + F.avg_pool2d(y, y.shape[2:])

    row = rfgraph.analyze(Plain(forward), shape).output.at(("x", 3))
    assert row.whole and row.closed_form


def test_at_most_three_looks_are_taken(captures: list[Any]) -> None:
    rfgraph.analyze(Plain(lambda x: F.pad(x, (0, 64 - x.shape[-1] % 64))[..., :64]), (1, 1, 5))
    assert len(captures) <= 3


def test_sizes_of_inputs_that_do_not_grow_alike_are_tried_in_proportion() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, side: Tensor) -> Tensor:
            return x[..., x.shape[-1] // 4 :] * side

    report = rfgraph.analyze(Two(), {"x": (1, 1, 8), "side": (1, 1, 6)})
    assert not report.output.at(("x", 2)).closed_form


@pytest.mark.parametrize("side", [(1, 6, 1), (1, 1, 1), (1,)])
def test_an_input_of_one_position_may_be_repeated_at_a_second_size(side: tuple[int, ...]) -> None:
    """It is what the model makes of the other: no size of that fits by luck."""

    class Windows(nn.Module):
        def forward(self, x: Tensor, side: Tensor) -> Tensor:
            y = x[..., x.shape[-1] // 4 : -1].unfold(2, 3, 3).transpose(2, 3).flatten(1, 2)
            return y * side

    check = rfgraph.verify(Windows(), {"x": (1, 2, 5), "side": side})
    assert check.exact, str(check)
    report = rfgraph.analyze(Windows(), {"x": (1, 2, 5), "side": side})
    assert report.output.rfs["x"].closed_form == (False,)


@pytest.mark.parametrize("size, side", [(4, 3), (8, 5)])
@pytest.mark.parametrize("rows", [(), (4,)])
def test_inputs_in_proportion_are_looked_at_further_where_a_part_is_the_same(
    rows: tuple[int, ...], size: int, side: int
) -> None:
    """A quarter of 4 and of 6 is one position, of 9 two."""

    class Two(nn.Module):
        def forward(self, x: Tensor, side: Tensor) -> Tensor:
            x = x[..., x.shape[-1] // 4 :]
            return x[..., x.shape[-1] // 4 :] * side

    shapes = {"x": (1, 1, *rows, size), "side": (1, 1, *rows, side)}
    report = rfgraph.analyze(Two(), shapes)
    assert not any(node.rfs["x"].closed_form[-1] for node in report.nodes[2:])
    assert rfgraph.verify(Two(), shapes, rows="all").exact
