"""`from tests.zoo.torchvision_shim import torchvision`: torchvision, also without its compiled operators.

torchvision cannot be imported where its C++ library does not fit the installed torch (a CPU build of
torch from one index and torchvision from another): it describes the shapes of two operators that the
library would have defined. No model that is tested calls them, so declaring them is enough. They are
declared only where the import fails: declaring what the library itself declares ends the process.
"""

from __future__ import annotations

import torch

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    _library = torch.library.Library("torchvision", "DEF")  # declared for as long as it lives
    for _name in ("nms", "qnms"):
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
