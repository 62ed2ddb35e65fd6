"""Operators that put tensors side by side: cat, stack.

In: their nodes. Out: reads. (Sums and products of branches are pointwise.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch

from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Place, Read, Reads, along, lookup, table
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import nonnegative
from rfgraph.rules.registry import rule, spellings


def _tensors(params: Params) -> list[torch.Tensor | Operand]:
    """What is put side by side; torch skips the empty tensor of one dim, unless all are empty."""
    return [t for t in params["tensors"] if tuple(t.shape) != (0,)] or params["tensors"]


def _normalize(params: Params, shapes: Sequence[Shape]) -> Params:
    return {**params, "dim": nonnegative(params["dim"], len(_tensors(params)[0].shape))}


def _infer_cat(params: Params, shapes: Sequence[Shape]) -> Shape:
    dim, tensors = params["dim"], [tuple(t.shape) for t in _tensors(params)]
    rests = {shape[:dim] + shape[dim + 1 :] for shape in tensors}
    if len(rests) > 1:
        listed = " and ".join(map(str, dict.fromkeys(tensors)))
        raise ValueError(f"sizes differ outside dim {dim}: {listed}")
    return (*tensors[0][:dim], sum(shape[dim] for shape in tensors), *tensors[0][dim + 1 :])


@rule(
    *spellings("cat", torch.concat, torch.concatenate),
    signature="tensors, dim=0, out=None",
    normalize=_normalize,
    infer=_infer_cat,
)
def cat(node: Node) -> Reads:
    """Concatenation along `dim`.

    Reads:      the one tensor whose stretch of `dim` holds the position.
    Formula:    R(o) = {o - start_i} along dim, {o} elsewhere.
    Example:    sizes 3 and 4: output 5 reads position 2 of the second tensor and nothing of the first.
    Precision:  exact at the analysed size. Along dim there is a law only where all but one of the
                tensors are constants of the model, such as a class token before the patch tokens.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.cat.html
    """
    dim, rank = node.params["dim"], len(node.shape)
    alone = len(node.operands) == 1
    reads: list[Read] = []
    start = 0
    for tensor in _tensors(node.params):
        if isinstance(tensor, Operand):
            reads.append(_piece(tensor.index, dim, start, rank, alone))
        start += tensor.shape[dim]
    return tuple(reads)


@lru_cache(maxsize=4096)  # a dense block puts the same pieces side by side again and again
def _piece(operand: int, dim: int, start: int, rank: int, alone: bool) -> Read:
    # Positions of other pieces fall outside this operand, as if into padding: they read nothing.
    shifted = Relation.window(1, 1, 1, start)
    own: Place = along(dim, shifted)
    if not alone:
        own = table(dim, shifted, None, f"concatenation along dim {dim}")
    return Read(operand, tuple(own if d == dim else along(d) for d in range(rank)))


def _infer_stack(params: Params, shapes: Sequence[Shape]) -> Shape:
    shape = tuple(params["tensors"][0].shape)
    dim = nonnegative(params["dim"], len(shape) + 1)
    return (*shape[:dim], len(params["tensors"]), *shape[dim:])


@rule(*spellings("stack"), signature="tensors, dim=0, *, out=None", infer=_infer_stack)
def stack(node: Node) -> Reads:
    """Stack tensors along a new `dim`.

    Reads:      the same position of the tensor that stands at the output's place along the new dim.
    Formula:    R(o) = o without the new dim.
    Example:    dim 1: output (0, 1, 2) reads position (0, 2) of the second tensor.
    Precision:  exact for tensors with dims, all places together in the closed form; conservative for those
                without, which are read throughout.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.stack.html
    """
    rank = len(node.shape)
    new = nonnegative(node.params["dim"], rank)
    own = tuple(d for d in range(rank) if d != new)
    return tuple(
        Read(tensor.index, tuple(_at_place(own, new, place)))
        for place, tensor in enumerate(node.params["tensors"])
        if isinstance(tensor, Operand)
    )


def _at_place(own: Sequence[int], new: int, place: int) -> Iterator[Place]:
    """The same position, but only at one place along the new dim: the first dim carries that."""
    for number, dim in enumerate(own):
        if number:
            yield along(dim)
        else:
            yield lookup(
                (dim, new),
                lambda o: o[:1] if o[1] == place else (),
                "stack puts it in one place",
                law=along(dim),
            )
