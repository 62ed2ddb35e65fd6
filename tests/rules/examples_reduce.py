"""Examples of reductions over dims, and of products that sum over a dim.

In: tables of names and shapes. Out: `EXAMPLES`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.rules.examples import Example, ex, w

_SEVERAL_DIMS = "mean sum amax amin nansum nanmean logsumexp var std var_mean std_mean norm".split()
_ONE_DIM = "max min median mode prod all any argmax argmin".split()
_DRAWS = {"all": "mostly true", "any": "mostly false"}


def _call(function: Any, **options: Any) -> Any:
    return lambda x: function(x, **options)


def _reductions() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for name in (*_SEVERAL_DIMS, *_ONE_DIM):
        function, draw = getattr(torch, name), _DRAWS.get(name, "normal")
        found[name] = [
            ex(_call(function, dim=1), (2, 3, 2), draw=draw),
            ex(_call(function, dim=-1, keepdim=True), (2, 3), draw=draw),
            ex(_call(function, dim=0), (4,), draw=draw),
        ]
        if name not in ("logsumexp", "mode"):
            found[name].append(ex(function, (2, 3), draw=draw))
        if hasattr(Tensor, name) and name != "norm":
            found[name].append(ex(lambda x, n=name: getattr(x, n)(-2), (2, 3, 2), draw=draw))
    for name in _SEVERAL_DIMS:
        function = getattr(torch, name)
        found[name].append(ex(_call(function, dim=(0, -1)), (2, 2, 3)))
        found[name].append(ex(_call(function, dim=(2, 1), keepdim=True), (2, 2, 3)))
    found["mode"].append(ex(torch.mode, (2, 3), draw="signs"))
    found["mode"].append(ex(_call(torch.mode, dim=0), (4, 2), draw="signs"))
    for name in ("mean", "sum", "amax", "max", "argmax", "prod", "var"):
        function = getattr(torch, name)
        found[name].append(ex(_call(function, axis=1), (2, 3)))
    found["mean"] += [
        ex(lambda x: x.mean((2, 3)), (1, 2, 2, 3)),
        ex(lambda x: x.mean([1, 2], True), (1, 2, 2, 3)),
        ex(lambda x: x.mean(axis=-1, keepdims=True), (2, 3)),
        ex(lambda x: x.mean(dim=(1,), dtype=torch.float32), (2, 3)),
    ]
    found["sum"] += [
        ex(lambda x: x.sum(dim=()), (2, 3)),
        ex(lambda x: x.sum([]), (2, 3)),
        ex(lambda x: x.sum(-1, True), (2, 3)),
    ]
    for name in ("aminmax", "nanmedian", "count_nonzero"):
        function, draw = getattr(torch, name), "signs" if name == "count_nonzero" else "normal"
        found[name] = [
            ex(function, (2, 3), draw=draw),
            ex(lambda x, f=function: f(x, dim=1), (2, 3, 2), draw=draw),
            ex(lambda x, n=name: getattr(x, n)(dim=0), (4, 2), draw=draw),
        ]
    found["aminmax"].append(ex(_call(torch.aminmax, dim=-1, keepdim=True), (2, 3)))
    found["count_nonzero"].append(
        ex(_call(torch.count_nonzero, dim=(0, 2)), (2, 2, 3), draw="signs")
    )
    found["matrix_norm"] = [
        ex(torch.linalg.matrix_norm, (2, 2, 3)),
        ex(lambda x: torch.linalg.matrix_norm(x, dim=(0, 2), keepdim=True), (2, 2, 3)),
    ]
    found["nuclear_norm"] = [ex(torch.nuclear_norm, (2, 3))]
    found["frobenius_norm"] = [ex(_call(torch.frobenius_norm, dim=(0, 1)), (2, 3))]
    for name in ("max", "min"):
        function = getattr(torch, name)
        found[name].append(ex(function, (2, 3), (3,)))
        found[name].append(ex(lambda x, y, f=function: f(x, other=y), (2, 1), (2, 3)))
    found["argmax"].append(ex(_call(torch.argmax, keepdim=True), (2, 3)))
    for name in ("var", "std", "var_mean", "std_mean"):
        function = getattr(torch, name)
        found[name] += [
            ex(lambda x, f=function: f(x, False), (2, 3)),
            ex(lambda x, f=function: f(x, 1, True), (2, 3)),
            ex(lambda x, f=function: f(x, (0, 2), False, True), (2, 2, 3)),
            ex(_call(function, dim=-1, unbiased=False), (2, 3)),
            ex(_call(function, dim=1, correction=0, keepdim=True), (2, 3)),
        ]
    found["norm"] += [
        ex(lambda x: x.norm(2), (2, 3)),
        ex(lambda x: x.norm(p=1, dim=-1, keepdim=True), (2, 3)),
        ex(lambda x: torch.norm(x, 2, 1), (2, 3, 2)),
        ex(lambda x: torch.linalg.norm(x, dim=0), (3, 2)),
    ]
    found["vector_norm"] = [
        ex(torch.linalg.vector_norm, (2, 3)),
        ex(lambda x: torch.linalg.vector_norm(x, 3, 1, True), (2, 3, 2)),
        ex(lambda x: torch.linalg.vector_norm(x, dim=(0, 2)), (2, 2, 3)),
    ]
    return found


def _distances() -> dict[str, list[Example]]:
    return {
        "pairwise_distance": [
            ex(F.pairwise_distance, (2, 3), (2, 3)),
            ex(nn.PairwiseDistance(1, keepdim=True), (2, 2, 3), (2, 3)),
            ex(lambda x: F.pairwise_distance(x, w(2, 3)), (1, 3)),
        ],
        "dist": [ex(torch.dist, (2, 3), (3,)), ex(lambda x: x.dist(w(2, 3), 1), (2, 1))],
        "renorm": [
            ex(lambda x: torch.renorm(x, 2, 1, 0.1), (3, 2)),
            ex(lambda x: x.renorm(1, -1, 0.1), (2, 2, 3)),
        ],
        "cosine_similarity": [
            ex(F.cosine_similarity, (2, 3), (2, 3)),
            ex(nn.CosineSimilarity(dim=-1), (2, 2, 3), (2, 2, 3)),
            ex(lambda x, y: F.cosine_similarity(x, y, dim=1), (2, 3, 2), (1, 3, 1)),
            ex(lambda x, y: F.cosine_similarity(x, y, dim=-1), (3,), (2, 3)),
            ex(lambda x: F.cosine_similarity(x, w(2, 3), dim=0), (2, 3)),
        ],
    }


def _integrals() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for name in ("trapezoid", "trapz", "cumulative_trapezoid"):
        function = getattr(torch, name)
        found[name] = [
            ex(function, (2, 4)),
            ex(lambda y, f=function: f(y, dx=2.0, dim=0), (3, 2)),
            ex(lambda y, x, f=function: f(y, x, dim=1), (2, 3, 2), (2, 3, 2)),
            ex(lambda y, f=function: f(y, w(4)), (2, 4)),
            ex(function, (2, 3), (3,)),
        ]
    found["diff"] = [
        ex(torch.diff, (2, 4)),
        ex(lambda x: x.diff(2, 0), (4, 2)),
        ex(lambda x, y: torch.diff(x, 0, prepend=y), (2, 3), (2, 2)),
        ex(lambda x: torch.diff(x, prepend=w(2, 1), append=w(2, 2)), (2, 3)),
        ex(lambda x, y: torch.diff(x, 2, -1, y), (2, 3), (2, 2)),
    ]
    return found


def _quantiles() -> dict[str, list[Example]]:
    several = torch.tensor([0.2, 0.7], dtype=torch.float64)
    found: dict[str, list[Example]] = {}
    for name in ("quantile", "nanquantile"):
        function = getattr(torch, name)
        found[name] = [
            ex(lambda x, f=function: f(x, 0.3), (2, 3)),
            ex(lambda x, f=function: f(x, several, 1), (2, 4)),
            ex(lambda x, n=name: getattr(x, n)(0.5, dim=-2, keepdim=True), (2, 3, 2)),
            ex(lambda x, q, f=function: f(x, q, dim=0), (4, 2), (3,), draw=("normal", "unit")),
            ex(lambda x, q, f=function: f(x, q), (4,), (), draw=("normal", "unit")),
            ex(lambda q, f=function: f(w(2, 3), q, dim=1), (3,), draw="unit"),
        ]
    return found


EXAMPLES: dict[str, list[Example]] = {
    **_reductions(),
    **_distances(),
    **_integrals(),
    **_quantiles(),
}
