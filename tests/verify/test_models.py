"""Both probes and the analysis agree at every node of the gallery and of models of the literature."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

import rfgraph
from rfgraph import gallery
from tests import models

GALLERY = ("unet", "unet_bilinear", "tcn", "se_net", "wave_encoder", "vit")

LAYOUTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "nine convolutions": (models.nine_convolutions, (1, 1, 44, 38)),
    "dilated": (lambda: models.dilated(1, 2, 5), (1, 1, 19, 23)),
    "vgg11": (lambda: models.vgg(1, 1, 2, 2, 2), (1, 3, 64, 32)),
    "alexnet": (models.alexnet, (1, 3, 79, 95)),
    "patchgan": (models.patchgan, (1, 3, 64, 80)),
    "wave encoder": (models.WaveEncoder, (1, 1, 500)),
    "wave encoder with group norm": (lambda: models.WaveEncoder(True), (1, 1, 450)),
    "causal tcn": (models.CausalTCN, (1, 1, 90)),
    "resnet18": (lambda: models.resnet(models.basic, 2, 2, 2, 2), (1, 3, 64, 40)),
    "resnet_v1": (lambda: models.resnet_v1(1, 2, 1), (1, 3, 33, 48)),
    "squeeze-excite": (models.se_resnet, (1, 3, 32, 48)),
    "lopsided": (models.lopsided_resnet, (1, 1, 28, 60)),
    "mobilenet_v1": (models.mobilenet_v1, (1, 3, 32, 64)),
    "mobilenet_v2": (models.mobilenet_v2, (1, 3, 64, 32)),
    "squeezenet1_1": (models.squeezenet1_1, (1, 3, 33, 48)),
    "densenet121": (models.densenet121, (1, 3, 32, 64)),
    "convnext_tiny": (models.convnext_tiny, (1, 3, 32, 64)),
    "inception_v3": (models.inception_v3, (1, 3, 75, 91)),
    "unet": (lambda: models.UNet(3), (1, 1, 24, 40)),
    "unet nearest": (lambda: models.UNet(2, "nearest"), (1, 1, 20, 12)),
    "unet bilinear": (lambda: models.UNet(2, "bilinear"), (1, 1, 12, 20)),
}


@pytest.mark.parametrize("name", GALLERY)
def test_the_gallery_agrees_at_every_node(name: str) -> None:
    check = rfgraph.verify(getattr(gallery, name)())
    assert check.exact and check.unread == (), str(check)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_of_the_literature_agrees_at_every_node(name: str) -> None:
    build, shape = LAYOUTS[name]
    check = rfgraph.verify(build(), shape)
    assert check.exact and check.unread == (), str(check)


@pytest.mark.parametrize(("counts", "size"), [((3, 4, 6, 3), 427), ((3, 8, 36, 3), 1451)])
def test_a_field_larger_than_the_input_is_shown_on_strips(
    counts: tuple[int, ...], size: int
) -> None:
    """The gradient itself finds 427 and 1451: equal to the closed form on strips that hold the field."""
    model = models.resnet(models.bottleneck, *counts)
    report = rfgraph.analyze(model, (1, 3, 64, 96))
    assert report.output.rf.size == (size, size)
    check = rfgraph.verify(model, (1, 3, 64, 96))
    assert check.exact and check.checked.strips == 2, str(check)
    assert not any(row.note.startswith("no strip") for row in check.rows)


def test_the_field_before_a_head_that_reads_everything_is_shown_on_strips() -> None:
    model = nn.Sequential(
        models.resnet(models.basic, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)
    )
    check = rfgraph.verify(model, (1, 3, 40, 56))
    assert check.exact and check.checked.strips > 0, str(check)
