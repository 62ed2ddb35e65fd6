"""Twins of losses."""

from __future__ import annotations

from torch import Tensor
from torch.nn import _reduction

from rfgraph.probe.twins.encoding import average, mean
from rfgraph.probe.twins.twin import Called, Named, arguments, nothing, traced, twin

_OF_CLASSES = "size_average=None, ignore_index=-100, reduce=None, reduction='mean'"
_REDUCED = "size_average=None, reduce=None, reduction='mean'"


def _is_reduced(p: Named) -> bool:
    if p.get("size_average") is None and p.get("reduce") is None:
        return bool(p["reduction"] != "none")
    old = p.get("size_average"), p.get("reduce")
    return _reduction.legacy_get_string(*old, emit_warning=False) != "none"


def _all(call: Called) -> Tensor:
    """The mean of all that is read."""
    values = [value.mean() for value in traced((call.args, call.kwargs))]
    return nothing(call) if call.setting.cut else average(*values)


@twin(
    "l1_loss mse_loss soft_margin_loss smooth_l1_loss huber_loss kl_div binary_cross_entropy "
    "binary_cross_entropy_with_logits"
)
def pairs(call: Called, *args: object, **kwargs: object) -> Tensor:
    """Input, target and weights."""
    weighted = "weight=None, " if call.name.startswith("binary") else ""
    reduced = "reduction='mean'" if call.name == "huber_loss" else _REDUCED
    if _is_reduced(arguments(f"input, target, {weighted}{reduced}", args, kwargs)):
        return _all(call)
    return average(*traced((args, kwargs))).expand(call.shape())


@twin("cross_entropy nll_loss nll_loss_nd")
def classes(call: Called, *args: object, **kwargs: object) -> Tensor:
    """The mean over the classes; the target."""
    p = arguments(f"input, target, weight=None, {_OF_CLASSES}", args, kwargs)
    if _is_reduced(p):
        return _all(call)
    shape = call.shape()
    terms = []
    for value in traced((p["input"], p["target"])):
        has_classes = value.ndim > len(shape)
        if not (has_classes and call.setting.cut and value.ndim == 1):
            terms.append(mean(value, [min(len(shape), 1)], False) if has_classes else value)
    terms += [value.mean() for value in traced(p["weight"]) if not call.setting.cut]
    return average(*terms).expand(shape) if terms else nothing(call)
