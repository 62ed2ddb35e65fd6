"""timm's models by name, one of each family, built without weights."""

from __future__ import annotations

import re
import warnings
from functools import partial

import torch
import torchvision_models  # timm imports torchvision: let the shim do it first
from torch import nn

assert torchvision_models
import timm  # noqa: E402

from zoo.built import Built, Given, Models  # noqa: E402


def models() -> Models:
    """The first model of each family, by name and by the file of timm that defines it."""
    chosen: dict[str, str] = {}
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            chosen.setdefault(_family(name), name)
        chosen.setdefault(module, timm.list_models(module=module)[0])
    return {name: partial(_built, name) for name in sorted(set(chosen.values()))}


def _family(name: str) -> str:
    """`swinv2_cr_base_224` is a `swinv2_cr`: the name as far as its size."""
    found = re.match(r"[a-z]+(v\d+)?(_(cr|relpos|hybrid|pcpvt|svt|lite|nano))?", name)
    return found.group() if found else name


def _built(name: str) -> Built:
    """At one image of the size that it was made for."""
    model = _made(name)
    size = model.pretrained_cfg.get("input_size", (3, 224, 224))
    return Built(model, (Given((1, *size)),))


def _made(name: str) -> nn.Module:
    """In eval mode: on the meta device, or where it needs values, on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a model deprecates
        try:
            with torch.device("meta"):
                return timm.create_model(name, pretrained=False).eval()
        except (RuntimeError, NotImplementedError):  # a stochastic depth by linspace(..).item()
            return timm.create_model(name, pretrained=False).eval()
