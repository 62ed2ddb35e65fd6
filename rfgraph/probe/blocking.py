"""Which calls stop a NaN, and which turn NaN at positions that they do not read.

In: a node, and a value for each of its operands. Out: a reason, or none. Each call is held to this alone,
with NaN for all of one operand, then for one half and the other half: where a call passes NaN on, the
outputs of the halves together are those of the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from math import inf
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.node import Target

from rfgraph.graph import Graph, Node
from rfgraph.graph.calls import name_of
from rfgraph.graph.replay import rerun
from rfgraph.probe.metadata import bare, valued

_MINUS_INFINITY = -1e4
_SELECT = frozenset(
    "sort argsort msort topk kthvalue median mode grid_sample deform_conv2d".split()
)
"""Their reads are decided by values, of which a NaN is one; a compiled `deform_conv2d` crashes on it."""
_MASKABLE = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
_SUMS = frozenset(
    "add iadd radd sub isub rsub subtract addcmul addcdiv addmm baddbmm addmv addr addbmm".split()
)
_PRODUCTS = frozenset(
    "mul imul rmul multiply div truediv itruediv true_divide divide matmul imatmul rmatmul mm bmm mv dot "
    "vdot inner outer ger tensordot kron vecdot chain_matmul multi_dot addmm baddbmm addmv addr addbmm "
    "einsum linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d".split()
)
"""0 times NaN is NaN."""
_FILLING = frozenset("where masked_fill tril triu setitem assigned index_fill".split())
_SHORT = (torch.bfloat16, torch.float16)
_INTERPOLATED = ("linear", "bilinear", "trilinear", "bicubic")


def called(target: Target | None) -> str:
    """The bare name of a call's target."""
    return bare(_name(target))


def _name(target: Target | None) -> str:
    if isinstance(target, nn.Module):
        return type(target).__name__
    return name_of(target) if target is not None else ""


def _read(node: Node, graph: Graph) -> list[str]:
    """The nodes whose values a call uses; others are asked for their shape or dtype alone."""
    target, args, kwargs = graph.call(node)
    return graph.operands(valued(_name(target), args, kwargs))


def reads_nothing(node: Node, graph: Graph, constants: Collection[str]) -> bool:
    """True for tensors made by `zeros_like` and its like, and for those made of such tensors alone."""
    return node.op != "input" and set(_read(node, graph)) <= set(constants)


def blocked(
    node: Node, graph: Graph, values: Mapping[str, Tensor], constants: Collection[str]
) -> str:
    """Why a NaN in the node's operands does not show in its value; "" where it does.

    `constants`: the nodes that read no input. No NaN comes from there.
    """
    value = values[node.name]
    if not (value.is_floating_point() or value.is_complex()):
        return f"{str(value.dtype).removeprefix('torch.')} values hold no NaN"
    if node.op == "input" or not value.numel():
        return ""
    name = called(graph.call(node)[0])
    if name in _SELECT:
        return f"what {name} reads is decided by values"
    if name == "bernoulli":
        return "what bernoulli draws holds no NaN"
    for operand in (operand for operand in _read(node, graph) if operand not in constants):
        if values[operand].is_floating_point() or values[operand].is_complex():
            try:
                why = _stops(node, graph, operand, values)
            except RuntimeError as error:  # a decomposition, for one
                return f"torch refuses a NaN in {name}: {str(error).splitlines()[0]}"
            if why:
                return why
    return ""


def _stops(node: Node, graph: Graph, name: str, values: Mapping[str, Tensor]) -> str:
    """Why a NaN in one operand does not show."""
    operand = values[name]

    def nan_where(mask: Tensor) -> Tensor:
        poisoned = {**values, name: operand.masked_fill(mask, torch.nan)}
        return rerun(node, graph, poisoned).isnan()  # type: ignore[no-any-return]

    everywhere = torch.ones(operand.shape, dtype=torch.bool, device=operand.device)
    whole = nan_where(everywhere)
    if not bool(whole.any()):
        return "gives no NaN for an operand that is all NaN"
    generator = torch.Generator().manual_seed(0)
    half = (torch.rand(operand.shape, generator=generator) < 0.5).to(operand.device)
    if bool((whole & ~(nan_where(half) | nan_where(~half))).any()):
        return "leaves NaN out of what it computes"
    return ""


# --- too many NaN -------------------------------------------------------------------------------


def fills(node: Node, graph: Graph, values: Mapping[str, Tensor], filled: Set[str]) -> bool:
    """True where the model may have filled a node with zeros, or with -inf: it, or one that it is made of.

    Padding does not count: the analysis takes the other factor of a product as read there, as poison does.
    """
    if node.op == "input":
        return False
    is_new = called(graph.call(node)[0]) in _FILLING or not filled.isdisjoint(node.operands)
    return is_new and (_has_zero(values[node.name]) or _has_low(values[node.name]))


def overcounted(
    node: Node, graph: Graph, values: Mapping[str, Tensor], filled: Collection[str] = ()
) -> str:
    """Why the node may turn NaN at positions that read no NaN; "" where it cannot.

    A zero that is fixed by the model, times NaN, is NaN. Zeros that follow from the data are no such
    case, but they cannot be told apart here: what may be one is named. `filled`: see `fills`.
    """
    if node.op == "input":
        return ""
    target, args, kwargs = graph.call(node)
    name, options = called(target), (*args, *kwargs.values())
    mode = getattr(target, "mode", "") if isinstance(target, nn.Module) else ""
    if name in ("interpolate", "Upsample", "UpsamplingBilinear2d") and any(
        m in _INTERPOLATED for m in (mode, *options) if isinstance(m, str)
    ):
        return "interpolation weights may be zero"
    masks = kwargs.get("attn_mask"), kwargs.get("key_padding_mask")
    positional = any(_is_mask(option) for option in options)
    causal = kwargs.get("is_causal", False)
    if (target in _MASKABLE or isinstance(target, nn.MultiheadAttention)) and (
        causal or positional or any(mask is not None for mask in masks)
    ):
        return "masked keys are multiplied by zero"
    if name.lower() in _PRODUCTS and values[node.name].dtype in _SHORT:
        return "a product in a short dtype may share a NaN, as some processors do many at once"
    if "fft" in name:
        return "a transform of several lines at once may share a NaN"
    if name in ("stft", "istft"):
        return "a window may hold zeros"
    operands = [values[name] for name in graph.operands((args, kwargs))]
    held = [option for option in options if _is_held(option)]
    if ("softmax" in name.lower() or name in _SUMS) and any(map(_has_low, (*operands, *held))):
        return "masked elements count as read"
    if name in _SUMS and any(bool((value >= -_MINUS_INFINITY).any()) for value in held):
        return "masked elements count as read"
    if name in _PRODUCTS and any(map(_has_zero, held)):
        return "a constant factor holds zeros"
    factors = (values[name] for name in graph.operands((args, kwargs)) if name in filled)
    if name in _PRODUCTS and any(map(_has_zero, factors)):
        return "a factor holds zeros"
    return ""


def _is_held(value: object) -> TypeGuard[Tensor]:
    """True for a tensor of the model that is no parameter."""
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)


def _has_zero(value: object) -> bool:
    return isinstance(value, Tensor) and bool((value == 0).any())


def _is_mask(value: object) -> bool:
    """True for a tensor of the model that holds zeros, False or -inf."""
    if not isinstance(value, Tensor) or isinstance(value, nn.Parameter):
        return False
    return bool((value == 0).any()) or _has_low(value)


def _has_low(value: object) -> bool:
    if not isinstance(value, Tensor) or value.is_complex():
        return False
    return bool(((value <= _MINUS_INFINITY) | (value == -inf)).any())
