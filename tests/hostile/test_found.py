"""What the generator has found, each with the value that is right."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph import Axis
from rfgraph.language.vocabulary import Signature
from tests.float64 import in_float64
from tests.hostile.oracle import held
from tests.hostile.program import Program, Statement

Function = Callable[[Tensor], Tensor]


class Calls(nn.Module):
    """A function, and what it holds."""

    def __init__(self, function: Function, held: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.held = function, held

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def analysed(
    function: Function, shape: Sequence[int], axes: Sequence[int] | None = None
) -> rfgraph.Report:
    return rfgraph.analyze(Calls(function), tuple(shape), axes=axes)


def reads(report: rfgraph.Report, dim: int, *place: int) -> list[int]:
    where = dict(enumerate(place))
    return report.output.at(Axis("x", dim)).members(where).tolist()


def text(*lines: str, shape: tuple[int, ...], axes: tuple[int, ...] | None = None) -> Program:
    statements = [Statement(f"v{i}", (f"v{i} = {line}",), "") for i, line in enumerate(lines)]
    return Program(shape, tuple(statements), axes=axes)


# --- understated ------------------------------------------------------------------------------------


def test_the_diagonal_of_linalg_is_of_the_last_two_dims() -> None:
    report = analysed(torch.linalg.diagonal, (3, 7, 5, 2), range(4))
    assert report.output.shape == (3, 7, 2)
    assert [reads(report, dim, 2, 6, 1) for dim in range(4)] == [[2], [6], [1], [1]]
    shifted = analysed(lambda x: torch.linalg.diagonal(x, offset=1), (3, 7, 5, 8), range(4))
    assert [reads(shifted, dim, 2, 6, 4) for dim in range(4)] == [[2], [6], [4], [5]]
    assert rfgraph.verify(Calls(torch.linalg.diagonal), (3, 7, 5, 2), axes=[0, 1, 2, 3]).agrees


def test_a_distance_to_zero_is_read() -> None:
    """A distance is no product: a 0 in what it is measured to hides nothing."""
    edges = torch.tensor([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
    report = analysed(lambda x: torch.cdist(x, edges), (1, 4, 2), (1, 2))
    for place in range(3):
        assert reads(report, 2, 0, 3, place) == [0, 1]
        assert reads(report, 1, 0, 3, place) == [3]
    product = analysed(lambda x: x @ edges.mT, (1, 4, 2), (1, 2))
    assert [reads(product, 2, 0, 3, place) for place in range(3)] == [[1], [], [0]]


@pytest.mark.parametrize("dim", [0, 1])
def test_what_is_picked_of_a_tensor_of_the_model_reads_the_index(dim: int) -> None:
    table = torch.randn(5, 4)
    report = analysed(lambda x: table.index_select(dim, (x > 0).long()), (7,), (0,))
    place = [2, 2]
    place[dim] = 6
    assert reads(report, 0, *place) == [6]
    gathered = analysed(lambda x: table.gather(dim, (x > 0).long()), (3, 2), (0, 1))
    assert [reads(gathered, d, 2, 1) for d in (0, 1)] == [[2], [1]]


def test_of_very_many_elements_it_is_not_asked_where_each_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second size of four tracked axes had 10**8 elements, which were laid out at twice the size besides."""
    monkeypatch.setattr("rfgraph.rules.moves._MOST_ASKED", 20)
    report = analysed(lambda x: torch.rot90(x, 1, (2, 3)), (1, 1, 3, 7))
    row = report.output.at(Axis("x", 3))
    assert [limit.reason for limit in row.limits] == ["rot90 counts positions at this size"]
    assert [reads(report, 3, 0, 0, o, 0) for o in range(7)] == [[6 - o] for o in range(7)]
    monkeypatch.setattr("rfgraph.rules.moves._MOST", 20)
    with pytest.raises(
        rfgraph.RfgraphError, match=r"rot90 moves 21 elements at node .*smaller input"
    ):
        analysed(lambda x: torch.rot90(x, 1, (2, 3)), (1, 1, 3, 7))


# --- closed forms -----------------------------------------------------------------------------------


def test_groups_of_channels_are_as_large_as_the_analysed_size_has_them() -> None:
    report = analysed(lambda x: F.group_norm(x, 2), (1, 8, 3), (1, 2))
    assert reads(report, 1, 0, 5, 0) == [4, 5, 6, 7]
    assert not report.output.at(Axis("x", 1)).closed_form
    assert analysed(lambda x: F.group_norm(x, 2), (1, 8, 3)).output.rf.closed_form == (True,)
    one = analysed(lambda x: F.group_norm(x, 1), (1, 8, 3), (1,)).output.rf
    assert one.whole == (True,) and "statistics" in str(one.causes)


def test_a_cross_product_of_the_first_dim_of_three_has_that_dim_at_this_size_only() -> None:
    found = analysed(lambda x: torch.cross(x, x * 2), (3, 4), (0,)).output
    assert found.rf.closed_form == (False,) and reads(
        analysed(lambda x: torch.cross(x, x * 2), (3, 4), (0,)), 0, 1, 0
    ) == [0, 2]
    rows = analysed(lambda x: torch.cross(x, x * 2), (7, 2, 3), (0, 1, 2)).output.rf
    assert rows.closed_form == (False, False, False)  # of (7, 3, 3), it is the second
    assert analysed(lambda x: torch.cross(x, x * 2, dim=0), (3, 4), (0,)).output.rf.closed_form == (
        True,
    )


@pytest.mark.parametrize(
    ("sections", "piece", "starts"),
    [([1, 9], 1, [1, 2, 3, 4]), ([-9, 2], 1, [0, 1]), ([3, 5, 7], 1, [3, 4])],
)
def test_pieces_that_begin_outside_begin_where_slices_do(
    sections: list[int], piece: int, starts: list[int]
) -> None:
    report = analysed(lambda x: x.tensor_split(sections)[piece], (5,), (0,))
    assert [reads(report, 0, place) for place in range(len(starts))] == [[i] for i in starts]


def test_an_empty_piece_begins_where_it_does_at_a_size_that_has_it() -> None:
    report = analysed(lambda x: x.tensor_split([1, 3])[2], (2,), (0,))
    assert report.output.shape == (0,)
    larger = analysed(lambda x: x.tensor_split([1, 3])[2], (6,), (0,))
    assert report.output.rf.offset == larger.output.rf.offset == (3,)


def test_a_roll_of_the_flattened_tensor_is_of_rows_at_this_size_only() -> None:
    """Eight elements are one row of 2 x 4 here: along the last dims nothing moves."""
    report = analysed(lambda x: x.roll(8), (6, 2, 4), (0, 1, 2))
    assert [reads(report, dim, 3, 1, 2) for dim in range(3)] == [[2], [1], [2]]
    assert report.output.rf.closed_form == (False, False, False)


# --- nothing in it, no dims -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.index_select(1, torch.tensor([], dtype=torch.long)),
        lambda x: nn.CircularPad2d((0, 0, 1, -1))(x @ x.mT)[:, :, :0],
        lambda x: x[:, :, :0].roll(1, 2),
        lambda x: x[:0].softmax(-1),
        lambda x: torch.pdist(x[:1, 0, 0]),
        lambda x: F.glu(x[..., :0]),
        lambda x: torch.kron(x, x[..., :0]),
        lambda x: x.index_select(1, torch.tensor([], dtype=torch.long)).unfold(-1, 3, 1),
        lambda x: x[..., :0].cumsum(-1),
    ],
)
def test_figures_of_what_has_no_positions_can_be_asked_for(function: Function) -> None:
    report = analysed(function, (3, 4, 4, 6), range(4))
    assert 0 in report.output.shape
    assert str(report) and report.to_json()
    for axis in report.axes:
        row = report.output.at(axis)
        assert row.interior is None or row.size is not None
        assert row.reach is None or len(row.reach) == 2


def test_circular_padding_that_leaves_nothing_of_an_axis_has_no_stride() -> None:
    report = analysed(lambda x: nn.CircularPad2d((-1, 0, 1, 1))(x @ x.mT), (5, 3, 1, 4), range(4))
    assert report.output.shape == (5, 3, 3, 0)
    rows = [report.output.at(axis) for axis in report.axes]
    assert [row.stride for row in rows] == [1, 1, None, None]
    assert rows[2].reach is None and rows[2].lookahead is None


@pytest.mark.parametrize(
    "function",
    [
        lambda s: s.flip(-1),
        lambda s: s.sum(-1),
        lambda s: s.amin(0),
        lambda s: s.min(-1)[0],
        lambda s: s.prod(0),
        lambda s: s.moveaxis(0, -1),
        lambda s: s.index_select(0, torch.tensor([0])),
        lambda s: s.gather(-1, torch.tensor(0)),
        lambda s: s.index_fill(0, torch.tensor(0), 2.0) + s,
        lambda s: s.index_add(0, torch.tensor(0), s),
        lambda s: s.cumsum(0),
        lambda s: F.normalize(s, dim=0),
    ],
)
def test_a_tensor_without_dims_has_a_dim_0_for_who_asks(function: Function) -> None:
    report = analysed(lambda x: function(x[:, 1:3].sum()), (2, 5), (1,))
    assert report.output.shape == () and reads(report, 1) == [1, 2]


def test_a_tensor_in_the_place_of_a_dim_is_compared_with() -> None:
    report = analysed(lambda x: torch.max(x, torch.tensor(1)), (2, 3), (0, 1))
    assert report.output.shape == (2, 3) and reads(report, 1, 0, 2) == [2]
    dim = torch.tensor(1)
    for call in (lambda x: torch.min(x, dim, False)[0], lambda x: x.max(dim=dim).values):
        assert analysed(call, (2, 3), (0, 1)).output.shape == (2,)


def test_pieces_of_nothing_are_as_many_as_were_asked_for() -> None:
    report = analysed(lambda x: x[..., :0].chunk(4, -1)[3], (2, 3), (1,))
    assert report.output.shape == (2, 0)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_stack_of_one_row_each_is_picked_of(place: int) -> None:
    report = analysed(lambda x: torch.stack([x, x.flip(0), x], 0)[place, [2]], (7, 1, 3), (0,))
    assert reads(report, 0, 0, 0, 0) == [4 if place == 1 else 2]


# --- spellings --------------------------------------------------------------------------------------

T, N = torch.tensor, np.int64


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [
        (lambda x: x.narrow(T(1), 0, 2), lambda x: x.narrow(1, 0, 2)),
        (lambda x: x.select(T(1), T(1)), lambda x: x.select(1, 1)),
        (lambda x: x.chunk(T(2), 1)[1], lambda x: x.chunk(2, 1)[1]),
        (lambda x: x.split(T(2), 1)[1], lambda x: x.split(2, 1)[1]),
        (lambda x: x.tensor_split(T(2), 1)[1], lambda x: x.tensor_split(2, 1)[1]),
        (lambda x: x.tensor_split(T([1, 2]), 1)[1], lambda x: x.tensor_split([1, 2], 1)[1]),
        (lambda x: x.swapaxes(T(1), T(2)), lambda x: x.swapaxes(1, 2)),
        (lambda x: x.moveaxis(T(1), T(2)), lambda x: x.moveaxis(1, 2)),
        (lambda x: torch.cat([x, x], T(1)), lambda x: torch.cat([x, x], 1)),
        (lambda x: x.sum((T(1), 2)), lambda x: x.sum((1, 2))),
        (lambda x: F.avg_pool2d(x, T(2)), lambda x: F.avg_pool2d(x, 2)),
        (lambda x: x.roll(N(1), N(2)), lambda x: x.roll(1, 2)),
        (lambda x: F.channel_shuffle(x, N(3)), lambda x: F.channel_shuffle(x, 3)),
        (lambda x: x.unfold(N(2), N(2), N(1)), lambda x: x.unfold(2, 2, 1)),
        (lambda x: x.unfold(T(3), T(2), T(2)), lambda x: x.unfold(3, 2, 2)),
        (lambda x: x.repeat_interleave(T([2]), 1), lambda x: x.repeat_interleave(2, 1)),
        (lambda x: x.repeat_interleave(T(2)), lambda x: x.repeat_interleave(2)),
        (lambda x: torch.fft.fftn(x, N(2)), lambda x: torch.fft.fftn(x, (2,))),
        (lambda x: x.reshape(torch.Size([N(3), 8])), lambda x: x.reshape(3, 8)),
        (lambda x: x[0].bmm(mat2=x[0].mT), lambda x: x[0].bmm(x[0].mT)),
        (lambda x: x[0, 0].mv(vec=torch.ones(4)), lambda x: x[0, 0].mv(torch.ones(4))),
        (lambda x: x.tile(dims=(1, 2)), lambda x: x.tile(1, 2)),
        (lambda x: x.cumsum(axis=2), lambda x: x.cumsum(2)),
        (lambda x: x[0, 0].H, lambda x: x[0, 0].mT),
        (lambda x: (x * (1 - 2j)).real, lambda x: x * 1.0),
    ],
)
def test_a_spelling_reads_what_the_plain_one_reads(spelled: Function, plain: Function) -> None:
    one, other = (analysed(function, (1, 3, 2, 4), (1, 2, 3)) for function in (spelled, plain))
    assert one.output.shape == other.output.shape and one.to_json()
    for dim in (1, 2, 3):
        for place in np.ndindex(*one.output.shape):
            assert reads(one, dim, *place) == reads(other, dim, *place)


@pytest.mark.parametrize(
    "module",
    [
        nn.ChannelShuffle(N(3)),  # type: ignore[arg-type]
        nn.Conv2d(3, 2, (N(2), 2), stride=N(1)),
        nn.AvgPool2d(N(2)),
        nn.ZeroPad2d((N(1), 1, 0, 0)),
    ],
)
def test_a_module_may_hold_numbers_of_numpy(module: nn.Module) -> None:
    report = rfgraph.analyze(module, (1, 3, 4, 5))
    assert report.output.shape == tuple(module(torch.zeros(1, 3, 4, 5)).shape)
    assert report.to_json()


def test_arguments_have_the_names_of_every_spelling_and_no_others() -> None:
    signature = Signature.parse("input, other, dim=None")
    assert signature.bind(("a",), {"mat2": "b", "axis": 1}) == {
        "input": "a",
        "other": "b",
        "dim": 1,
    }
    with pytest.raises(TypeError, match="no argument 'oops'"):
        signature.bind(("a",), {"mat2": "b", "oops": 1})
    with pytest.raises(TypeError, match="no argument 'mat2'"):
        signature.bind(("a",), {"other": "b", "mat2": "c"})


def test_torch_s_own_losses_reduce_nothing_unless_asked_to() -> None:
    for function in (torch.kl_div, torch.binary_cross_entropy_with_logits):
        report = analysed(lambda x, f=function: f(x, x * 2), (2, 3), (0, 1))  # type: ignore[misc]
        assert report.output.shape == (2, 3) and reads(report, 1, 0, 2) == [2]
    summed = analysed(lambda x: torch.kl_div(x, x * 2, 2), (2, 3), (0, 1))
    assert summed.output.shape == () and reads(summed, 1) == [0, 1, 2]


def test_a_covariance_of_one_row_has_no_dims() -> None:
    report = analysed(torch.cov, (1, 5), (0, 1))
    assert report.output.shape == () and reads(report, 1) == [0, 1, 2, 3, 4]


# --- by perturbation --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program",
    [
        text("torch.linalg.diagonal(x)", shape=(2, 8, 2, 5), axes=(0, 1, 2, 3)),
        text(
            "x.sum((0, 1))",
            "torch.cdist(v0, v0.relu() * 0 + torch.eye(3, 2))",
            shape=(3, 2, 3, 2),
            axes=(0, 3),
        ),
        text("x[None]", "F.group_norm(v0, 2)", shape=(8,), axes=(0,)),
        text("torch.tensor_split(x, [1, 3], dim=1)[2]", shape=(7, 2), axes=(0, 1)),
        text("torch.stack([x, x], -5)", "v0[1, [2]]", shape=(7, 1, 1, 6), axes=(0, 3)),
        text("torch.ones(5, 4).index_select(1, (x > 0).long())", shape=(6,), axes=(0,)),
    ],
)
def test_what_was_found_is_held(program: Program) -> None:
    with in_float64():
        assert not held(program, random.Random(0), positions=60).faults


def test_numbers_that_modules_were_given_as_tensors_are_numbers() -> None:
    for module in (nn.AdaptiveMaxPool1d(torch.tensor(3)), nn.MaxPool1d(3, torch.tensor(2))):
        report = rfgraph.analyze(Calls(module, module), (2, 6, 7))
        assert report.output.shape == (2, 6, 3)
        assert reads(report, 2, 0, 0, 1) == [2, 3, 4]


def test_a_mask_of_no_elements_hides_nothing() -> None:
    made = torch.zeros(0, 3)
    report = analysed(lambda x: x[:, :, :0].tril(2) * 2 + made, (3, 4, 5, 3))
    assert report.output.shape == (3, 4, 0, 3)


def test_taking_nothing_reads_nothing() -> None:
    nothing = torch.tensor([], dtype=torch.long)
    report = analysed(lambda x: x[..., :0].take(nothing), (1, 6, 4, 3))
    assert report.output.shape == (0,)
    rows = [report.output.at(axis) for axis in report.axes]
    assert [(row.size, row.interior) for row in rows] == [(None, None), (0, (0, 0))]


@pytest.mark.parametrize("name", ["nansum", "nanmean"])
def test_a_sum_over_no_dims_is_one_of_all(name: str) -> None:
    """Torch's meta kernels of these two say otherwise."""
    for function in (
        lambda x: getattr(x, name)([], True),
        lambda x: getattr(torch, name)(input=x, dim=(), keepdim=True),
    ):
        assert analysed(function, (3, 2, 4)).output.shape == (1, 1, 1)


def test_a_stack_of_nothing_has_figures() -> None:
    """Of a tensor that lies along a dim without positions, on which its sets do not depend."""

    def function(x: Tensor) -> Tensor:
        part = torch.nn.CircularPad2d([0, -1, 2, 2])(x.rot90().amax((0,))).narrow(0, 0, 0)
        return torch.stack((part, part))

    report = analysed(function, (1, 3, 4, 3, 8), axes=(0, 1, 2, 3, 4))
    assert [report.output.at(axis).size for axis in report.axes]


def test_tensors_of_no_elements_share_no_memory() -> None:
    """All of them begin at address 0: another one was taken for a view of what had been written into."""

    def function(x: Tensor) -> Tensor:
        made = torch.rsqrt(x[..., :0], out=torch.empty(1, 2, 0, dtype=x.dtype))
        return made.reshape_as(torch.ones(2, 0)) + torch.ones(2, 0)

    assert analysed(function, (1, 2, 4)).output.shape == (2, 0)


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x.narrow(1, 0, 1), lambda x: x.mT.mT])
def test_circular_padding_goes_round_once_at_most_whatever_the_strides(make: Function) -> None:
    """Of what a negative side leaves; else torch refuses it, or returns memory that it has not written."""
    for shape, pad in (((2, 3, 1), (1, -1)), ((2, 3, 2), (-1, 2)), ((2, 3, 3), (3, -1))):
        held = nn.CircularPad1d(pad)
        for model in (
            Calls(lambda x, pad=pad: F.pad(make(x), pad, mode="circular")),
            Calls(lambda x, held=held: held(make(x)), held),
        ):
            with pytest.raises(rfgraph.RfgraphError, match=r"goes round \d more than once"):
                rfgraph.analyze(model, shape)
    report = analysed(lambda x: F.pad(make(x), (-1, 2), mode="circular"), (2, 3, 3))
    assert [reads(report, 2, 0, 0, o) for o in range(4)] == [[1], [2], [1], [2]]


def test_a_convolution_of_no_channels_gives_none() -> None:
    weight = torch.zeros(3, 0, 2, 2)
    report = analysed(lambda x: F.conv2d(x[:, :0], weight), (1, 2, 5, 4))
    assert report.output.shape == F.conv2d(torch.zeros(1, 0, 5, 4), weight).shape == (1, 0, 4, 3)


def test_a_bound_may_be_computed_beside_a_number() -> None:
    """Torch takes it for a number then, and asks for its value."""
    for function in (lambda x: torch.clamp(x, x.min(), 2), lambda x: x.clip(0.5, x[0, 0, 0])):
        report = analysed(function, (1, 2, 3))
        assert report.output.shape == (1, 2, 3)
        assert rfgraph.verify(Calls(function), (1, 2, 3)).agrees
    assert reads(report, 2, 0, 1, 2) == [0, 2]


# --- closed forms -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(2)[..., 5],
        lambda x: x.flatten(2)[..., 5:6],
        lambda x: x.flatten(2)[..., [5]],
        lambda x: x.flatten(2).narrow(-1, 3, 1),
        lambda x: x.flatten(2).index_select(-1, torch.tensor([5])),
        lambda x: x.mT.reshape(3, 2, -1).select(2, 5),
        lambda x: x.view(-1)[5],
        lambda x: x.amax(0).flatten(1)[:, 5],
        lambda x: torch.cat([torch.zeros(3, 2, 1), x.flatten(2)], -1)[..., 6],
    ],
)
def test_a_position_of_merged_axes_is_another_at_another_size(function: Function) -> None:
    """Position 5 of a map 4 wide is row 1; of one 6 wide, row 0."""
    report = analysed(function, (3, 2, 3, 4))
    for axis in report.axes:
        row = report.output.at(axis)
        assert not row.closed_form and row.relation is not None
        assert ["merged axes" in limit.reason for limit in row.limits] == [True]


def test_the_first_of_merged_axes_is_the_same_at_any_size() -> None:
    """So is any position of windows, which one axis has for itself."""
    for function in (
        lambda x: x.flatten(2)[..., 0],
        lambda x: torch.cat([torch.zeros(3, 2, 1), x.flatten(2)], -1)[..., 1:2],
        lambda x: x.unfold(3, 2, 2).flatten(3)[..., 3],
    ):
        report = analysed(function, (3, 2, 3, 4))
        assert all(report.output.at(axis).closed_form for axis in report.axes)
    assert report.output.at(Axis("x", 3)).relation == rfgraph.Relation.constant([3])


def test_nodes_that_look_up_what_another_size_has_as_a_constant_are_no_loop() -> None:
    """Two from one line, where the forward asks for a size and takes no second one."""

    def function(x: Tensor) -> Tensor:
        row = F.avg_pool2d(x, [3, 2], stride=[3, 1], padding=1)
        assert row.shape[2] == 1 and x.shape[3] == 6
        first, second = (F.unfold(row * factor, 1) for factor in (1.0, 2.0))
        return first + second

    assert reads(analysed(function, (2, 4, 2, 6)), 3, 0, 0, 3) == [2, 3]


def test_what_cannot_be_computed_is_not_known_of_what_is_made_of_it() -> None:
    """A constant written by `out=`: its values were asked for where nobody had them."""
    row = torch.ones(2)

    def function(x: Tensor) -> Tensor:
        held = torch.arccos(x.new_tensor([1.0, 0.5]), out=torch.empty(2))
        return torch.addmv(x.flatten()[:1], held[None], row)

    report = analysed(function, (4, 1, 5))
    assert reads(report, 2, 0) == [0]
