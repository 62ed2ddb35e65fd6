"""Examples of attention: scaled-dot-product, and `nn.MultiheadAttention` in both layouts.

In: tables of shapes. Out: `EXAMPLES`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.rules.examples import Example, ex, w

_attend = F.scaled_dot_product_attention
_MASK = torch.tensor([[True, True, False], [False, True, True]])  # 2 queries, 3 keys
_PER_HEAD = torch.stack((_MASK, ~_MASK | _MASK.flip(0)))
_MUST_NOT = torch.tensor([[1, 0, 0], [0, 0, 1], [0, 1, 0]]).bool()  # of nn.MultiheadAttention
_PADDING = torch.tensor([[False, False, True], [True, False, False]])  # 2 samples, 3 keys
_ADDED = torch.zeros(3, 3, dtype=torch.float64)
_ADDED[0, 2] = _ADDED[1, 0] = -float("inf")
_LONE = "the first token has one key, of weight 1 whatever the query and the key"


def _causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return _attend(query, key, value, is_causal=True)


def _sdpa() -> list[Example]:
    return [
        ex(_attend, (2, 2, 3), (2, 3, 3), (2, 3, 2)),
        ex(lambda q, k, v: _attend(q, k, v, scale=0.3), (2, 2, 1, 2), (2, 2, 2, 2), (2, 2, 2, 1)),
        ex(_causal, (1, 4, 2), (1, 4, 2), (1, 4, 2), conservative=_LONE),
        ex(_causal, (1, 2, 2), (1, 4, 2), (1, 4, 2), conservative=_LONE),
        ex(_causal, (1, 4, 2), (1, 2, 2), (1, 2, 2), conservative=_LONE),
        ex(
            lambda q, k, v: _attend(q, k, v, enable_gqa=True),
            *((1, 4, 2, 2), (1, 2, 3, 2), (1, 2, 3, 2)),
        ),
        ex(lambda x: _attend(x, x, x), (1, 3, 2)),
        ex(lambda x: _attend(x, w(1, 2, 2), w(1, 2, 3)), (1, 3, 2)),
        ex(lambda q, k, v: _attend(q, k, v, attn_mask=_MASK), (1, 2, 2), (1, 3, 2), (1, 3, 2)),
        ex(
            lambda q, k, v: _attend(q, k, v, _PER_HEAD), *((1, 2, 2, 1), (1, 2, 3, 1), (1, 2, 3, 2))
        ),
        ex(lambda q, k, v, m: _attend(q, k, v, m), (2, 2, 2), (2, 3, 2), (2, 3, 2), (2, 3)),
    ]


class _Heads(nn.Module):
    """`nn.MultiheadAttention` as models call it."""

    def __init__(self, batch_first: bool, **call: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self._call = call

    def forward(self, query: Tensor, key: Tensor | None = None) -> Any:
        key = query if key is None else key
        return self.attention(query, key, key, **self._call)


class _ThreeWays(nn.Module):
    """Query, key and value of different widths."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1, kdim=3, vdim=2)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Any:
        return self.attention(query, key, value)


def _by_function(query: Tensor, key: Tensor, **options: Any) -> Any:
    weights = w(12, 4), None, None, None, False, 0.0, w(4, 4), None
    return F.multi_head_attention_forward(query, key, key, 4, 2, *weights, **options)


def _by_weights(tokens: Tensor, weight: Tensor) -> Any:
    """Self-attention whose projection is computed."""
    weights = weight, None, None, None, False, 0.0, w(2, 2), None
    return F.multi_head_attention_forward(
        tokens, tokens, tokens, 2, 1, *weights, need_weights=False
    )


def _multi_head() -> list[Example]:
    return [
        ex(_by_weights, (2, 1, 2), (6, 2)),
        ex(lambda q, k: _by_function(q, k, need_weights=False), (3, 2, 4), (2, 2, 4)),
        ex(lambda q: _by_function(q, q, attn_mask=_ADDED, need_weights=False), (3, 1, 4)),
        ex(_Heads(True), (2, 3, 4)),
        ex(_Heads(False), (3, 2, 4)),
        ex(_Heads(True, need_weights=False), (2, 2, 4), (2, 3, 4)),
        ex(_Heads(False, average_attn_weights=False), (2, 2, 4), (3, 2, 4)),
        ex(_Heads(True), (3, 4), (2, 4)),
        ex(_ThreeWays(), (2, 2, 4), (3, 2, 3), (3, 2, 2)),
        ex(_Heads(True, attn_mask=_MUST_NOT, need_weights=False), (1, 3, 4)),
        ex(_Heads(False, attn_mask=_ADDED, need_weights=False), (3, 1, 4)),
        ex(_Heads(False, attn_mask=_ADDED), (3, 1, 4), conservative="a masked weight is always 0"),
        ex(_Heads(True, key_padding_mask=_PADDING, need_weights=False), (2, 3, 4)),
    ]


EXAMPLES: dict[str, list[Example]] = {
    "scaled_dot_product_attention": _sdpa(),
    "multi_head_attention": _multi_head(),
}
