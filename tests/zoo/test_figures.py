"""The figures of `oracles.json` on torchvision's own models, beside the layouts written out for them."""

from __future__ import annotations

from math import inf

import pytest
import torch
from torch import nn

import rfgraph
from rfgraph import NodeReport, Report
from tests.published.oracles import MEASURED, PUBLISHED, assert_figures
from tests.zoo.torchvision_shim import torchvision

IN_TORCHVISION = {
    "VGG-16 pool5": "vgg16",
    "VGG-A (11 layers) pool5": "vgg11",
    "Inception-v3 last mixed block": "inception_v3",
}


def torchvision_model(name: str) -> nn.Module:
    """A model of torchvision without its weights: only the geometry counts."""
    options = {"init_weights": False} if name == "inception_v3" else {}
    with torch.device("meta"):
        return getattr(torchvision.models, name)(weights=None, **options)


def feature_map(report: Report) -> NodeReport:
    """The last node before the head, which reads everything."""
    return [node for node in report.nodes if not any(node.rf.whole)][-1]


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
