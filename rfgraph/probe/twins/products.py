"""Twins of operators that multiply: convolutions, linear layers, matrix products, attention.

In: calls on twins. Out: plain float64 tensors.

A product of weights and a traced tensor is a mean with positive weights. A product of two traced
tensors is a sum: each factor is contracted with ones in the place of the other, but for the exact zeros
of that other, which let nothing through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rfgraph.probe.twins.arithmetic import added_to
from rfgraph.probe.twins.constants import encoded, kept
from rfgraph.probe.twins.encoding import average, mean, outweighed, without_low
from rfgraph.probe.twins.twin import Called, Named, Result, Twin, arguments, nothing, traced, twin

_CONV = "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1"
_TRANSPOSED = (
    "input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1"
)


def biased(value: Tensor, *biases: Tensor | None) -> Tensor:
    """A bias makes 0 something else; one that is traced is read, along the dim of the channels."""
    for bias in biases:
        if isinstance(bias, Twin):
            value = average(value, bias.value)
        elif bias is not None:
            value = value + 1.0
    return value


def multilinear(product: Callable[..., Tensor], *factors: Tensor) -> Tensor:
    """The sum over traced factors of the product in which all the others are ones (or exact zeros)."""
    values = [without_low(f.value) if isinstance(f, Twin) else kept(f) for f in factors]
    through = [
        (v != 0).to(v.dtype) if isinstance(f, Twin) else v
        for f, v in zip(factors, values, strict=True)
    ]
    terms = [
        product(*through[:i], values[i], *through[i + 1 :])
        for i, factor in enumerate(factors)
        if isinstance(factor, Twin)
    ]
    counts = product(*through)
    most = counts.max().clamp(min=1.0) if counts.numel() else counts.new_ones(())
    return average(*terms) / most


def _wide(bias: Tensor | None, rank: int) -> Tensor | None:
    """A traced bias of shape (channels,) or (n, channels), as wide as what it is added to."""
    if not isinstance(bias, Twin):
        return bias
    return Twin.make(bias.value.reshape(-1, *(1,) * rank), bias.dtype, bias.setting)


@twin("conv1d conv2d conv3d")
def conv(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments(_CONV, args, kwargs)
    function = getattr(F, call.name)
    options = (p["stride"], p["padding"], p["dilation"], p["groups"])
    made = _convolved(call, lambda x, w: function(x, w, None, *options), p)
    return biased(made, _wide(p["bias"], int(call.name[-2])))


@twin("conv_transpose1d conv_transpose2d conv_transpose3d")
def conv_transpose(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments(_TRANSPOSED, args, kwargs)
    function = getattr(F, call.name)
    options = (p["stride"], p["padding"], p["output_padding"], p["groups"], p["dilation"])
    made = _convolved(call, lambda x, w: function(x, w, None, *options), p)
    return biased(made, _wide(p["bias"], int(call.name[-2])))


@twin("conv_tbc")
def conv_tbc(call: Called, *args: object, **kwargs: object) -> Tensor:
    """Over the last dim of (batch, channels, time), and back."""
    p = arguments("input, weight, bias, pad=0", args, kwargs)
    x, weight = p["input"], p["weight"]

    def product(value: Tensor, kernel: Tensor) -> Tensor:
        made = F.conv1d(value.permute(1, 2, 0), kernel.permute(2, 1, 0), padding=p["pad"])
        return made.permute(2, 0, 1)

    if isinstance(weight, Twin):
        return biased(multilinear(product, x, weight), p["bias"])
    positive = call.setting.weights(weight.shape, [0, 1], x.value.device)
    return biased(product(without_low(x.value), positive * kept(weight)), p["bias"])


def _convolved(call: Called, product: Callable[..., Tensor], p: Named) -> Tensor:
    x, weight = p["input"], p["weight"]
    if isinstance(weight, Twin):
        return multilinear(product, x, weight)
    over = [d for d in range(weight.ndim) if d != ("transpose" in call.name)]
    positive = call.setting.weights(weight.shape, over, x.value.device)
    return product(without_low(x.value), positive * kept(weight))


@twin("linear")
def linear(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("input, weight, bias=None", args, kwargs)
    x, weight = p["input"], p["weight"]
    if call.setting.cut:
        return nothing(call)
    if isinstance(weight, Twin):
        return biased(multilinear(F.linear, x, weight), p["bias"])
    positive = call.setting.weights(weight.shape, [weight.ndim - 1], x.value.device)
    return biased(F.linear(without_low(x.value), positive * kept(weight)), p["bias"])


@twin("bilinear")
def bilinear(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("input1, input2, weight, bias=None", args, kwargs)
    if call.setting.cut:
        return nothing(call)
    means = [value.mean() for value in traced(p["weight"])]
    means += [mean(value, [-1]) for value in traced((p["input1"], p["input2"]))]
    return biased(average(*means).expand(call.shape()), p["bias"])


@twin("embedding")
def embedding(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("input, weight", args, kwargs)
    index, weight = p["input"], p["weight"]
    terms = [index.value.unsqueeze(-1)] if isinstance(index, Twin) else []
    if isinstance(weight, Twin) and isinstance(index, Twin):
        terms.append(mean(weight.value, [0], keepdim=False))
    elif isinstance(weight, Twin):
        terms.append(weight.value[index])
    return average(*terms).expand(*index.shape, weight.shape[-1])


# --- matrix products ----------------------------------------------------------------------------


_PRODUCTS = {
    "inner": torch.inner,
    "kron": torch.kron,
    "outer": torch.outer,
    "ger": torch.outer,
    "addr": torch.outer,
    "addbmm": lambda one, other: (one @ other).sum(0),
}
_OUTER = frozenset(("kron", "outer", "ger", "addr"))  # nothing is summed


@twin("matmul mm bmm mv dot vdot inner outer ger tensordot kron")
def matmul(call: Called, *args: Any, **kwargs: Any) -> Tensor:
    name = call.name
    if call.setting.cut and name not in _OUTER:
        return nothing(call)
    if name == "tensordot":
        dims = kwargs.get("dims", args[2] if len(args) > 2 else 2)
        return multilinear(lambda a, b: torch.tensordot(a, b, dims=dims), *args[:2])
    a = args[0]
    reverse = name == "matmul" and getattr(call.function, "__name__", "") == "__rmatmul__"
    b = args[1] if len(args) > 1 else next(iter(kwargs.values()))
    return multilinear(_PRODUCTS.get(name, torch.matmul), *((b, a) if reverse else (a, b)))


@twin("vecdot")
def vecdot(call: Called, x: Tensor, y: Tensor, dim: int = -1, **options: object) -> Tensor:
    if call.setting.cut:
        return nothing(call)
    return multilinear(lambda one, other: (one * other).sum(dim), x, y)


@twin("chain_matmul multi_dot")
def chain(call: Called, *tensors: Any, **options: object) -> Tensor:
    if call.setting.cut:
        return nothing(call)
    listed = isinstance(tensors[0], tuple | list)
    factors = tensors[0] if listed else tensors
    return multilinear(lambda *given: torch.linalg.multi_dot(given), *factors)


@twin("addmm baddbmm addmv addr addbmm")
def added_matmul(call: Called, added: Tensor, a: Tensor, b: Tensor, **options: object) -> Tensor:
    if call.setting.cut and call.name not in _OUTER:
        made = nothing(call)
    elif traced((a, b)):
        made = multilinear(_PRODUCTS.get(call.name, torch.matmul), a, b)
    else:
        made = torch.ones(call.shape(), dtype=torch.float64, device=a.device)
    return biased(made, added) if options.get("beta", 1) != 1 else added_to(added, made)


@twin("einsum")
def einsum(call: Called, equation: str, *operands: Any) -> Tensor:
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = tuple(operands[0])
    if call.setting.cut:
        return nothing(call)
    return multilinear(lambda *factors: torch.einsum(equation, *factors), *operands)


# --- attention ----------------------------------------------------------------------------------


def allowed_by(mask: object, causal: bool, queries: int, keys: int, device: torch.device) -> Tensor:
    """Which key (last dim) each query (the dim before) may see, by a mask that the model fixes."""
    allowed = torch.ones(queries, keys, dtype=torch.bool, device=device)
    if causal:
        allowed = allowed.tril()
    if isinstance(mask, Twin):
        return allowed & ~outweighed(mask.value, -1)
    if isinstance(mask, Tensor):
        return allowed & _seen_by(mask)
    return allowed


def _seen_by(mask: Tensor) -> Tensor:
    """Where a constant mask, boolean or additive, lets a query see a key."""
    return kept(mask) != 0 if mask.dtype is torch.bool else ~outweighed(encoded(mask), -1)


def attended(allowed: Tensor, per_key: Tensor) -> Tensor:
    """The mean over the keys that each query may see: (.., L, S) and (.., S, E) give (.., L, E)."""
    weights = allowed.to(per_key.dtype)
    return weights / weights.sum(-1, keepdim=True).clamp(min=1.0) @ per_key


@twin("scaled_dot_product_attention")
def attention(call: Called, *args: object, **kwargs: object) -> Tensor:
    signature = (
        "query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, "
        "enable_gqa=False"
    )
    p = arguments(signature, args, kwargs)
    query, key, value = p["query"], p["key"], p["value"]
    shape, device = call.shape(), traced((args, kwargs))[0].device
    allowed = allowed_by(p["attn_mask"], p["is_causal"], query.shape[-2], key.shape[-2], device)
    sees = allowed.any(-1, keepdim=True).to(torch.float64)
    terms = []
    if isinstance(query, Twin):
        terms.append((mean(query.value, [-1]) * sees).expand(shape))
    for role, dims in ((key, [-1]), (value, [])):
        if isinstance(role, Twin) and not call.setting.cut:
            read = mean(role.value, dims)
            if read.ndim > 2 and read.shape[-3] not in (1, shape[-3]):  # grouped queries
                read = read.repeat_interleave(shape[-3] // read.shape[-3], -3)
            terms.append(attended(allowed, read).expand(shape))
    if isinstance(p["attn_mask"], Twin) and not call.setting.cut:
        terms.append(mean(p["attn_mask"].value, [-1]).expand(shape))
    return average(*terms) if terms else nothing(call)


_MULTIHEAD = (
    "query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k, "
    "bias_v, add_zero_attn, dropout_p, out_proj_weight, out_proj_bias, training=True, "
    "key_padding_mask=None, need_weights=True, attn_mask=None, use_separate_proj_weight=False, "
    "q_proj_weight=None, k_proj_weight=None, v_proj_weight=None, static_k=None, static_v=None, "
    "average_attn_weights=True, is_causal=False"
)


@twin("multi_head_attention_forward")
def multi_head_attention(
    call: Called, *args: object, **kwargs: object
) -> Result | tuple[Tensor, None]:
    """Tokens come first; (L, N, E) or (L, E). Every output feature reads every feature."""
    p = arguments(_MULTIHEAD, args, kwargs)
    roles = [p["query"], p["key"], p["value"]]
    batched = roles[0].ndim == 3
    means = [
        _tokens_last(mean(role.value, [-1]), batched) if isinstance(role, Twin) else None
        for role in roles
    ]
    device = traced((args, kwargs))[0].device
    allowed = _seen(p, roles[0].shape[0], roles[1].shape[0], device)
    sees = allowed.any(-1, keepdim=True).to(torch.float64)
    own = [] if means[0] is None else [means[0] * sees]
    keys, values = (
        [attended(allowed, m)] if m is not None and not call.setting.cut else [] for m in means[1:]
    )
    masks = [p[name] for name in ("attn_mask", "key_padding_mask")]
    computed = [p[name] for name in p if name.endswith(("weight", "bias", "_k", "_v"))]
    every = [] if call.setting.cut else [value.mean() for value in traced((masks, computed))]
    nothing = torch.ones(allowed.shape[0], roles[0].shape[0], 1, dtype=torch.float64, device=device)
    out = average(*own, *keys, *values, *every, nothing)
    result = out.transpose(0, 1) if batched else out[0]
    result = 1.0 + result.expand(roles[0].shape)
    if not p["need_weights"]:
        return result, None
    weights = average(*own, *keys, *every, nothing).expand(*out.shape[:-1], roles[1].shape[0])
    if not p["average_attn_weights"]:
        weights = weights.unsqueeze(1).expand(-1, p["num_heads"], -1, -1)
    return result, weights if batched else weights[0]


def _tokens_last(value: Tensor, batched: bool) -> Tensor:
    """(L, N, 1) or (L, 1) as (N, L, 1)."""
    return value.transpose(0, 1) if batched else value.unsqueeze(0)


def _seen(p: Named, queries: int, keys: int, device: torch.device) -> Tensor:
    """(N, L, S): the keys that any head of a sample sees. True in these masks means: not allowed."""
    samples = p["query"].shape[1] if p["query"].ndim == 3 else 1
    seen = torch.ones(samples, queries, keys, dtype=torch.bool, device=device)
    mask, padding = p["attn_mask"], p["key_padding_mask"]
    if isinstance(mask, Tensor):
        allowed = _not_masked(mask, device).expand(-1, queries, keys) if mask.ndim == 3 else None
        if allowed is None:
            seen = seen & _not_masked(mask, device)
        else:
            seen = seen & allowed.reshape(samples, -1, queries, keys).any(1)
    if isinstance(padding, Tensor):
        seen = seen & _not_masked(padding, device).reshape(-1, 1, keys)
    return seen


def _not_masked(mask: Tensor, device: torch.device) -> Tensor:
    if isinstance(mask, Twin):
        return ~outweighed(mask.value, -1)
    return (~mask if mask.dtype is torch.bool else _seen_by(mask)).to(device)
