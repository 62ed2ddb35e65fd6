"""torchvision's models by name, built without weights and without the time to draw any.

In: a name. Out: the model.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the shim is kept with the tests
from tests.zoo.torchvision_shim import torchvision

models = torchvision.models

TRACEABLE = (*models.list_models(module=models), *models.list_models(module=models.segmentation))
"""The classification and segmentation models: `torch.fx.symbolic_trace` traces all of them."""

OTHERS = tuple(name for name in models.list_models() if name not in TRACEABLE)
"""Detection, video, quantizable and optical-flow models."""


def _leave(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor


_INITIALISERS = {
    name: _leave for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")
}


def build(name: str) -> nn.Module:
    """The model of that name in eval mode, its weights left as they were allocated.

    Memory that nothing is written to costs nothing, so the largest model is built in a second.
    """
    builder = models.get_model_builder(name)
    accepted = inspect.signature(builder).parameters
    unset = {option: None for option in ("weights", "weights_backbone") if option in accepted}
    with (
        warnings.catch_warnings(),
        patch.multiple(nn.init, **_INITIALISERS),
        patch.multiple(nn.modules.activation, xavier_uniform_=_leave),  # it imports the name
    ):
        warnings.simplefilter("ignore")  # of other initial weights in the future
        return builder(**unset).eval()
