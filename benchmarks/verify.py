"""Seconds of `verify`: the gallery by default, and resnet50 with every row of both axes poisoned.

Run as `python benchmarks/verify.py [THREADS]`; resnet50 needs torchvision.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

import rfgraph
from rfgraph import gallery

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

GALLERY = ("unet", "unet_bilinear", "tcn", "se_net", "wave_encoder", "vit")


def timed(name: str, model: Any, *args: Any, **options: Any) -> None:
    start = time.perf_counter()
    check = rfgraph.verify(model, *args, **options)
    print(f"{time.perf_counter() - start:8.2f} s  {name}: {check}", flush=True)


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    for name in GALLERY:
        timed(name, getattr(gallery, name)())
    from tests.zoo.torchvision_shim import torchvision

    resnet50 = torchvision.models.resnet50()
    timed("resnet50, default", resnet50, (1, 3, 224, 224))
    timed("resnet50, every row", resnet50, (1, 3, 224, 224), rows="all")


if __name__ == "__main__":
    main()
