"""Twins of cross products, distances between rows, and of operators on matrices.

In: calls on twins. Out: plain float64 tensors, for `rfgraph.probe.twins.twin`, by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rfgraph.probe.twins.encoding import average, mean
from rfgraph.probe.twins.twin import Called, Result, Twin, arguments, nothing, traced, twin


@twin("cross")
def cross(call: Called, *args: object, **kwargs: object) -> Tensor:
    """The two other positions of `dim`."""
    default = "-1" if "linalg" in call.function.__name__ else "None"
    p = arguments(f"input, other, dim={default}", args, kwargs)
    shape, dim = call.shape(), p["dim"]
    if dim is None:
        dim = shape.index(3)
    values = [value.expand(shape) for value in traced((p["input"], p["other"]))]
    return average(*(value.roll(step, dim) for value in values for step in (1, 2)))


@twin("cdist")
def cdist(call: Called, *args: object, **kwargs: object) -> Tensor:
    p = arguments("x1, x2, p=2.0", args, kwargs)
    if call.setting.cut:
        return nothing(call)
    left = [mean(value, [-1]) for value in traced(p["x1"])]
    right = [mean(value, [-1]).mT for value in traced(p["x2"])]
    return average(*left, *right).expand(call.shape())


@twin("pdist")
def pdist(call: Called, value: Twin, /, *args: object, **kwargs: object) -> Tensor:
    if call.setting.cut:
        return nothing(call)
    return torch.combinations(mean(value.value, [-1], keepdim=False)).mean(-1)


@twin("cov corrcoef")
def covariance(call: Called, value: Twin, /, **kwargs: object) -> Tensor:
    if call.setting.cut:
        return nothing(call)
    rows = mean(value.value, [-1])
    return average(rows, rows.mT) if value.ndim > 1 else rows.reshape(())


@twin(
    "inv inverse pinv pinverse det slogdet logdet matrix_exp matrix_power cholesky qr svd svdvals eigh "
    "eigvalsh"
)
def of_matrix(call: Called, value: Twin, /, *args: object, **kwargs: object) -> Result:
    """All of the last two dims."""
    if call.setting.cut:
        return nothing(call)
    real, total = call.shapes(), mean(value.value, [-2, -1], keepdim=False)

    def spread(shape: Sequence[int]) -> Tensor:
        return total.reshape((*total.shape, *(1,) * (len(shape) - total.ndim))).expand(shape)

    return spread(real.shape) if isinstance(real, Tensor) else tuple(spread(r.shape) for r in real)


@twin("solve solve_triangular cholesky_solve")
def solved(call: Called, *args: object, **kwargs: object) -> Tensor:
    """All of the matrix, and the column of the right-hand sides."""
    p = arguments("B, A" if call.name == "cholesky_solve" else "A, B", args, kwargs)
    shape, vector = call.shape(), p["B"].ndim < p["A"].ndim
    if call.setting.cut:
        return nothing(call)
    terms = [mean(value, [-2, -1]) for value in traced(p["A"])]
    terms = [term.squeeze(-1) if vector else term for term in terms]
    summed = -1 if vector or not p.get("left", True) else -2
    terms += [mean(value, [summed]) for value in traced(p["B"])]
    return average(*terms).expand(shape)
