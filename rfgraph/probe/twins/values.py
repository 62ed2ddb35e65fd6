"""Twins of operators on single elements, and of norms, softmax and reductions.

In: calls on twins. Out: plain float64 tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rfgraph.probe.metadata import valued
from rfgraph.probe.twins.constants import encoded, plain
from rfgraph.probe.twins.encoding import (
    average,
    encoded_number,
    highest,
    is_low,
    lowered,
    mean,
    mean_where,
    outweighed,
    read_from,
    without_low,
)
from rfgraph.probe.twins.fixed import at_fixed
from rfgraph.probe.twins.twin import (
    Called,
    Named,
    Operand,
    Result,
    Twin,
    arguments,
    nothing,
    traced,
    twin,
)

# --- one element of each operand ----------------------------------------------------------------


@twin("to type type_as float double half bfloat16 int long short bool byte")
def cast(call: Called, *args: object, **kwargs: object) -> Twin:
    """Casts pass on all there is, -inf too, in the dtype that the real operator returns."""
    (value,) = traced(valued(call.name, args, kwargs))
    return Twin.make(value, call.dtype(), call.setting)


@twin("bernoulli")
def drawn(call: Called, *args: object, **kwargs: object) -> Tensor:
    """A draw by a probability, which may be an argument of its own."""
    values = traced(valued(call.function.__name__, args, kwargs))
    return average(*map(without_low, values)).expand(call.shape()) + 1.0


@twin(
    "cpu cuda conj_physical clone contiguous detach positive identity dropout dropout1d dropout2d dropout3d "
    "alpha_dropout feature_alpha_dropout feature_dropout nan_to_num requires_grad resolve_conj "
    "resolve_neg real imag conj to_dense"
)
def passed(call: Called, value: Twin, /, *args: object, **kwargs: object) -> Tensor:
    """Copies and dropout pass on all there is, -inf too."""
    return value.value.clone() if call.name == "clone" else value.value


@twin(
    "relu relu6 leaky_relu rrelu elu celu selu gelu silu mish tanh softsign softshrink hardshrink "
    "hardswish tanhshrink abs absolute sqrt square sign sgn sin tan asin atan sinh asinh atanh erf "
    "erfinv arcsin arcsinh arctan arctanh fix expm1 log1p floor round ceil trunc frac neg negative "
    "angle deg2rad rad2deg"
)
def activation(call: Called, value: Twin, /, *args: object, **kwargs: object) -> Tensor:
    """Functions of one element that map 0 to 0; a slope may be computed."""
    rest = traced((args, kwargs))
    made = average(without_low(value.value), *map(without_low, rest))
    return at_fixed(call, value.value, made) if bool(is_low(value.value).any()) else made


@twin(
    "sigmoid softplus hardsigmoid logsigmoid log_sigmoid exp exp2 log log2 log10 cos cosh acos acosh "
    "rsqrt reciprocal logit erfc digamma lgamma isnan isinf isfinite logical_not bitwise_not "
    "expit sinc threshold hardtanh arccos arccosh signbit isneginf isposinf isreal mvlgamma multigammaln "
    "airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 entr erfcx gammaln i0 i0e i1 i1e log_ndtr "
    "modified_bessel_i0 modified_bessel_i1 modified_bessel_k0 modified_bessel_k1 ndtr ndtri psi "
    "scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0"
)
def lifted(call: Called, value: Twin, /, *args: object, **kwargs: object) -> Tensor:
    """Functions of one element that do not map 0 to 0. exp(-inf) is 0."""
    return at_fixed(call, value.value, without_low(value.value) + 1.0)


@twin(
    "remainder fmod pow float_power eq ne lt le gt ge bitwise_and bitwise_or "
    "bitwise_xor logical_and logical_or logical_xor clamp clip clamp_min clamp_max maximum minimum "
    "fmax fmin lerp atan2 hypot xlogy logaddexp logaddexp2 ldexp heaviside copysign "
    "isclose bitwise_left_shift bitwise_right_shift nextafter arctan2 polar polygamma gcd lcm greater "
    "greater_equal less less_equal not_equal igamma igammac gammainc gammaincc xlog1py zeta "
    "chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w "
    "hermite_polynomial_h hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p "
    "shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u shifted_chebyshev_polynomial_v "
    "shifted_chebyshev_polynomial_w"
)
def pointwise(call: Called, *args: object, **kwargs: object) -> Tensor:
    """Any other function of an element of each operand."""
    values = traced((args, kwargs))
    made = average(*map(without_low, values)).expand(call.shape()) + 1.0
    return at_fixed(call, values[0], made) if call.name in _OF_ONE and len(values) == 1 else made


_OF_ONE = frozenset("pow float_power clamp clip clamp_min clamp_max".split())
"""What these make of what is fixed is asked of them."""


@twin("frexp")
def frexp(call: Called, value: Twin, /) -> tuple[Tensor, Tensor]:
    made = activation(call, value)
    return made, made + 1.0


@twin("prelu")
def prelu(call: Called, value: Twin, /, weight: Tensor) -> Tensor:
    if not isinstance(weight, Twin):
        return without_low(value.value)
    slopes = weight.value.reshape(-1, *(1,) * (value.ndim - 2))
    return average(*traced(value), slopes).expand(value.shape)


@twin("where")
def where(call: Called, condition: Tensor, yes: Operand, no: Operand) -> Tensor:
    device = traced((condition, yes, no))[0].device

    def side(value: Operand) -> Tensor:
        if isinstance(value, Tensor):
            found = plain(value)
            return found if found.is_floating_point() else encoded(value)
        return torch.tensor(encoded_number(value), dtype=torch.float64, device=device)

    if not isinstance(condition, Twin):
        return torch.where(condition.bool(), side(yes), side(no))
    values = map(without_low, traced((condition, yes, no)))
    made = average(*values).expand(call.shape()) + 1.0
    one, other = side(yes), side(no)
    # Where both sides are fixed to the same, the condition is not read.
    made = torch.where((one == 0) & (other == 0), torch.zeros_like(made), made)
    lower = torch.maximum(one.detach(), other.detach())
    return lowered(made, lower) if bool(is_low(lower).any()) else made


@twin("masked_fill")
def masked_fill(call: Called, input: Tensor, /, mask: Tensor, value: Operand) -> Tensor:
    made: Tensor = where(call, mask, value, input)
    return made


@twin("glu")
def glu(call: Called, value: Twin, /, dim: int = -1) -> Tensor:
    return average(*value.value.chunk(2, dim))


# --- norms --------------------------------------------------------------------------------------


def _and_mean(call: Called, value: Tensor, /, dims: Sequence[int]) -> Tensor:
    """The element and the mean over dims; the element alone where whole reads are cut."""
    own = without_low(value)
    return own + 1.0 if call.setting.cut or not dims else average(own, mean(own, dims)) + 1.0


def _scaled(value: Tensor, p: Named, per_channel: bool = True) -> Tensor:
    """A scale or shift that is traced is read, too."""
    given = [p.get(name) for name in ("weight", "bias", "running_mean", "running_var")]
    found = [t.value for t in given if isinstance(t, Twin)]
    if per_channel:
        found = [t.reshape(1, -1, *(1,) * (value.ndim - 2)) for t in found]
    return average(value, *found) if found else value


@twin("batch_norm")
def batch_norm(call: Called, *args: object, **kwargs: object) -> Tensor:
    names = "input, running_mean, running_var, weight=None, bias=None, training=False"
    if call.function is torch.batch_norm:
        names = "input, weight, bias, running_mean, running_var, training=False"
    p = arguments(names, args, kwargs)
    value = p["input"].value
    statistics = p["training"] or p["running_mean"] is None
    dims = [d for d in range(value.ndim) if d != 1] if statistics else []
    return _scaled(_and_mean(call, value, dims), p)


@twin("instance_norm")
def instance_norm(call: Called, *args: object, **kwargs: object) -> Tensor:
    names = (
        "input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True"
    )
    if call.function is torch.instance_norm:
        names = "input, weight, bias, running_mean, running_var, use_input_stats=True"
    p = arguments(names, args, kwargs)
    value = p["input"].value
    dims = list(range(2, value.ndim)) if p["use_input_stats"] else []
    return _scaled(_and_mean(call, value, dims), p)


@twin("group_norm")
def group_norm(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("input, num_groups, weight=None, bias=None, eps=1e-5", args, kwargs)
    value = p["input"].value
    split = value.unflatten(1, (p["num_groups"], -1))
    made = _and_mean(call, split, list(range(2, split.ndim)))
    return _scaled(made.reshape(value.shape), p)


@twin("layer_norm rms_norm")
def layer_norm(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("input, normalized_shape, weight=None, bias=None, eps=None", args, kwargs)
    value, shape = p["input"].value, p["normalized_shape"]
    count = 1 if isinstance(shape, int) else len(shape)
    return _scaled(_and_mean(call, value, list(range(-count, 0))), p, per_channel=False)


@twin("local_response_norm")
def local_response_norm(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("input, size, alpha=1e-4, beta=0.75, k=1.0", args, kwargs)
    value, size = p["input"].value, p["size"]
    flat = value.flatten(2).transpose(1, 2)
    padded = F.pad(flat, (size // 2, (size - 1) // 2))
    window = padded.unfold(-1, size, 1).mean(-1).transpose(1, 2).reshape(value.shape)
    return average(value, window)


@twin("normalize")
def normalize(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("input, p=2.0, dim=1", args, kwargs)
    return _and_mean(call, p["input"].value, _dims(p["dim"], p["input"].ndim))


@twin("softmax safe_softmax log_softmax softmin")
def softmax(call: Called, *args: object, **kwargs: object) -> Tensor:
    """The element and the mean over what of `dim` is not -inf; where it is itself, 0, or its logarithm."""
    p = arguments("input, dim=None", args, kwargs)
    value = p["input"].value
    dim = p["dim"] if p["dim"] is not None else 0 if value.ndim in (0, 1, 3) else 1
    low = outweighed(value, dim)
    if call.name == "softmin":
        value, low = without_low(value), torch.zeros_like(low)
    own = without_low(value)
    made = own if call.setting.cut else average(own, mean_where(~low, value, [dim]))
    if call.name == "log_softmax":
        return lowered(made + 1.0, read_from(value).where(low, torch.ones_like(value)))
    return torch.where(low, torch.zeros_like(made), made + 1.0)


@twin("cosine_similarity pairwise_distance")
def similarity(call: Called, *args: object, **kwargs: object) -> Tensor:
    default = "dim=1" if call.name == "cosine_similarity" else "p=2.0"
    p = arguments(f"x1, x2, {default}", args, kwargs)
    shape = torch.broadcast_shapes(p["x1"].shape, p["x2"].shape)  # type: ignore[no-untyped-call]
    made = average(*traced((p["x1"], p["x2"]))).expand(shape)
    found: Tensor = mean(made, [p.get("dim", -1)]).reshape(call.shape())
    return torch.ones_like(found) if call.setting.cut else found


# --- reductions ---------------------------------------------------------------------------------

_SECOND = frozenset(("norm", "vector_norm", "matrix_norm", "kthvalue"))
_LAST = {"mode": -1, "kthvalue": -1, "matrix_norm": (-2, -1)}


def _dims(dim: Any, rank: int) -> list[int]:
    if dim is None or isinstance(dim, bool):
        return list(range(rank))
    return [d % rank for d in (dim if isinstance(dim, tuple | list) else (dim,))]


def _fit(value: Tensor, call: Called) -> Result:
    """A mean with its dims kept, in the shape or shapes that the real operator returns."""
    real = call.shapes()
    if isinstance(real, Tensor):
        return value.reshape(real.shape)
    return tuple(value.reshape(entry.shape) for entry in real)


@twin(
    "sum mean amax amin max min aminmax median nanmedian mode prod any all var std var_mean std_mean "
    "norm vector_norm matrix_norm nuclear_norm frobenius_norm logsumexp nansum nanmean argmax argmin "
    "count_nonzero kthvalue"
)
def reduction(call: Called, value: Any, *args: Any, **kwargs: Any) -> Result:
    """Every element of the reduced dims."""
    place = int(call.name in _SECOND)
    dim = kwargs.get("dim", kwargs.get("axis", args[place] if len(args) > place else None))
    other = kwargs.get("other", dim)
    if isinstance(other, Tensor):  # torch.max(x, y)
        return pointwise(call, value, other)
    if dim is None:
        dim = _LAST.get(call.name)
    if isinstance(dim, tuple | list) and not dim:
        dim = None
    if call.setting.cut:
        return nothing(call)
    dims = _dims(dim, value.ndim)
    if call.name in _HIGHEST and len(dims) == 1:
        return _fit(highest(value.value, dims[0]), call)
    return _fit(mean(value.value, dims), call)


_HIGHEST = frozenset(("amax", "max", "logsumexp"))


@twin("quantile nanquantile")
def quantile(call: Called, *args: object, **kwargs: object) -> Tensor:
    """Every element of the reduced dims, and the entry of `q` along a new first dim."""
    p = arguments("input, q, dim=None, keepdim=False", args, kwargs)
    shape, q = call.shape(), p["q"]
    several = isinstance(q, Tensor) and q.ndim > 0
    terms = [] if call.setting.cut else traced(p["input"])
    terms = [mean(v, _dims(p["dim"], v.ndim)).reshape(shape[several:]) for v in terms]
    for value in traced(q):
        terms.append(value.reshape(-1, *(1,) * (len(shape) - 1)) if several else value)
    return average(*terms).expand(shape) if terms else nothing(call)


@twin("dist")
def dist(call: Called, *args: object, **kwargs: object) -> Tensor:
    if call.setting.cut:
        return nothing(call)
    return average(*(value.mean() for value in traced(args)))


@twin("trapezoid trapz cumulative_trapezoid")
def integral(call: Called, *args: object, **kwargs: object) -> Tensor:
    """Every element of the dim, of values and places; for the cumulative one up to its own."""
    p = arguments("y, x=None, dx=None, dim=-1", args, kwargs)
    rank = max(part.ndim for part in (p["y"], p["x"]) if part is not None)
    dim = p["dim"] % rank - rank
    if call.name == "cumulative_trapezoid":
        parts = [_up_to_next(call, value, dim) for value in traced((p["y"], p["x"]))]
    elif call.setting.cut:
        return nothing(call)
    else:
        parts = [mean(value, [max(dim, -value.ndim)]) for value in traced((p["y"], p["x"]))]
        parts = [part.squeeze(max(dim, -part.ndim)) for part in parts]
    return average(*parts).expand(call.shape())


def _up_to_next(call: Called, value: Tensor, /, dim: int) -> Tensor:
    """The mean of all positions up to the next one, or of these two; a tensor of one dim goes along `dim`."""
    place = dim if value.ndim > 1 else -1
    size = value.shape[place]
    made = value.narrow(place, 1, size - 1)
    if call.setting.cut:
        made = average(made, value.narrow(place, 0, size - 1))
    else:
        made = value.cumsum(place).narrow(place, 1, size - 1) / size
    return made.reshape(-1, *(1,) * (-1 - dim)) if value.ndim == 1 else made


@twin("renorm")
def renorm(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("input, p, dim, maxnorm", args, kwargs)
    value = p["input"].value
    return _and_mean(call, value, [d for d in range(value.ndim) if d != p["dim"] % value.ndim])


@twin("cumsum cumprod cummax cummin logcumsumexp")
def cumulated(call: Called, value: Twin, /, *args: Any, **kwargs: Any) -> Result:
    dim = kwargs.get("dim", args[0] if args else 0)
    made = without_low(value.value)
    if not call.setting.cut:
        made = made.cumsum(dim) / max(value.shape[dim], 1)
    return (made, made) if call.name in ("cummax", "cummin") else made


@twin(
    "fft ifft rfft irfft hfft ihfft fft2 ifft2 rfft2 irfft2 hfft2 ihfft2 fftn ifftn rfftn irfftn hfftn "
    "ihfftn"
)
def fourier(call: Called, *args: object, **kwargs: object) -> Tensor:
    default = {"2": "(-2, -1)", "n": "None"}.get(call.name[-1], "-1")
    p = arguments(f"input, s=None, dim={default}", args, kwargs)
    value, dim = p["input"].value, p["dim"]
    if dim is None and p["s"] is not None and not isinstance(p["s"], int):
        dim = list(range(-len(p["s"]), 0))
    if call.setting.cut:
        return torch.ones(call.shape(), dtype=torch.float64, device=value.device)
    return mean(value, _dims(dim, value.ndim)).expand(call.shape())


@twin("view_as_real")
def view_as_real(call: Called, value: Twin, /) -> Tensor:
    return value.value.unsqueeze(-1).expand(*value.shape, 2)


@twin("view_as_complex complex")
def view_as_complex(call: Called, *values: Twin) -> Tensor:
    return average(*traced(values)) if len(values) > 1 else values[0].value.mean(-1)
