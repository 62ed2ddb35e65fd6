"""Every figure of `oracles.json`, on the layouts written out in `tests/models.py`, and on torchvision's.

The figures are those printed in the named sources, or counted from gradients by other tools; none
comes from rfgraph.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf, lcm
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rfgraph
from rfgraph import NodeReport, ReceptiveField, Report
from tests import models
from tests.torchvision_shim import torchvision

ORACLES = json.loads(Path(__file__).with_name("oracles.json").read_text(encoding="utf-8"))
PUBLISHED = {entry["model"]: entry for entry in ORACLES["published_closed_form"]}
MEASURED: dict[str, dict[str, int]] = ORACLES["measured_torchvision"]
TRANSPOSED, BILINEAR = ORACLES["measured_unet"].values()

SLIM = "ResNet-v1-50, stride in the last unit of each block (TF-Slim layout, not torchvision's)"
NINE = "nine convolutions of kernels 9,3,3,3,9,3,3,7,3, stride 1"
TCN = "causal TCN, kernel 2, two convolutions a block, dilations 1..32"
HDC = {
    d: f"three 3-tap convolutions of dilation {','.join(map(str, d))}"
    for d in ((2, 2, 2), (1, 2, 5), (1, 2, 9))
}

WRITTEN_OUT: dict[str, Callable[[], nn.Module]] = {
    "VGG-16 pool5": lambda: models.vgg(2, 2, 3, 3, 3),
    "VGG-A (11 layers) pool5": lambda: models.vgg(1, 1, 2, 2, 2),
    "Inception-v3 last mixed block": models.inception_v3,
    SLIM: lambda: models.resnet_v1(3, 4, 6, 3),
    "MobileNet-v1": models.mobilenet_v1,
    "PatchGAN discriminator, n_layers=3": models.patchgan,
    "wav2vec 2.0 feature encoder": models.WaveEncoder,
    NINE: models.nine_convolutions,
    TCN: models.CausalTCN,
    HDC[2, 2, 2]: lambda: models.dilated(2, 2, 2),
    HDC[1, 2, 5]: lambda: models.dilated(1, 2, 5),
    HDC[1, 2, 9]: lambda: models.dilated(1, 2, 9),
}
LAYOUTS: dict[str, Callable[[], nn.Module]] = {
    "alexnet": models.alexnet,
    "resnet18": lambda: models.resnet(models.basic, 2, 2, 2, 2),
    "resnet34": lambda: models.resnet(models.basic, 3, 4, 6, 3),
    "resnet50": lambda: models.resnet(models.bottleneck, 3, 4, 6, 3),
    "resnet101": lambda: models.resnet(models.bottleneck, 3, 4, 23, 3),
    "resnet152": lambda: models.resnet(models.bottleneck, 3, 8, 36, 3),
    "mobilenet_v2": models.mobilenet_v2,
    "squeezenet1_1": models.squeezenet1_1,
    "densenet121": models.densenet121,
    "convnext_tiny": models.convnext_tiny,
}
IN_TORCHVISION = {
    "VGG-16 pool5": "vgg16",
    "VGG-A (11 layers) pool5": "vgg11",
    "Inception-v3 last mixed block": "inception_v3",
}


def assert_figures(field: ReceptiveField, figures: dict[str, Any]) -> None:
    """Every figure of an oracle that is a view of the field, along every axis."""
    views = ("size", "stride", "offset", "dilation", "holes")
    stated = {view: figures[view] for view in views if view in figures}
    assert stated
    for view, figure in stated.items():
        assert set(getattr(field, view)) == {figure}, view


def torchvision_model(name: str) -> nn.Module:
    """A model of torchvision without its weights: only the geometry counts."""
    options = {"init_weights": False} if name == "inception_v3" else {}
    with torch.device("meta"):
        return getattr(torchvision.models, name)(weights=None, **options)


def feature_map(report: Report) -> NodeReport:
    """The last node before the head, which reads everything."""
    return [node for node in report.nodes if not any(node.rf.whole)][-1]


# --- every entry --------------------------------------------------------------------------------


def test_every_oracle_has_a_model() -> None:
    assert WRITTEN_OUT.keys() == PUBLISHED.keys()
    assert LAYOUTS.keys() == MEASURED.keys()
    assert IN_TORCHVISION.keys() <= PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name: str) -> None:
    report = rfgraph.analyze(WRITTEN_OUT[name]())
    assert_figures(report.output.rf, PUBLISHED[name])
    for endpoint, (size, stride) in PUBLISHED[name].get("endpoints", {}).items():
        last = [node for node in report.nodes if node.name.startswith(f"{endpoint}.")][-1]
        assert_figures(last.rf, {"size": size, "stride": stride})


@pytest.mark.parametrize(
    ("units", "size"), [((3, 4, 23, 3), 1027), ((3, 8, 36, 3), 1507), ((3, 24, 36, 3), 1763)]
)
def test_published_figures_of_the_deeper_resnets_of_the_same_source(units, size: int) -> None:
    assert f"{sum(units) * 3 + 2} layers {size}" in PUBLISHED[SLIM]["source"]
    report = rfgraph.analyze(models.resnet_v1(*units))
    assert_figures(report.output.rf, {"size": size, "stride": PUBLISHED[SLIM]["stride"]})


@pytest.mark.parametrize("name", MEASURED)
def test_measured_figures_on_the_layout_written_out(name: str) -> None:
    report = rfgraph.analyze(LAYOUTS[name]())
    assert_figures(report.output.rf, MEASURED[name])
    assert set(report.output.rf.closed_form) == {True}


@pytest.mark.parametrize("name", MEASURED)
def test_measured_figures_on_the_model_of_torchvision(name: str) -> None:
    report = rfgraph.analyze(torchvision_model(name))
    assert_figures(feature_map(report).rf, MEASURED[name])


@pytest.mark.parametrize(("entry", "name"), IN_TORCHVISION.items())
def test_published_figures_on_the_model_of_torchvision(entry: str, name: str) -> None:
    report = rfgraph.analyze(torchvision_model(name))
    assert_figures(feature_map(report).rf, PUBLISHED[entry])


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_the_figures_hold_at_any_input_size(name: str) -> None:
    for shape in ((1, 3, 64, 96), (2, 3, 257, 130)):
        report = rfgraph.analyze(torchvision_model(name), shape)
        assert_figures(feature_map(report).rf, MEASURED[name])


# --- U-Nets -------------------------------------------------------------------------------------

DEPTHS = (2, 3, 4, 5)
# The theory page, section 3: reach left and right, checked by gradient.
REACH = {"transposed": (23, 51, 107, 219), "bilinear": (26, 58, 122, 250)}
UNETS = [
    (up, depth, *figures)
    for up, entry in (("transposed", TRANSPOSED), ("nearest", TRANSPOSED), ("bilinear", BILINEAR))
    for depth, *figures in zip(
        DEPTHS, entry["size_range"], entry["halo"], REACH.get(up, REACH["transposed"]), strict=True
    )
]


@pytest.mark.parametrize(("up", "depth", "size_range", "halo", "reach"), UNETS)
def test_unet_figures(up: str, depth: int, size_range: list[int], halo: int, reach: int) -> None:
    field = rfgraph.analyze(models.UNet(depth, up)).output.rf
    assert field.size_range == (tuple(size_range),) * 2
    assert field.size == (size_range[1],) * 2
    assert field.halo == ((halo, halo),) * 2
    assert field.reach == ((reach, reach),) * 2
    assert field.stride == (1, 1)
    assert field.holes == (0, 0)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_tile_grid_of_a_unet_is_two_to_its_depth(depth: int) -> None:
    report = rfgraph.analyze(models.UNet(depth))
    assert lcm(*(advance for node in report.nodes for advance in node.rf.advance)) == 2**depth


@pytest.mark.parametrize("up", ["transposed", "bilinear"])
def test_a_decoder_has_phases_and_an_encoder_none(up: str) -> None:
    report = rfgraph.analyze(models.UNet(3, up))
    periods = {node.name: node.rf.period for node in report.nodes}
    encoder = [name for name in periods if name.startswith(("down", "pool", "bottom"))]
    assert {periods[name] for name in encoder} == {(1, 1)}
    assert [periods[f"merge.{level}.1.0"] for level in range(3)] == [(2, 2), (4, 4), (8, 8)]


def test_the_printed_report_of_a_unet_tells_its_phases() -> None:
    last_row = str(rfgraph.analyze(models.UNet(4))).splitlines()[-1]
    assert "phases 188-204" in last_row
    assert "phases" not in str(rfgraph.analyze(models.patchgan()))


# --- causal, squeeze-excite, group norm, attention ----------------------------------------------


def test_a_causal_tcn_looks_back_126_samples_and_never_ahead() -> None:
    field = rfgraph.analyze(models.CausalTCN()).output.rf
    assert field.offset == (-126,)
    assert field.reach == ((126, 0),)
    assert field.halo == ((126, 0),)


def test_squeeze_excite_reads_everything_beside_a_local_field() -> None:
    report = rfgraph.analyze(models.se_resnet())
    field = report.output.rf
    assert field.whole == (True, True)
    assert field.size == (inf, inf)
    # stem 7, pool 3 at stride 2, four 3-tap convolutions at 4, one at 4, three at 8
    size = 7 + 2 * 2 + 4 * (2 * 4) + 2 * 4 + 3 * (2 * 8)
    padding = 3 + 1 * 2 + 4 * (1 * 4) + 1 * 4 + 3 * (1 * 8)
    assert_figures(field.local, {"size": size, "stride": 8, "offset": -padding})
    assert [cause.kind for cause in field.causes] == ["pooling"] * 4
    assert [cause.node for cause in field.causes] == [
        f"{s}.{b}.body.2.pool" for s in (2, 3) for b in (0, 1)
    ]
    assert {cause.axes for cause in field.causes} == {(0, 1)}
    assert not any(report["2.0.body.1.0"].rf.whole)  # before the first gate


def test_a_gate_is_told_in_the_printed_report() -> None:
    last_row = str(rfgraph.analyze(models.se_resnet())).splitlines()[-1]
    assert "whole" in last_row
    assert "local 99" in last_row
    assert "2.0.body.2.pool (pooling)" in last_row


def test_the_base_wav2vec_encoder_reads_everything_through_its_group_norm() -> None:
    field = rfgraph.analyze(models.WaveEncoder(group_norm=True)).output.rf
    assert field.whole == (True,)
    assert [(cause.node, cause.kind) for cause in field.causes] == [("layers.1", "statistics")]
    assert_figures(field.local, PUBLISHED["wav2vec 2.0 feature encoder"])


def test_vision_transformer_tokens_read_their_patch_and_then_everything() -> None:
    report = rfgraph.analyze(torchvision_model("vit_b_16"))
    before = report["encoder.layers.encoder_layer_0.ln_1"]
    assert before.rf.size == (16, 16)
    assert before.rf.whole == (False, False)
    assert before.rf.causes == ()
    attention = "encoder.layers.encoder_layer_0.self_attention"
    after = report[attention].rf
    assert after.whole == (True, True)
    assert after.size == (inf, inf)
    assert after.causes == ((attention, "attention", (0, 1)),)
    assert {cause.kind for cause in report.output.rf.causes} == {"attention"}
    assert len(report.output.rf.causes) == 12
    assert report.output.rf.local is None  # the class token alone is left
