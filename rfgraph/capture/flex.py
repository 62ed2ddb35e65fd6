"""`flex_attention` as what it computes: scores that a function changes, a mask that one makes, a softmax.

In: the arguments of torch's higher-order operator, which both the compiled and the plain spelling call. Out:
what it returns.

torch calls the functions for one score at a time (`vmap`); here they are called once for all of them, with
indices that broadcast: `score_mod` sees (B, H, L, S), and b, h, q_idx and kv_idx are of the shapes
(B, 1, 1, 1) to (1, 1, 1, S).

Documented: https://docs.pytorch.org/docs/stable/nn.attention.flex_attention.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Callable[..., Tensor],
    block_mask: tuple[Any, ...],
    scale: float,
    kernel_options: object = None,
    score_buffers: tuple[Any, ...] = (),
    mask_buffers: tuple[Any, ...] = (),
) -> tuple[Tensor, ...]:
    """The attention, the logarithms of its sums (to base 2), and, in later versions, the largest scores."""
    groups = query.shape[1] // key.shape[1]
    key, value = (
        each.repeat_interleave(groups, 1) if groups > 1 else each for each in (key, value)
    )
    scores = query @ key.transpose(-2, -1) * scale
    indices = [
        torch.arange(size).view([-1 if d == dim else 1 for d in range(4)])
        for dim, size in enumerate(scores.shape)
    ]
    hidden = torch.logical_not(block_mask[-1](*indices, *mask_buffers))
    changed = score_mod(scores, *indices, *score_buffers).masked_fill(hidden, -math.inf)
    out = torch._safe_softmax(changed, -1) @ value
    sums, largest = changed.logsumexp(-1), changed.amax(-1)
    return (out, sums / math.log(2), largest / math.log(2))[: _returned()]


def _returned() -> int:
    """How many tensors this torch returns, as its own definition of the same says."""
    from torch._higher_order_ops.flex_attention import math_attention  # loaded where it is called

    return len(get_args(get_type_hints(math_attention)["return"]))


SPELLED: Mapping[str, Callable[..., Any]] = {"flex_attention": flex_attention}
