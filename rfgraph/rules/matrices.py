"""Outer and inner products, cross products, covariances, and what takes a matrix as a whole.

In: nodes of `outer`, `tensordot`, `kron`, `cross`, `cov`, `inv`, `solve` and their like. Out: reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Place, Read, Reads, along, broadcast, every, table, whole
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import nonnegative
from rfgraph.rules.masks import added_to
from rfgraph.rules.products import Labels, contracted
from rfgraph.rules.registry import rule, spellings


def product(node: Node) -> Reads:
    """Products of two tensors whose dims are summed in pairs: outer, inner, dot, vecdot, tensordot, cdist.

    Reads:      along a dim that stays, the output's own position; all of a dim that is summed.
    Formula:    outer: out[i, j] reads one[i] and other[j]; inner: one[i, :] and other[j, :].
    Example:    inner of (2, 5) and (3, 5): output (1, 2) reads one (1, 0 .. 4) and other (2, 0 .. 4).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.tensordot.html
    """
    params = node.params
    zeros_hide = node.op != "cdist"  # a distance to 0 is no 0
    return contracted(node, params["factors"], params["labels"], params["output"], zeros_hide)


def _labelled(one: object, other: object, labels: Sequence[Labels]) -> Params:
    """Labels of both factors and of the output, which has those that are left, in order."""
    return {"factors": (one, other), "labels": labels[:2], "output": labels[2]}


def _outer(params: Params, shapes: Sequence[Shape]) -> Params:
    return {**params, **_labelled(params["input"], params["vec2"], ("i", "j", "ij"))}


def _inner(params: Params, shapes: Sequence[Shape]) -> Params:
    one, other = params["input"], params["other"]
    ranks = len(one.shape), len(other.shape)
    if 0 in ranks:  # a product with a number
        dims = range(max(ranks))
        return {**params, **_labelled(one, other, (dims[: ranks[0]], dims[: ranks[1]], dims))}
    left = [f"i{dim}" for dim in range(ranks[0] - 1)]
    right = [f"j{dim}" for dim in range(ranks[1] - 1)]
    labels = [*left, "k"], [*right, "k"], [*left, *right]
    return {**params, **_labelled(one, other, labels)}


def _vecdot(params: Params, shapes: Sequence[Shape]) -> Params:
    one, other = params["x"], params["y"]
    dim = params["dim"]
    ranks = len(one.shape), len(other.shape)
    summed = dim if dim < 0 else dim - max(ranks)
    dims = range(-max(ranks), 0)
    output = [d for d in dims if d != summed]
    labels = range(-ranks[0], 0), range(-ranks[1], 0), output
    return {**params, **_labelled(one, other, labels)}


def _tensordot(params: Params, shapes: Sequence[Shape]) -> Params:
    one, other, dims = params["a"], params["b"], params["dims"]
    ranks = len(one.shape), len(other.shape)
    if isinstance(dims, torch.Tensor):
        dims = dims.tolist()
    pair = (range(-dims, 0), range(dims)) if isinstance(dims, int) else dims
    lists = ((d,) if isinstance(d, int) else d for d in pair)
    summed = [[nonnegative(d, rank) for d in of] for of, rank in zip(lists, ranks, strict=True)]
    left: list[object] = [("i", dim) for dim in range(ranks[0])]
    right: list[object] = [("j", dim) for dim in range(ranks[1])]
    for number, (dim, its) in enumerate(zip(*summed, strict=True)):
        left[dim] = right[its] = number
    output = [label for label in (*left, *right) if isinstance(label, tuple)]
    return {**params, **_labelled(one, other, (left, right, output))}


def _distances(params: Params, shapes: Sequence[Shape]) -> Params:
    one, other = params["x1"], params["x2"]
    batch = max(len(one.shape), len(other.shape)) - 2
    left, right = (range(batch - len(t.shape) + 2, batch) for t in (one, other))
    labels = [*left, "i", "k"], [*right, "j", "k"], [*range(batch), "i", "j"]
    return {**params, **_labelled(one, other, labels)}


for _name, _signature, _normalize in (
    ("outer", "input, vec2, *, out=None", _outer),
    ("ger", "input, vec2, *, out=None", _outer),
    ("inner", "input, other, *, out=None", _inner),
    ("dot", "x, y, *, dim=-1, out=None", _vecdot),
    ("vdot", "x, y, *, dim=-1, out=None", _vecdot),
    ("vecdot", "x, y, *, dim=-1, out=None", _vecdot),
    ("tensordot", "a, b, dims=2, out=None", _tensordot),
    ("cdist", "x1, x2, p=2.0, compute_mode=None", _distances),
):
    rule(*spellings(_name), name=_name, signature=_signature, normalize=_normalize)(product)


def chain(node: Node) -> Reads:
    """Products of several matrices: chain_matmul, multi_dot.

    Reads:      a row of the first matrix, a column of the last one, all of those between them.
    Formula:    out[i, j] reads first[i, :], last[:, j].
    Example:    of (2, 3), (3, 5), (5, 4): output (1, 2) reads the first at (1, 0 .. 2), all of the second.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.linalg.multi_dot.html
    """
    factors = node.params["tensors"]
    labels = [[number, number + 1] for number in range(len(factors))]
    if len(factors[0].shape) == 1:
        labels[0] = [1]
    if len(factors[-1].shape) == 1:
        labels[-1] = labels[-1][:1]
    ends = [0] * (len(factors[0].shape) > 1) + [len(factors)] * (len(factors[-1].shape) > 1)
    return contracted(node, factors, labels, ends)


rule(*spellings("chain_matmul"), name="chain_matmul", signature="*tensors, out=None")(chain)
rule(*spellings("multi_dot"), name="multi_dot", signature="tensors, *, out=None")(chain)


@rule(*spellings("kron"), signature="input, other, *, out=None")
def kron(node: Node) -> Reads:
    """Kronecker product.

    Reads:      along a dim where the second factor has n positions, the first one at the quotient by n, the
                second one at the remainder.
    Formula:    out[o] reads input[floor(o / n)] and other[o mod n].
    Example:    of sizes 3 and 4: output 6 reads position 1 of the first and position 2 of the second.
    Precision:  exact; in the second factor at the analysed size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.kron.html
    """
    rank = len(node.shape)
    factors = node.params["input"], node.params["other"]
    sizes = [(1,) * (rank - len(f.shape)) + tuple(f.shape) for f in factors]
    alone = len(node.operand_shapes) == 1
    reads = []
    for factor, of in zip(factors, (_quotient, _remainder), strict=True):
        if isinstance(factor, Operand):
            lead = rank - len(factor.shape)
            pairs = list(zip(*sizes, strict=True))[lead:]
            dims = (of(lead + d, one, other, alone) for d, (one, other) in enumerate(pairs))
            reads.append(Read(factor.index, tuple(dims)))
    return tuple(reads)


def _quotient(dim: int, one: int, other: int, alone: bool) -> Place:
    law = Relation.spread(max(other, 1))
    return along(dim, law) if alone else table(dim, law, law, "kron counts the other factor")


def _remainder(dim: int, one: int, other: int, alone: bool) -> Place:
    return (
        along(dim)
        if one == 1
        else table(dim, lambda o: (o % other,), None, f"repeats {other} positions")
    )


def added_outer(node: Node) -> Reads:
    """An outer product, or a sum of matrix products, and a term added to it: addr, addbmm.

    Reads:      the term at the output's own position; the factors as their product does.
    Formula:    addr: out[i, j] reads input[i, j], vec1[i] and vec2[j]; addbmm: batch1[:, i, :] and
                batch2[:, :, j].
    Example:    addr of (3, 4), (3,) and (4,): output (1, 2) reads the term (1, 2), vec1 1 and vec2 2.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.addr.html
    """
    term, params = node.params["input"], node.params
    factors = contracted(node, params["factors"], params["labels"], "ij")
    own = (broadcast(term.shape, node.shape, term.index),) if isinstance(term, Operand) else ()
    return (*own, *factors)


for _name, _pair, _terms in (
    ("addr", ("vec1", "vec2"), ("i", "j")),
    ("addbmm", ("batch1", "batch2"), ("bik", "bkj")),
):

    def _summed(
        params: Params,
        shapes: Sequence[Shape],
        names: Sequence[str] = _pair,
        labels: Sequence[str] = _terms,
    ) -> Params:
        return {**params, "factors": [params[name] for name in names], "labels": labels}

    rule(
        *spellings(_name),
        name=_name,
        signature=f"input, {', '.join(_pair)}, *, beta=1, alpha=1, out=None",
        normalize=_summed,
        masks=added_to,
    )(added_outer)


@rule(
    *spellings("bilinear", nn.Bilinear),
    name="bilinear",
    signature="input1, input2, weight=None, bias=None",
)
def bilinear(node: Node) -> Reads:
    """Bilinear layer: products of all features of two inputs.

    Reads:      all of the last dim of both inputs; their own position elsewhere.
    Formula:    R(o) = every position of the last dim.
    Example:    8 and 6 features on (2, 5): output (1, 3, 2) reads (1, 3, 0 .. 7) and (1, 3, 0 .. 5).
    Precision:  exact. Conservative for a weight computed from the input, which is read whole.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.Bilinear.html
    """
    inputs = [node.params["input1"], node.params["input2"]]
    numbers = [given.index for given in inputs if isinstance(given, Operand)]
    lead = tuple(along(dim) for dim in range(len(node.shape) - 1))
    rest = (i for i in range(len(node.operand_shapes)) if i not in numbers)
    return (
        *(Read(i, (*lead, every("linear"))) for i in numbers),
        *(whole(len(node.operand_shapes[i]), "linear", i) for i in rest),
    )


def _crossed(params: Params, shapes: Sequence[Shape]) -> Params:
    one, other = params["input"], params["other"]
    rank, dim = max(len(one.shape), len(other.shape)), params["dim"]
    if dim is None:  # torch.cross: the first one of three positions
        dim = next(d for d, size in enumerate(one.shape) if size == 3)
    reason = "" if params["dim"] is not None else "the first dim of three positions"
    return {**params, "dim": nonnegative(dim, rank), "reason": reason}


@rule(
    *((f, "input, other, dim=None, *, out=None") for f in (torch.cross, "cross")),
    (torch.linalg.cross, "input, other, *, dim=-1, out=None"),
    name="cross",
    signature="input, other, dim=None",
    normalize=_crossed,
)
def cross(node: Node) -> Reads:
    """Cross product of vectors of three.

    Reads:      along `dim` the two other positions of both; its own position elsewhere.
    Formula:    R(o) = {o + 1, o + 2} mod 3 along dim.
    Example:    output 0 reads {1, 2}.
    Precision:  exact; at the analysed size without a dim, which is the first of three positions.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cross.html
    """
    dim, rank = node.params["dim"], len(node.shape)
    law = Relation(3, 3, tuple(Positions.of(p) for p in ((1, 2), (0, 2), (0, 1))))
    reason = node.params["reason"]
    others = table(dim, law.at, law, reason)
    reads = []
    for i, own in enumerate(node.operand_shapes):
        dims = list(broadcast(own, node.shape, i).dims)
        if reason:
            dims = [replace(place, reason=reason) for place in dims]
        dims[dim - rank + len(own)] = others
        reads.append(Read(i, tuple(dims)))
    return tuple(reads)


def _square(params: Params, shapes: Sequence[Shape]) -> Shape:
    return shapes[0][:1] * 2 if len(shapes[0]) == 2 and shapes[0][0] != 1 else ()


def covariance(node: Node) -> Reads:
    """Covariances and correlations of the rows of a matrix.

    Reads:      both rows, all of their entries.
    Formula:    out[i, j] reads input[i, :] and input[j, :].
    Example:    cov of (3, 5): output (0, 2) reads rows 0 and 2.
    Precision:  exact. Conservative for the diagonal of corrcoef, which is 1.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.cov.html
    """
    if not node.shape:
        return (whole(len(node.operand_shapes[0]), "statistics"),)
    return tuple(Read(0, (along(dim), every("statistics"))) for dim in range(2))


for _name in ("cov", "corrcoef"):
    rule(*spellings(_name), name=_name, signature="input, **options", infer=_square)(covariance)


@rule(*spellings("pdist"), signature="input, p=2.0")
def pdist(node: Node) -> Reads:
    """Distances between every two rows of a matrix.

    Reads:      the two rows, all of their entries.
    Formula:    out[k] reads input[i, :] and input[j, :], where (i, j) is the pair number k with i < j.
    Example:    of 4 rows: output 4 reads rows 1 and 3.
    Precision:  exact at the analysed size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pdist.html
    """
    pairs = torch.combinations(torch.arange(node.operand_shapes[0][0])).tolist()
    return (Read(0, (table(0, pairs.__getitem__, None, "pairs are counted"), every("linear"))),)


@rule(*spellings("trace"), signature="input")
def trace(node: Node) -> Reads:
    """Sum of the diagonal.

    Reads:      the matrix.
    Formula:    R() = every position.
    Example:    of (3, 3): the output reads the matrix.
    Precision:  conservative: of the matrix it reads the diagonal alone.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.trace.html
    """
    return (whole(2, "linear"),)


def of_matrix(node: Node) -> Reads:
    """Inverses, determinants, decompositions and powers of matrices.

    Reads:      all of the last two dims; its own position elsewhere.
    Formula:    out[n, ..] reads input[n, :, :].
    Example:    torch.linalg.inv of (2, 3, 3): output (1, 0, 2) reads (1, 0 .. 2, 0 .. 2).
    Precision:  exact. Conservative for what uses one triangle of the matrix or goes through its columns in
                order (cholesky, qr), and for a square.
    Documented: https://docs.pytorch.org/docs/stable/linalg.html
    """
    lead = map(along, range(len(node.operand_shapes[0]) - 2))
    return (Read(0, (*lead, every("linear"), every("linear"))),)


for _name in (
    "inv inverse pinverse det slogdet logdet matrix_exp cholesky qr svd svdvals eigh eigvalsh"
).split():
    rule(*spellings(_name), name=_name, signature="input, **options")(of_matrix)
for _name, _signature in {
    "matrix_power": "input, n, *, out=None",
    "pinv": "input, *options",
}.items():
    rule(*spellings(_name), name=_name, signature=_signature + ", **others")(of_matrix)


def solved(node: Node) -> Reads:
    """Solutions of linear systems.

    Reads:      the matrix; of the right-hand sides all of the output's own column.
    Formula:    out[n, i, j] reads A[n, :, :] and B[n, :, j].
    Example:    of (3, 3) and (3, 2): output (0, 1) reads the matrix and B (0 .. 2, 1).
    Precision:  exact. Conservative for a triangular matrix, of which a part is read.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve.html
    """
    matrix, sides = node.params["A"], node.params["B"]
    rank, vector = len(node.shape), len(sides.shape) < len(matrix.shape)
    summed = rank - 1 if vector or not node.params["left"] else rank - 2
    reads = []
    if isinstance(matrix, Operand):
        batch = tuple(matrix.shape[:-2])
        lead = broadcast(batch, node.shape[: rank - 2 + vector]).dims
        reads.append(Read(matrix.index, (*lead, every("linear"), every("linear"))))
    if isinstance(sides, Operand):
        own = list(broadcast(sides.shape, node.shape).dims)
        own[summed - rank] = every("linear")
        reads.append(Read(sides.index, tuple(own)))
    return tuple(reads)


for _name, _signature in {
    "solve": "A, B, *, left=True, out=None",
    "solve_triangular": "A, B, *, upper=False, left=True, unitriangular=False, out=None",
    "cholesky_solve": "B, A, upper=False, *, left=True, out=None",
}.items():
    rule(*spellings(_name), name=_name, signature=_signature)(solved)
