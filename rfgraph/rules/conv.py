"""Convolutions and transposed convolutions, 1 to 3 spatial dims, and `conv_tbc`.

In: nodes of `conv*d` and `conv_transpose*d`. Out: reads. Params are bound to `kernel_size`, `stride`,
`dilation` (a tuple per spatial dim), `padding` (a (left, right) pair per spatial dim) and `groups`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Place, Read, Reads, along, every, table
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import channels, moved, padded, per_dim
from rfgraph.rules.registry import rule
from rfgraph.rules.taps import Taps, taps_of
from rfgraph.rules.zeros import fixed

_CONV = (
    "input, weight=None, bias=None, stride=1, padding=0, dilation=1, groups=1, *, "
    "kernel_size=None, in_channels=None, out_channels=None, padding_mode='zeros'"
)
_TRANSPOSED = (
    "input, weight=None, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, *, "
    "kernel_size=None, in_channels=None, out_channels=None, output_size=None"
)


def _geometry(params: Params, shapes: Sequence[Shape], transposed: bool) -> Params:
    weight = params["weight"]
    if not isinstance(params["input"], Operand):
        raise ValueError("a constant input with a computed weight cannot be followed")
    groups = params["groups"]
    if weight is not None:  # a function: the weight says what a module's attributes say
        first, second = weight.shape[0], weight.shape[1] * groups
        inputs, outputs = (first, second) if transposed else (second, first)
        of_weight = {"in_channels": inputs, "out_channels": outputs}
        params = {**params, **of_weight, "kernel_size": tuple(weight.shape[2:])}
    kernel = params["kernel_size"]
    spatial = len(kernel)
    if len(shapes[0]) not in (spatial + 1, spatial + 2):
        raise ValueError(f"expected a tensor of {spatial + 2} dims, got {len(shapes[0])}")
    got = shapes[0][-spatial - 1]
    if got != params["in_channels"]:
        raise ValueError(f"expected {params['in_channels']} channels, got {got}")
    stride, dilation = (per_dim(params[name], spatial) for name in ("stride", "dilation"))
    return {**params, "kernel_size": kernel, "stride": stride, "dilation": dilation}


def _normalize(params: Params, shapes: Sequence[Shape]) -> Params:
    params = _geometry(params, shapes, transposed=False)
    return {**params, "padding": _pairs(params["padding"], params)}


def _pairs(padding: object, params: Params) -> tuple[tuple[int, int], ...]:
    """Padding per spatial dim; `same` puts the odd one on the right."""
    kernel, dilation = params["kernel_size"], params["dilation"]
    if padding == "valid":
        padding = 0
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((p, p) for p in per_dim(padding, len(kernel)))


def _windows(params: Params) -> list[tuple[int, int, int, int]]:
    """(kernel, stride, dilation, left padding) per spatial dim."""
    left = [pair[0] for pair in params["padding"]]
    geometry = (params["kernel_size"], params["stride"], params["dilation"], left)
    return list(zip(*geometry, strict=True))


def _infer(params: Params, shapes: Sequence[Shape]) -> Shape:
    spatial = len(params["kernel_size"])
    sizes = []
    for size, (left, right), (k, s, d, _) in zip(
        shapes[0][-spatial:], params["padding"], _windows(params), strict=True
    ):
        room = size + left + right - d * (k - 1) - 1
        if room < 0:
            raise ValueError(
                f"kernel_size {k} with dilation {d} does not fit into a padded size of "
                f"{size + left + right}"
            )
        sizes.append(room // s + 1)
    channels = params["out_channels"] if shapes[0][-spatial - 1] else 0  # torch gives none of none
    return (*shapes[0][: -spatial - 1], channels, *sizes)


def _reads(
    node: Node, live: Tensor | None, along_window: Callable[[int, Sequence[int]], Place]
) -> Reads:
    """One read for each product of places in the window that weights may read, as `along_window` has them."""
    shape = node.operand_shapes[0]
    window, groups = node.params["kernel_size"], node.params["groups"]
    lead = len(shape) - len(window) - 1
    taps = [Taps(None, tuple(map(range, window)))] if live is None else taps_of(live)
    inputs = [
        Read(
            0,
            (
                *map(along, range(lead)),
                _mixed(shape[lead], node.shape[lead], groups, each.pairs, lead),
                *(along_window(dim, places) for dim, places in enumerate(each.places)),
            ),
        )
        for each in taps
    ]
    weights = [
        Read(index, (every("linear"),) * len(node.operand_shapes[index]))
        for index in range(1, len(node.operand_shapes))
    ]
    return (*inputs, *weights)  # weights that are computed from the input are read whole


def _mixed(inputs: int, outputs: int, groups: int, pairs: Tensor | None, dim: int) -> Place:
    """The input channels that an output channel reads: of its group, those that it is paired with."""
    if pairs is None:
        return moved(channels(inputs, outputs, groups), dim)
    each, per_group = inputs // groups, outputs // groups
    rows = [
        [o // per_group * each + i for i in row.nonzero().flatten().tolist()]
        for o, row in enumerate(pairs)
    ]
    return table(dim, rows.__getitem__, None, "a constant mask pairs channels")


def _live(node: Node, transposed: bool) -> Tensor | None:
    """(outputs, inputs of a group, *window): where the weight may be other than 0; None: everywhere."""
    weight, groups = node.params["weight"], node.params["groups"]
    zero = None if weight is None else fixed(weight, 0.0)
    if zero is None:
        return None
    live = ~zero.expand(tuple(weight.shape))
    if not transposed:
        return live
    split = live.reshape(groups, -1, *live.shape[1:])  # (groups, inputs, outputs, *window)
    return split.transpose(1, 2).reshape(-1, *split.shape[1:2], *live.shape[2:])


def _sliding(window: tuple[int, int, int, int], places: Sequence[int]) -> Relation:
    """The relation of some places of a window."""
    kernel, stride, dilation, left = window
    if len(places) == kernel:
        return Relation.window(*window)
    return Relation(1, stride, (Positions.of(dilation * t - left for t in places),))


def conv(node: Node) -> Reads:
    """Convolution.

    Reads:      a window of the input along each spatial dim; all channels of its group.
    Formula:    R(o) = {stride * o - left_padding + dilation * t : 0 <= t < kernel_size};
                `same` pads dilation * (kernel_size - 1) in all, the odd one on the right. Padding
                modes other than zeros read the same window, folded back at the borders.
    Example:    kernel_size 3, stride 2, padding 1: output 5 reads 2 * 5 - 1 + {0, 1, 2} = {9, 10, 11}.
    Precision:  exact; taps that the model fixes to 0 are not read. Conservative for a weight computed
                from the input, which is read whole, and where more than 16 kinds of pairs of channels
                have other taps, which then count as alike.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
    """
    lead = len(node.shape) - len(node.params["kernel_size"])
    mode = node.params["padding_mode"]
    sizes, windows = node.operand_shapes[0][lead:], _windows(node.params)

    def along_window(dim: int, places: Sequence[int]) -> Place:
        return padded(lead + dim, _sliding(windows[dim], places), sizes[dim], mode)

    return _reads(node, _live(node, transposed=False), along_window)


def _normalize_transposed(params: Params, shapes: Sequence[Shape]) -> Params:
    params = _geometry(params, shapes, transposed=True)
    spatial = len(params["kernel_size"])
    padding = tuple((p, p) for p in per_dim(params["padding"], spatial))
    further = per_dim(params["output_padding"], spatial)
    return {**params, "padding": padding, "output_padding": further}


def _infer_transposed(params: Params, shapes: Sequence[Shape]) -> Shape:
    spatial = len(params["kernel_size"])
    lead = (*shapes[0][: -spatial - 1], params["out_channels"])
    if params["output_size"] is not None:
        return (*lead, *(int(size) for size in params["output_size"][-spatial:]))
    sizes = zip(shapes[0][-spatial:], params["output_padding"], _windows(params), strict=True)
    return (
        *lead,
        *((i - 1) * s - 2 * p + d * (k - 1) + more + 1 for i, more, (k, s, d, p) in sizes),
    )


def conv_transpose(node: Node) -> Reads:
    """Transposed convolution.

    Reads:      the inputs whose window, in the convolution with the same arguments, holds the output.
    Formula:    R(o) = {(o + padding - dilation * t) / stride : 0 <= t < kernel_size, divisible}: the
                converse of the convolution's relation, with stride phases. output_padding adds
                outputs on the right and changes no read.
    Example:    kernel_size 3, stride 2, padding 1: output 4 reads {2}, output 5 reads {2, 3}.
    Precision:  exact along each axis; taps that the model fixes to 0 are not read. Where kernel_size <
                stride some outputs read nothing. Conservative as a convolution is.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html
    """
    lead = len(node.shape) - len(node.params["kernel_size"])
    windows = _windows(node.params)

    def along_window(dim: int, places: Sequence[int]) -> Place:
        return along(lead + dim, _sliding(windows[dim], places).converse())

    return _reads(node, _live(node, transposed=True), along_window)


for _dims in (1, 2, 3):
    rule(
        getattr(nn, f"Conv{_dims}d"),
        getattr(F, f"conv{_dims}d"),
        name=f"conv{_dims}d",
        signature=_CONV,
        normalize=_normalize,
        infer=_infer,
    )(conv)
    rule(
        getattr(nn, f"ConvTranspose{_dims}d"),
        getattr(F, f"conv_transpose{_dims}d"),
        name=f"conv_transpose{_dims}d",
        signature=_TRANSPOSED,
        normalize=_normalize_transposed,
        infer=_infer_transposed,
    )(conv_transpose)


def _infer_tbc(params: Params, shapes: Sequence[Shape]) -> Shape:
    steps, samples, _ = params["input"].shape
    kernel, _, outputs = params["weight"].shape
    return (steps + 2 * int(params["pad"]) - kernel + 1, samples, outputs)


@rule(torch.conv_tbc, name="conv_tbc", signature="input, weight, bias, pad=0", infer=_infer_tbc)
def conv_tbc(node: Node) -> Reads:
    """Convolution over the steps of (time, batch, channels).

    Reads:      a window of steps of its own sample; all channels.
    Formula:    R(o) = {o - pad + t : 0 <= t < kernel_size}.
    Example:    kernel_size 3, pad 1: output 5 reads {4, 5, 6}.
    Precision:  exact, also where the model fixes weights to 0. Conservative for a weight or bias that is
                computed from the input: it is read whole.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.conv_tbc.html
    """
    params, reads = node.params, []
    weight, source = params["weight"], params["input"]
    kernel, channels, outputs = weight.shape
    if isinstance(source, Operand):
        zero = fixed(weight, 0.0)
        live = None if zero is None else ~zero.expand(tuple(weight.shape)).permute(2, 1, 0)
        every_tap = Taps(None, (tuple(range(kernel)),))
        for taps in (every_tap,) if live is None else taps_of(live):
            window = _sliding((kernel, 1, 1, int(params["pad"])), taps.places[0])
            mixed = _mixed(channels, outputs, 1, taps.pairs, 2)
            reads.append(Read(source.index, (along(0, window), along(1), mixed)))
    for each in (weight, params["bias"]):
        if isinstance(each, Operand):
            reads.append(Read(each.index, (every("linear"),) * len(each.shape)))
    return tuple(reads)
