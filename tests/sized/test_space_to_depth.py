"""Space-to-depth, patches and windows: one field whatever the spelling, at any size, right at every position."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import einops
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from tests.sized.poison import Apply, assert_equal_at_every_position

Function = Callable[[nn.Module, Tensor], Tensor]

SHAPE = (1, 2, 6, 8)
LARGER = ((1, 2, 10, 8), (1, 2, 6, 14))


def parts() -> dict[str, nn.Module]:
    """The modules that the functions of this file use."""
    return {
        "conv": nn.Conv2d(8, 8, (3, 4), padding=1),
        "up": nn.ConvTranspose2d(8, 2, 3, stride=2, padding=1),
        "grouped": nn.Conv2d(8, 4, (2, 3), groups=4),
    }


def views(self: nn.Module, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return (
        x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, -1, h // 2, w // 2)
    )


def one_dim_at_a_time(self: nn.Module, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    rows = x.view(b, c, h // 2, 2, w).transpose(2, 3).reshape(b, 2 * c, h // 2, w)
    return rows.view(b, 2 * c, h // 2, w // 2, 2).permute(0, 1, 4, 2, 3).flatten(1, 2)


def columns(self: nn.Module, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return F.unfold(x, 2, stride=2).view(b, 4 * c, h // 2, w // 2)


def pieces(self: nn.Module, x: Tensor) -> Tensor:
    rows = torch.cat([part.squeeze(3) for part in x.unflatten(2, (-1, 2)).split(1, 3)], 1)
    return torch.cat([part.squeeze(4) for part in rows.unflatten(3, (-1, 2)).chunk(2, 4)], 1)


def patch_merging(self: nn.Module, x: Tensor) -> Tensor:
    """Swin's, in channels-last."""
    x = x.permute(0, 2, 3, 1)
    merged = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)
    return merged.permute(0, 3, 1, 2)


def merging_views(self: nn.Module, x: Tensor) -> Tensor:
    """Swin's, as it is written with views."""
    x = x.permute(0, 2, 3, 1)
    b, h, w, c = x.shape
    merged = x.reshape(b, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 4, 2, 5).flatten(3)
    return merged.permute(0, 3, 1, 2)


SPELLINGS: dict[str, Function] = {
    "slices and cat": lambda self, x: torch.cat(
        [x[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], 1
    ),
    "slices and stack": lambda self, x: torch.stack(
        [x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 2
    ).flatten(1, 2),
    "view and permute": views,
    "one dim at a time": one_dim_at_a_time,
    "einops": lambda self, x: einops.rearrange(x, "b c (h i) (w j) -> b (c i j) h w", i=2, j=2),
    "einops, places first": lambda self, x: einops.rearrange(
        x, "b c (h i) (w j) -> b (j i c) h w", i=2, j=2
    ),
    "Tensor.unfold": lambda self, x: (
        x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 1, 4, 5, 2, 3).flatten(1, 3)
    ),
    "F.unfold": columns,
    "pixel_unshuffle": lambda self, x: F.pixel_unshuffle(x, 2),
    "unflatten": lambda self, x: (
        x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    ),
    "split and chunk": pieces,
    "patch merging": patch_merging,
    "patch merging by views": merging_views,
}

# What follows, and per axis: size, stride, offset, halo, phases
AFTER: dict[str, tuple[Function, list[tuple[object, ...]]]] = {
    "nothing": (
        lambda self, y: y,
        [(2, 2, 0, (0, 0), ((0, 1),))] * 2,
    ),
    "convolution": (
        lambda self, y: self.conv(y),
        [(6, 2, -2, (2, 2), (tuple(range(-2, 4)),)), (8, 2, -2, (2, 4), (tuple(range(-2, 6)),))],
    ),
    "nearest upsampling": (
        lambda self, y: F.interpolate(y, scale_factor=2),
        [(2, 1, 0, (0, 0), ((0, 1), (0, 1)))] * 2,
    ),
    "convolution, nearest upsampling": (
        lambda self, y: F.interpolate(self.conv(y), scale_factor=2),
        [
            (6, 1, -2, (2, 2), (tuple(range(-2, 4)),) * 2),
            (8, 1, -2, (2, 4), (tuple(range(-2, 6)),) * 2),
        ],
    ),
    "convolution, depth-to-space": (
        lambda self, y: F.pixel_shuffle(self.conv(y), 2),
        [
            (6, 1, -2, (2, 2), (tuple(range(-2, 4)),) * 2),
            (8, 1, -2, (2, 4), (tuple(range(-2, 6)),) * 2),
        ],
    ),
    "convolution, depth-to-space by views": (
        lambda self, y: einops.rearrange(self.conv(y), "b (c i j) h w -> b c (h i) (w j)", i=2, j=2),
        [
            (6, 1, -2, (2, 2), (tuple(range(-2, 4)),) * 2),
            (8, 1, -2, (2, 4), (tuple(range(-2, 6)),) * 2),
        ],
    ),
    "nearest upsampling by expand, convolution": (
        lambda self, y: self.conv(
            einops.repeat(y, "b c h w -> b c (h i) (w j)", i=2, j=2)
        ),
        [
            (4, 1, -2, (2, 2), ((-2, -1, 0, 1), (0, 1, 2, 3))),
            (6, 1, -2, (2, 2), ((-2, -1, 0, 1, 2, 3), (0, 1, 2, 3))),
        ],
    ),
    "transposed convolution": (
        lambda self, y: self.up(y),
        [(4, 1, 0, (0, 2), ((0, 1), (0, 1, 2, 3)))] * 2,
    ),
    "grouped convolution": (
        lambda self, y: self.grouped(y),
        [(4, 2, 0, (0, 2), ((0, 1, 2, 3),)), (6, 2, 0, (0, 4), (tuple(range(6)),))],
    ),
    "a gate of channels": (
        lambda self, y: F.glu(y, 1),
        [(2, 2, 0, (0, 0), ((0, 1),))] * 2,
    ),
}  # fmt: skip


def figures(field: rfgraph.ReceptiveField) -> list[tuple[object, ...]]:
    return [(r.size, r.stride, r.offset, r.halo, r.phases) for r in field]


def assert_as_claimed(model: nn.Module, node: rfgraph.NodeReport) -> None:
    """A closed form is the exact answer wherever it stays inside of the input, at this size and at others."""
    field = node.rf
    assert field.closed_form == (True, True) and field.limits == () and field.causes == ()
    for shape in LARGER:
        other = rfgraph.analyze(model, torch.empty(shape, dtype=torch.float64)).output
        assert other.rf.relations == field.relations and other.dims == node.dims
        for axis, (relation, dim) in enumerate(zip(field.relations, other.dims, strict=True)):
            middle = [other.shape[d] // 2 for d in other.dims]
            for place in range(other.shape[dim]):
                claimed = relation.at(place)
                if min(claimed) >= 0 and max(claimed) < shape[2 + axis]:
                    position = [*middle[:axis], place, *middle[axis + 1 :]]
                    assert other.reads(axis, position).tolist() == list(claimed)


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_space_to_depth_has_one_field_in_every_spelling(spelling: str, after: str) -> None:
    onward, expected = AFTER[after]
    model = Apply(lambda self, x: onward(self, SPELLINGS[spelling](self, x)), **parts())
    node = assert_equal_at_every_position(model, SHAPE)
    assert node.dims == (2, 3)
    assert figures(node.rf) == expected
    assert_as_claimed(model, node)


def test_the_center_is_counted_in_steps_of_the_node() -> None:
    report = rfgraph.analyze(Apply(SPELLINGS["view and permute"]), SHAPE)
    assert report.output.rf.center(3) == (Fraction(13, 2), Fraction(13, 2))
    # between the reshapes there are no steps of its own: two dims say where a row is
    assert report["view"].dims == (2, 3, 4, 5)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_bilinear_upsampling_behind_it_has_one_field_too(spelling: str) -> None:
    """Poison counts the taps that a border clamps, whose weight is 0: figures alone."""
    model = Apply(lambda self, x: F.interpolate(SPELLINGS[spelling](self, x), None, 2, "bilinear"))
    for shape in (SHAPE, *LARGER):
        field = rfgraph.analyze(model, shape).output.rf
        assert figures(field) == [(4, 1, -2, (2, 2), ((-2, -1, 0, 1), (0, 1, 2, 3)))] * 2
        assert field.closed_form == (True, True)


def both_ways(self: nn.Module, x: Tensor) -> Tensor:
    return self.conv(views(self, x)) + self.conv(F.pixel_unshuffle(x, 2))


def test_two_spellings_join_into_one_closed_form() -> None:
    model = Apply(both_ways, **parts())
    node = assert_equal_at_every_position(model, SHAPE)
    assert figures(node.rf) == AFTER["convolution"][1]
    assert_as_claimed(model, node)


BACK: dict[str, Function] = {
    "pixel_shuffle": lambda self, x: F.pixel_shuffle(views(self, x), 2),
    "after pixel_unshuffle": lambda self, x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
    "by views": lambda self, x: einops.rearrange(
        F.pixel_unshuffle(x, 2), "b (c i j) h w -> b c (h i) (w j)", i=2, j=2
    ),
    "from columns": lambda self, x: F.pixel_shuffle(columns(self, x), 2),
    "halves": lambda self, x: x.unflatten(2, (2, -1)).flatten(2, 3).reshape(x.shape),
}


@pytest.mark.parametrize("name", BACK)
def test_depth_to_space_gives_the_plain_axis_back(name: str) -> None:
    model = Apply(BACK[name], **parts())
    node = assert_equal_at_every_position(model, SHAPE)
    assert node.rf.relations == (rfgraph.Relation.identity(),) * 2
    assert_as_claimed(model, node)


CHANNELS: dict[str, tuple[Function, list[tuple[object, ...]]]] = {
    # of the channels (c, i, j) the first has i = j = 0
    "the first": (lambda self, x: views(self, x)[:, :1], [(1, 2, 0, (0, -1), ((0,),))] * 2),
    "the last": (lambda self, x: F.pixel_unshuffle(x, 2)[:, -1:], [(1, 2, 1, (-1, 0), ((1,),))] * 2),
    "one": (
        lambda self, x: F.pixel_unshuffle(x, 2)[:, 2],
        [(1, 2, 1, (-1, 0), ((1,),)), (1, 2, 0, (0, -1), ((0,),))],
    ),
    "the second half": (
        lambda self, x: F.pixel_unshuffle(x, 2).chunk(2, 1)[1],
        [(2, 2, 0, (0, 0), ((0, 1),))] * 2,
    ),
    "the last place of a row": (
        lambda self, x: x.unflatten(2, (-1, 2))[:, :, :, -1],
        [(1, 2, 1, (-1, 0), ((1,),)), (1, 1, 0, (0, 0), ((0,),))],
    ),
    "their mean": (lambda self, x: views(self, x).mean(1), [(2, 2, 0, (0, 0), ((0, 1),))] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_taken_after_space_to_depth_hold_at_any_size(name: str) -> None:
    function, expected = CHANNELS[name]
    model = Apply(function)
    node = assert_equal_at_every_position(model, SHAPE)
    assert figures(node.rf) == expected
    assert_as_claimed(model, node)


ONE_CHANNEL: dict[str, Function] = {
    "slices": lambda self, x: torch.cat([x[..., ::2], x[..., 1::2]], 1),
    "views": lambda self, x: x.reshape(x.shape[0], -1, 2).transpose(1, 2),
    "frames": lambda self, x: x.unfold(2, 2, 2)[:, 0].transpose(1, 2),
}


@pytest.mark.parametrize("spelling", ONE_CHANNEL)
@pytest.mark.parametrize("factor", [1, 2])
def test_one_channel_of_sound_folded_into_two(spelling: str, factor: int) -> None:
    """Nothing tells its two places from a dim of space, until they are read together."""
    model = Apply(
        lambda self, x: self.conv(
            F.interpolate(ONE_CHANNEL[spelling](self, x), scale_factor=factor)
        ),
        conv=nn.Conv1d(2, 1, 3, padding=1),
    )
    node = assert_equal_at_every_position(model, (1, 1, 12))
    steps = (6, 2, -2, (2, 2), (tuple(range(-2, 4)),))
    halves = (4, 1, -2, (2, 2), ((-2, -1, 0, 1), (0, 1, 2, 3)))
    assert figures(node.rf) == [steps if factor == 1 else halves]
    other = rfgraph.analyze(model, torch.empty((1, 1, 18), dtype=torch.float64)).output
    assert other.rf.closed_form == (True,) and other.rf.relations == node.rf.relations


# --- windows that overlap -------------------------------------------------------------------------

OVERLAPPING: dict[str, tuple[Function, list[tuple[object, ...]]]] = {
    "frames": (
        lambda self, x: x.unfold(3, 4, 2).mean(-1),
        [(1, 1, 0, (0, 0), ((0,),)), (4, 2, 0, (0, 2), ((0, 1, 2, 3),))],
    ),
    "columns": (
        lambda self, x: F.unfold(x, 3, padding=1).mean(1).view(1, *x.shape[2:]),
        [(3, 1, -1, (1, 1), ((-1, 0, 1),))] * 2,
    ),
    "dilated columns": (
        lambda self, x: F.unfold(x, (3, 2), (2, 1), (2, 0)).amax(1).view(1, 6, 7),
        [(5, 1, -2, (2, 2), ((-2, 0, 2),)), (2, 1, 0, (0, 1), ((0, 1),))],
    ),
    "an involution": (
        lambda self, x: (
            F.unfold(x, 3, padding=1).view(1, 2, 9, *x.shape[2:]) * x.mean(1)[:, None, None]
        ).sum(2),
        [(3, 1, -1, (1, 1), ((-1, 0, 1),))] * 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OVERLAPPING)
def test_overlapping_windows_have_the_field_of_the_convolution_that_they_unroll(name: str) -> None:
    function, expected = OVERLAPPING[name]
    node = assert_equal_at_every_position(Apply(function), SHAPE)
    assert figures(node.rf) == expected
    assert node.rf.closed_form == (True, True) and node.rf.limits == ()


# --- patches --------------------------------------------------------------------------------------

PATCHES: dict[str, Function] = {
    "a strided convolution": lambda self, x: self.patch(x).flatten(2).transpose(1, 2),
    "einops": lambda self, x: self.linear(
        einops.rearrange(x, "b c (h i) (w j) -> b (h w) (i j c)", i=3, j=2)
    ),
    "F.unfold": lambda self, x: self.linear(F.unfold(x, (3, 2), stride=(3, 2)).transpose(1, 2)),
    "views": lambda self, x: self.linear(
        x.reshape(1, 2, x.shape[2] // 3, 3, x.shape[3] // 2, 2)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(1, -1, 12)
    ),
}


@pytest.mark.parametrize("name", PATCHES)
def test_a_patch_embedding_is_that_of_the_strided_convolution(name: str) -> None:
    modules = {"patch": nn.Conv2d(2, 5, (3, 2), (3, 2)), "linear": nn.Linear(12, 5)}
    node = assert_equal_at_every_position(Apply(PATCHES[name], **modules), (1, 2, 6, 8))
    assert node.dims == (1,)
    assert (node.rf.size, node.rf.stride, node.rf.offset) == ((3, 2), (3, 2), (0, 0))
    assert node.region((5,)) == ((3, 5), (2, 3))  # token 5 of rows of 4
    reasons = {limit.reason for limit in node.rf.limits}
    assert reasons == {"a reshape regroups the positions of this axis"}


def test_patches_put_back_into_an_image_are_strided_at_any_size() -> None:
    function = lambda self, x: self.linear(  # noqa: E731
        einops.rearrange(x, "b c (h i) (w j) -> b h w (i j c)", i=3, j=2)
    ).permute(0, 3, 1, 2)
    for shape in ((1, 2, 6, 8), (1, 2, 9, 10)):
        node = rfgraph.analyze(Apply(function, linear=nn.Linear(12, 5)), shape).output
        assert node.rf.closed_form == (True, True)
        assert node.rf.relations == (rfgraph.Relation.window(3, 3), rfgraph.Relation.window(2, 2))


# --- windows --------------------------------------------------------------------------------------


def attend(x: Tensor) -> Tensor:
    return torch.softmax(x @ x.transpose(-1, -2), -1) @ x


def in_windows(x: Tensor, size: int, inside: Callable[[Tensor], Tensor]) -> Tensor:
    """(N, H, W, C): `inside` of (N * windows, size * size, C), and back."""
    n, h, w, c = x.shape
    x = x.view(n, h // size, size, w // size, size, c).permute(0, 1, 3, 2, 4, 5)
    x = inside(x.reshape(-1, size * size, c))
    x = x.view(-1, h // size, w // size, size, size, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, h, w, c)


def shifted(x: Tensor, size: int, by: int) -> Tensor:
    moved = in_windows(torch.roll(x, (-by, -by), (1, 2)), size, attend)
    return torch.roll(moved, (by, by), (1, 2))


def test_windows_and_their_reverse_leave_the_plain_axis() -> None:
    model = Apply(
        lambda self, x: in_windows(x.permute(0, 2, 3, 1), 2, self.linear), linear=nn.Linear(2, 2)
    )
    node = assert_equal_at_every_position(model, SHAPE)
    assert node.rf.relations == (rfgraph.Relation.identity(),) * 2
    assert_as_claimed(model, node)


def test_attention_in_windows_reads_the_window_at_any_size() -> None:
    model = Apply(
        lambda self, x: x + in_windows(x.permute(0, 2, 3, 1), 2, attend).permute(0, 3, 1, 2)
    )
    node = assert_equal_at_every_position(model, SHAPE)
    assert figures(node.rf) == [(2, 1, 0, (0, 0), ((0, 1), (0, 1)))] * 2
    assert_as_claimed(model, node)


def test_scores_of_a_window_vary_with_the_window_alone() -> None:
    model = Apply(lambda self, x: in_windows(x.permute(0, 2, 3, 1), 2, attend))
    report = rfgraph.analyze(model, SHAPE)
    assert report["matmul"].dims == (0, 1, 2)  # each score reads a query and a key
    assert report["softmax"].dims == (0,) == report["matmul_1"].dims
    assert report["softmax"].region((5,)) == ((2, 3), (2, 3))  # window 5 of rows of 4


def test_a_shifted_pair_of_windows_holds_at_any_size() -> None:
    def pair(self: nn.Module, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = x + in_windows(x, 2, attend)
        return (x + shifted(x, 2, 1)).permute(0, 3, 1, 2)

    model = Apply(pair)
    node = assert_equal_at_every_position(model, (1, 1, 6, 8))
    # Shifted, 0 shares a window with -1, which has read -2 and -1; 1 shares one with 2.
    assert figures(node.rf) == [(4, 1, -2, (2, 2), ((-2, -1, 0, 1), (0, 1, 2, 3)))] * 2
    assert node.rf.closed_form == (True, True)
    assert node.reads(0, (3, 4)).tolist() == [2, 3, 4, 5]


def test_merging_patches_behind_windows_is_closed() -> None:
    def stage(self: nn.Module, x: Tensor) -> Tensor:
        x = in_windows(x.permute(0, 2, 3, 1), 4, attend).permute(0, 3, 1, 2)
        return self.conv(merging_views(self, x))

    node = assert_equal_at_every_position(Apply(stage, **parts()), (1, 2, 8, 12))
    assert node.rf.closed_form == (True, True) and node.rf.stride == (2, 2)
    # 3 taps, each a pair of rows; a pair lies in one window of 4
    assert node.rf.relations[0].at(2) == tuple(range(8)) and node.rf.relations[0].at(1) == tuple(
        range(8)
    )


# --- what holds at this size alone ----------------------------------------------------------------

GROUP = "reads a group of positions whole, as many as the analysed size has"
SPLIT = (
    "a reshape splits this axis into a fixed number of parts, whose length the analysed size has"
)
SIZED: dict[str, tuple[Function, str]] = {
    "a grid, as many places as it has cells": (lambda self, x: x.unflatten(3, (-1, 2)).sum(3), GROUP),
    "halves added up": (lambda self, x: x.unflatten(3, (2, -1)).sum(3), SPLIT),
    "the second half": (lambda self, x: x.unflatten(3, (2, -1))[..., 1, :], SPLIT),
    "the first of each half": (lambda self, x: x.unflatten(3, (2, -1))[..., 0], SPLIT),
    "the mean of each half": (lambda self, x: x.view(*x.shape[:3], 2, -1).mean(-1), GROUP),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZED)
def test_a_group_as_large_as_the_size_makes_it_is_told(name: str) -> None:
    function, reason = SIZED[name]
    node = assert_equal_at_every_position(Apply(function), SHAPE)
    assert node.rf.closed_form == (True, False)
    assert [limit.reason for limit in node.rf.limits] == [reason]
    assert not node.rf.whole[1]


def test_the_first_half_reads_from_the_start_at_any_size() -> None:
    model = Apply(lambda self, x: x.unflatten(3, (2, -1))[..., 0, :])
    node = assert_equal_at_every_position(model, SHAPE)
    assert node.rf.relations == (rfgraph.Relation.identity(),) * 2
    assert_as_claimed(model, node)


def test_figures_of_positions_agree_with_region() -> None:
    """Stride, offset and center are those of `region`, wherever that is inside."""
    for after, (onward, _) in AFTER.items():
        model = Apply(lambda self, x, onward=onward: onward(self, columns(self, x)), **parts())
        node = rfgraph.analyze(model, (1, 2, 16, 20)).output
        middle = tuple(node.shape[dim] // 2 for dim in node.dims)
        hulls = np.array(node.region(middle))
        for axis, place in enumerate(middle):
            assert node.rf.center(place)[axis] == Fraction(int(hulls[axis].sum()), 2), after


def test_one_position_that_is_cut_into_windows_holds_at_this_size() -> None:
    """Of an image of one row, as a signal is, there may be more windows along the width at another size."""
    model = Apply(lambda self, x: F.unfold(F.max_pool1d(x, 4, stride=3).unsqueeze(2), (1, 1)))
    assert rfgraph.analyze(model, (1, 1, 5)).output.rf.closed_form == (False,)
    for width in (5, 8):
        assert rfgraph.verify(model, (1, 1, width)).exact
