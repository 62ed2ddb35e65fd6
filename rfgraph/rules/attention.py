"""Attention: scaled-dot-product attention and `nn.MultiheadAttention`.

In: their nodes. Out: reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Place, Read, Reads, along, broadcast, every, up_to, whole
from rfgraph.language.vocabulary import Params
from rfgraph.rules.registry import rule
from rfgraph.rules.unmasked import allowed_by, attended

_WHOLE = every("attention")


def _infer_attention(params: Params, shapes: Sequence[Shape]) -> Shape:
    return (*params["query"].shape[:-1], params["value"].shape[-1])


@rule(
    F.scaled_dot_product_attention,
    signature="query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, "
    "enable_gqa=False",
    infer=_infer_attention,
)
def scaled_dot_product_attention(node: Node) -> Reads:
    """Scaled-dot-product attention.

    Reads:      its own query; every key and every value, or with is_causal those up to its position.
    Formula:    out[.., l, e] reads query[.., l, :], key[.., s, :] and value[.., s, e] for all s, or
                for 0 <= s <= l with is_causal. Grouped queries share head floor(h * kv / heads).
    Example:    5 tokens, is_causal: output token 2 reads tokens 0, 1, 2.
    Precision:  exact; a constant attn_mask leaves out the keys that it masks. Conservative for a mask
                computed from the input, which is taken to leave none out.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
    """
    params, rank = node.params, len(node.shape)
    keys = attended(allowed_by(params["attn_mask"]), range(rank - 1), "attention")
    if params["is_causal"]:
        keys = up_to(rank - 2, "attention")
    features = every("linear")
    last: dict[str, tuple[Place, Place]] = {
        "query": (along(rank - 2), features),
        "key": (keys, features),
        "value": (keys, along(rank - 1)),
    }
    reads = []
    for role, dims in last.items():
        operand = params[role]
        if isinstance(operand, Operand):
            lead: tuple[Place, ...] = broadcast(operand.shape[:-2], node.shape[:-2]).dims
            if params["enable_gqa"] and role != "query" and operand.shape[-3] != node.shape[-3]:
                sharing = Relation.spread(node.shape[-3] // operand.shape[-3])
                lead = (*map(along, range(rank - 3)), along(rank - 3, sharing))
            reads.append(Read(operand.index, (*lead, *dims)))
    mask = params["attn_mask"]
    if isinstance(mask, Operand):
        rows = broadcast(mask.shape[:-1], node.shape[:-1]).dims
        reads.append(Read(mask.index, (*rows, _WHOLE)))
    return tuple(reads)


def _infer_multihead(params: Params, shapes: Sequence[Shape]) -> tuple[Shape | None, ...]:
    query, key = tuple(params["query"].shape), tuple(params["key"].shape)
    if query[-1] != params["embed_dim"]:
        raise ValueError(
            f"expected {params['embed_dim']} features in the last dim, got {query[-1]}"
        )
    if not params["need_weights"]:
        return query, None
    tokens, batch = (1, 0) if params["batch_first"] else (0, 1)
    if len(query) == 2:
        weights: Shape = (query[0], key[0])
    else:
        weights = (query[batch], query[tokens], key[tokens])
    if not params["average_attn_weights"]:
        weights = (*weights[:-2], params["num_heads"], *weights[-2:])
    return query, weights


_FUNCTION = (
    "query, key, value, embed_dim, num_heads, in_proj_weight=None, in_proj_bias=None, bias_k=None, "
    "bias_v=None, add_zero_attn=False, dropout_p=0.0, out_proj_weight=None, out_proj_bias=None, "
    "training=True, key_padding_mask=None, need_weights=True, attn_mask=None, "
    "use_separate_proj_weight=False, q_proj_weight=None, k_proj_weight=None, v_proj_weight=None, "
    "static_k=None, static_v=None, average_attn_weights=True, is_causal=False, *, batch_first=False"
)
"""Of `F.multi_head_attention_forward`, whose tokens come first."""
_WEIGHTS = (
    "in_proj_weight in_proj_bias bias_k bias_v out_proj_weight out_proj_bias q_proj_weight k_proj_weight "
    "v_proj_weight static_k static_v"
).split()


@rule(
    nn.MultiheadAttention,
    (F.multi_head_attention_forward, _FUNCTION),
    name="multi_head_attention",
    signature="query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, "
    "average_attn_weights=True, is_causal=False, *, embed_dim=None, num_heads=None, "
    "batch_first=False",
    infer=_infer_multihead,
)
def multi_head_attention(node: Node) -> Reads:
    """Multi-head attention, with its projections.

    Reads:      its own query; every key and every value; all of weights that are computed.
    Formula:    out[n, l, :] reads query[n, l, :], key[n, :, :] and value[n, :, :]; the weights
                [n, l, s], too, read every key, for their softmax.
    Example:    self-attention over 5 tokens: output token 2 reads tokens 0 .. 4.
    Precision:  exact; a constant attn_mask or key_padding_mask leaves out the keys that it masks.
                Conservative for a weight that is masked, and so always 0.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html
    """
    params = node.params
    batched = len(params["query"].shape) == 3
    tokens = (1 if params["batch_first"] else 0) if batched else 0
    weights = node.output == 1  # (N, L, S): its batch dim comes first, whatever the layout

    def read(operand: Operand, own: Place) -> Read:
        dims: list[Place] = [every("linear")] * len(operand.shape)
        dims[tokens] = own
        if batched:
            dims[1 - tokens] = along(0 if weights else 1 - tokens)
        return Read(operand.index, tuple(dims))

    queries = len(node.shape) - 2 if weights else tokens
    batch = node.shape[0 if weights else 1 - tokens] if batched else 1
    samples = [0 if weights else 1 - tokens] if batched else []
    allowed = _allowed(params, batch)
    if allowed is not None and not batched:
        allowed = allowed[0]
    keys = attended(allowed, [*samples, queries], "attention")
    roles: dict[str, Place] = {"query": along(queries), "key": keys, "value": keys}
    if weights:
        del roles["value"]
    reads = [read(params[r], d) for r, d in roles.items() if isinstance(params[r], Operand)]
    for role in ("key_padding_mask", "attn_mask"):
        mask = params[role]
        if isinstance(mask, Operand):
            reads.append(Read(mask.index, (every("attention"),) * len(mask.shape)))
    computed = (params[role] for role in _WEIGHTS if isinstance(params.get(role), Operand))
    reads += [whole(len(each.shape), "linear", each.index) for each in computed]
    return tuple(reads)


def _allowed(params: Params, batch: int) -> torch.Tensor | None:
    """[batch, query, key], or with 1 for any: which keys some head lets a query see; None: all.

    In these masks True means: not allowed, the reverse of `scaled_dot_product_attention`.
    """
    found = None
    for role in ("attn_mask", "key_padding_mask"):
        mask = params[role]
        if not isinstance(mask, torch.Tensor) or mask.is_meta:
            continue
        seen = ~mask.detach().cpu() if mask.dtype is torch.bool else allowed_by(mask)
        assert seen is not None
        if role == "key_padding_mask":
            seen = seen.reshape(-1, 1, seen.shape[-1])
        else:  # (query, key), or a mask for every sample and head
            seen = seen.reshape(batch if seen.ndim > 2 else 1, -1, *seen.shape[-2:]).any(1)
        found = seen if found is None else found & seen
    return found
