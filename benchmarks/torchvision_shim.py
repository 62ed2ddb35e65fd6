"""torchvision beside a torch that its compiled operators were not built for (a CPU wheel, say).

In: nothing. Out: `torchvision`. Callers: the scripts in this folder. torchvision describes the shapes
of its compiled operators as it is imported, and fails where they did not load; no classification or
segmentation model calls them, so declaring the two that it asks for is enough.
"""

from __future__ import annotations

import torch

try:
    import torchvision
except RuntimeError:  # operator torchvision::nms does not exist
    _declared = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _declared.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
