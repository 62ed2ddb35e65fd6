"""Reductions over dims: sums, extremes, quantiles, norms, distances.

In: nodes of `mean`, `max`, `quantile`, `norm`, `cosine_similarity` and their like. Out: reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import (
    Kind,
    Place,
    Read,
    Reads,
    along,
    broadcast,
    every,
    fixed,
    mixed,
    same,
    table,
    whole,
)
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import all_dims, moved, nonnegative, reduced
from rfgraph.rules.masks import highest, summed_over
from rfgraph.rules.registry import rule, spellings
from rfgraph.rules.unmasked import left_along


def _normalize_reduction(params: Params, shapes: Sequence[Shape]) -> Params:
    """`dim` and `keepdim`, however they were written."""
    dim = params.get("axis", params["dim"])
    if isinstance(dim, bool):  # x.var(False): the second argument may be `unbiased`
        dim = None
    return {
        **params,
        "dim": params.get("other", dim),  # torch.max(x, other=y)
        "keepdim": bool(params.get("keepdims", params["keepdim"])),
    }


def _infer_reduction(params: Params, shapes: Sequence[Shape]) -> Shape:
    dims = all_dims(params["dim"], len(shapes[0]))
    kept = 1 if params["keepdim"] else None
    sizes = (kept if d in dims else size for d, size in enumerate(shapes[0]))
    return tuple(size for size in sizes if size is not None)


def reduction(node: Node, kind: Kind = "pooling") -> Reads:
    """Sums, means, extremes, norms and variances over dims.

    Reads:      all of the reduced dims; its own position elsewhere.
    Formula:    R(o) = every position of dim.
    Example:    x.mean((2, 3)) on (1, 8, 5, 7): output (0, 3) reads (0, 3, 0 .. 4, 0 .. 6).
    Precision:  exact; what the model fixes to 0 or to -inf is left out.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.mean.html
    """
    if isinstance(
        node.params["dim"], Operand | torch.Tensor
    ):  # torch.max(x, y) is a maximum of two tensors
        return tuple(broadcast(own, node.shape, i) for i, own in enumerate(node.operand_shapes))
    dims = all_dims(node.params["dim"], len(node.operand_shapes[0]))
    read = reduced(node, dims, kind, node.params["keepdim"])
    if len(dims) == 1:
        (dim,) = dims
        kept = {d: place.dims[0] for d, place in enumerate(read) if d != dim}
        operand = next(iter(node.params.values()))  # by whichever name
        left = left_along(operand, dim, kept, kind, weighs=node.op in _HIGHEST)
        read = *read[:dim], left, *read[dim + 1 :]
    return (Read(0, read),)


_HIGHEST = frozenset(("amax", "max", "logsumexp"))
_SUMS = frozenset(("mean", "sum", "nansum", "nanmean"))
_DIM = "input, dim=None, keepdim=False, **options"
for _name in ("mean", "sum", "amax", "amin", "nansum", "nanmean", "logsumexp"):
    rule(
        *spellings(_name),
        name=_name,
        signature=_DIM,
        normalize=_normalize_reduction,
        infer=_infer_reduction,
        masks=summed_over if _name in _SUMS else highest if _name in _HIGHEST else None,
    )(reduction)
for (
    _name
) in "max min aminmax median nanmedian mode prod all any argmax argmin count_nonzero".split():
    rule(
        *spellings(_name),
        name=_name,
        signature="input, dim=-1, keepdim=False, **options" if _name == "mode" else _DIM,
        normalize=_normalize_reduction,
        masks=highest if _name in _HIGHEST else None,
    )(reduction)
_SPREAD = "input, dim=None, unbiased=True, keepdim=False, **options"
for _name, _signature in {
    "var": _SPREAD,
    "std": _SPREAD,
    "var_mean": _SPREAD,
    "std_mean": _SPREAD,
    "norm": "input, p=2, dim=None, keepdim=False, **options",
    "vector_norm": "x, ord=2, dim=None, keepdim=False, **options",
    "matrix_norm": "A, ord='fro', dim=(-2, -1), keepdim=False, **options",
    "nuclear_norm": "input, dim=None, keepdim=False, **options",
    "frobenius_norm": "input, dim=None, keepdim=False, **options",
}.items():
    rule(
        *spellings(_name),
        name=_name,
        signature=_signature,
        normalize=_normalize_reduction,
    )(partial(reduction, kind="statistics"))


@rule(
    *spellings("cosine_similarity", nn.CosineSimilarity),
    name="cosine_similarity",
    signature="x1, x2, dim=1, eps=1e-8",
)
def cosine_similarity(node: Node) -> Reads:
    """Cosine of the angle between two tensors along `dim`.

    Reads:      all of `dim` of both; its own position elsewhere, a dim that is broadcast at 0.
    Formula:    R(o) = every position of dim.
    Example:    dim 1 on (2, 8, 5): output (1, 3) reads (1, 0 .. 7, 3) of both.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineSimilarity.html
    """
    rank = len(node.shape) + 1
    summed = nonnegative(node.params["dim"], rank)

    def of(dim: int, size: int) -> Place:
        if dim == summed:
            return every("linear")
        position = dim - (dim > summed)
        return fixed(0) if size == 1 != node.shape[position] else along(position)

    return tuple(
        Read(i, tuple(of(rank - len(own) + d, size) for d, size in enumerate(own)))
        for i, own in enumerate(node.operand_shapes)
    )


def quantile(node: Node) -> Reads:
    """Quantiles over a dim: one, or one for each entry of `q` along a new first dim.

    Reads:      all of the dim; its own position elsewhere. The quantile's own entry of a computed `q`.
    Formula:    R(o) = every position of dim.
    Example:    quantile(x, 0.5, dim=1) on (2, 5): output 1 reads (1, 0 .. 4).
    Precision:  exact. Conservative where the quantile is the least or the greatest, chosen by data.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.quantile.html
    """
    params = node.params
    q, given = params["q"], params["input"]
    several = isinstance(q, Operand | torch.Tensor) and len(q.shape) > 0
    reads = []
    if isinstance(given, Operand):
        summed = all_dims(params["dim"], len(given.shape))
        dims = reduced(node, summed, "statistics", params["keepdim"])
        behind = (moved(d, d.dims[0] + several) if d.dims else d for d in dims)
        reads.append(Read(0, tuple(behind)))
    if isinstance(q, Operand):
        reads.append(Read(q.index, tuple(along(0) for _ in q.shape)))
    return tuple(reads)


for _name in ("quantile", "nanquantile"):
    rule(
        *spellings(_name),
        name=_name,
        signature="input, q, dim=None, keepdim=False, *, interpolation='linear', out=None",
    )(quantile)


def paired(node: Node) -> Reads:
    """Distances of two tensors over a dim: pairwise_distance; over all dims: dist.

    Reads:      all of the dim of both; its own position elsewhere, a dim that is broadcast at 0.
    Formula:    R(o) = every position of the dim.
    Example:    pairwise_distance on (2, 8): output 1 reads (1, 0 .. 7) of both.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.PairwiseDistance.html
    """
    kept = node.params["keepdim"]
    shape = (*node.shape[: len(node.shape) - kept], -1)
    reads = []
    for i, own in enumerate(node.operand_shapes):
        if node.op == "dist":
            reads.append(whole(len(own), "pooling", i))
        else:
            reads.append(Read(i, (*broadcast(own[:-1], shape[:-1]).dims, every("linear"))))
    return tuple(reads)


rule(
    *spellings("pairwise_distance", nn.PairwiseDistance),
    name="pairwise_distance",
    signature="x1, x2, p=2.0, eps=1e-6, keepdim=False",
)(paired)
rule(*spellings("dist"), name="dist", signature="input, other, p=2, *, keepdim=False")(paired)


def trapezoid(node: Node) -> Reads:
    """Integrals by the trapezoid rule along a dim, of values at equal distances or at those of `x`.

    Reads:      all of the dim of both; its own position elsewhere.
    Formula:    R(o) = every position of dim.
    Example:    trapezoid over the last dim of (2, 5): output 1 reads (1, 0 .. 4).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.trapezoid.html
    """
    rank = len(node.shape) + 1
    summed = nonnegative(node.params["dim"], rank)
    full = (*node.shape[:summed], -1, *node.shape[summed:])

    def of(dim: int, size: int) -> Place:
        if dim == summed:
            return every("pooling")
        position = dim - (dim > summed)
        return fixed(0) if size == 1 != full[dim] else along(position)

    def read(i: int, own: Shape) -> Read:
        if len(own) == 1:
            return whole(1, "pooling", i)
        return Read(i, tuple(of(rank - len(own) + d, size) for d, size in enumerate(own)))

    return tuple(read(i, own) for i, own in enumerate(node.operand_shapes))


for _name in ("trapezoid", "trapz"):
    rule(*spellings(_name), name=_name, signature="y, x=None, *, dx=None, dim=-1")(trapezoid)


@rule(*spellings("renorm"), signature="input, p, dim, maxnorm")
def renorm(node: Node) -> Reads:
    """Slices along `dim`, scaled down to a greatest norm.

    Reads:      its own position along `dim`; all of the other dims, for the norm, beside its own element.
    Formula:    R(o) = {o} along dim.
    Example:    renorm(x, 2, 1, 1.0) on (3, 5): output (0, 2) reads (0 .. 2, 2).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.renorm.html
    """
    rank = len(node.shape)
    dim = nonnegative(node.params["dim"], rank)
    return mixed(rank, (d for d in range(rank) if d != dim), "statistics"), same(rank)


@rule(*spellings("diff"), signature="input, n=1, dim=-1, prepend=None, append=None, *, out=None")
def diff(node: Node) -> Reads:
    """Differences of neighbours along `dim`, `n` times, after others are put before and behind.

    Reads:      a window of n + 1 positions; of no differences, n = 0, the input alone.
    Formula:    R(o) = {o .. o + n} along dim, less what is put before.
    Example:    diff(x, 2): output 3 reads {3, 4, 5}.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.diff.html
    """
    params, rank, start = node.params, len(node.shape), 0
    if params["n"] == 0:  # it is handed on, and nothing is put before or behind
        given = params["input"]
        return (same(rank, given.index),) if isinstance(given, Operand) else ()
    dim, alone = nonnegative(params["dim"], rank), len(node.operand_shapes) == 1
    reads = []
    for given in (params["prepend"], params["input"], params["append"]):
        if isinstance(given, Operand):
            law = Relation.window(params["n"] + 1, 1, 1, start)
            own = along(dim, law) if alone else table(dim, law, None, "diff puts tensors together")
            dims = (own if d == dim else along(d) for d in range(rank))
            reads.append(Read(given.index, tuple(dims)))
        start += 0 if given is None else given.shape[dim]
    return tuple(reads)
