"""What is read under a constant mask: the keys that it leaves.

In: masks, and operands of which the model fixes positions. Out: places that leave these out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rfgraph.algebra.digits import plain
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Operand
from rfgraph.language.reads import Kind, Law, Place, every, table
from rfgraph.rules.bands import band_of
from rfgraph.rules.masks import beside_others, either, lows, narrowed, of_operand
from rfgraph.rules.zeros import fixed

_REASON = "a constant mask holds at this size"


def attended(allowed: Tensor | None, dims: Sequence[int], kind: Kind) -> Place:
    """All keys; or those that `allowed`, over `dims` of the output and the keys, does not mask out."""
    if allowed is None or bool(allowed.all()):
        return every(kind)
    if allowed.ndim == 1 or not dims:
        members = allowed.reshape(-1, allowed.shape[-1]).any(0).nonzero().flatten().tolist()
        return Place(law=Law((), Relation.constant(members)), reason=_REASON)
    lead = len(dims) - (allowed.ndim - 1)
    varying = [dim for dim in range(allowed.ndim - 1) if allowed.shape[dim] > 1]
    rows = allowed.permute(*varying, *(d for d in range(allowed.ndim) if d not in varying))
    seen = rows.reshape(*(allowed.shape[dim] for dim in varying), allowed.shape[-1]).numpy()

    def at(position: tuple[int, ...]) -> list[int]:
        keys: list[int] = np.flatnonzero(seen[position]).tolist()
        return keys

    targets = tuple(dims[lead + dim] for dim in varying)
    if not targets:  # one mask for all queries is a table along the last of them
        return table(dims[-1], lambda o: at(()), None, _REASON)
    band = band_of(seen) if targets == (dims[-1],) else None
    law = None if band is None else Law(plain(dims[-1]), band.relation, past=band.past)
    return Place(targets, at, None, kind, _REASON, proposed=law)


def left_along(
    operand: Any, dim: int, targets: Mapping[int, int], kind: Kind, weighs: bool = False
) -> Place:
    """All of a dim; of a masked tensor what the mask leaves, where that may be a law.

    `targets`: the output's dim for each other one of the operand. `weighs`: a low number vanishes beside
    the others, as in a softmax.
    """
    masked = of_operand(operand)
    if masked is None or not (masked.hides or weighs):
        return every(kind)
    rank = len(operand.shape)
    where = masked.where.reshape((1,) * (rank - masked.where.ndim) + masked.where.shape)
    where = narrowed(where if masked.hides else beside_others(masked, rank, dim))
    varying = [d for d in range(rank) if where.shape[d] > 1 and d != dim]
    if where.shape[dim] == 1 or not targets.keys() >= {*varying}:
        return every(kind)
    live = ~where.permute(*varying, dim, *(d for d in range(rank) if d not in (*varying, dim)))
    place = attended(live.flatten(len(varying)), [targets[d] for d in varying], kind)
    if masked.hides and place.proposed is None:  # what is hidden reads nothing, so all may be read
        return every(kind)
    return place


def allowed_by(mask: Any) -> Tensor | None:
    """Where a constant `attn_mask`, boolean or additive, lets a query see a key; None: everywhere."""
    if not isinstance(mask, Operand | Tensor):
        return None
    if mask.dtype is torch.bool:
        where = fixed(mask, 0.0)
    else:
        least, number = lows(mask)
        where = either(least, number)
        if where is not None and number is not None and where.ndim:
            where = where & ~(number & where.all(-1, keepdim=True))
    return None if where is None else ~where
