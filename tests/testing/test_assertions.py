"""The assertions: what they let pass, and the text of each failure."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from math import inf
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph import gallery
from rfgraph.testing import (
    assert_causal,
    assert_no_batch_mixing,
    assert_receptive_field,
    assert_snapshot,
)


def stack(kernel: int = 3) -> nn.Module:
    layers = [nn.Conv2d(1, 1, (kernel, 5), (2, 1), (1, 0)), nn.ReLU(), nn.Conv2d(1, 1, (3, 4))]
    return nn.Sequential(*layers)


class Calls(nn.Module):
    """A function as a model."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


# --- one node -----------------------------------------------------------------------------------


def test_a_node_that_reads_what_is_expected() -> None:
    assert_receptive_field(stack(), "2", size=(7, 8), stride=(2, 1), offset=(-1, 0))
    assert_receptive_field(rfgraph.analyze(stack()), "0", size=(3, 5))
    assert_receptive_field(gallery.se_net(), "blocks.1.add", size=inf)
    up = nn.Sequential(nn.Conv1d(1, 1, 3), nn.Upsample(scale_factor=2))
    assert_receptive_field(up, "1", size=3, stride=Fraction(1, 2))


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"size": 7}, r"^'2' \(conv2d.*\): size is 7 x 8 and not 7$"),
        (
            {"size": (7, 8), "stride": 2, "offset": (0, -1)},
            r"'2' \(conv2d.*\): stride is 2 x 1 and not 2; offset is -1 x 0 and not 0 x -1$",
        ),
    ],
)
def test_a_node_that_reads_something_else(expected: dict, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_receptive_field(stack(), "2", **expected)


def test_a_whole_axis_names_who_reads_it() -> None:
    message = (
        r"size is whole and not 23 \(the whole axis is read by "
        r"blocks.0.squeeze \(pooling\), blocks.1.squeeze \(pooling\); locally 23\)"
    )
    with pytest.raises(AssertionError, match=message):
        assert_receptive_field(gallery.se_net(), "blocks.1.add", size=23)


def test_what_cannot_be_checked_is_an_input_error() -> None:
    with pytest.raises(rfgraph.InputError, match="nothing to check: give size, stride or offset"):
        assert_receptive_field(stack(), "2")
    with pytest.raises(rfgraph.InputError, match=r"size has 2 axes here, got \(1, 2, 3\)"):
        assert_receptive_field(stack(), "2", size=(1, 2, 3))
    with pytest.raises(rfgraph.InputError, match="no node named 'conv9'"):
        assert_receptive_field(stack(), "conv9", size=1)
    with pytest.raises(rfgraph.InputError, match="node '2' does not read input 'y'"):
        assert_receptive_field(stack(), "2", size=1, input="y")


def test_one_of_several_inputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return F.avg_pool1d(x, 3, 1) + y[..., 2:]

    shapes = {"x": (1, 1, 9), "y": (1, 1, 9)}
    assert_receptive_field(Two(), "add", size=1, offset=2, inputs=shapes, input="y")
    with pytest.raises(AssertionError, match=r"'add' .*: size is 3 and not 1"):
        assert_receptive_field(Two(), "add", size=1, inputs=shapes, input="x")


# --- causal -------------------------------------------------------------------------------------


def past(conv: nn.Conv1d) -> nn.Module:
    (kernel,), (dilation,) = conv.kernel_size, conv.dilation
    return nn.Sequential(nn.ConstantPad1d(((kernel - 1) * dilation, 0), 0.0), conv)


class Chomp(nn.Module):
    """Padded on both sides, then cropped on the right: looks ahead on its way, and not at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=4, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., :-4]


def test_causal_models() -> None:
    assert_causal(gallery.tcn())
    assert_causal(Chomp(), (1, 1, 20))
    assert_causal(nn.Sequential(past(nn.Conv1d(1, 1, 4, dilation=3)), nn.ReLU()), (1, 1, 30))
    assert_causal(nn.Conv1d(1, 1, 3, stride=2, padding=2), (1, 1, 9))


def encoder(*, late: int = 0) -> nn.Module:
    """As EnCodec's: convolutions that see the past and their own hop, of 2, 4 and 2; `late`: and so much more."""

    def strided(kernel: int, stride: int, late: int = 0) -> nn.Module:
        pad = nn.ConstantPad1d((kernel - stride - late, late), 0.0)
        return nn.Sequential(pad, nn.Conv1d(1, 1, kernel, stride), nn.ELU())

    return nn.Sequential(strided(4, 2), strided(8, 4, late), strided(4, 2))


def test_an_encoder_that_reads_its_own_hop_is_causal() -> None:
    assert_causal(encoder(), (1, 1, 64))
    (reads,) = rfgraph.analyze(encoder(), (1, 1, 64)).output.rf
    assert (reads.stride, reads.reach, reads.lookahead) == (16, (26, 15), 0)
    # one step of the second layer is 2 samples
    with pytest.raises(AssertionError, match=r"looks 2 ahead; the first that does: '1.1' \(conv1d"):
        assert_causal(encoder(late=1), (1, 1, 64))


def test_what_upsamples_waits_for_the_hop_of_its_input() -> None:
    assert_causal(nn.Upsample(scale_factor=3), (1, 1, 7))
    with pytest.raises(AssertionError, match=r"'1' \(conv_transpose1d\), looks 15 ahead$"):
        assert_causal(nn.Sequential(encoder(), nn.ConvTranspose1d(1, 1, 16, 16)), (1, 1, 64))
    with pytest.raises(AssertionError, match="looks 1 ahead"):
        assert_causal(nn.Upsample(scale_factor=2, mode="linear"), (1, 1, 7))


def test_one_axis_of_two_is_causal() -> None:
    conv = nn.Conv2d(1, 1, (3, 1), padding=(1, 0))
    assert_causal(conv, (1, 1, 6, 7), axis=1)
    with pytest.raises(AssertionError, match=r"Conv2d is not causal: .* looks 1 ahead"):
        assert_causal(conv, (1, 1, 6, 7), axis=0)
    with pytest.raises(rfgraph.InputError, match="has 2 tracked axes and no axis 2"):
        assert_causal(conv, (1, 1, 6, 7), axis=2)


def test_causal_attention_over_tokens() -> None:
    def attend(is_causal: bool) -> nn.Module:
        return Calls(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=is_causal))

    assert_causal(attend(True), (1, 7, 4), axes=(1,))
    message = (
        r"output 'output', .*, reads the whole axis: scaled_dot_product_attention \(attention\)"
    )
    with pytest.raises(AssertionError, match=message):
        assert_causal(attend(False), (1, 7, 4), axes=(1,))


def test_a_model_that_looks_ahead_names_the_node_that_does() -> None:
    model = nn.Sequential(past(nn.Conv1d(1, 1, 2)), nn.Conv1d(1, 1, 5, padding=2), nn.ReLU())
    message = (
        r"^Sequential is not causal: output 'output', '2' \(relu.*\), looks 2 ahead; "
        r"the first that does: '1' \(conv1d.*\)$"
    )
    with pytest.raises(AssertionError, match=message):
        assert_causal(model, (1, 1, 12))


def test_a_node_that_the_output_does_not_read_is_not_to_blame() -> None:
    def apart(x: Tensor) -> tuple[Tensor, Tensor]:
        aside = torch.roll(x, -3, -1)
        return F.avg_pool1d(x, 3, 1, 1).relu(), aside

    with pytest.raises(AssertionError, match=r"looks 1 ahead; the first that does: 'avg_pool1d'"):
        assert_causal(Calls(apart), (1, 1, 9))


def test_a_global_pool_is_not_causal() -> None:
    with pytest.raises(AssertionError, match=r"is not causal: .* reads the whole axis: .*pooling"):
        assert_causal(gallery.se_net())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.roll(x, 2, -1), r"position 0 reads up to 7$"),
        (lambda x: F.pad(x, (2, -2), mode="reflect"), r"position 0 reads up to 2$"),
        (lambda x: x.flip(-1), r"looks \d+ ahead$"),
        (lambda x: x[..., 3], r"has no one position along this axis$"),
        (lambda x: x.reshape(1, 1, 3, 3), r"has no one position along this axis$"),
    ],
)
def test_borders_that_look_ahead_are_caught(function, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_causal(Calls(function), (1, 1, 9))


# --- batches ------------------------------------------------------------------------------------


def test_models_that_keep_samples_apart() -> None:
    assert_no_batch_mixing(gallery.unet())
    assert_no_batch_mixing(gallery.vit(), (2, 3, 224, 224))
    assert_no_batch_mixing(nn.BatchNorm2d(3), torch.zeros(2, 3, 4, 5))


def test_batch_norm_mixes_while_it_trains() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.ReLU())
    message = (
        r"^Sequential mixes samples: output 'output', '2' \(relu.*\), reads the whole batch: "
        r"1 \(statistics\); the first that does: '1' \(batch_norm.*\)$"
    )
    with pytest.raises(AssertionError, match=message):
        assert_no_batch_mixing(model, (2, 3, 4, 5), mode="train")


@pytest.mark.parametrize("inputs", [(1, 2, 6), (3, 2, 6)])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.flip(0), "reads 2 of 'x' for sample 0"),
        (lambda x: x + x.roll(1, 0), "reads 0, 2 of 'x' for sample 0"),
        (lambda x: x - x.mean(0, keepdim=True), r"reads the whole batch: mean"),
        (lambda x: x[1:], "reads 1 of 'x' for sample 0"),
        (lambda x: x[0], "has no one dim for the samples"),
    ],
)
def test_models_that_mix_samples(function, message: str, inputs: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError, match=f"^Calls mixes samples: output 'output', .*{message}"):
        assert_no_batch_mixing(Calls(function), inputs)


def test_samples_are_widened_within_lists_and_beside_values() -> None:
    class Several(nn.Module):
        def forward(self, feats, *, mixing):
            both = feats[0] + feats[1]
            return both + both.mean(0) if mixing else both

    shapes = [(1, 2, 5), (1, 2, 5)]
    assert_no_batch_mixing(Several(), {"feats": shapes, "mixing": rfgraph.value(False)})
    with pytest.raises(AssertionError, match="mixes samples"):
        assert_no_batch_mixing(Several(), {"feats": shapes, "mixing": rfgraph.value(True)})


def test_a_tensor_of_one_sample_cannot_mix() -> None:
    with pytest.raises(rfgraph.InputError, match="a batch of one sample cannot mix"):
        assert_no_batch_mixing(nn.ReLU(), {"input": torch.zeros(1, 2, 3)})


# --- snapshots ----------------------------------------------------------------------------------


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RFGRAPH_UPDATE_SNAPSHOTS", raising=False)
    path = tmp_path / "snapshots" / "stack.json"
    assert_snapshot(stack(), path, (1, 1, 16, 17), update=True)
    return path


def test_a_snapshot_that_still_holds(snapshot: Path) -> None:
    assert_snapshot(stack(), snapshot, (1, 1, 16, 17))
    assert_snapshot(rfgraph.analyze(stack(), (1, 1, 16, 17)), snapshot)
    kept = json.loads(snapshot.read_text())
    assert [node["name"] for node in kept["nodes"]] == ["input", "0", "1", "2"]
    assert "source" not in kept["nodes"][1]


def test_a_change_names_the_first_node_and_what_it_was(snapshot: Path) -> None:
    with pytest.raises(
        AssertionError,
        match=r"^the report is not the one in .*stack.json: node '0' \(conv2d\): input.size",
    ) as caught:
        assert_snapshot(stack(4), snapshot, (1, 1, 16, 17))
    caught.match(r"input.size \[3, 5\] -> \[4, 5\]")
    caught.match(r"and 2 more after it; run once with RFGRAPH_UPDATE_SNAPSHOTS=1 to accept it")


def test_another_operator_is_a_change(snapshot: Path) -> None:
    model = stack()
    model[1] = nn.GELU()
    message = r"node '1' \(gelu\): op \"relu\" -> \"gelu\", module \"ReLU\" -> \"GELU\"; run"
    with pytest.raises(AssertionError, match=message):
        assert_snapshot(model, snapshot, (1, 1, 16, 17))


def test_nodes_that_come_and_go(snapshot: Path) -> None:
    longer = nn.Sequential(*stack(), nn.ReLU())
    with pytest.raises(AssertionError, match=r"json: node '3' \(relu\) is new; run once"):
        assert_snapshot(longer, snapshot, (1, 1, 16, 17))
    with pytest.raises(AssertionError, match=r"json: node '2' \(conv2d\) is gone; run once"):
        assert_snapshot(stack()[:2], snapshot, (1, 1, 16, 17))


def test_other_inputs_are_a_change(snapshot: Path) -> None:
    message = r"inputs {\"input\": \[1, 1, 16, 17\]} -> {\"input\": \[1, 1, 16, 16\]}"
    with pytest.raises(AssertionError, match=message):
        assert_snapshot(stack(), snapshot, (1, 1, 16, 16))


def test_the_environment_accepts_a_change(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RFGRAPH_UPDATE_SNAPSHOTS", "1")
    assert_snapshot(stack(4), snapshot, (1, 1, 16, 17))
    monkeypatch.delenv("RFGRAPH_UPDATE_SNAPSHOTS")
    assert_snapshot(stack(4), snapshot, (1, 1, 16, 17))


def test_a_missing_snapshot_is_a_failure(tmp_path: Path) -> None:
    message = (
        r"there is no snapshot at .*new.json: run once with RFGRAPH_UPDATE_SNAPSHOTS=1 to write it"
    )
    with pytest.raises(AssertionError, match=message):
        assert_snapshot(stack(), tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()


# --- what importing them costs ------------------------------------------------------------------


def test_the_assertions_need_no_hypothesis() -> None:
    code = "import sys, rfgraph.testing; print('hypothesis' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
