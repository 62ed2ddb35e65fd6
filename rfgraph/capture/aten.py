"""ATen's overloads in their public spelling: `aten.slice.Tensor(x, 2, 0, 4)` is `x[:, :, 0:4]`.

In: an overload, as exported programs and traces of the dispatcher hold them. Out: a function of its arguments
that calls what a person would have written, or None where there is no such spelling. So an exported graph
arrives at the operators, names and numbers of the model that it was made from, which the probes know, too.

A test runs every spelling beside its overload.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._ops import OpOverload

from rfgraph.capture import packed, recurrent
from rfgraph.errors import CaptureError
from rfgraph.graph.calls import Args, Kwargs, is_inplace, qualified

Spelling: TypeAlias = Callable[..., Any]

Maybe: TypeAlias = Tensor | None
Device: TypeAlias = torch.device | None
Index: TypeAlias = tuple[Any, ...]

_FAMILIES = {"linalg": torch.linalg, "fft": torch.fft, "special": torch.special}


def public(overload: OpOverload) -> Spelling | None:
    """The public spelling of an overload, with the arguments of the overload; None: it has none."""
    library, _, name = qualified(overload).partition("::")
    if library != "aten":
        return None
    for spelled in (f"{name}.{overload._overloadname}", name):
        if spelled in SPELLINGS:
            return SPELLINGS[spelled]
    family, _, rest = name.partition("_")
    if family in _FAMILIES:
        return getattr(_FAMILIES[family], rest, None)
    if is_inplace(name):
        return _method(name) if hasattr(Tensor, name) else _function(name) or _in_place(name[:-1])
    return _function(name) or (_method(name) if hasattr(Tensor, name) else None)


def in_order(overload: OpOverload, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The arguments with those by position that may be: their names are ATen's own."""
    rest = dict(kwargs)
    placed = list(args)
    for argument in overload._schema.arguments[len(args) :]:
        if argument.kwarg_only or argument.name not in rest:
            break
        placed.append(rest.pop(argument.name))
    return tuple(placed), rest


def _function(name: str) -> Spelling | None:
    return getattr(torch, name, None) or getattr(F, name, None)


def _method(name: str) -> Spelling:
    return lambda input, *args, **kwargs: getattr(input, name)(*args, **kwargs)


def _in_place(name: str) -> Spelling | None:
    function = getattr(F, name, None)
    return function and (lambda *args, **kwargs: function(*args, **kwargs, inplace=True))


# --- positions ------------------------------------------------------------------------------------


def _at(dim: int, entry: int | slice, rank: int) -> Index:
    return (*(slice(None),) * (dim % rank), entry)


def _range(start: int | None, end: int | None, step: int) -> slice:
    """A slice as Python has it: what lies beyond the end is written as the end itself."""
    return slice(start or None, None if end is None or end >= 1 << 62 else end, step)


def _slice(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    chosen = _range(start, end, step)
    return input if chosen == slice(None, None, 1) else input[_at(dim, chosen, input.dim())]


def _slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    return _put(input, _at(dim, _range(start, end, step), input.dim()), src)


def _select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    return _put(input, _at(dim, index, input.dim()), src)


def _put(input: Tensor, index: Index, value: Tensor) -> Tensor:
    written = input.clone()
    written[index] = value
    return written


def _written_out(indices: Sequence[Maybe]) -> Index:
    """In ATen, None stands for a whole dim."""
    return tuple(slice(None) if index is None else index for index in indices)


def _index(input: Tensor, indices: Sequence[Maybe]) -> Tensor:
    return input[_written_out(indices)]


def _index_put(
    input: Tensor, indices: Sequence[Maybe], values: Tensor, accumulate: bool = False
) -> Tensor:
    if accumulate:
        return input.index_put(tuple(indices), values, accumulate)
    return _put(input, _written_out(indices), values)


def _index_put_(
    input: Tensor, indices: Sequence[Maybe], values: Tensor, accumulate: bool = False
) -> Tensor:
    if accumulate:
        return input.index_put_(tuple(indices), values, accumulate)
    input[_written_out(indices)] = values
    return input


def _select(input: Tensor, dim: int, index: int) -> Tensor:
    return input[_at(dim, index, input.dim())]


# --- values ---------------------------------------------------------------------------------------


def _itself(input: Tensor, *options: object, **named: object) -> Tensor:
    return input


def _fresh(input: Tensor) -> Tensor:
    return input.clone()


def _copy(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    return src.to(input.dtype).expand(input.shape).clone()


def _to_copy(
    input: Tensor, *, dtype: torch.dtype | None = None, device: Device = None, **how: object
) -> Tensor:
    return input.to(device=device or input.device, dtype=dtype or input.dtype, copy=True)


def _fill(input: Tensor, value: Tensor | float) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(input.dtype).expand(input.shape).clone()
    return torch.full_like(input, value)


def _reshaped(input: Tensor, size: Sequence[int]) -> Tensor:
    return input.reshape(size)


def _nothing(*args: object, **kwargs: object) -> None:
    """An assertion: it has held where the program was made."""


# --- layers ---------------------------------------------------------------------------------------


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Maybe,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    spatial = weight.dim() - 2
    function: Callable[..., Tensor] = getattr(F, f"conv{'_transpose' * transposed}{spatial}d")
    rest = (output_padding, groups, dilation) if transposed else (dilation, groups)
    return function(input, weight, bias, stride, padding, *rest)


def _batch_norm_inference(
    input: Tensor,
    weight: Maybe,
    bias: Maybe,
    mean: Tensor,
    var: Tensor,
    momentum: float,
    eps: float,
) -> tuple[Tensor, None, None]:
    return F.batch_norm(input, mean, var, weight, bias, False, momentum, eps), None, None


def _layer_norm(
    input: Tensor, shape: Sequence[int], weight: Maybe, bias: Maybe, eps: float
) -> tuple[Tensor, None, None]:
    return F.layer_norm(input, list(shape), weight, bias, eps), None, None


def _group_norm(
    input: Tensor, weight: Maybe, bias: Maybe, n: int, c: int, hw: int, group: int, eps: float
) -> tuple[Tensor, None, None]:
    return F.group_norm(input, group, weight, bias, eps), None, None


def _dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, None]:
    return F.dropout(input, p, bool(train)), None


def _softmax(input: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return torch.softmax(input, dim, dtype=torch.float32 if half_to_float else None)


def _log_softmax(input: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return torch.log_softmax(input, dim, dtype=torch.float32 if half_to_float else None)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Maybe = None,
    scale: float | None = None,
) -> tuple[Tensor, None]:
    return (
        F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale
        ),
        None,
    )


def _flat(factors: Sequence[Any]) -> list[float]:
    """Factors that come as one list or one by one, and may be None."""
    nested = (f if isinstance(f, list | tuple) else [f] for f in factors if f is not None)
    return [factor for part in nested for factor in part if factor is not None]


def _resample(mode: str, aligned: bool, antialias: bool = False) -> Spelling:
    """`upsample_*`: sizes, and either factors (`.vec`) or one for each dim (`.default`)."""

    def spelled(input: Tensor, output_size: Any, *rest: Any, **named: Any) -> Tensor:
        corners = rest[0] if aligned and rest else named.get("align_corners")
        given = [*rest[aligned:], *(v for k, v in named.items() if k.startswith("scale"))]
        factors = tuple(_flat(given))
        if factors and output_size is not None:
            sizes = [int(n * f) for n, f in zip(input.shape[2:], factors, strict=True)]
            if sizes != list(output_size):
                raise CaptureError(
                    f"resampling to {tuple(output_size)} by factors {factors} that lead to {tuple(sizes)} "
                    "cannot be followed"
                )
        size = None if factors else tuple(output_size)
        return F.interpolate(input, size, factors or None, mode, corners, antialias=antialias)

    return spelled


def _pad(mode: str) -> Spelling:
    return lambda input, padding: F.pad(input, tuple(padding), mode)


def _constant_pad(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    return F.pad(input, tuple(pad), "constant", value)


def _max_pool(spatial: int) -> Spelling:
    def spelled(
        input: Tensor,
        kernel_size: object,
        stride: object = (),
        padding: object = 0,
        dilation: object = 1,
        ceil_mode: bool = False,
    ) -> object:
        pool = getattr(F, f"max_pool{spatial}d")
        return pool(
            input,
            kernel_size,
            stride or None,
            padding,
            dilation,
            ceil_mode=ceil_mode,
            return_indices=True,
        )

    return spelled


def _adaptive_max_pool(spatial: int) -> Spelling:
    pool = getattr(F, f"adaptive_max_pool{spatial}d")
    return lambda input, output_size: pool(input, output_size, return_indices=True)


def _embedding(weight: Tensor, indices: Tensor, *gradient: object, **options: object) -> Tensor:
    return F.embedding(indices, weight)


def _elu(input: Tensor, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    if input_scale == 1:
        result = F.elu(input, alpha)
    else:
        result = torch.where(input > 0, input, alpha * torch.expm1(input * input_scale))
    return result if scale == 1 else result * scale


def _rsub(input: Tensor, other: Tensor | float, alpha: float = 1) -> Tensor:
    return other - (input if alpha == 1 else input * alpha)


SPELLINGS: dict[str, Spelling] = {
    "slice": _slice,
    "select": _select,
    "slice_scatter": _slice_scatter,
    "select_scatter": _select_scatter,
    "index": _index,
    "index_put": _index_put,
    "index_put_": _index_put_,
    "alias": _itself,
    "lift": _itself,
    "lift_fresh": _itself,
    "detach_": _itself,
    "lift_fresh_copy": _fresh,
    "copy": _copy,
    "_to_copy": _to_copy,
    "fill": _fill,
    "_unsafe_view": _reshaped,
    "_reshape_alias": lambda input, size, stride: input.reshape(size),
    "view_copy": lambda input, size: input.view(size).clone(),
    "rsub": _rsub,
    "split_with_sizes": torch.split,
    "convolution": _convolution,
    "_convolution": lambda *args: _convolution(*args[:9]),
    "_native_batch_norm_legit_no_training": _batch_norm_inference,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    "native_dropout": _dropout,
    "_softmax": _softmax,
    "_log_softmax": _log_softmax,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "embedding": _embedding,
    "elu": _elu,
    "log_sigmoid": F.logsigmoid,
    "constant_pad_nd": _constant_pad,
    **{f"reflection_pad{n}d": _pad("reflect") for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _pad("replicate") for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": _max_pool(n) for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": _adaptive_max_pool(n) for n in (1, 2, 3)},
    **{f"_adaptive_avg_pool{n}d": getattr(F, f"adaptive_avg_pool{n}d") for n in (2, 3)},
    "upsample_nearest1d": _resample("nearest", False),
    "upsample_nearest2d": _resample("nearest", False),
    "upsample_nearest3d": _resample("nearest", False),
    "_upsample_nearest_exact1d": _resample("nearest-exact", False),
    "_upsample_nearest_exact2d": _resample("nearest-exact", False),
    "_upsample_nearest_exact3d": _resample("nearest-exact", False),
    "upsample_linear1d": _resample("linear", True),
    "upsample_bilinear2d": _resample("bilinear", True),
    "upsample_trilinear3d": _resample("trilinear", True),
    "upsample_bicubic2d": _resample("bicubic", True),
    "_upsample_bilinear2d_aa": _resample("bilinear", True, True),
    "_upsample_bicubic2d_aa": _resample("bicubic", True, True),
    **recurrent.OVERLOADS,
    **packed.SPELLED,
    "split_copy": torch.split,
    "_cdist_forward": lambda input, other, p, mode: torch.cdist(input, other, p),
    "tensordot": lambda input, other, dims, others: torch.tensordot(input, other, (dims, others)),
    "sym_size": lambda input, dim: input.shape[dim],
    "sym_stride": lambda input, dim: input.stride(dim),
    "sym_numel": lambda input: input.numel(),
    "sym_storage_offset": lambda input: input.storage_offset(),
    "_assert_tensor_metadata": _nothing,
    "_assert_async": _nothing,
    "_assert_scalar": _nothing,
    "sym_constrain_range": _nothing,
    "sym_constrain_range_for_size": _nothing,
}
"""Overloads that have another public spelling than their name."""
