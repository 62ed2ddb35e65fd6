"""`where` and `masked_fill`: at each position one of two.

In: their nodes. Out: reads.
"""

from __future__ import annotations

import torch

from rfgraph.graph import Node, Operand
from rfgraph.language.reads import Read, Reads, broadcast, where
from rfgraph.rules.masks import chosen, filled, narrowed, plain, three
from rfgraph.rules.pointwise import broadcast_operands, pointwise
from rfgraph.rules.registry import rule, spellings

_SIDES = {
    "where": ("condition", "input", "other"),
    "masked_fill": ("mask", "value", "input"),
}


def choose(node: Node) -> Reads:
    """`where` and `masked_fill`: at each position one of two.

    Reads:      the one that is taken, at the output's own position; where the condition is computed, that
                and both.
    Formula:    R(o) = {o} of the one that the condition says.
    Example:    where((True, False), x, y): output 0 reads x at 0, output 1 reads y at 1.
    Precision:  exact. Conservative where one of the two is a tensor of which the model fixes some entries.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.where.html
    """
    order = ("input", "mask", "value") if node.op == "masked_fill" else _SIDES["where"]
    given = dict(zip(order, three(node.params, order), strict=True))
    condition, taken, other = (given[name] for name in _SIDES[node.op])
    marks = plain(condition)
    if marks is None or node.masked is not None:  # then a mask says what of the other is read
        return pointwise(node)
    reads = []
    for side, own in ((taken, marks), (other, ~marks)):
        if isinstance(side, Operand) and bool(own.any()):
            read = broadcast(node.operand_shapes[side.index], node.shape, side.index)
            reads.append(_at(read, narrowed(own), len(node.shape)))
    return tuple(reads)


def _at(read: Read, marks: torch.Tensor, rank: int) -> Read:
    """`read`, where some marks say so, which broadcast to the output."""
    dims = [dim for dim, size in enumerate(marks.shape) if size > 1]
    if not dims:
        return read
    grid = marks.reshape([marks.shape[dim] for dim in dims]).numpy()
    places = [rank - marks.ndim + dim for dim in dims]
    return where(read, places, lambda o: bool(grid[o]), "a constant condition counts positions")


for _name, _masks in {"where": chosen, "masked_fill": filled}.items():
    rule(
        *spellings(_name),
        name=_name,
        signature="*operands, **options",
        infer=broadcast_operands,
        masks=_masks,
    )(choose)
