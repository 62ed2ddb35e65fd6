"""Losses: of pairs of elements, and of classes.

In: nodes of `l1_loss`, `cross_entropy` and their like. Out: reads. What is not reduced reads as pointwise
operators and softmax do; a mean or a sum reads everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import _reduction

from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Place, Read, Reads, along, broadcast, every, whole
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import broadcast_shapes
from rfgraph.rules.registry import rule, spellings

_BY_NUMBER = ("none", "mean", "sum")
_NUMBERED = {
    torch.kl_div: "input, target, reduction=0, *, log_target=False",
    torch.binary_cross_entropy_with_logits: "input, target, weight=None, pos_weight=None, reduction=0",
}
"""Torch's own spellings, which reduce nothing unless they are asked to."""
_REDUCED = "size_average=None, reduce=None, reduction='mean'"


def _normalize(params: Params, shapes: Sequence[Shape]) -> Params:
    """`reduction`, also where it is written as it was before torch 1.0."""
    if isinstance(params["reduction"], int):  # torch.kl_div
        return {**params, "reduction": _BY_NUMBER[params["reduction"]]}
    old = params["size_average"], params["reduce"]
    if old == (None, None):
        return params
    said = _reduction.legacy_get_string(*old, emit_warning=False)
    return {**params, "reduction": said, "size_average": None, "reduce": None}


def _infer_pairs(params: Params, shapes: Sequence[Shape]) -> Shape:
    return broadcast_shapes(*shapes) if params["reduction"] == "none" else ()


def pairs(node: Node) -> Reads:
    """Losses of elements and their targets.

    Reads:      input, target and weights at the output's own position, broadcast; with a reduction all
                of each.
    Formula:    R(o) = {o}; with a reduction R() = every position.
    Example:    l1_loss(x, y, reduction='none') of (2, 3): output (1, 2) reads x and y at (1, 2).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.l1_loss.html
    """
    if node.params["reduction"] == "none":
        return tuple(broadcast(own, node.shape, i) for i, own in enumerate(node.operand_shapes))
    return tuple(whole(len(own), "pooling", i) for i, own in enumerate(node.operand_shapes))


for _name, _module, _rest in (
    ("l1_loss", nn.L1Loss, _REDUCED),
    ("mse_loss", nn.MSELoss, _REDUCED),
    ("soft_margin_loss", nn.SoftMarginLoss, _REDUCED),
    ("smooth_l1_loss", nn.SmoothL1Loss, f"{_REDUCED}, beta=1.0"),
    ("huber_loss", nn.HuberLoss, "reduction='mean', delta=1.0, *, size_average=None, reduce=None"),
    ("kl_div", nn.KLDivLoss, f"{_REDUCED}, log_target=False"),
    ("binary_cross_entropy", nn.BCELoss, f"weight=None, {_REDUCED}"),
    (
        "binary_cross_entropy_with_logits",
        nn.BCEWithLogitsLoss,
        f"weight=None, {_REDUCED}, pos_weight=None",
    ),
):
    rule(
        *(
            (each, _NUMBERED[each]) if each in _NUMBERED else each
            for each in spellings(_name, _module)
        ),
        name=_name,
        signature=f"input, target, {_rest}, **options",  # some have weights, by the version of torch
        normalize=_normalize,
        infer=_infer_pairs,
    )(pairs)


def classes(node: Node) -> Reads:
    """Losses of classes: cross_entropy, nll_loss.

    Reads:      all classes of the input, dim 1 (or the only one), at the output's own position, and the
                target there, of which there may be one for each class; all weights, where they are
                computed. With a reduction all of each.
    Formula:    out[n, p] reads input[n, :, p] and target[n, p].
    Example:    (2, 5, 4) with reduction='none': output (1, 3) reads (1, 0 .. 4, 3).
    Precision:  exact for cross_entropy. Conservative for nll_loss, which reads the target's class alone.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html
    """
    if node.params["reduction"] != "none":
        return tuple(whole(len(own), "pooling", i) for i, own in enumerate(node.operand_shapes))
    operands, weight = (node.params["input"], node.params["target"]), node.params["weight"]
    reads = [_of_class(each, len(node.shape)) for each in operands if isinstance(each, Operand)]
    if isinstance(weight, Operand):  # one for each class, of which the target picks
        reads.append(whole(len(weight.shape), "data-dependent", weight.index))
    return tuple(reads)


def _of_class(operand: Operand, rank: int) -> Read:
    """The output's own position, and all classes of a tensor that has them."""
    dims: list[Place] = [*map(along, range(rank))]
    if len(operand.shape) > rank:
        dims.insert(min(rank, 1), every("softmax"))
    return Read(operand.index, tuple(dims))


for _targets in (
    spellings("cross_entropy", nn.CrossEntropyLoss),
    spellings("nll_loss", nn.NLLLoss),
):
    rule(
        *_targets,
        signature="input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, "
        "reduction='mean', label_smoothing=0.0",
        normalize=_normalize,
    )(classes)
