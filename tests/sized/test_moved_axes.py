"""Architectures that move axes: windows, grids, patches, tokens. Right for every single position."""

from __future__ import annotations

import math
from collections.abc import Callable

import einops
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from tests.sized.poison import Apply, assert_equal_at_every_position


def attend(x: Tensor) -> Tensor:
    """Self-attention over the second-last dim."""
    return torch.softmax(x @ x.transpose(-1, -2), -1) @ x


def windows(x: Tensor, size: int) -> Tensor:
    """(N, H, W, C) to (N * windows, size * size, C)."""
    n, h, w, c = x.shape
    x = x.view(n, h // size, size, w // size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, c)


def reverse(x: Tensor, size: int, h: int, w: int) -> Tensor:
    x = x.view(-1, h // size, w // size, size, size, x.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, h, w, x.shape[-1])


def window_attention(x: Tensor, size: int, shift: int = 0) -> Tensor:
    h, w = x.shape[1:3]
    x = torch.roll(x, (-shift, -shift), (1, 2)) if shift else x
    x = reverse(attend(windows(x, size)), size, h, w)
    return torch.roll(x, (shift, shift), (1, 2)) if shift else x


def swin(self: nn.Module, x: Tensor) -> Tensor:
    x = self.embed(x).permute(0, 2, 3, 1)
    x = x + window_attention(x, 4)
    x = x + window_attention(x, 4, shift=2)
    return x.permute(0, 3, 1, 2)


def test_a_swin_block_pair_reads_its_windows() -> None:
    model = Apply(swin, embed=nn.Conv2d(1, 2, 4, stride=4))
    report = rfgraph.analyze(model, (1, 1, 64, 32))
    node = report.output
    # Token 0 of 16 rows: shifted, it shares a window with tokens 14, 15, 0 and 1; each of them has read
    # the window of 4 tokens that it lies in: 12 .. 15 and 0 .. 3. A token is 4 pixels.
    assert node.reads(0, (0, 0)).tolist() == [*range(16), *range(48, 64)]
    # Token 5 shares a shifted window with 2 .. 5, hence reads tokens 0 .. 7: pixels 0 .. 31.
    assert node.reads(0, (5, 0)).tolist() == list(range(32))
    assert node.region((5, 3)) == ((0, 31), (0, 31))
    assert node.rf.whole == (False, False)
    assert_equal_at_every_position(model, (1, 1, 32, 32))


def grid(self: nn.Module, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    size = 3
    x = x.view(n, c, size, h // size, size, w // size).permute(0, 3, 5, 2, 4, 1)
    x = attend(x.reshape(-1, size * size, c))
    x = x.view(n, h // size, w // size, size, size, c).permute(0, 5, 3, 1, 4, 2)
    return x.reshape(n, c, h, w)


def test_grid_attention_reads_a_strided_grid_with_holes() -> None:
    # MaxViT's grid of 3 x 3: position (y, x) attends to those at the same place of each of 3 x 3 cells.
    node = assert_equal_at_every_position(Apply(grid), (1, 2, 12, 9))
    assert node.reads(0, (5, 0)).tolist() == [1, 5, 9]
    assert node.reads(1, (5, 4)).tolist() == [1, 4, 7]
    assert node.rf.whole == (False, False)


def axial(self: nn.Module, x: Tensor) -> Tensor:
    rows = attend(x.permute(0, 3, 2, 1))  # over the height, each column by itself
    x = rows.permute(0, 3, 2, 1)
    columns = attend(self.conv(x).permute(0, 2, 3, 1))
    return columns.permute(0, 3, 1, 2)


def test_axial_attention_reads_whole_axes_one_at_a_time() -> None:
    model = Apply(axial, conv=nn.Conv2d(2, 2, 3, padding=1))
    report = rfgraph.analyze(model, (1, 2, 5, 7))
    first = report["matmul_1"]
    assert first.rf.whole == (True, False) and first.reads(1, (0, 2, 0, 0)).tolist() == [2]
    assert report.output.rf.whole == (True, True)
    assert_equal_at_every_position(model, (1, 2, 5, 7))


def mixer(self: nn.Module, x: Tensor) -> Tensor:
    x = self.embed(x).flatten(2).transpose(1, 2)
    return x + self.tokens(x.transpose(1, 2)).transpose(1, 2)


def test_a_token_mixer_reads_the_whole_input_and_keeps_the_patch_as_local() -> None:
    model = Apply(mixer, embed=nn.Conv2d(1, 3, 4, stride=4), tokens=nn.Linear(6, 6))
    node = assert_equal_at_every_position(model, (1, 1, 8, 12))
    assert node.rf.whole == (True, True)
    assert [cause.kind for cause in node.rf.causes] == ["linear"]
    assert node.rf.local is not None


def focus(self: nn.Module, x: Tensor) -> Tensor:
    corners = [x[..., i::2, j::2] for j in (0, 1) for i in (0, 1)]
    return self.conv(torch.cat(corners, 1))


def test_a_focus_stem_has_the_field_of_the_stride_it_unrolls() -> None:
    # YOLOv5's stem: a 3-tap convolution after space-to-depth of 2 reads 3 pairs of rows.
    model = Apply(focus, conv=nn.Conv2d(4, 2, 3, padding=1))
    node = assert_equal_at_every_position(model, (1, 1, 8, 10))
    assert node.rf.size == (6, 6) and node.rf.stride == (2, 2) and node.rf.offset == (-2, -2)
    assert node.rf.closed_form == (True, True)


SPACE = {
    "pixel_unshuffle": lambda self, x: self.conv(F.pixel_unshuffle(x, 2)),
    "einops patches": lambda self, x: self.conv(
        einops.rearrange(x, "n c (h i) (w j) -> n (c i j) h w", i=2, j=2)
    ),
    "unfold patches": lambda self, x: self.conv(
        x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 1, 4, 5, 2, 3).flatten(1, 3)
    ),
    "depth and back": lambda self, x: F.pixel_shuffle(self.conv(F.pixel_unshuffle(x, 2)), 2),
    "einops reduce": lambda self, x: einops.reduce(
        x, "n c (h i) (w j) -> n c h w", "mean", i=2, j=3
    ),
    "einops repeat": lambda self, x: einops.repeat(x, "n c h w -> n c (h i) (w j)", i=2, j=3),
    "tokens and back": lambda self, x: einops.rearrange(
        einops.rearrange(x, "n c h w -> n (h w) c") * 2, "n (h w) c -> n c w h", w=6
    ),
}


@pytest.mark.parametrize("name", SPACE)
def test_space_to_depth_and_patches_by_any_spelling(name: str) -> None:
    model = Apply(SPACE[name], conv=nn.Conv2d(4, 4, 3, padding=1, groups=1))
    assert_equal_at_every_position(model, (1, 1, 8, 6))


MOVES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "cat along space": lambda self, x: self.conv(torch.cat([x, x.flip(2), x[:, :, 1:3]], 2)),
    "stack along space": lambda self, x: torch.stack([x, x.roll(2, 3)], 2).flatten(2, 3),
    "interleave": lambda self, x: torch.stack([x, -x], 3).flatten(2, 3),
    "repeat": lambda self, x: self.conv(x.repeat(1, 1, 2, 1)),
    "tile": lambda self, x: x.tile(3),
    "repeat_interleave": lambda self, x: self.conv(x.repeat_interleave(3, 2)),
    "expand": lambda self, x: x.unsqueeze(2).expand(-1, -1, 4, -1, -1).reshape(1, 1, 32, 6),
    "strided slices": lambda self, x: self.conv(x[:, :, 1::3, -5:]),
    "chunks": lambda self, x: x.chunk(3, 2)[1] + x.chunk(3, 2)[0],
    "index_select": lambda self, x: self.conv(x).index_select(2, torch.tensor([5, 0, 0, 7])),
    "fancy index": lambda self, x: x[:, :, torch.tensor([[1, 2], [7, 0]]), torch.tensor([5, 3])],
    "gather": lambda self, x: x.gather(3, torch.arange(8).view(1, 1, 8, 1).remainder(6)),
    "unfold": lambda self, x: self.conv(x).unfold(2, 3, 2).mean(-1),
    "im2col": lambda self, x: F.fold(F.unfold(x, (3, 2), padding=1), (8, 6), (3, 2), padding=1),
    "view that cuts across": lambda self, x: self.conv(x).view(1, 1, 6, 8),
    "transpose": lambda self, x: self.conv(x.transpose(2, 3)) + x.permute(0, 1, 3, 2),
    "roll over everything": lambda self, x: x.roll(5),
    "temporal shift": lambda self, x: torch.cat([x[:, :, 1:], x[:, :, :1] * 0], 2) + x,
}


@pytest.mark.parametrize("name", MOVES)
def test_moved_axes_are_right_at_every_position(name: str) -> None:
    model = Apply(MOVES[name], conv=nn.Conv2d(1, 1, 3, padding=1))
    assert_equal_at_every_position(model, (1, 1, 8, 6))


# --- one axis over time: causal transformers ------------------------------------------------------


class CausalTransformer(nn.Module):
    """Two blocks over a strided convolution in time; the attention may look back alone."""

    def __init__(self, kind: str, tokens: int = 8) -> None:
        super().__init__()
        self.kind = kind
        self.embed = nn.Conv1d(2, 4, 4, stride=2)
        self.blocks = nn.ModuleList(nn.MultiheadAttention(4, 2, batch_first=True) for _ in range(2))
        self.register_buffer("past", torch.tril(torch.ones(tokens, tokens)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).transpose(1, 2)
        for block in self.blocks:
            x = x + self.attention(block, x)
        return x

    def attention(self, block: nn.Module, x: Tensor) -> Tensor:
        if self.kind == "multi-head":
            future = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            return block(x, x, x, attn_mask=future, need_weights=False)[0]
        if self.kind == "is_causal":
            return F.scaled_dot_product_attention(x, x, x, is_causal=True)
        if self.kind == "attn_mask":
            return F.scaled_dot_product_attention(x, x, x, attn_mask=self.past.bool())
        scores = x @ x.transpose(1, 2) / 2
        if self.kind == "masked_fill":
            scores = scores.masked_fill(self.past[: x.shape[1]] == 0, float("-inf"))
        elif self.kind == "additive":
            scores = scores + torch.triu(torch.full_like(self.past, -torch.inf), 1)
        elif self.kind == "where":
            scores = torch.where(self.past.bool(), scores, torch.finfo(scores.dtype).min)
        weights = F.dropout(scores.softmax(-1), 0.1, self.training)
        if self.kind == "linear":  # causal linear attention: weights cut by the mask, no softmax
            weights = torch.tril(x @ x.transpose(1, 2))
        return weights @ x if self.kind != "where" else torch.einsum("nqk,nkc->nqc", weights, x)


KINDS = ["multi-head", "is_causal", "attn_mask", "masked_fill", "additive", "where", "linear"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_causal_transformer_has_no_look_ahead(kind: str) -> None:
    node = rfgraph.analyze(CausalTransformer(kind), (1, 2, 18)).output
    assert node.shape == (1, 8, 4) and node.dims == (1,)
    # Token t reads samples 2 t .. 2 t + 3 of its own, and through attention all before them.
    assert [node.reads(0, t).tolist() for t in range(8)] == [
        list(range(2 * t + 4)) for t in range(8)
    ]
    assert node.rf.whole == (False,) and node.rf.closed_form == (
        kind in ("is_causal", "multi-head", "linear"),
    )
    assert node.rf.lookahead == (2,)  # the convolution's own: a hop ends at 2 t + 1


def test_causal_attention_by_itself_reaches_back_only() -> None:
    model = Apply(lambda self, x: F.scaled_dot_product_attention(x, x, x, is_causal=True))
    field = rfgraph.analyze(model, (2, 9, 4), axes=(1,)).output.rf
    assert field.reach == ((math.inf, 0),) and field.unbounded == ("past",)
    assert field.lookahead == (0,) and field[0].members({1: 8}).tolist() == list(range(9))


def test_without_the_mask_the_same_transformer_reads_everything() -> None:
    model = Apply(lambda self, x: F.scaled_dot_product_attention(x, x, x))
    field = rfgraph.analyze(model, (2, 9, 4), axes=(1,)).output.rf
    assert field.whole == (True,)


def test_a_mask_that_weights_can_change_is_no_mask() -> None:
    # A residual scale that is zero for now may be trained: it masks nothing.
    model = Apply(
        lambda self, x: x + self.scale.weight * self.conv(x),
        conv=nn.Conv1d(1, 1, 3, padding=1),
        scale=nn.Embedding(1, 1),
    )
    nn.init.zeros_(model.scale.weight)
    assert rfgraph.analyze(model, (1, 1, 9)).output.rf.size == (3,)


def test_masks_too_weak_to_vanish_in_a_softmax_hide_nothing() -> None:
    # Swin adds -100: e ** -100 is small, but no zero.
    past = torch.triu(torch.full((6, 6), -100.0), 1)
    model = Apply(lambda self, x: (x @ x.transpose(1, 2) + past).softmax(-1) @ x)
    assert rfgraph.analyze(model, (1, 6, 4), axes=(1,)).output.rf.whole == (True,)


# --- positions that the data choose -----------------------------------------------------------------


def warped(self: nn.Module, x: Tensor) -> Tensor:
    places = self.conv(x).permute(0, 2, 3, 1).expand(-1, -1, -1, 2)
    return F.grid_sample(x, places, align_corners=False)


CHOSEN = {
    "grid_sample": (warped, "grid_sample", 3),
    "topk": (lambda self, x: self.conv(x).topk(3, 2)[0], "topk", None),
    "sort": (lambda self, x: x.sort(dim=2)[0], "sort", None),
    "computed index": (lambda self, x: x[:, :, x[0, 0, :, 0].argmax(0)], "getitem_1", None),
    "take along a computed index": (lambda self, x: x.gather(2, x.argsort(2)), "gather", None),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_what_the_data_choose_is_a_whole_read(name: str) -> None:
    function, node, local = CHOSEN[name]
    model = Apply(function, conv=nn.Conv2d(1, 1, 3, padding=1))
    field = rfgraph.analyze(model, (1, 1, 8, 6)).output.rf
    assert field.whole[0]
    assert (node, "data-dependent") in [(cause.node, cause.kind) for cause in field.causes]
    if local:
        assert field.local is not None and field.local.size == (local, local)
