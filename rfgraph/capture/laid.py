"""Calls that say how a tensor lies in memory: `as_strided`, and methods that change a tensor's own sizes.

In: a recorder, a call on a stand-in. Out: a view of the tensor, which the stand-in means from now on where it
is changed in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rfgraph.capture.interception import passed_by
from rfgraph.capture.recorder import Recorder
from rfgraph.errors import CaptureError
from rfgraph.graph.calls import Args, Kwargs

_untouched = torch._C.DisableTorchFunction


def laid_out(
    recorder: Recorder, input: object, size: Any, stride: Any, storage_offset: Any = None
) -> object:
    """`as_strided` speaks of memory: it is one of the tensor that all of the memory is of."""
    own = root = recorder.find(input)
    while root is not None and root.parent is not None:
        root = root.parent
    if own is None or root is None or not root.tensor.is_contiguous():
        raise CaptureError(
            f"as_strided of a tensor that is not in torch's default order{recorder.at_source()}, which "
            "cannot be followed; call contiguous() first"
        )
    offset = own.tensor.storage_offset() if storage_offset is None else storage_offset
    return recorder.record(torch.as_strided, root.tensor, tuple(size), tuple(stride), offset).tensor


def reshaped(
    recorder: Recorder,
    name: str,
    args: Args,
    kwargs: Kwargs,
    view: Callable[[str, Args, Kwargs], Any],
) -> object:
    """`x.squeeze_(0)`: what `x` was goes on as another stand-in, and `x` is a view of it from now on.

    `view`: records the method that makes the view, `squeeze`.
    """
    tensor, *rest = args
    traced = recorder.find(tensor)
    if traced is None or traced.tensor is not tensor:  # the model's own, which is left as it is
        raise recorder.resized(tensor)
    with _untouched():
        traced.tensor = traced.node.meta["val"] = tensor.detach()
    recorder.hold(traced)
    made = view(name[:-1], (traced.tensor, *rest), kwargs)
    turned = recorder.forget(made)
    with passed_by(), _untouched():
        getattr(tensor, name)(*rest, **kwargs)
    turned.tensor = turned.node.meta["val"] = tensor
    turned.memory.counter = tensor._version
    return recorder.hold(turned)
