"""Twins of operators that move positions or read windows of them: layout, indexing, pooling, resampling.

In: calls on twins. Out: plain float64 tensors.

What only moves or averages elements is linear and positive as it is: it runs on the float64 values.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rfgraph.graph.replay import UnreadableError
from rfgraph.probe.metadata import valued
from rfgraph.probe.twins.constants import plain
from rfgraph.probe.twins.encoding import average, encoded_number, mean, without_low
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

_ROUNDING = 1e-9  # a linear interpolation at an integer position leaves this much of a zero weight


@twin(
    "reshape flatten unflatten squeeze unsqueeze permute transpose t movedim moveaxis swapaxes "
    "swapdims expand broadcast_to broadcast_tensors repeat tile repeat_interleave cat "
    "concat concatenate stack hstack vstack row_stack dstack column_stack block_diag meshgrid "
    "split chunk tensor_split "
    "split_with_sizes unbind narrow select roll flip fliplr flipud rot90 pixel_shuffle "
    "pixel_unshuffle channel_shuffle native_channel_shuffle diagonal diag diagflat diag_embed fftshift "
    "ifftshift cartesian_prod combinations diagonal_scatter select_scatter slice_scatter unsafe_chunk "
    "unsafe_split unsafe_split_with_sizes unfold fold tril "
    "triu trace ravel atleast_1d atleast_2d atleast_3d hsplit vsplit dsplit adjoint "
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
)
def as_it_is(call: Called, *args: Any, **kwargs: object) -> Any:
    if call.setting.cut and "pool" in call.name:
        return nothing(call)
    if call.name in _MEANS:
        args = (Twin.make(without_low(args[0].value), args[0].dtype, call.setting), *args[1:])
    return call.function(*map(plain, args), **{name: plain(v) for name, v in kwargs.items()})


_MEANS = frozenset(f"{kind}avg_pool{d}d" for kind in ("", "adaptive_") for d in (1, 2, 3))


@twin("view view_as reshape_as expand_as")
def view(call: Called, *args: object, **kwargs: object) -> Tensor:
    """By shape, not by strides: those of the value are its own."""
    if any(isinstance(shape, torch.dtype) for shape in args[1:]):
        raise UnreadableError("view with another dtype has no twin")
    value = traced(args)[0] if args else traced(valued(call.name, args, kwargs))[0]
    if call.name == "expand_as":
        return value.expand(call.shape())
    return value.reshape(call.shape())


@twin("pad")
def pad(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("input, pad, mode='constant', value=None", args, kwargs)
    if p["mode"] != "constant":
        return F.pad(p["input"].value, p["pad"], p["mode"])
    return F.pad(p["input"].value, p["pad"], value=encoded_number(p["value"] or 0))


# --- indexing -----------------------------------------------------------------------------------


def _everything(call: Called) -> Any:
    """The mean over all of every operand: what an index computed from the input may read."""
    total = average(*(without_low(value).mean() for value in traced((call.args, call.kwargs))))
    real = call.shapes()
    if isinstance(real, Tensor):
        return total.expand(real.shape)
    return tuple(total.expand(entry.shape) for entry in real)


@twin("getitem")
def getitem(call: Called, value: Twin, /, index: Any) -> Any:
    if traced(index):
        return _everything(call)
    found: Tensor = value.value[index]
    return found


@twin("__setitem__ assigned")
def setitem(call: Called, value: Tensor, /, index: Any, written: Operand) -> Tensor:
    if traced(index):
        everything = average(*(without_low(v).mean() for v in traced((value, index, written))))
        return average(plain(value), everything.expand(value.shape))
    made: Tensor = plain(value).clone()
    made[index] = plain(written) if isinstance(written, Tensor) else encoded_number(written)
    return made


@twin("copy")
def copied(call: Called, value: Tensor, /, src: Tensor, *args: object, **kwargs: object) -> Tensor:
    made: Tensor = plain(src).expand(value.shape)
    return made.clone()


@twin("fill")
def filled(call: Called, value: Tensor, /, number: Operand) -> Tensor:
    held = plain(number) if isinstance(number, Tensor) else torch.tensor(encoded_number(number))
    return held.to(torch.float64).expand(value.shape).clone()


@twin("fill_diagonal")
def filled_diagonal(
    call: Called, value: Tensor, /, fill_value: float | complex, wrap: bool = False
) -> Tensor:
    made: Tensor = plain(value).clone()
    return made.fill_diagonal_(encoded_number(fill_value), wrap)


@twin("diff")
def diff(call: Called, *args: object, **kwargs: object) -> Tensor:
    """The mean of each window, of what is put together."""
    p = arguments("input, n=1, dim=-1, prepend=None, append=None", args, kwargs)
    around = ("prepend", "input", "append") if p["n"] else ("input",)
    parts = [plain(p[name]) for name in around if p[name] is not None]
    return torch.cat(parts, p["dim"]).unfold(p["dim"], p["n"] + 1, 1).mean(-1)


@twin("one_hot")
def one_hot(call: Called, value: Twin, /, *args: object, **kwargs: object) -> Tensor:
    return value.value.unsqueeze(-1).expand(call.shape())


@twin("zero normal uniform random exponential geometric log_normal")
def overwritten(call: Called, value: Tensor, /, *args: object, **kwargs: object) -> Tensor:
    """Nothing is left of what was there."""
    made = torch.zeros if call.name == "zero" else torch.ones
    return made(tuple(value.shape), dtype=torch.float64, device=value.device)


@twin("as_strided")
def as_strided(call: Called, value: Twin, /, *args: Any, **kwargs: Any) -> Tensor:
    found: Tensor = torch.as_strided(value.value.contiguous(), *args, **kwargs)
    return found


@twin("take")
def take(call: Called, value: Any, index: Any) -> Tensor:
    if not isinstance(index, Twin):
        return torch.take(value.value, index)
    every = [mean(v, range(v.ndim)).reshape(()).expand(index.shape) for v in traced(value)]
    return average(index.value, *every)


@twin("index_select take_along_dim")
def index_select(call: Called, value: Any, *args: object, **kwargs: object) -> Tensor:
    if not traced((args, kwargs)):
        made: Tensor = call.function(value.value, *args, **kwargs)
        return made
    if call.name != "index_select":
        everything: Tensor = _everything(call)
        return everything
    p = arguments("dim, index", args, kwargs)
    terms = [mean(v, [p["dim"]]).expand(call.shape()) for v in traced(value)]
    last = value.ndim - 1 - p["dim"] % value.ndim
    return average(*terms, p["index"].value.reshape(-1, *(1,) * last).expand(call.shape()))


@twin("gather")
def gather(call: Called, value: Any, *args: object, **kwargs: object) -> Tensor:
    p = arguments("dim, index", args, kwargs)
    dim, index = p["dim"], p["index"]
    if not isinstance(index, Twin):
        return torch.gather(value.value, dim, index)
    terms = [index.value]
    for whole in (mean(v, [dim]) for v in traced(value)):
        cut = tuple(slice(0, n) for n in index.shape)
        own = (slice(None) if d == dim % value.ndim else part for d, part in enumerate(cut))
        terms.append(whole[tuple(own)].expand(index.shape))
    return average(*terms)


@twin("index_add index_copy index_put")
def added(call: Called, value: Tensor, /, *args: Any, **kwargs: object) -> Tensor:
    """With a constant index as it is, as a sum; else everything."""
    named = arguments("dim, index, source", args, kwargs)
    if traced(args[0] if call.name == "index_put" else named["index"]):
        return average(plain(value), _everything(call))
    options = {name: plain(entry) for name, entry in kwargs.items()}
    summed: Tensor = call.function(plain(value), *map(plain, args), **options)
    return summed


@twin("index_fill")
def filled_at(call: Called, value: Tensor, /, *args: object, **kwargs: object) -> Tensor:
    """The same, with a value without dims, or a number."""
    p = arguments("dim, index, value", args, kwargs)
    if traced(p["index"]):
        return average(plain(value), _everything(call))
    put = p["value"]
    filling = put.value if isinstance(put, Twin) else encoded_number(put)
    made: Tensor = torch.index_fill(plain(value), p["dim"], p["index"], filling)
    return made


@twin("scatter scatter_add scatter_reduce")
def scattered(call: Called, value: Tensor, /, *args: object, **kwargs: object) -> Tensor:
    """With a constant index what is put is added up, to what was there where that stays; else everything."""
    p = arguments("dim, index, src=None, reduce=None", args, kwargs)
    if traced(p["index"]):
        return average(plain(value), _everything(call))
    index, given = p["index"], kwargs.get("value", p["src"])
    stays = kwargs.get("include_self", call.name == "scatter_add" or p["reduce"] is not None)
    if isinstance(given, Tensor):  # torch has no gradient of one that is longer than its index
        put = plain(given)[tuple(slice(n) for n in index.shape)]
    else:
        number = encoded_number(given)  # type: ignore[arg-type]
        put = torch.full(index.shape, number, dtype=torch.float64, device=index.device)
    made: Tensor = plain(value).scatter_reduce(p["dim"], index, put, "sum", include_self=stays)
    return made


@twin("masked_scatter")
def masked_scatter(call: Called, value: Tensor, /, *args: object, **kwargs: object) -> Tensor:
    """With a constant mask as it is."""
    p = arguments("mask, source", args, kwargs)
    if isinstance(p["mask"], Twin):
        everything: Tensor = _everything(call)
        return everything
    made: Tensor = plain(value).masked_scatter(p["mask"], plain(p["source"]))
    return made


@twin("sort argsort topk msort")
def sort(call: Called, value: Twin, /, *args: int, **kwargs: int) -> Result:
    """The whole of the sorted dim."""
    place = int(call.name == "topk")
    dim = kwargs.get("dim", args[place] if len(args) > place else 0 if call.name == "msort" else -1)
    if call.setting.cut:
        return nothing(call)
    real, made = call.shapes(), mean(value.value, [dim])
    if isinstance(real, Tensor):
        return made.expand(real.shape)
    return tuple(made.expand(entry.shape) for entry in real)


@twin("searchsorted bucketize")
def searched(call: Called, *args: object, **kwargs: object) -> Tensor:
    named = ("sorted_sequence", "input") if call.name == "searchsorted" else ("input", "boundaries")
    p = arguments(", ".join(named), args, kwargs)
    table = p[named[0] if call.name == "searchsorted" else "boundaries"]
    terms = [v.expand(call.shape()) for v in traced(p["input"])]
    terms += [mean(v, [-1]).expand(call.shape()) for v in traced(table)]
    return average(*terms)


@twin("grid_sample")
def grid_sample(
    call: Called, image: Tensor, grid: Tensor, *args: object, **kwargs: object
) -> Tensor:
    """All of the image, and the coordinates of the output's own position."""
    shape = call.shape()
    dims = list(range(2, len(shape)))
    terms = [] if call.setting.cut else [mean(v, dims).expand(shape) for v in traced(image)]
    terms += [mean(v, [-1], keepdim=False).unsqueeze(1).expand(shape) for v in traced(grid)]
    return average(*terms) if terms else nothing(call)


@twin("affine_grid")
def affine_grid(call: Called, theta: Twin, *args: object, **kwargs: object) -> Tensor:
    shape = call.shape()
    rows = theta.value.mean(-1)
    return rows.reshape(len(rows), *(1,) * (len(shape) - 2), -1).expand(shape)


@twin("deform_conv2d")
def deformed(call: Called, image: Tensor, *args: object, **kwargs: object) -> Tensor:
    """All of the image, and the offsets and masks of the output's own position."""
    shape = call.shape()
    terms = [] if call.setting.cut else [mean(v, [1, 2, 3]).expand(shape) for v in traced(image)]
    for value in traced((args, kwargs)):
        own = value.ndim == 4 and tuple(value.shape[2:]) == shape[2:]
        terms.append(mean(value, [1]).expand(shape) if own else value.mean().expand(shape))
    return average(*terms) if terms else nothing(call)


# --- pooling and resampling ---------------------------------------------------------------------


def _pooled(call: Called, p: Named) -> Tensor:
    """The sum over each window, divided by its taps. What hangs over the border adds nothing."""
    spatial = int(call.name.split("d_")[0].rstrip("d")[-1])

    def each(value: Any) -> list[int]:
        listed = list(value) if isinstance(value, tuple | list) else [value]
        return listed * spatial if len(listed) == 1 else listed

    value = without_low(p["input"].value)
    kernel = each(p["kernel_size"])
    stride = kernel if p["stride"] in (None, (), []) else each(p["stride"])
    padding, dilation = each(p["padding"]), each(p["dilation"])
    out = call.shape()[-spatial:]
    sizes = value.shape[-spatial:]
    right = [
        max(0, (o - 1) * s + d * (k - 1) + 1 - n - q)
        for o, s, d, k, n, q in zip(out, stride, dilation, kernel, sizes, padding, strict=True)
    ]
    pads = [n for pair in zip(reversed(padding), reversed(right), strict=True) for n in pair]
    flat = F.pad(value.reshape(-1, 1, *sizes), pads)
    ones = torch.full((1, 1, *kernel), 1.0 / prod(kernel), dtype=value.dtype, device=value.device)
    made: Tensor = getattr(F, f"conv{spatial}d")(flat, ones, None, stride, 0, dilation)
    made = made[tuple([slice(None)] * 2 + [slice(0, o) for o in out])]
    return made.reshape(*value.shape[:-spatial], *out)


@twin(
    "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices "
    "max_pool3d_with_indices"
)
def max_pool(call: Called, *args: object, **kwargs: object) -> Result:
    if call.setting.cut:  # all of a tensor whose size the forward has asked for
        return nothing(call)
    p = arguments("input, kernel_size, stride=None, padding=0, dilation=1", args, kwargs)
    made = _pooled(call, p)
    return made if isinstance(call.shapes(), Tensor) else (made, made)


@twin("lp_pool1d lp_pool2d lp_pool3d")
def lp_pool(call: Called, *args: object, **kwargs: object) -> Tensor:
    if call.setting.cut:
        return nothing(call)
    p = arguments("input, norm_type, kernel_size, stride=None", args, kwargs)
    return _pooled(call, {**p, "padding": 0, "dilation": 1})


@twin(
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool1d_with_indices "
    "adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices"
)
def adaptive_max_pool(call: Called, value: Twin, /, *args: object, **kwargs: object) -> Result:
    if call.setting.cut:
        return nothing(call)
    real = call.shapes()
    shape = (real if isinstance(real, Tensor) else real[0]).shape
    spatial = int(call.name.removeprefix("adaptive_max_pool")[0])
    pool = getattr(F, f"adaptive_avg_pool{spatial}d")
    made = pool(without_low(value.value), tuple(shape[-spatial:]))
    return made if isinstance(real, Tensor) else (made, made)


_LINES = {"linear": "linear", "bilinear": "bilinear", "trilinear": "linear", "bicubic": "bicubic"}


@twin("interpolate upsample upsample_bilinear upsample_nearest")
def interpolate(call: Called, *args: object, **kwargs: object) -> Tensor:
    """As it is where it copies or averages; else one matrix of absolute weights for each dim."""
    names = (
        "input, size=None, scale_factor=None, mode='nearest', align_corners=None, "
        "recompute_scale_factor=None, antialias=False"
    )
    p = arguments(names, args, kwargs)
    value: Tensor = p.pop("input").value
    if p["mode"] not in _LINES:
        return F.interpolate(value, **p)
    for dim in range(2, value.ndim):
        weights = _line(value.shape[dim], dim - 2, value.ndim - 2, p).to(value.device)
        value = torch.tensordot(value, weights, dims=([dim], [0])).movedim(-1, dim)
    return value


def _line(size: int, axis: int, axes: int, p: Named) -> Tensor:
    """(in, out): the weights along one dim, found by resampling each of its positions alone."""
    mode = _LINES[p["mode"]]
    flat = (
        2 if mode != "linear" else 1
    )  # bilinear and bicubic take two dims: the other one has size 1
    options = {name: p[name] for name in ("align_corners", "recompute_scale_factor")}
    if mode != "linear":
        options["antialias"] = p["antialias"]
    for name, alone in (("size", 1), ("scale_factor", 1.0)):
        given = p[name]
        if given is not None:
            own = given[axis] if isinstance(given, tuple | list) else given
            options[name] = (alone, own)[-flat:]
    # The dim of size 1 comes first: torch resamples (n, 1, size, 1) wrongly with antialias.
    alone_each = torch.eye(size, dtype=torch.float64).reshape(size, 1, *(1,) * (flat - 1), size)
    weights = F.interpolate(alone_each, mode=mode, **options).reshape(size, -1).abs()
    return weights.where(weights > _ROUNDING * weights.amax(), torch.zeros(()).double())
