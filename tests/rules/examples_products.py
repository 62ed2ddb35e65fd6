"""Examples of products that sum over a dim, and of operators on matrices.

In: tables of shapes. Out: `EXAMPLES`.
"""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import nn

from tests.rules.examples import Example, ex, w

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
    }


def _pairs() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for name in ("outer", "ger"):
        function = getattr(torch, name)
        found[name] = [
            ex(function, (2,), (3,)),
            ex(lambda x, n=name: getattr(x, n)(w(2)), (3,)),
            ex(lambda x, f=function: f(w(2), x), (3,)),
        ]
    found["inner"] = [
        ex(torch.inner, (2, 3), (4, 3)),
        ex(lambda x: x.inner(w(3)), (2, 2, 3)),
        ex(torch.inner, (), (2, 3)),
        ex(torch.inner, (3,), (3,)),
    ]
    for name in ("dot", "vdot"):
        found[name] = [
            ex(getattr(torch, name), (3,), (3,)),
            ex(lambda x, n=name: getattr(x, n)(w(3)), (3,)),
        ]
    found["vecdot"] = [
        ex(torch.linalg.vecdot, (2, 3), (2, 3)),
        ex(lambda x, y: torch.linalg.vecdot(x, y, dim=1), (2, 3, 2), (3, 1)),
        ex(lambda x: torch.linalg.vecdot(w(3), x), (2, 3)),
    ]
    found["tensordot"] = [
        ex(torch.tensordot, (2, 2, 3), (2, 3, 2)),
        ex(lambda x: torch.tensordot(x, w(4, 3), dims=([1], [1])), (2, 3, 2)),
        ex(lambda x, y: torch.tensordot(x, y, dims=((0, -1), (1, 0))), (2, 2, 3), (3, 2)),
        ex(lambda x, y: torch.tensordot(x, y, dims=0), (2,), (3,)),
    ]
    found["cdist"] = [
        ex(torch.cdist, (2, 3), (4, 3)),
        ex(lambda x, y: torch.cdist(x, y, p=1.0), (2, 1, 2, 2), (3, 3, 2)),
        ex(lambda x: torch.cdist(x, w(2, 3)), (1, 4, 3)),
    ]
    found["kron"] = [
        ex(torch.kron, (2, 3), (3, 2)),
        ex(torch.kron, (2,), (2, 3)),
        ex(lambda x: torch.kron(x, w(2, 1)), (2, 3)),
        ex(lambda x: x.kron(w(2)), (1, 2, 2)),
        ex(lambda x: torch.kron(w(3), x), (2, 2)),
    ]
    found["cross"] = [
        ex(torch.linalg.cross, (2, 3), (2, 3)),
        ex(lambda x, y: torch.cross(x, y, dim=0), (3, 2), (3, 2)),
        ex(lambda x: x.cross(w(2, 3, 3), dim=1), (2, 3, 3)),
        ex(lambda x: torch.linalg.cross(x, w(1, 3)), (2, 3)),
    ]
    found["bilinear"] = [
        ex(nn.Bilinear(2, 3, 4), (2, 2), (2, 3)),
        ex(lambda x: F.bilinear(x, w(2, 3), w(2, 4, 3)), (2, 4)),
        ex(F.bilinear, (2, 2), (2, 3), (2, 2, 3), (2,), conservative=_READ_WHOLE),
    ]
    return found


def _sums() -> dict[str, list[Example]]:
    return {
        "addr": [
            ex(torch.addr, (2, 3), (2,), (3,)),
            ex(lambda x: torch.addr(w(3), x, w(3)), (2,)),
            ex(lambda x, a: x.addr(a, w(3), beta=2), (1, 3), (2,)),
        ],
        "addbmm": [
            ex(torch.addbmm, (2, 2), (2, 2, 3), (2, 3, 2)),
            ex(lambda x: torch.addbmm(w(2), x, w(2, 3, 2)), (2, 1, 3)),
        ],
        "chain_matmul": [
            ex(lambda x, y, z: torch.chain_matmul(x, y, z), (2, 3), (3, 2), (2, 2)),
        ],
        "multi_dot": [
            ex(lambda x, y, z: torch.linalg.multi_dot((x, y, z)), (2, 3), (3, 2), (2, 2)),
            ex(lambda x, y: torch.linalg.multi_dot([x, w(3, 2), y]), (3,), (2, 2)),
            ex(lambda x: torch.linalg.multi_dot((w(2, 3), w(3, 2), x)), (2,)),
        ],
    }


def _matrices() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {
        "cov": [ex(torch.cov, (2, 4)), ex(lambda x: x.cov(correction=0), (5,))],
        "corrcoef": [ex(torch.corrcoef, (3, 4), conservative="the diagonal is 1")],
        "pdist": [ex(F.pdist, (4, 2)), ex(lambda x: torch.pdist(x, 1.0), (3, 3))],
        "trace": [ex(torch.trace, (3, 3), conservative="the diagonal alone is read")],
        "matrix_power": [
            ex(lambda x: torch.linalg.matrix_power(x, 3), (2, 2, 2)),
            ex(
                lambda x: x.matrix_power(2),
                (3, 3),
                conservative="a square reads a row and a column",
            ),
        ],
        "pinv": [ex(torch.linalg.pinv, (3, 2))],
        "qr": [ex(torch.linalg.qr, (3, 2), conservative="a column reads those before it")],
        "solve": [
            ex(torch.linalg.solve, (3, 3), (3, 2)),
            ex(torch.linalg.solve, (2, 2, 2), (2, 2)),
            ex(lambda b: torch.linalg.solve(w(2, 2), b), (2, 3)),
            ex(lambda a: torch.linalg.solve(a, w(3, 2, 2), left=False), (2, 2)),
        ],
    }
    triangle = "one triangle of the matrix is read"
    found["cholesky"] = [ex(torch.linalg.cholesky, (2, 1, 1), draw="positive")]
    found["cholesky_solve"] = [ex(torch.cholesky_solve, (2, 2), (2, 2), conservative=triangle)]
    found["solve_triangular"] = [
        ex(
            lambda a, b: torch.linalg.solve_triangular(a, b, upper=True),
            (2, 2),
            (2, 3),
            conservative=triangle,
        )
    ]
    found["svd"] = [ex(lambda x: torch.linalg.svd(x, full_matrices=False), (3, 2))]
    found["eigh"] = [ex(torch.linalg.eigh, (2, 2), conservative=triangle)]
    found["eigvalsh"] = [ex(torch.linalg.eigvalsh, (3, 3), conservative=triangle)]
    found["logdet"] = [ex(torch.logdet, (3, 3)), ex(lambda x: x.logdet(), (2, 2, 2))]
    for name in ("inv", "det", "slogdet", "matrix_exp", "svdvals"):
        function = getattr(torch.linalg, name)
        found[name] = [ex(function, (3, 3)), ex(function, (2, 2, 2))]
    for name in ("inverse", "pinverse"):
        found[name] = [
            ex(getattr(torch, name), (3, 3)),
            ex(lambda x, n=name: getattr(x, n)(), (2, 2)),
        ]
    return found


EXAMPLES: dict[str, list[Example]] = {**_products(), **_pairs(), **_sums(), **_matrices()}
