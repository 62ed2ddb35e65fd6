"""Examples of operators that only move elements, whose rule asks them about an array of positions.

In: tables of shapes. Out: `EXAMPLES`.
"""

from __future__ import annotations

import torch

from tests.rules.examples import Example, ex, w

_INDEX = torch.tensor([[2, 0, 1, 1]])
_COMPUTED = "a computed index reads everything"


def _stacked() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for name in ("hstack", "vstack", "row_stack", "dstack", "column_stack"):
        function = getattr(torch, name)
        found[name] = [
            ex(lambda x, y, f=function: f((x, y)), (2, 3), (2, 3)),
            ex(lambda x, y, f=function: f([x, y]), (3,), (3,)),
            ex(lambda x, f=function: f((w(2, 3, 1), x)), (2, 3, 1)),
            ex(lambda x, f=function: f((x, x)), (2, 2)),
            ex(lambda x, f=function: f(tensors=(x,)), (1, 3)),
        ]
    found["hstack"] += [ex(lambda x, y: torch.hstack((x, y)), (2, 1), (2, 3))]
    found["column_stack"] += [ex(lambda x, y: torch.column_stack((x, y)), (2,), (2, 3))]
    found["block_diag"] = [
        ex(torch.block_diag, (2, 3), (1, 2)),
        ex(lambda x: torch.block_diag(w(1, 2), x, w(2)), (2, 3)),
        ex(torch.block_diag, (3,), (2, 1)),
    ]
    return found


def _cut() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for name, shape in {"hsplit": (2, 4), "vsplit": (4, 2), "dsplit": (1, 2, 4)}.items():
        function = getattr(torch, name)
        found[name] = [
            ex(lambda x, f=function: f(x, 2), shape),
            ex(lambda x, n=name: getattr(x, n)((1, 3)), shape),
            ex(lambda x, n=name: getattr(x, n)(4), shape),
        ]
    found["hsplit"] += [ex(lambda x: torch.hsplit(x, [2, -1]), (5,))]
    for name in ("split_with_sizes", "unsafe_split_with_sizes"):
        found[name] = [
            ex(lambda x, n=name: getattr(x, n)([1, 3], 1), (2, 4)),
            ex(lambda x, n=name: getattr(torch, n)(x, split_sizes=(2, 1), dim=0), (3, 2)),
        ]
    found["unsafe_split"] = [ex(lambda x: torch.unsafe_split(x, 3, 1), (2, 7))]
    found["unsafe_chunk"] = [ex(lambda x: x.unsafe_chunk(2, dim=-1), (2, 5))]
    return found


def _raised() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        function = getattr(torch, name)
        found[name] = [
            ex(function, (2, 3)),
            ex(function, (3,)),
            ex(function, ()),
            ex(lambda x, y, f=function: f((x, y)), (1, 2), (3,)),
            ex(lambda x, f=function: f(w(2), x), (2, 1)),
        ]
    found["meshgrid"] = [
        ex(lambda x, y: torch.meshgrid(x, y, indexing="ij"), (2,), (3,)),
        ex(lambda x: torch.meshgrid([x, w(4)], indexing="xy"), (3,)),
    ]
    found["broadcast_tensors"] = [
        ex(torch.broadcast_tensors, (2, 1), (3,)),
        ex(lambda x: torch.broadcast_tensors(x, w(2, 1, 1)), (3, 1)),
    ]
    return found


def _diagonals() -> dict[str, list[Example]]:
    return {
        "diag": [
            ex(torch.diag, (3,)),
            ex(lambda x: x.diag(1), (2, 4)),
            ex(lambda x: torch.diag(x, -2), (2,)),
        ],
        "diagflat": [ex(torch.diagflat, (2, 2)), ex(lambda x: x.diagflat(-1), (3,))],
        "diag_embed": [
            ex(torch.diag_embed, (2, 3)),
            ex(lambda x: x.diag_embed(1), (3,)),
            ex(lambda x: torch.diag_embed(x, offset=-1, dim1=0, dim2=2), (2, 3)),
        ],
        "fill_diagonal": [
            ex(lambda x: x.fill_diagonal_(2.0), (3, 4)),
            ex(lambda x: x.fill_diagonal_(1.0, wrap=True), (5, 2)),
        ],
        "diagonal_scatter": [
            ex(torch.diagonal_scatter, (3, 3), (3,)),
            ex(lambda x: x.diagonal_scatter(w(2, 2), 1, 1, 2), (2, 3, 3)),
        ],
        "select_scatter": [
            ex(lambda x, y: torch.select_scatter(x, y, 1, 2), (2, 3), (2,)),
            ex(lambda x: w(3, 2).select_scatter(x, 0, -1), (2,)),
        ],
        "slice_scatter": [
            ex(lambda x, y: torch.slice_scatter(x, y, 1, 1, 3), (2, 4), (2, 2)),
            ex(lambda x: x.slice_scatter(w(2, 3), 0, 0, 4, 2), (4, 3)),
        ],
    }


def _turned() -> dict[str, list[Example]]:
    return {
        "rot90": [
            ex(torch.rot90, (2, 3)),
            ex(lambda x: x.rot90(2, (1, 2)), (2, 3, 4)),
            ex(lambda x: torch.rot90(x, k=-1, dims=[2, 0]), (2, 1, 3)),
        ],
        "adjoint": [ex(torch.adjoint, (2, 3)), ex(lambda x: x.adjoint(), (2, 1, 3))],
        "fftshift": [
            ex(torch.fft.fftshift, (3, 4)),
            ex(lambda x: torch.fft.fftshift(x, dim=1), (2, 5)),
        ],
        "ifftshift": [
            ex(torch.fft.ifftshift, (3, 4)),
            ex(lambda x: torch.fft.ifftshift(x, (1,)), (2, 5)),
        ],
        "take_along_dim": [
            ex(lambda x: torch.take_along_dim(x, _INDEX, 1), (2, 3)),
            ex(lambda x: x.take_along_dim(_INDEX), (1, 3)),
            ex(lambda x: x.take_along_dim(_INDEX.T, dim=0), (3, 2)),
            ex(
                lambda x, i: torch.take_along_dim(x, i, 1),
                (2, 3),
                (2, 2),
                draw=("normal", "index"),
                conservative=_COMPUTED,
            ),
        ],
        "cartesian_prod": [
            ex(lambda x, y: torch.cartesian_prod(x, y), (2,), (3,)),
            ex(lambda x: torch.cartesian_prod(x, w(2)), (3,)),
        ],
        "combinations": [
            ex(torch.combinations, (4,)),
            ex(lambda x: torch.combinations(x, 2, with_replacement=True), (3,)),
        ],
        "view_as_real": [ex(torch.view_as_real, (2, 3), draw="complex")],
        "view_as_complex": [
            ex(torch.view_as_complex, (3, 2)),
            ex(torch.view_as_complex, (2, 1, 2)),
        ],
        "one_hot": [
            ex(lambda i: torch.nn.functional.one_hot(i, 3), (2, 3), draw="index"),
        ],
    }


EXAMPLES: dict[str, list[Example]] = {
    **_stacked(),
    **_cut(),
    **_raised(),
    **_diagonals(),
    **_turned(),
}
