"""Operators whose output at a position reads their operands at that position, by torch's broadcasting.

In: nodes of activations, arithmetic, comparisons, dropout, casts. Out: reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Read, Reads, along, broadcast, fixed, same, table
from rfgraph.language.vocabulary import Masks, Params
from rfgraph.rules.common import broadcast_shapes, unchanged
from rfgraph.rules.masks import (
    added_to,
    divided,
    kept,
    multiplied,
    subtracted,
    summed,
    through,
    triangle,
)
from rfgraph.rules.registry import rule, spellings

_ANY = "*operands, **options"
_CAST = "input, *asked, **options"
_FILLING = ("fill_value", "data")


def broadcast_operands(params: Params, shapes: Sequence[Shape]) -> Shape:
    """Torch's broadcasting over every tensor argument, those of the model included."""
    tensors = [*params["operands"], *params.values()]
    all_shapes = [tuple(t.shape) for t in tensors if isinstance(t, torch.Tensor | Operand)]
    if all(shape == all_shapes[0] for shape in all_shapes):
        return all_shapes[0]
    return broadcast_shapes(*all_shapes)


def _of_input(params: Params, shapes: Sequence[Shape]) -> Shape:
    return tuple(params["input"].shape)


def pointwise(node: Node) -> Reads:
    """Activations, arithmetic, comparisons and their like.

    Reads:      every operand at the output's own position; an operand dim of size 1 that is broadcast
                is read at 0.
    Formula:    R(o) = {o}.
    Example:    (2, 3, 5, 7) + (3, 1, 7): output (0, 1, 2, 3) reads (0, 1, 2, 3) and (1, 0, 3).
    Precision:  exact. Conservative where a constant of the model leaves elements out: an operand counts
                as read everywhere.
    Documented: https://docs.pytorch.org/docs/stable/notes/broadcasting.html
    """
    shape = node.shape
    return tuple(broadcast(own, shape, i) for i, own in enumerate(node.operand_shapes))


def first_only(node: Node) -> Reads:
    """Casts, copies, dropout.

    Reads:      the tensor at the output's own position; nothing of one that is asked for its dtype. A
                tensor of the model in the type of another reads nothing.
    Formula:    R(o) = {o}.
    Example:    x.type_as(y): output (1, 2) reads x at (1, 2) and nothing of y.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.to.html
    """
    return (same(len(node.shape)),) if isinstance(node.params["input"], Operand) else ()


def constant(node: Node) -> Reads:
    """Tensors made in another's image: `zeros_like`, `new_zeros`, `rand_like`.

    Reads:      nothing of that other; a number or data to fill with, where it is computed.
    Formula:    R(o) = {}.
    Example:    torch.zeros_like(x): output (1, 2) reads no element of x.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.zeros_like.html
    """
    params = node.params
    filling = (*params["operands"], *(params.get(name) for name in _FILLING))
    computed = (value for value in filling if isinstance(value, Operand))
    return tuple(broadcast(value.shape, node.shape, value.index) for value in computed)


def drawn(node: Node) -> Reads:
    """Bernoulli draws.

    Reads:      the probability at the output's own position; of the tensor itself nothing, where `p` says
                the probability.
    Formula:    R(o) = {o}.
    Example:    torch.bernoulli(x): output (1, 2) reads (1, 2); torch.bernoulli(x, 0.5) reads nothing.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.bernoulli.html
    """
    p = node.params["p"]
    source = node.params["input"] if p is None else p
    return (
        (broadcast(source.shape, node.shape, source.index),) if isinstance(source, Operand) else ()
    )


# Activations keep the shape of their one operand; `inplace` is bound so that the tracer sees it.
_ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "rrelu": nn.RReLU,
    "elu": nn.ELU,
    "celu": nn.CELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "softshrink": nn.Softshrink,
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "tanhshrink": nn.Tanhshrink,
    "logsigmoid": nn.LogSigmoid,
    "threshold": nn.Threshold,
}
_BY_ATTRIBUTES = frozenset(("hardtanh", "threshold"))
"""What these make of 0 is said by attributes of their modules."""
for _name, _module in _ACTIVATIONS.items():
    rule(
        *spellings(_name, _module),
        name=_name,
        signature="input, *operands, inplace=False, **options",
        infer=_of_input,
        masks=None if _name in _BY_ATTRIBUTES else through(getattr(F, _name)),
    )(pointwise)


@rule(*spellings("prelu", nn.PReLU), name="prelu", signature="input, weight", infer=unchanged)
def prelu(node: Node) -> Reads:
    """PReLU: a slope for each channel, or one for all.

    Reads:      the element; of slopes computed from the input, its channel's.
    Formula:    R(o) = {o}, and o[1] of the slopes.
    Example:    (2, 3, 5) with 3 slopes: output (0, 1, 2) reads (0, 1, 2) and slope 1.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html
    """
    slopes = (
        Read(i, tuple(fixed(0) if size == 1 else along(1) for size in own))
        for i, own in enumerate(node.operand_shapes)
        if i
    )
    return same(len(node.shape)), *slopes


_DROPOUT: dict[str, type | None] = {
    "dropout": nn.Dropout,
    "dropout1d": nn.Dropout1d,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
    "alpha_dropout": nn.AlphaDropout,
    "feature_alpha_dropout": nn.FeatureAlphaDropout,
    "feature_dropout": None,
}
for _name, _dropout in _DROPOUT.items():
    rule(
        *spellings(_name, *([_dropout] if _dropout else [])),
        name=_name,
        signature="input, p=0.5, training=True, inplace=False",
        infer=unchanged,
        masks=kept,
        values=("input",),
    )(first_only)

rule(nn.Identity, name="identity", signature="input", infer=unchanged, masks=kept)(first_only)

# Casts and copies: torch is asked for the dtype.
for _name in (
    "to type type_as float double half bfloat16 int long short bool byte clone contiguous "
    "detach positive nan_to_num to_dense"
).split():
    rule(*spellings(_name), name=_name, signature=_CAST, masks=kept, values=("input",))(first_only)
for _name in ("cpu", "cuda"):
    rule(
        *spellings(_name),
        name=_name,
        signature=_CAST,
        infer=_of_input,
        masks=kept,
        values=("input",),
    )(first_only)
rule(torch.bernoulli, "bernoulli", name="bernoulli", signature="input, p=None, *, generator=None")(
    drawn
)
rule(
    "bernoulli_",
    name="bernoulli_",
    signature="input, p=0.5, *, generator=None",
)(drawn)

_MASKS = {
    "add": summed,
    **dict.fromkeys(("sub", "subtract"), subtracted),
    **dict.fromkeys(("mul", "multiply"), multiplied),
    **dict.fromkeys(("addcmul", "addcdiv"), added_to),
    **dict.fromkeys(("div", "divide", "true_divide"), divided),
}
_OF_ONE = frozenset(
    "pow neg negative abs absolute clamp clip clamp_min clamp_max exp exp2 expm1 log log2 log10 log1p sqrt "
    "square sign sin tan asin atan sinh asinh atanh erf erfinv floor ceil round trunc frac float_power expit "
    "arcsin arcsinh arctan arctanh fix ndtr log_ndtr deg2rad rad2deg".split()
)
"""What 0, or -inf, becomes by these is asked of them."""


def _masks_of(name: str) -> Masks | None:
    """What an operator of this name fixes."""
    if name not in _OF_ONE:
        return _MASKS.get(name)
    return through(getattr(torch, name, None) or getattr(torch.special, name))


for _name in "add sub mul div floor_divide remainder pow neg abs clamp clip".split():
    rule(
        *spellings(_name),
        name=_name,
        signature=_ANY,
        infer=broadcast_operands,
        masks=_masks_of(_name),
    )(pointwise)

for _name in (
    "eq ne lt le gt ge bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift "
    "bitwise_right_shift clamp_min clamp_max multiply subtract divide true_divide rsub "
    "fmod maximum minimum fmax fmin lerp addcmul addcdiv atan2 hypot xlogy logaddexp "
    "logaddexp2 logical_and logical_or logical_xor logical_not exp exp2 expm1 log log2 log10 "
    "log1p logit sqrt rsqrt square reciprocal sign sgn sin cos tan asin acos atan sinh cosh "
    "asinh acosh atanh erf erfc erfinv floor ceil round trunc frac isnan isinf isfinite "
    "float_power ldexp heaviside copysign absolute negative sinc expit angle real imag conj "
    "deg2rad rad2deg lgamma digamma arccos arccosh arcsin arcsinh arctan arctan2 arctanh complex polar "
    "conj_physical resolve_conj resolve_neg fix frexp gcd lcm greater greater_equal less less_equal "
    "not_equal isclose isneginf isposinf isreal signbit nextafter i0 igamma igammac polygamma mvlgamma "
    "airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 entr erfcx gammainc gammaincc gammaln i0e i1 i1e "
    "log_ndtr modified_bessel_i0 modified_bessel_i1 modified_bessel_k0 modified_bessel_k1 multigammaln "
    "ndtr ndtri psi scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0 xlog1py zeta "
    "chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w "
    "hermite_polynomial_h hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p "
    "shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v "
    "shifted_chebyshev_polynomial_w"
).split():
    rule(*spellings(_name), name=_name, signature=_ANY, masks=_masks_of(_name))(pointwise)

for _name in ("tril", "triu"):
    rule(
        *spellings(_name),
        name=_name,
        signature="input, diagonal=0",
        infer=unchanged,
        masks=triangle(_name),
    )(pointwise)

for _name in (
    "zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones "
    "new_full new_empty new_tensor"
).split():
    rule(
        *spellings(_name),
        name=_name,
        signature="input, *operands, **options",
        values=("operands", *_FILLING),
    )(constant)


@rule(*spellings("glu", nn.GLU), signature="input, dim=-1")
def glu(node: Node) -> Reads:
    """Gated linear unit: one half of `dim` gates the other.

    Reads:      the same position, and along `dim` also the one half a dim further.
    Formula:    R(o) = {o, o + n / 2} along dim.
    Example:    8 channels: output channel 1 reads channels 1 and 5.
    Precision:  exact; the half is counted at the analysed size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.GLU.html
    """
    rank, dim = len(node.shape), node.params["dim"] % len(node.shape)
    half = node.shape[dim]
    gate = Relation.window(2, 1, max(half, 1), 0)
    paired = table(dim, gate, gate, f"glu pairs positions {half} apart at this size")
    return (Read(0, tuple(paired if d == dim else along(d) for d in range(rank))),)
