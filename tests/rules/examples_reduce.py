"""Examples of reductions over dims, and of products that sum over a dim.

In: tables of names and shapes. Out: `EXAMPLES`. Callers: `tests.rules`.
"""

from __future__ import annotations

import operator
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
    found["sum"] += [ex(lambda x: x.sum(dim=()), (2, 3)), ex(lambda x: x.sum(-1, True), (2, 3))]
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


_READ_WHOLE = "a weight computed from the input is read whole"
_DIAGONAL = "a label repeated in one factor reads the diagonal"


def _products() -> dict[str, list[Example]]:
    return {
        "linear": [
            ex(nn.Linear(3, 4), (2, 2, 3)),
            ex(lambda x: F.linear(x, w(2, 3), w(2)), (2, 3)),
            ex(lambda x: F.linear(x, w(3)), (2, 3)),
            ex(nn.Linear(4, 1, bias=False), (4,)),
            ex(lambda x, k: F.linear(x, k), (2, 3), (4, 3), conservative=_READ_WHOLE),
            ex(lambda x, k, b: F.linear(x, k, b), (3,), (2, 3), (2,), conservative=_READ_WHOLE),
        ],
        "matmul": [
            ex(torch.matmul, (2, 2, 3), (2, 3, 4)),
            ex(operator.matmul, (2, 3), (3, 4)),
            ex(lambda x: x @ w(3, 2), (2, 1, 3)),
            ex(lambda x: w(4, 2) @ x, (2, 2, 3)),
            ex(torch.matmul, (3,), (3,)),
            ex(torch.matmul, (3,), (2, 3, 2)),
            ex(torch.matmul, (2, 2, 3), (3,)),
            ex(torch.matmul, (2, 1, 2, 2), (3, 2, 1)),
            ex(lambda x, y: x.matmul(other=y), (1, 2, 3), (2, 3, 1)),
        ],
        "bmm": [ex(torch.bmm, (2, 2, 3), (2, 3, 1)), ex(lambda x: x.bmm(w(2, 3, 2)), (2, 2, 3))],
        "mm": [ex(torch.mm, (2, 3), (3, 4)), ex(lambda x: x.mm(w(3, 2)), (2, 3))],
        "mv": [ex(torch.mv, (2, 3), (3,)), ex(lambda x: x.mv(w(3)), (2, 3))],
        "addmm": [
            ex(torch.addmm, (2, 4), (2, 3), (3, 4)),
            ex(lambda x: torch.addmm(w(4), x, w(3, 4), beta=2), (2, 3)),
            ex(lambda c, x: c.addmm(x, w(3, 4)), (4,), (2, 3)),
        ],
        "addmv": [ex(torch.addmv, (2,), (2, 3), (3,)), ex(lambda v: w(2).addmv(w(2, 3), v), (3,))],
        "baddbmm": [
            ex(torch.baddbmm, (2, 2, 1), (2, 2, 3), (2, 3, 4)),
            ex(lambda x: torch.baddbmm(w(1, 1, 2), x, w(2, 3, 2), alpha=0.5), (2, 2, 3)),
        ],
        "einsum": [
            ex(lambda x, y: torch.einsum("bij,bjk->bik", x, y), (2, 2, 3), (2, 3, 2)),
            ex(lambda x, y: torch.einsum("bhid, bhjd -> bhij", [x, y]), (1, 2, 2, 3), (1, 2, 3, 3)),
            ex(lambda x: torch.einsum("nchw,dc->ndhw", x, w(2, 3)), (1, 3, 2, 2)),
            ex(lambda x, y: torch.einsum("...ij,...jk", x, y), (2, 1, 2, 3), (3, 3, 2)),
            ex(lambda x: torch.einsum("ba", x), (2, 3)),
            ex(lambda x: torch.einsum("i...->...", x), (3, 2, 2)),
            ex(lambda x, y: torch.einsum("i,j->ji", x, y), (2,), (3,)),
            ex(lambda x, y: torch.einsum("ij,ij->i", x, y), (2, 1), (2, 3)),
            ex(lambda x: torch.einsum("ii->i", x), (3, 3)),
            ex(lambda x: torch.einsum("bii->b", x), (2, 3, 3), conservative=_DIAGONAL),
        ],
        "cosine_similarity": [
            ex(F.cosine_similarity, (2, 3), (2, 3)),
            ex(nn.CosineSimilarity(dim=-1), (2, 2, 3), (2, 2, 3)),
            ex(lambda x, y: F.cosine_similarity(x, y, dim=1), (2, 3, 2), (1, 3, 1)),
            ex(lambda x, y: F.cosine_similarity(x, y, dim=-1), (3,), (2, 3)),
            ex(lambda x: F.cosine_similarity(x, w(2, 3), dim=0), (2, 3)),
        ],
    }


EXAMPLES: dict[str, list[Example]] = {**_reductions(), **_products()}
