"""`torch.ops.torchvision.deform_conv2d` by its definition, where torchvision's compiled one is missing.

In: nothing. Out: `deform_conv2d(input, weight, offset)`. A tap at place (i, j) of the
kernel samples the input bilinearly at its own place plus the offset that the data give it.

torchvision, where there is one, is imported first: to declare what its library then declares, too, ends
the process.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.zoo import missing

_SCHEMA = (
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, "
    "SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor"
)


def _by_definition(x: Tensor, weight: Tensor, offset: Tensor, *options: object) -> Tensor:
    """Stride 1, no padding, one group, no mask: what the examples use."""
    rows, columns = offset.shape[2:]
    taps = [(i, j) for i in range(weight.shape[2]) for j in range(weight.shape[3])]
    result = x.new_zeros(x.shape[0], weight.shape[0], rows, columns)
    for number, (i, j) in enumerate(taps):
        y = torch.arange(rows).view(1, -1, 1) + i + offset[:, 2 * number]
        z = torch.arange(columns).view(1, 1, -1) + j + offset[:, 2 * number + 1]
        grid = torch.stack([2 * z / (x.shape[3] - 1) - 1, 2 * y / (x.shape[2] - 1) - 1], -1)
        sampled = F.grid_sample(x, grid.to(x.dtype), align_corners=True)
        result = result + torch.einsum("nchw,oc->nohw", sampled, weight[:, :, i, j])
    return result


missing()
_library = torch.library.Library("torchvision", "FRAGMENT")
if not hasattr(torch.ops.torchvision, "deform_conv2d"):
    _library.define(_SCHEMA)
if not torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::deform_conv2d", "CPU"):
    _library.impl("deform_conv2d", _by_definition, "CPU")


def deform_conv2d(x: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    """The operator, with every option at its default."""
    none = torch.zeros(x.shape[0], 0, 0, 0, dtype=weight.dtype)
    bias = weight.new_zeros(weight.shape[0])
    options = (1, 1, 0, 0, 1, 1, 1, 1, False)
    return torch.ops.torchvision.deform_conv2d(x, weight, offset, none, bias, *options)
