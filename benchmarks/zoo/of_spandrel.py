"""Restoration nets of spandrel."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pkgutil import iter_modules
from typing import Any

import torchvision_models
from spandrel import architectures
from torch import nn

from zoo.built import Built, Given, Models

assert torchvision_models
_SHAPES = (
    (3, 64, 96),
    (1, 64, 96),
    (3, 256, 256),
    (4, 64, 64),
    (6, 64, 64),
    (9, 64, 64),
    (3, 48, 48),
)
_TAKES = tuple(Given((1, *shape)) for shape in _SHAPES)
_OPTIONS: dict[str, dict[str, Any]] = {
    "SAFMN/SAFMN": {"dim": 36},
    "SAFMNBCIE/SAFMN_BCIE": {"dim": 36},
    "SPAN/SPAN": {"num_in_ch": 3, "num_out_ch": 3},
    "MMRealSR/MMRRDBNet_test": {"num_in_ch": 3, "num_out_ch": 3},
    "Swin2SR/Swin2SR": {"img_size": 56},
    "SwinIR/SwinIR": {"img_size": 56},
}
"""What a class is made with that cannot be made by its defaults."""
_OTHER_INPUTS = frozenset(("AuraSR/UnetUpsampler", "GFPGAN/GFPGANv1Clean", "HAT/HAT", "LaMa/LaMa"))
"""Classes that need a mask beside the image, or sizes that fit options other than the defaults."""


def models() -> Models:
    """By `family/Class`: the modules that the package of an architecture names."""
    return {
        name: lambda name=name, kind=kind: Built(kind(**_OPTIONS.get(name, {})).eval(), _TAKES)
        for name, kind in sorted(_classes())
        if name not in _OTHER_INPUTS
    }


def _classes() -> Iterator[tuple[str, type[nn.Module]]]:
    for found in iter_modules(architectures.__path__):
        if found.name.startswith("_"):
            continue
        package = importlib.import_module(f"{architectures.__name__}.{found.name}")
        for kind in vars(package).values():
            own = isinstance(kind, type) and kind.__module__.startswith(f"{package.__name__}.")
            if own and issubclass(kind, nn.Module):
                yield f"{found.name}/{kind.__name__}", kind
