"""Normalisation: the element itself, and the statistics of what it is normalised over.

In: nodes of batch, layer, group, instance, RMS and local response norm, softmax, `normalize`. Out:
reads. The statistics are a read of their own beside the element, so that the local relation stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Shape
from rfgraph.language.reads import Kind, Read, Reads, along, broadcast, every, mixed, same, table
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import all_dims, dim_of, unchanged
from rfgraph.rules.masks import log_softened, softened
from rfgraph.rules.registry import rule, spellings
from rfgraph.rules.unmasked import left_along


def _element_and(node: Node, dims: Sequence[int], kind: Kind) -> Reads:
    rank = len(node.shape)
    return same(rank), mixed(rank, dims, kind)


def _per_channel(node: Node) -> Reads:
    """Scales, shifts and running statistics that are computed from the input: one for each channel."""
    return tuple(Read(i, (along(1),)) for i in range(1, len(node.operand_shapes)))


_ATEN_NORM = (
    "input, weight, bias, running_mean, running_var, {}, momentum=0.1, eps=1e-5, "
    "cudnn_enabled=True, *, {}"
)
"""torch.batch_norm and torch.instance_norm have an order of their own."""


def _check_features(params: Params, shapes: Sequence[Shape]) -> Params:
    expected = params["num_features"]
    if expected is not None and len(shapes[0]) > 1 and shapes[0][1] != expected:
        raise ValueError(f"expected {expected} channels, got {shapes[0][1]}")
    if expected is None and params["running_mean"] is None and not params["training"]:
        raise ValueError("expected running statistics, since this is not training")
    return params


@rule(
    (torch.batch_norm, _ATEN_NORM.format("training", "num_features=None")),
    F.batch_norm,
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    name="batch_norm",
    signature="input, running_mean=None, running_var=None, weight=None, bias=None, training=False, "
    "momentum=0.1, eps=1e-5, cudnn_enabled=True, *, num_features=None",
    normalize=_check_features,
    infer=unchanged,
)
def batch_norm(node: Node) -> Reads:
    """Batch norm.

    Reads:      the element; in training mode, or without running statistics, also the statistics of
                its channel over batch and space. Of a computed scale or shift, its channel's.
    Formula:    R(o) = {o}, and every position of every dim but 1 in training mode.
    Example:    eval mode: output (0, 1, 2, 3) reads (0, 1, 2, 3) alone.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
    """
    computed = _per_channel(node)
    if not (node.params["training"] or node.params["running_mean"] is None):
        return same(len(node.shape)), *computed
    dims = [d for d in range(len(node.shape)) if d != 1]
    return *_element_and(node, dims, "statistics"), *computed


def instance_norm(node: Node, spatial: int | None = None) -> Reads:
    """Instance norm.

    Reads:      the element, and the statistics of its channel over space; not these in eval mode of a
                module that tracks running statistics.
    Formula:    R(o) = {o}, and every position of every spatial dim.
    Example:    output (0, 1, 2, 3) reads (0, 1, h, w) for all h, w.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm2d.html
    """
    params, rank = node.params, len(node.shape)
    computed = _per_channel(node)
    tracked = params["track_running_stats"] and not params["training"]
    if tracked or not params["use_input_stats"]:
        return same(rank), *computed
    first = 2 if spatial is None else rank - spatial  # a module's input may be unbatched
    return *_element_and(node, range(first, rank), "statistics"), *computed


_INSTANCE = (
    "input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, "
    "momentum=0.1, eps=1e-5, cudnn_enabled=True, *, training=True, track_running_stats=False"
)
_ATEN_INSTANCE = _ATEN_NORM.format("use_input_stats", "training=True, track_running_stats=False")
rule(
    (torch.instance_norm, _ATEN_INSTANCE),
    F.instance_norm,
    name="instance_norm",
    signature=_INSTANCE,
    infer=unchanged,
)(instance_norm)
for _spatial in (1, 2, 3):
    rule(
        getattr(nn, f"InstanceNorm{_spatial}d"),
        name=f"instance_norm{_spatial}d",
        signature=_INSTANCE,
        infer=unchanged,
    )(partial(instance_norm, spatial=_spatial))


@rule(
    *spellings("group_norm", nn.GroupNorm),
    name="group_norm",
    signature="input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True",
    infer=unchanged,
)
def group_norm(node: Node) -> Reads:
    """Group norm.

    Reads:      the element, and the statistics of its group of channels over space. Of a computed
                scale or shift, its channel's.
    Formula:    R(o) = {o}, and every position of every dim from 2 on for the channels of its group.
    Example:    4 channels in 2 groups: channel 3 reads channels 2 and 3 everywhere.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html
    """
    rank, each = len(node.shape), node.shape[1] // node.params["num_groups"]
    group = every("statistics")
    if node.params["num_groups"] > 1 and each:
        law = Relation(each, each, (Positions.progression(0, 1, each),) * each)
        group = table(1, law.at, law, "groups of channels are counted")
    space = (every("statistics"),) * (rank - 2)
    return same(rank), Read(0, (along(0), group, *space)), *_per_channel(node)


@rule(
    *spellings("layer_norm", nn.LayerNorm),
    name="layer_norm",
    signature="input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True",
    infer=unchanged,
)
def layer_norm(node: Node) -> Reads:
    """Layer norm and RMS norm.

    Reads:      the element, and the statistics over the last dims, those of `normalized_shape`. Over
                channels alone that is no whole read of an input axis. Of a computed scale or shift,
                the same position.
    Formula:    R(o) = {o}, and every position of the last len(normalized_shape) dims.
    Example:    normalized_shape (8,) on (2, 5, 8): output (1, 3, 6) reads (1, 3, 0 .. 7).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html
    """
    normalized = node.params["normalized_shape"]
    count = 1 if isinstance(normalized, int) else len(normalized)
    rank = len(node.shape)
    rest = list(enumerate(node.operand_shapes))[1:]  # a scale or shift computed from the input
    computed = (broadcast(own, node.shape, i) for i, own in rest)
    return *_element_and(node, range(rank - count, rank), "statistics"), *computed


if hasattr(nn, "RMSNorm"):
    rule(
        *spellings("rms_norm", nn.RMSNorm),
        name="rms_norm",
        signature="input, normalized_shape, weight=None, eps=None",
        infer=unchanged,
    )(layer_norm)


@rule(
    *spellings("local_response_norm", nn.LocalResponseNorm),
    name="local_response_norm",
    signature="input, size, alpha=1e-4, beta=0.75, k=1.0",
    infer=unchanged,
)
def local_response_norm(node: Node) -> Reads:
    """Local response norm.

    Reads:      a window of channels; its own position elsewhere.
    Formula:    R(c) = {c - floor(size / 2) + t : 0 <= t < size} along channels.
    Example:    size 5: channel 4 reads channels 2 .. 6.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.LocalResponseNorm.html
    """
    size, rank = node.params["size"], len(node.shape)
    window = along(1, Relation.window(size, 1, 1, size // 2))
    return (Read(0, tuple(window if d == 1 else along(d) for d in range(rank))),)


def _soft_dim(params: Params, shapes: Sequence[Shape]) -> Params:
    """`dim` counted from the front; without one, the dim that torch has always chosen."""
    rank = len(shapes[0])
    chosen = params["dim"] if params["dim"] is not None else 0 if rank in (0, 1, 3) else 1
    return dim_of({**params, "dim": chosen}, shapes)


def softmax(node: Node) -> Reads:
    """Softmax, log-softmax and softmin.

    Reads:      the element, and all of `dim` for the sum.
    Formula:    R(o) = {o}, and every position of dim.
    Example:    dim -1 on (2, 5): output (1, 3) reads (1, 0 .. 4).
    Precision:  exact; what the model fixes to -inf is left out.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html
    """
    rank, dim = len(node.shape), node.params["dim"]
    kept = {d: d for d in range(rank) if d != dim}
    weighs = node.op != "softmin"
    left = left_along(node.params["input"], dim, kept, "softmax", weighs)
    return same(rank), Read(0, tuple(left if d == dim else along(d) for d in range(rank)))


for _name, _module in {
    "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax,
    "softmin": nn.Softmin,
}.items():
    rule(
        *spellings(_name, _module),
        *((torch._safe_softmax,) if _name == "softmax" else ()),
        name=_name,
        signature="input, dim=None, _stacklevel=3, dtype=None",
        normalize=_soft_dim,
        infer=unchanged,
        masks={"softmax": softened, "log_softmax": log_softened}.get(_name),
    )(softmax)
rule(
    nn.Softmax2d,
    name="softmax2d",
    signature="input, dim=-3",
    normalize=dim_of,
    infer=unchanged,
)(softmax)


@rule(
    *spellings("normalize"),
    name="normalize",
    signature="input, p=2.0, dim=1, eps=1e-12, out=None",
    infer=unchanged,
)
def normalize(node: Node) -> Reads:
    """Division by the p-norm over `dim`.

    Reads:      the element, and all of `dim`.
    Formula:    R(o) = {o}, and every position of dim.
    Example:    dim 1 on (2, 5): output (1, 3) reads (1, 0 .. 4).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.normalize.html
    """
    return _element_and(node, all_dims(node.params["dim"], len(node.shape)), "statistics")


def fourier(node: Node) -> Reads:
    """Discrete Fourier transforms, forward and inverse.

    Reads:      all of the transformed dims.
    Formula:    R(o) = every position of dim; of the last len(s) dims where `s` comes without dims.
    Example:    torch.fft.fft2 on (2, 3, 8, 8): output (0, 1, 2, 3) reads (0, 1, 0 .. 7, 0 .. 7).
    Precision:  exact. Conservative for a size that cuts the input off: what is cut off counts as read.
    Documented: https://docs.pytorch.org/docs/stable/fft.html
    """
    rank, dims, sizes = len(node.shape), node.params["dim"], node.params.get("s")
    if dims is None and sizes is not None:
        count = len(sizes) if isinstance(sizes, tuple | list) else 1
        dims = tuple(range(rank - count, rank))
    return (mixed(rank, all_dims(dims, rank), "spectral"),)


for _name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    for _dims, _default in (("", "-1"), ("2", "(-2, -1)"), ("n", "None")):
        rule(
            getattr(torch.fft, _name + _dims),
            name=_name + _dims,
            signature=f"input, {'s' if _dims else 'n'}=None, dim={_default}, norm=None",
        )(fourier)
