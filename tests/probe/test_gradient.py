"""The gradient probe against figures worked out by hand, and in traps that naive probes fall into."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph import gallery
from rfgraph.errors import InputError, VerificationError
from rfgraph.probe import GradientProbe
from rfgraph.probe.parts import LeftOut
from tests import models
from tests.probe.support import Function, along, axis_set, graph_of, joint, naive, output_of, span

# --- hand-computed figures ----------------------------------------------------------------------


def test_one_convolution_with_a_hole() -> None:
    model = nn.Conv2d(1, 2, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(2, 3))
    probe = GradientProbe(graph_of(model, (1, 1, 15, 11)))
    mask = joint(probe, output_of(probe.graph), (3, 4))["input"]
    assert mask.shape == (1, 1, 15, 11)
    expected = np.zeros((15, 11), dtype=bool)
    expected[np.ix_([5, 7, 9], [4, 7])] = True  # 2 * 3 - 1 + {0, 2, 4}; 4 + {0, 3}
    assert (mask[0, 0] == expected).all()


@pytest.mark.parametrize(
    ("bilinear", "depth", "sizes"),
    [(False, 2, {44}), (False, 3, {92, 96, 100}), (True, 2, {48, 52}), (True, 3, {108, 112, 116})],
)
def test_the_phases_of_a_unet(bilinear: bool, depth: int, sizes: set[int]) -> None:
    side = 64 * depth + 64
    period = 2**depth
    probe = GradientProbe(graph_of(gallery.UNet(depth, bilinear), (1, 1, side, period)))
    output, first = output_of(probe.graph), side // 2
    found = {len(axis_set(probe, output, (first + i, 1), "image", 2)) for i in range(period)}
    assert (min(found), max(found)) == (min(sizes), max(sizes))
    assert found <= sizes


def test_the_causal_tcn_sees_127_samples_from_126_before() -> None:
    probe = GradientProbe(graph_of(gallery.CausalTCN(), (1, 4, 300)))
    read = axis_set(probe, output_of(probe.graph), (200,), "signal", 2)
    assert span(read) == (200 - 126, 200, 127)


def test_the_wave_encoder_reads_400_samples_every_320() -> None:
    probe = GradientProbe(graph_of(gallery.WaveEncoder(), (1, 1, 2000)))
    for position in (0, 3):
        read = axis_set(probe, output_of(probe.graph), (position,), "waveform", 2)
        assert span(read) == (320 * position, 320 * position + 399, 400)


def test_a_strip_shows_a_field_larger_than_the_input_could_be_square() -> None:
    model = models.resnet(models.bottleneck, 3, 4, 6, 3)
    probe = GradientProbe(graph_of(model, (1, 3, 1024, 32)))
    output = output_of(probe.graph)
    assert span(axis_set(probe, output, (16, 0), "input", 2)) == (512 - 213, 512 + 213, 427)


def test_three_spatial_dims() -> None:
    probe = GradientProbe(graph_of(nn.Conv3d(1, 1, (1, 2, 3), padding=(0, 1, 0)), (1, 1, 4, 5, 6)))
    mask = joint(probe, "conv3d" if "conv3d" in probe.graph else output_of(probe.graph), (2, 0, 1))
    (mask,) = mask.values()
    assert [along(mask, d).tolist() for d in (2, 3, 4)] == [[2], [0], [1, 2, 3]]


def test_several_inputs_are_told_apart() -> None:
    class Two(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return left[:, :, 1:] + F.avg_pool1d(right, 3, 1)

    probe = GradientProbe(graph_of(Two(), {"left": (1, 2, 8), "right": (1, 2, 9)}))
    masks = joint(probe, output_of(probe.graph), (2,))
    assert along(masks["left"], 2).tolist() == [3]
    assert along(masks["right"], 2).tolist() == [2, 3, 4]


def test_the_joint_mask_of_two_crossed_branches_is_a_cross() -> None:
    rows, columns = nn.Conv2d(1, 1, (1, 5), padding=(0, 2)), nn.Conv2d(1, 1, (3, 1), padding=(1, 0))
    model = Function(lambda x, a, b: a(x) + b(x), rows, columns)
    probe = GradientProbe(graph_of(model, (1, 1, 9, 11)))
    mask = joint(probe, output_of(probe.graph), (4, 5))["x"][0, 0]
    expected = np.zeros((9, 11), dtype=bool)
    expected[4, 3:8] = expected[3:6, 5] = True
    assert (mask == expected).all()


# --- traps ----------------------------------------------------------------------------------------


def test_max_pool_reads_more_than_its_maximum() -> None:
    model = nn.MaxPool2d((3, 2), stride=(2, 3), padding=(1, 0))
    assert naive(model, (1, 1, 9, 12), (2, 1)).sum() == 1
    probe = GradientProbe(graph_of(model, (1, 1, 9, 12)))
    output = output_of(probe.graph)
    mask = joint(probe, output, (2, 1))["input"]
    assert along(mask, 2).tolist() == [3, 4, 5]
    assert along(mask, 3).tolist() == [3, 4]
    assert along(joint(probe, output, (0, 1))["input"], 2).tolist() == [
        0,
        1,
    ]  # padding reads nothing


def test_max_pool_with_holes_and_ceil_mode() -> None:
    model = nn.MaxPool1d(2, stride=4, dilation=2, ceil_mode=True)
    probe = GradientProbe(graph_of(model, (1, 1, 10)))
    read = [axis_set(probe, output_of(probe.graph), (o,), "input", 2).tolist() for o in range(3)]
    assert read == [[0, 2], [4, 6], [8]]


def test_a_dead_relu_hides_nothing() -> None:
    conv = nn.Conv1d(1, 1, 5)
    nn.init.constant_(conv.bias, -1e6)  # type: ignore[arg-type]
    model = nn.Sequential(conv, nn.ReLU())
    assert naive(model, (1, 1, 20), (6,)).sum() == 0
    probe = GradientProbe(graph_of(model, (1, 1, 20)))
    assert span(axis_set(probe, output_of(probe.graph), (6,), "input", 2)) == (6, 10, 5)


def test_all_channels_of_a_densely_connected_output_count() -> None:
    block = nn.Conv1d(2, 3, 7, padding=3)
    model = Function(lambda x, conv: torch.cat([x, conv(x)], dim=1), block)
    assert naive(model, (1, 2, 20), (9,), slice(0, 1)).any(axis=(0, 1)).sum() == 1
    probe = GradientProbe(graph_of(model, (1, 2, 20)))
    assert span(axis_set(probe, output_of(probe.graph), (9,), "x", 2)) == (6, 12, 7)
    one_channel = axis_set(
        probe, output_of(probe.graph), (0, 0, 9), "x", 2
    )  # where it is asked for
    assert one_channel.tolist() == [9]


def test_every_phase_of_a_decoder_has_its_own_set() -> None:
    model = nn.Sequential(
        nn.Conv1d(1, 1, 3, padding=1), nn.Upsample(scale_factor=2), nn.AvgPool1d(2, 1)
    )
    probe = GradientProbe(graph_of(model, (1, 1, 12)))
    sizes = [len(axis_set(probe, output_of(probe.graph), (o,), "input", 2)) for o in (10, 11)]
    assert sizes == [3, 4]


def test_a_saturated_gate_is_read_whole() -> None:
    def gated(x: Tensor, gate: nn.Module) -> Tensor:
        return x * torch.sigmoid(gate(x.mean((2, 3), keepdim=True)))

    conv = nn.Conv2d(2, 2, 1)
    nn.init.constant_(conv.bias, 1e4)  # type: ignore[arg-type]
    model = Function(gated, conv)
    assert naive(model, (1, 2, 6, 7), (2, 3)).any(axis=(0, 1)).sum() == 1
    graph = graph_of(model, (1, 2, 6, 7))
    probe = GradientProbe(graph)
    assert joint(probe, output_of(graph), (2, 3))["x"].all()
    report = rfgraph.analyze(model, (1, 2, 6, 7))
    for axis in report.axes:
        left_out = LeftOut(axis, report.carries(axis))
        local = axis_set(probe, output_of(graph), (2, 3), "x", axis.dim, left_out)
        assert local.tolist() == [axis.dim]


def test_a_residual_branch_that_starts_at_zero_is_read() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 5, padding=2)
            self.scale = nn.Parameter(torch.zeros(1, 1, 1))
            self.norm = nn.BatchNorm1d(1)
            nn.init.zeros_(self.norm.weight)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.scale * self.norm(self.conv(x))

    model = Residual()
    assert naive(model, (1, 1, 20), (8,)).sum() == 1
    probe = GradientProbe(graph_of(model, (1, 1, 20)))
    assert span(axis_set(probe, output_of(probe.graph), (8,), "x", 2)) == (6, 10, 5)


def deep(layers: int) -> nn.Module:
    return nn.Sequential(*(nn.Conv1d(1, 1, 3, padding=1, bias=False) for _ in range(layers)))


def test_150_layers_do_not_underflow() -> None:
    model = deep(150)
    for layer in model:
        nn.init.constant_(layer.weight, 1 / 3)  # type: ignore[arg-type]
    shape = (1, 1, 401)
    assert naive(model, shape, (200,)).sum() < 301  # float32
    probe = GradientProbe(graph_of(model, shape))
    assert span(axis_set(probe, output_of(probe.graph), (200,), "input", 2)) == (50, 350, 301)


def test_1000_layers_do_not_underflow() -> None:
    probe = GradientProbe(graph_of(deep(1000), (1, 1, 2003)))
    output = output_of(probe.graph)
    assert span(axis_set(probe, output, (1001,), "input", 2)) == (1, 2001, 2001)


def test_norms_that_cancel_are_read() -> None:
    model = Function(lambda x: F.layer_norm(x, x.shape[2:]).mean((2, 3), keepdim=True))
    shape = (1, 1, 4, 5)
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    model(x).sum().backward()
    assert x.grad is not None and x.grad.abs().max() < 1e-12  # the mean of a normalised map is 0
    probe = GradientProbe(graph_of(model, shape))
    assert joint(probe, output_of(probe.graph), (0, 0))["x"].all()


def test_a_difference_that_cancels_is_read() -> None:
    model = Function(lambda x: x - F.avg_pool1d(x, 1) + 0 * x.roll(1, 2))
    probe = GradientProbe(graph_of(model, (1, 1, 8)))
    assert axis_set(probe, output_of(probe.graph), (4,), "x", 2).tolist() == [3, 4]


def test_linear_interpolation_at_an_integer_position_reads_one() -> None:
    model = nn.Upsample(scale_factor=3, mode="linear", align_corners=False)
    probe = GradientProbe(graph_of(model, (1, 1, 7)))
    output = output_of(probe.graph)
    read = [axis_set(probe, output, (o,), "input", 2).tolist() for o in (9, 10, 11)]
    assert read == [[2, 3], [3], [3, 4]]  # 10 / 3 + 1 / 6 - 1 / 2 is 3


def test_negative_weights_of_a_cubic_count_as_read() -> None:
    model = nn.Upsample(scale_factor=2, mode="bicubic")
    probe = GradientProbe(graph_of(model, (1, 1, 8, 9)))
    mask = joint(probe, output_of(probe.graph), (8, 5))["input"]
    assert along(mask, 2).tolist() == [2, 3, 4, 5]  # x = 3.75
    assert along(mask, 3).tolist() == [1, 2, 3, 4]  # x = 2.25


# --- attention and masks --------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["is_causal", "boolean", "additive", "by hand", "multi-head"])
def test_causal_attention_reads_the_past(style: str) -> None:
    multi = nn.MultiheadAttention(4, 2, batch_first=True)
    past = torch.ones(6, 6, dtype=torch.bool).tril()
    low = torch.zeros(6, 6).masked_fill(~past, float("-inf"))

    def attend(x: Tensor, multi: nn.Module) -> Tensor:
        if style == "is_causal":
            return F.scaled_dot_product_attention(x, x, x, is_causal=True)
        if style == "boolean":
            return F.scaled_dot_product_attention(x, x, x, past)
        if style == "additive":
            return F.scaled_dot_product_attention(x, x, x, attn_mask=low)
        if style == "multi-head":
            return multi(x, x, x, attn_mask=low, need_weights=False)[0]  # type: ignore[no-any-return]
        scores = (x @ x.transpose(1, 2)).masked_fill(~past, -1e9)
        return torch.softmax(scores, dim=-1) @ x

    probe = GradientProbe(graph_of(Function(attend, multi), (1, 6, 4)))
    output = output_of(probe.graph)
    for token in (1, 4):
        assert along(joint(probe, output, {1: token})["x"], 1).tolist() == list(range(token + 1))


def test_attention_without_a_mask_reads_all_tokens() -> None:
    probe = GradientProbe(
        graph_of(Function(lambda x: F.scaled_dot_product_attention(x, x, x)), (1, 5, 4))
    )
    assert joint(probe, output_of(probe.graph), {1: 2})["x"].all()


# --- refusals -------------------------------------------------------------------------------------


def test_an_operator_without_a_twin_is_unreadable_with_all_that_reads_it() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            moved = x.view(torch.int32)
            return x * 2, moved + 1

    graph = graph_of(Odd(), (1, 1, 6))
    good, bad = graph.outputs.values()
    probe = GradientProbe(graph)
    assert bad in probe.unreadable
    assert "has no twin" in probe.unreadable[bad]
    assert axis_set(probe, good, (2,), "x", 2).tolist() == [2]
    with pytest.raises(VerificationError, match="cannot be read: view with another dtype"):
        joint(probe, bad, (2,))


@pytest.mark.parametrize("position", [(9,), (-1,), (0, 0), {5: 0}, {2: 6}])
def test_a_position_that_is_none_is_refused(position: object) -> None:
    probe = GradientProbe(graph_of(nn.Conv1d(1, 1, 3), (1, 1, 8)))
    with pytest.raises(InputError, match="is no position of"):
        joint(probe, output_of(probe.graph), position)  # type: ignore[arg-type]


def test_inputs_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"captured with shape \(1, 1, 8\)"):
        GradientProbe(graph_of(nn.Conv1d(1, 1, 3), (1, 1, 8)), {"input": torch.zeros(1, 1, 9)})


def test_a_mask_that_the_model_builds_from_zeros_is_a_mask() -> None:
    def attend(x: Tensor) -> Tensor:
        groups = x.new_zeros(6)
        groups[2:] = 1
        apart = groups.unsqueeze(0) - groups.unsqueeze(1)
        mask = apart.masked_fill(apart != 0, float("-inf"))
        return torch.softmax(x @ x.transpose(1, 2) + mask, dim=-1) @ x

    probe = GradientProbe(graph_of(Function(attend), (1, 6, 4)))
    output = output_of(probe.graph)
    assert along(joint(probe, output, {1: 1})["x"], 1).tolist() == [0, 1]
    assert along(joint(probe, output, {1: 4})["x"], 1).tolist() == [2, 3, 4, 5]


def test_a_token_that_starts_at_zero_lets_products_through() -> None:
    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 1, 4))

        def forward(self, x: Tensor) -> Tensor:
            tokens = torch.cat([self.token, x], dim=1)
            return tokens @ tokens.transpose(1, 2)

    probe = GradientProbe(graph_of(Scores(), (1, 5, 4)))
    assert along(joint(probe, output_of(probe.graph), (0, 0, 3))["x"], 1).tolist() == [2]


def test_a_probe_that_is_gone_leaves_no_values_behind() -> None:
    """Hooks of tensors are held out of the collector's sight: one that held the run kept all its tensors."""
    before = _tensors()
    rfgraph.verify(nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Conv1d(2, 1, 2)), (1, 1, 9))
    assert _tensors() <= before


def _tensors() -> int:
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
