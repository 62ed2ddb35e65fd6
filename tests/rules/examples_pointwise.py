"""Examples of activations, arithmetic, comparisons, casts and constants; embedding and glu.

In: tables of names. Out: `EXAMPLES`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.rules.examples import Example, ex, w

EXAMPLES: dict[str, list[Example]] = {}
_SHAPE = (2, 3)


def _add(name: str, *examples: Example) -> None:
    EXAMPLES.setdefault(name, []).extend(examples)


def _method(name: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    return lambda x, *others: getattr(x, name)(*others, *args, **kwargs)


def _inplace(name: str) -> Callable[..., Any]:
    return lambda x: getattr(F, name)(x, inplace=True)


# --- activations: the function, the module, in place -----------------------------------------------
_ACTIVATIONS: dict[str, tuple[Callable[..., Any] | None, nn.Module]] = {
    "relu": (F.relu, nn.ReLU()),
    "relu6": (F.relu6, nn.ReLU6()),
    "leaky_relu": (F.leaky_relu, nn.LeakyReLU(0.2)),
    "rrelu": (F.rrelu, nn.RReLU()),
    "elu": (F.elu, nn.ELU()),
    "celu": (F.celu, nn.CELU()),
    "selu": (F.selu, nn.SELU()),
    "gelu": (F.gelu, nn.GELU(approximate="tanh")),
    "silu": (F.silu, nn.SiLU()),
    "mish": (F.mish, nn.Mish()),
    "sigmoid": (torch.sigmoid, nn.Sigmoid()),
    "tanh": (torch.tanh, nn.Tanh()),
    "softplus": (F.softplus, nn.Softplus()),
    "softsign": (F.softsign, nn.Softsign()),
    "softshrink": (F.softshrink, nn.Softshrink(0.3)),
    "hardshrink": (F.hardshrink, nn.Hardshrink(0.3)),
    "hardsigmoid": (F.hardsigmoid, nn.Hardsigmoid()),
    "hardswish": (F.hardswish, nn.Hardswish()),
    "hardtanh": (F.hardtanh, nn.Hardtanh(-0.5, 2.0)),
    "tanhshrink": (F.tanhshrink, nn.Tanhshrink()),
    "logsigmoid": (F.logsigmoid, nn.LogSigmoid()),
    "threshold": (lambda x: F.threshold(x, 0.1, 2.0), nn.Threshold(0.1, 2.0)),
    "prelu": (lambda x: F.prelu(x, w(1)), nn.PReLU()),
}
for _name, (_function, _module) in _ACTIVATIONS.items():
    _add(_name, ex(_function, _SHAPE), ex(_module, (1, 2, 3)))
_add("leaky_relu", ex(lambda x, a: F.leaky_relu(x, a), (2, 3), (), draw=("normal", "unit")))
for _name in ("relu", "leaky_relu", "elu", "selu", "celu", "hardtanh", "relu6", "silu", "mish"):
    _add(_name, ex(_inplace(_name), (3, 1)))
_add(
    "relu", ex(lambda x: x.relu_(), _SHAPE), ex(nn.ReLU(inplace=True), (5,)), ex(torch.relu_, (4,))
)
_add("sigmoid", ex(lambda x: x.sigmoid_(), _SHAPE), ex(F.sigmoid, (5,)))
# Only negative elements draw a slope: a change of sign would shift the draws of those that follow.
_add(
    "rrelu",
    ex(nn.RReLU(), _SHAPE, training=True, draw="negative"),
    ex(lambda x: F.rrelu_(x), (2, 2)),
)
_PRELU = nn.PReLU(3)
_add("prelu", ex(_PRELU, (2, 3, 2)), ex(lambda x, a: F.prelu(x, a), (2, 3, 2), (3,)))
_add("prelu", ex(lambda x, a: F.prelu(x, a), (2, 3), (1,)), ex(torch.prelu, (4,), (1,)))

# --- dropout -------------------------------------------------------------------------------------
for _name, _shape in {
    "dropout": (2, 3),
    "dropout1d": (2, 2, 3),
    "dropout2d": (1, 2, 2, 3),
    "dropout3d": (2, 2, 1, 2, 2),
    "alpha_dropout": (2, 3),
    "feature_alpha_dropout": (2, 2, 3),
}.items():
    _class = getattr(nn, "".join(part.capitalize() for part in _name.split("_")))
    _function = getattr(F, _name)
    _add(_name, ex(_class(0.4), _shape), ex(_class(0.4), _shape, training=True))
    _add(_name, ex(lambda x, f=_function: f(x, 0.3, True), _shape))
_add("dropout", ex(lambda x: F.dropout(x, 0.3, True, True), (5,)))
_add("feature_dropout", ex(lambda x: torch.feature_dropout(x, 0.4, True), (2, 2, 3)))

# --- casts, copies -------------------------------------------------------------------------------
_add("identity", ex(nn.Identity(), _SHAPE))
for (
    _name
) in "float double half bfloat16 int long short clone contiguous detach positive to_dense".split():
    _add(_name, ex(_method(_name), _SHAPE, draw="wide"))
_add("bool", ex(_method("bool"), _SHAPE, draw="signs"))
_add("byte", ex(_method("byte"), _SHAPE, draw="integer"))
_add("to", ex(_method("to", torch.float32), _SHAPE), ex(lambda x, y: x.to(y), _SHAPE, (4,)))
_add("to", ex(_method("to", "cpu", dtype=torch.float16), (3, 1)))
_add("type", ex(_method("type", torch.float32), _SHAPE))
_add("type_as", ex(lambda x, y: x.type_as(y), (2, 3), (2, 3), draw=("wide", "integer")))
_add("type_as", ex(lambda x, y: x.type_as(other=y), (2, 3), (4,)))
_add("to", ex(lambda x: x.to(w(1)), (2, 2)), ex(lambda x, y: x.to(y, copy=True), (2, 3), (2, 1)))
_add("to", ex(lambda x, y: Tensor.to(x, y, True), (3,), (2, 3)))
_add("to", ex(lambda x, y: torch.ops.aten.to.other(self=x, other=y), _SHAPE, (2, 3)))
_add("clone", ex(lambda x: torch.clone(x), (2, 1)))
_add("positive", ex(operator.pos, _SHAPE))
_add("detach", ex(torch.detach, _SHAPE))
_add(
    "nan_to_num",
    ex(torch.nan_to_num, _SHAPE, draw="special"),
    ex(lambda x: x.nan_to_num_(1.0), (3,)),
)
_add(
    "bernoulli",
    ex(torch.bernoulli, _SHAPE, draw="unit"),
    ex(_method("bernoulli"), (3,), draw="unit"),
    ex(lambda x: torch.bernoulli(x, 0.5), _SHAPE),
    ex(_method("bernoulli", p=0.5), _SHAPE),
)
_add(
    "bernoulli_",
    ex(lambda x: x.bernoulli_(0.5), _SHAPE),
    ex(lambda x, p: x.bernoulli_(p), (2, 3), (2, 3), draw=("normal", "unit")),
    ex(lambda x, p: x.bernoulli_(p=p), (2, 3), (3,), draw=("normal", "unit")),
    ex(lambda x: torch.zeros_like(x).bernoulli_(x), (2, 2), draw="unit"),
)
_add("cpu", ex(_method("cpu"), _SHAPE))
_add("cuda", ex(_method("cuda"), _SHAPE, reference=torch.clone))

# --- one operand ---------------------------------------------------------------------------------
_UNARY = {
    "normal": "neg abs absolute negative exp exp2 expm1 square sin cos tan sinh cosh tanh asinh erf "
    "erfc sinc expit deg2rad rad2deg sgn atan arcsinh arctan signbit i0 airy_ai bessel_j0 bessel_j1 "
    "erfcx i0e i1 i1e log_ndtr modified_bessel_i0 modified_bessel_i1 ndtr spherical_bessel_j0 frexp",
    "positive": "log log2 log10 log1p sqrt rsqrt reciprocal lgamma digamma bessel_y0 bessel_y1 entr "
    "gammaln modified_bessel_k0 modified_bessel_k1 psi scaled_modified_bessel_k0 "
    "scaled_modified_bessel_k1",
    "unit": "logit asin acos atanh erfinv arccos arcsin arctanh ndtri",
    "above one": "acosh arccosh",
    "wide": "floor ceil round trunc frac fix",
    "signs": "sign logical_not angle",
    "special": "isnan isinf isfinite isneginf isposinf",
    "complex": "angle conj conj_physical resolve_conj resolve_neg",
    "half real": "isreal",
}
for _draw, _names in _UNARY.items():
    for _name in _names.split():
        _torch = getattr(torch, _name, None) or getattr(torch.special, _name)
        _add(_name, ex(_torch, _SHAPE, draw=_draw))
        if hasattr(Tensor, _name):
            _add(_name, ex(_method(_name), (3, 1), draw=_draw))
        if hasattr(Tensor, _name + "_"):
            _add(_name, ex(_method(_name + "_"), (4,), draw=_draw))
_add("neg", ex(operator.neg, _SHAPE))
_add("abs", ex(abs, _SHAPE), ex(operator.abs, _SHAPE))
_add("real", ex(torch.real, _SHAPE, draw="complex"), ex(lambda x: x.real, (3,), draw="complex"))
_add("imag", ex(torch.imag, _SHAPE, draw="complex"), ex(lambda x: x.imag, (3,), draw="complex"))
_add(
    "bitwise_not",
    ex(torch.bitwise_not, _SHAPE, draw="integer"),
    ex(lambda x: ~x, (3,), draw="bool"),
)

# --- two operands and more, broadcast --------------------------------------------------------------
_BINARY = {
    "normal": "add sub mul div multiply subtract divide true_divide rsub maximum minimum fmax fmin "
    "atan2 hypot logaddexp logaddexp2 lt le gt ge copysign arctan2 complex polar greater "
    "greater_equal less less_equal",
    "single": "nextafter",
    "signs": "eq ne heaviside logical_and logical_or logical_xor isclose not_equal",
    "positive": "pow float_power xlogy ldexp igamma igammac gammainc gammaincc xlog1py",
    "above one": "floor_divide remainder fmod zeta",
    "integer": "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift gcd lcm",
}
_PYTHON: dict[str, tuple[Callable[..., Any], ...]] = {
    "add": (
        operator.add,
        operator.iadd,
        lambda x, y: x.add_(y),
        lambda x, y: torch.add(x, y, alpha=2),
    ),
    "sub": (operator.sub, operator.isub, lambda x, y: x.sub(y, alpha=3)),
    "mul": (operator.mul, operator.imul),
    "div": (operator.truediv, operator.itruediv, lambda x, y: torch.div(x, y, rounding_mode=None)),
    "floor_divide": (operator.floordiv, operator.ifloordiv),
    "remainder": (operator.mod, operator.imod),
    "pow": (operator.pow, operator.ipow),
    "eq": (operator.eq,),
    "ne": (operator.ne,),
    "lt": (operator.lt,),
    "le": (operator.le,),
    "gt": (operator.gt,),
    "ge": (operator.ge,),
    "bitwise_and": (operator.and_, operator.iand),
    "bitwise_or": (operator.or_, operator.ior),
    "bitwise_xor": (operator.xor, operator.ixor),
    "bitwise_left_shift": (operator.lshift, operator.ilshift),
    "bitwise_right_shift": (operator.rshift, operator.irshift),
}
for _draw, _names in _BINARY.items():
    for _name in _names.split():
        _function = getattr(torch, _name, None) or getattr(torch.special, _name)
        _add(_name, ex(_function, (2, 3), (2, 3), draw=_draw))
        _add(_name, ex(_function, (2, 1, 3), (4, 1), draw=_draw))
        _add(_name, ex(_function, (3,), (2, 3), draw=_draw))
        for _python in _PYTHON.get(_name, ()):
            _add(_name, ex(_python, (3, 2), (2,), draw=_draw))
_add(
    "add",
    ex(lambda x: x + x, _SHAPE),
    ex(lambda x: 2 + x, _SHAPE),
    ex(lambda x: x + w(4, 1, 1), _SHAPE),
)
_add("add", ex(lambda x, y: y + x, (1, 3), (2, 1)))
for _name in (
    "chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w "
    "hermite_polynomial_h hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p "
    "shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v "
    "shifted_chebyshev_polynomial_w"
).split():
    _function = getattr(torch.special, _name)
    _add(_name, ex(lambda x, n, f=_function: f(x, n), (2, 1), (3,), draw=("unit", "index")))
_add("polygamma", ex(lambda x: torch.polygamma(2, x), _SHAPE, draw="positive"))
for _name, _function in {
    "mvlgamma": torch.mvlgamma,
    "multigammaln": torch.special.multigammaln,
}.items():
    _add(_name, ex(lambda x, f=_function: f(x, 2), _SHAPE, draw="above one"))
_add("sub", ex(lambda x: 2 - x, _SHAPE), ex(lambda x: w(3, 1) - x, (2,)))
_add("mul", ex(lambda x: w(2, 1, 3) * x, (4, 1)), ex(lambda x: x.mul_(2.0), (3,)))
_add("div", ex(lambda x: 1 / x, _SHAPE, draw="positive"))
_add(
    "pow",
    ex(lambda x: x**2, _SHAPE),
    ex(lambda x: 2**x, _SHAPE),
    ex(lambda x: torch.pow(2.0, x), (3,)),
)
_add("eq", ex(lambda x: x == 1, _SHAPE, draw="signs"))
_add("bitwise_and", ex(lambda x: x & True, (3,), draw="bool"))

_add(
    "clamp", ex(lambda x: torch.clamp(x, -0.5, 2.0), _SHAPE), ex(lambda x: x.clamp_(min=0.1), (3,))
)
_add("clamp", ex(lambda x, low: x.clamp(min=low), (2, 3), (3,)))
_add("clamp", ex(lambda x, low, high: torch.clamp(x, low, high), (2, 3), (2, 1), (3,), draw="wide"))
_add("clip", ex(lambda x: torch.clip(x, -0.5, 2.0), _SHAPE), ex(lambda x: x.clip(max=0.3), (3,)))
_add(
    "clamp_min",
    ex(lambda x: torch.clamp_min(x, 0.1), _SHAPE),
    ex(_method("clamp_min"), (2, 3), (3,)),
)
_add("clamp_max", ex(lambda x: x.clamp_max(0.1), _SHAPE), ex(torch.clamp_max, (2, 3), (2, 1)))
_OUT = "a constant mask leaves elements out"
_CONDITION = torch.tensor([True, False, True])
_BOOL = ("bool", "normal", "normal")
_add("where", ex(torch.where, (2, 3), (2, 3), (2, 3), draw=_BOOL))
_add("where", ex(torch.where, (3,), (2, 1), (1,), draw=_BOOL))
_add("where", ex(lambda x, y: torch.where(_CONDITION, x, y), _SHAPE, ()))
_add("masked_fill", ex(lambda x, v: x.masked_fill(_CONDITION, v), _SHAPE, ()))
_add("where", ex(lambda x: torch.where(_CONDITION, x, 0.0), _SHAPE, conservative=_OUT))
_add("where", ex(lambda x: torch.where(_CONDITION, x, x), _SHAPE))
_add("masked_fill", ex(lambda x: x.masked_fill(_CONDITION, 0.0), _SHAPE, conservative=_OUT))
for _name in ("tril", "triu"):
    _add(_name, ex(getattr(torch, _name), (3, 4), conservative=_OUT))
    _add(_name, ex(_method(_name, diagonal=-1), (2, 3, 3), conservative=_OUT))
    _add(_name, ex(_method(_name + "_", 2 if _name == "tril" else -3), (3, 2)))
_add("masked_fill", ex(lambda x, m: x.masked_fill(m, 7.0), (2, 3), (3,), draw=("normal", "bool")))
_add(
    "masked_fill", ex(lambda x, m: x.masked_fill_(m, 7.0), (2, 3), (2, 1), draw=("normal", "bool"))
)
_add("lerp", ex(lambda x, y: torch.lerp(x, y, 0.3), (2, 3), (2, 3)))
_add("lerp", ex(torch.lerp, (2, 3), (3,), (2, 1)))
_add(
    "addcmul",
    ex(torch.addcmul, (2, 3), (3,), (2, 1)),
    ex(lambda x, y: x.addcmul_(y, y), (2,), (2,)),
)
_add("addcdiv", ex(torch.addcdiv, (2, 3), (2, 3), (2, 1)))

# --- constants -----------------------------------------------------------------------------------
for _name in ("zeros_like", "ones_like", "rand_like", "randn_like"):
    _add(_name, ex(getattr(torch, _name), _SHAPE))
_add("randint_like", ex(lambda x: torch.randint_like(x, 9), _SHAPE))
_add("zeros_like", ex(lambda x: torch.ops.aten.zeros_like(self=x), _SHAPE))
_add("full_like", ex(lambda x: torch.full_like(x, 3.0), _SHAPE))
_add("empty_like", ex(torch.empty_like, _SHAPE, reference=torch.zeros_like))
_add("new_zeros", ex(_method("new_zeros", 4), _SHAPE), ex(_method("new_zeros", (2, 2)), _SHAPE))
_add("new_ones", ex(_method("new_ones", (2, 2)), _SHAPE))
_add("new_full", ex(_method("new_full", (2, 2), 3.0), _SHAPE))
_add("new_empty", ex(_method("new_empty", (2, 2)), _SHAPE, reference=_method("new_zeros", (2, 2))))
_add("new_tensor", ex(_method("new_tensor", [1.0, 2.0]), _SHAPE))

# --- embedding, glu --------------------------------------------------------------------------------
_add(
    "embedding",
    ex(nn.Embedding(3, 4), (2, 3), draw="index"),
    ex(nn.Embedding(3, 2), (4,), draw="index"),
)
_TABLE = w(3, 2)
_add("embedding", ex(lambda i: F.embedding(i, _TABLE), (2, 2), draw="index"))
_add("embedding", ex(lambda i, t: F.embedding(i, t), (2, 3), (3, 2), draw=("index", "normal")))
_add("glu", ex(F.glu, (2, 6)), ex(nn.GLU(1), (2, 4, 3)), ex(lambda x: F.glu(x, dim=0), (4, 3)))
_add("glu", ex(nn.GLU(-2), (1, 6, 2)))
