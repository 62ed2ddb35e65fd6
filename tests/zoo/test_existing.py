"""Torchvision models by every way in: as they are, traced by torch.fx, exported, and exported to a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import fx, nn

import rfgraph
from tests.capture.same import assert_same
from tests.zoo.torchvision_shim import torchvision

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = (1, 3, 33, 40)
MODELS: dict[str, tuple[int, ...]] = {
    "alexnet": (1, 3, 64, 70),
    **dict.fromkeys(("vgg11_bn", "squeezenet1_0", "mnasnet0_5", "mobilenet_v2"), SMALL),
    **dict.fromkeys(("resnet18", "resnet50", "resnext50_32x4d", "densenet121"), SMALL),
    **dict.fromkeys(("mobilenet_v3_small", "shufflenet_v2_x0_5", "efficientnet_b0"), SMALL),
    **dict.fromkeys(("regnet_y_400mf", "convnext_tiny"), SMALL),
    "googlenet": (1, 3, 64, 70),
    "inception_v3": (1, 3, 75, 80),
    "fcn_resnet50": SMALL,
    "lraspp_mobilenet_v3_large": SMALL,
    "vit_b_32": (1, 3, 224, 224),
    "swin_t": (1, 3, 64, 40),
}
WEIGHTY = ("alexnet", "vgg11_bn", "vit_b_32")  # whose files are hundreds of megabytes
WITH_AUXILIARY = ("googlenet", "inception_v3")


def build(name: str) -> nn.Module:
    options = {"init_weights": False} if name in WITH_AUXILIARY else {}
    if name.startswith(("fcn", "lraspp")):
        options = {"weights_backbone": None}
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_every_way_in_gives_the_same_names_and_figures(name: str, tmp_path: Path) -> None:
    model, shape = build(name), MODELS[name]
    eager = rfgraph.analyze(model, shape)
    # torch.export leaves out what does nothing
    kept = {path for path, module in model.named_modules() if not isinstance(module, nn.Identity)}
    assert_same(eager, rfgraph.analyze(fx.symbolic_trace(model), shape), kept)
    program = torch.export.export(model, (torch.zeros(shape),), strict=False)
    assert_same(eager, rfgraph.analyze(program), kept)
    if name not in WEIGHTY:
        torch.export.save(program, tmp_path / f"{name}.pt2")
        assert_same(eager, rfgraph.analyze(tmp_path / f"{name}.pt2"), kept)
