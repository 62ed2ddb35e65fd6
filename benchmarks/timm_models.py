"""timm's models by name, one of each family, built without weights.

In: a name. Out: the model, and the shape that it expects.
"""

from __future__ import annotations

import re
import warnings

import torch
import torchvision_models  # timm imports torchvision: let the shim do it first
from torch import nn

assert torchvision_models
import timm  # noqa: E402


def _family(name: str) -> str:
    """`swinv2_cr_base_224` is a `swinv2_cr`: the name as far as its size."""
    found = re.match(r"[a-z]+(v\d+)?(_(cr|relpos|hybrid|pcpvt|svt|lite|nano))?", name)
    return found.group() if found else name


def one_of_each_family() -> tuple[str, ...]:
    """The first name of each family, by name and by the file of timm that defines it."""
    chosen: dict[str, str] = {}
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            chosen.setdefault(_family(name), name)
        chosen.setdefault(module, timm.list_models(module=module)[0])
    return tuple(sorted(set(chosen.values())))


def build(name: str) -> nn.Module:
    """The model of that name in eval mode: on the meta device, or where it needs values, on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a model deprecates
        try:
            with torch.device("meta"):
                return timm.create_model(name, pretrained=False).eval()
        except (RuntimeError, NotImplementedError):  # a stochastic depth by linspace(..).item()
            return timm.create_model(name, pretrained=False).eval()


def shape_of(model: nn.Module) -> tuple[int, ...]:
    """One image of the size that the model was made for."""
    return (1, *model.pretrained_cfg.get("input_size", (3, 224, 224)))
