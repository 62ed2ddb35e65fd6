"""The families of YOLO and RT-DETR, from the yaml files that ultralytics comes with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torchvision_models
import ultralytics
from torch import nn
from ultralytics.nn import tasks

from zoo.built import Built, Given, Models

assert torchvision_models  # declares the operators that torchvision lacks beside a CPU build
_IMAGE = Given((1, 3, 256, 320))
_NEEDS_WEIGHTS = "yolo11-cls-resnet18"  # it downloads some
_TASKS = {
    "rtdetr": tasks.RTDETRDetectionModel,
    "yoloe": tasks.YOLOEModel,
    "world": tasks.WorldModel,
    "-cls": tasks.ClassificationModel,
    "-seg": tasks.SegmentationModel,
    "-pose": tasks.PoseModel,
    "-obb": tasks.OBBModel,
}
"""By part of a file's name, the first that fits; else a detector."""


def models() -> Models:
    """A model a file, at its smallest scale."""
    folder = Path(ultralytics.__file__).parent / "cfg" / "models"
    files = {file.stem: file for file in sorted(folder.rglob("*.yaml"))}
    return {name: partial(_built, file) for name, file in files.items() if name != _NEEDS_WEIGHTS}


def _built(file: Path) -> Built:
    fitting = (task for part, task in _TASKS.items() if part in file.stem)
    task: Callable[..., nn.Module] = next(fitting, tasks.DetectionModel)
    return Built(task(str(file), verbose=False).eval(), (_IMAGE,))
