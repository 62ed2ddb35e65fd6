"""Every figure of `oracles.json`, on the layouts written out in `tests/models.py`.

The figures are those printed in the named sources, or counted from gradients by other tools; none
comes from rfgraph.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, lcm

import pytest
from torch import nn

import rfgraph
from tests import models
from tests.published.oracles import BILINEAR, MEASURED, PUBLISHED, TRANSPOSED, assert_figures
from tests.token_models import VisionTransformer

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
# --- every entry --------------------------------------------------------------------------------


def test_every_oracle_has_a_model() -> None:
    assert WRITTEN_OUT.keys() == PUBLISHED.keys()
    assert LAYOUTS.keys() == MEASURED.keys()


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


def test_tokens_read_their_patch_before_attention_and_everything_after_it() -> None:
    report = rfgraph.analyze(VisionTransformer(patch=(4, 6), grid=(5, 3)), (1, 3, 20, 18))
    before = report["blocks.0.before"]
    assert_figures(before.rf, {"whole": False})
    assert (before.rf.size, before.rf.stride) == ((4, 6), (4, 6))
    assert before.rf.causes == ()
    # Token 0 is the class token; the patches follow, row by row, three in a row.
    assert before.region((0, 0, 0)) is None
    assert before.region((0, 1, 0)) == ((0, 3), (0, 5))
    assert before.region((0, 6, 1)) == ((4, 7), (12, 17))
    attention = report["blocks.0.attention"]
    assert_figures(attention.rf, {"whole": True, "size": inf})
    assert attention.rf.causes == (("blocks.0.attention", "attention", (0, 1)),)
    assert attention.region((0, 0, 0)) == ((0, 19), (0, 17))
    causes = [f"blocks.{i}.attention" for i in (0, 1)]
    assert [cause.node for cause in report.output.rf.causes] == causes


def test_the_seed_of_nine_convolutions_reads_35_pixels() -> None:
    field = rfgraph.analyze(models.nine_convolutions()).output.rf
    assert field.size == (35, 35)
    assert field.size == (sum((9, 3, 3, 3, 9, 3, 3, 7, 3)) - 8,) * 2
    assert (field.stride, field.offset, field.holes) == ((1, 1), (0, 0), (0, 0))
