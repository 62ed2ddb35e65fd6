"""Pooling over windows, and adaptive pooling.

In: nodes of `max_pool*d`, `avg_pool*d`, `lp_pool*d`, `adaptive_*_pool*d`. Out: reads. Params are bound
to one value per spatial dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Shape
from rfgraph.language.reads import Place, Read, Reads, along, every, table
from rfgraph.language.vocabulary import Infer, Normalize, Params, Spelling
from rfgraph.rules.common import per_dim
from rfgraph.rules.registry import rule


def _normalize(spatial: int, params: Params, shapes: Sequence[Shape]) -> Params:
    kernel = per_dim(params["kernel_size"], spatial)
    stride = params["stride"]
    return {
        **params,
        "kernel_size": kernel,
        "stride": kernel if stride in (None, (), []) else per_dim(stride, spatial),
        "padding": per_dim(params.get("padding", 0), spatial),
        "dilation": per_dim(params.get("dilation", 1), spatial),
    }


def _windows(params: Params) -> list[tuple[int, int, int, int]]:
    names = ("kernel_size", "stride", "dilation", "padding")
    return list(zip(*(params[name] for name in names), strict=True))


def _infer(params: Params, shapes: Sequence[Shape]) -> Shape | tuple[Shape, ...]:
    windows = _windows(params)
    sizes = []
    for size, (k, s, d, p) in zip(shapes[0][-len(windows) :], windows, strict=True):
        room = size + 2 * p - d * (k - 1) - 1
        count = (room + (s - 1 if params["ceil_mode"] else 0)) // s + 1
        if params["ceil_mode"] and (count - 1) * s >= size + p:
            count -= 1  # the last window would start in the right padding
        if count < 1:
            raise ValueError(f"kernel_size {k} does not fit into a padded size of {size + 2 * p}")
        sizes.append(count)
    shape = (*shapes[0][: -len(windows)], *sizes)
    return (shape, shape) if params.get("return_indices") else shape


def pool(node: Node) -> Reads:
    """Max, average and power-average pooling.

    Reads:      a window along each spatial dim; its own channel.
    Formula:    R(o) = {stride * o - padding + dilation * t : 0 <= t < kernel_size}. `ceil_mode` adds
                an output whose window hangs over the right border; what hangs over reads nothing.
    Example:    kernel_size 2, stride 2, ceil_mode on 5 inputs: output 2 reads {4, 5}, of which 4 exists.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html
    """
    windows = _windows(node.params)
    lead = len(node.shape) - len(windows)
    relations = (along(lead + i, Relation.window(*w)) for i, w in enumerate(windows))
    return (Read(0, (*map(along, range(lead)), *relations)),)


def _normalize_adaptive(spatial: int, params: Params, shapes: Sequence[Shape]) -> Params:
    asked = params["output_size"]
    wanted = tuple(asked) if isinstance(asked, tuple | list) else (asked,) * spatial
    wanted = wanted * spatial if len(wanted) == 1 else wanted
    sizes = zip(wanted, shapes[0][-spatial:], strict=True)
    made = tuple(size if want is None else want for want, size in sizes)
    return {**params, "output_size": made, "kept": tuple(want is None for want in wanted)}


def _infer_adaptive(params: Params, shapes: Sequence[Shape]) -> Shape | tuple[Shape, ...]:
    wanted = params["output_size"]
    if 0 in shapes[0][-len(wanted) :]:
        raise ValueError(f"expected something to pool, got a tensor of shape {tuple(shapes[0])}")
    shape = (*shapes[0][: -len(wanted)], *wanted)
    return (shape, shape) if params.get("return_indices") else shape


def cells(dim: int, size: int, count: int, what: str) -> Place:
    """`size` inputs shared out over `count` cells that may overlap: adaptive pooling, `area` resampling."""
    if not count:
        return along(dim, Relation.nothing())

    def at(cell: int) -> range:
        return range(cell * size // count, -(-(cell + 1) * size // count))

    each, rest = divmod(size, count)
    law = None if rest else Relation.window(each, each)
    return table(dim, at, law, f"{what} to {count} holds at this size ({size})")


def adaptive_pool(node: Node) -> Reads:
    """Adaptive average and max pooling.

    Reads:      one of `output_size` cells along each spatial dim; the whole dim where that is 1, the same
                position where it is None.
    Formula:    R(o) = {floor(o * n / m) .. ceil((o + 1) * n / m) - 1} for n inputs and m outputs.
    Example:    5 inputs to 2 outputs: output 0 reads {0, 1, 2}, output 1 reads {2, 3, 4}.
    Precision:  exact at the analysed size; a closed form there where m divides n.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html
    """
    wanted = node.params["output_size"]
    lead = len(node.shape) - len(wanted)
    sizes = node.operand_shapes[0][lead:]
    reads = map(_cell, range(lead, len(node.shape)), sizes, wanted, node.params["kept"])
    return (Read(0, (*map(along, range(lead)), *reads)),)


def _cell(dim: int, size: int, count: int, is_kept: bool) -> Place:
    if is_kept:
        return along(dim)
    return every("pooling") if count == 1 else cells(dim, size, count, "adaptive pooling")


def _teach(name: str, spatial: int, signature: str, function: Callable[[Node], Reads]) -> None:
    adaptive = function is adaptive_pool
    normalize: Normalize = partial(_normalize_adaptive if adaptive else _normalize, spatial)
    infer: Infer = _infer_adaptive if adaptive else _infer
    module = "".join(part.capitalize() for part in name.split("_")).replace("Lp", "LP")
    found: dict[Spelling, None] = {getattr(nn, f"{module}{spatial}d"): None}
    for namespace in (F, torch):
        for suffix in ("", "_with_indices"):
            spelled = getattr(namespace, f"{name}{spatial}d{suffix}", None)
            indexed = suffix or (namespace is torch and name == "adaptive_max_pool")
            if callable(spelled):
                own = signature.replace(", return_indices=False", "") + ", return_indices=True"
                found[(spelled, own) if indexed else spelled] = None
    rule(
        *found,
        name=f"{name}{spatial}d",
        signature=signature,
        normalize=normalize,
        infer=infer,
    )(function)


for _dims in (1, 2, 3):
    _teach(
        "max_pool",
        _dims,
        "input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False",
        pool,
    )
    _teach(
        "avg_pool",
        _dims,
        "input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, "
        "divisor_override=None",
        pool,
    )
    _teach("lp_pool", _dims, "input, norm_type, kernel_size, stride=None, ceil_mode=False", pool)
    _teach("adaptive_avg_pool", _dims, "input, output_size", adaptive_pool)
    _teach("adaptive_max_pool", _dims, "input, output_size, return_indices=False", adaptive_pool)
