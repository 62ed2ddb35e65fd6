"""Calls inside of a function that `torch.func` transforms: `vmap`, `grad` and their like.

In: the arguments of a call, which may be tensors that wrap others. Out: nothing.
On constants it may run, as the functions do that make masks; a stand-in would be lost in it.
"""

from __future__ import annotations

from collections.abc import Callable, Container

import torch
from torch.utils._pytree import tree_leaves

from rfgraph.errors import CaptureError
from rfgraph.graph.calls import Args, Kwargs
from rfgraph.graph.wrapped import within


def check_transformed(
    args: Args, kwargs: Kwargs, traced: Container[int], at: Callable[[], str]
) -> None:
    """Refuse a call of a transformed function that a stand-in has come into.

    Args:
        traced: the ids of stand-ins.
        at: where the model's code stands.

    Raises:
        CaptureError: one is an argument, or in a wrapper.
    """
    for leaf in tree_leaves((args, kwargs)):
        if isinstance(leaf, torch.Tensor) and id(within(leaf)) in traced:
            raise CaptureError(
                f"torch.func transforms a function of what is computed from an input{at()}, which cannot be "
                "followed; write the function for all of the tensor at once"
            )
