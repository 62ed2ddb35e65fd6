"""Constant masks: which positions of a tensor the model fixes, and what is not read because of them.

In: canonical params. Out: `Masked` positions, and reads that leave masked keys out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import inf
from typing import Any

import torch
from torch import nn

from rfgraph.graph import Masked, Operand, Shape
from rfgraph.language.reads import Kind, Place, every, lookup, table
from rfgraph.language.vocabulary import Params

_MINUS_INFINITY = -1e4
"""What is below this vanishes in a softmax: models write -1e9, or the least value of their dtype."""

_REASON = "a constant mask holds at this size"


def _filled_with(value: torch.Tensor | float, where: torch.Tensor) -> Masked | None:
    """The positions `where`, filled with a number that is 0, or as good as -inf."""
    if isinstance(value, torch.Tensor) and (value.ndim or value.is_meta):
        return None  # numbers alone: what a parameter holds may change
    for fixed, holds in ((0.0, value == 0), (-inf, value <= _MINUS_INFINITY)):
        if bool(holds):
            return Masked(where.detach().to("cpu", torch.bool), fixed)
    return None


def _term(term: Operand | torch.Tensor) -> Masked | None:
    """What a term fixes in a sum: a constant, where it is as good as -inf."""
    if isinstance(term, Operand | nn.Parameter) or term.is_meta:
        return of_operand(term, (-inf,))
    if term.numel() and term.amin().item() > _MINUS_INFINITY:  # most terms are no masks: seen fast
        return None
    low = (term <= _MINUS_INFINITY).detach().cpu()
    return Masked(low, -inf) if bool(low.any()) else None


def _factor(factor: Operand | torch.Tensor) -> Masked | None:
    """What a factor fixes in a product: a constant of zeros and ones, where it is 0.

    Other constants may be parameters that are 0 for now, such as the scale of a new residual branch.
    """
    if isinstance(factor, Operand | nn.Parameter) or factor.is_meta:
        return of_operand(factor, (0.0,))
    values = factor.detach().cpu()
    zero = values == 0
    is_mask = bool(zero.any()) and not bool(zero.all()) and bool((zero | (values == 1)).all())
    return Masked(zero, 0.0) if is_mask else None


def united(one: Masked | None, other: Masked | None) -> Masked | None:
    """Positions fixed by either, where both fix them to the same value; else those of the first."""
    if one is None or other is None:
        return one or other
    return Masked(one.where | other.where, one.value) if one.value == other.value else one


def _operands(params: Params) -> list[Any]:
    return [*params.get("operands", ()), *params.values()]


def of_operand(value: object, kinds: Sequence[float] = (0.0, -inf)) -> Masked | None:
    """What is fixed in a tensor of the graph, where it is fixed to one of `kinds`."""
    masked = value.masked if isinstance(value, Operand) else None
    return masked if masked is not None and masked.value in kinds else None


def kept(params: Params, shape: Shape) -> Masked | None:
    """Casts, copies, dropout: what was fixed stays fixed."""
    return of_operand(params["input"])


def reshaped(params: Params, shape: Shape) -> Masked | None:
    """Operators that keep every element and its order."""
    operand = params["input"]
    masked = of_operand(operand)
    if masked is None:
        return None
    return Masked(masked.where.expand(operand.shape).reshape(shape), masked.value)


def permuted(params: Params, shape: Shape) -> Masked | None:
    """Permutations, by their `order`."""
    operand = next(value for value in params.values() if isinstance(value, Operand))
    masked = of_operand(operand)
    if masked is None:
        return None
    return Masked(masked.where.expand(operand.shape).permute(params["order"]), masked.value)


def filled(params: Params, shape: Shape) -> Masked | None:
    """`masked_fill(input, mask, value)`."""
    operands = params["operands"]
    mask: object = params.get("mask", operands[1] if len(operands) > 1 else None)
    value = params.get("value", operands[2] if len(operands) > 2 else None)
    if not isinstance(mask, torch.Tensor) or mask.is_meta or isinstance(value, Operand):
        return of_operand(operands[0]) if operands and isinstance(mask, Operand) else None
    own = of_operand(operands[0]) if operands else None
    return united(_filled_with(value, mask), own)


def chosen(params: Params, shape: Shape) -> Masked | None:
    """`where(condition, input, other)` with a constant condition."""
    operands = params["operands"]
    names = ("condition", "input", "other")
    given = [params.get(n, operands[i] if len(operands) > i else None) for i, n in enumerate(names)]
    condition, yes, no = given
    if not isinstance(condition, torch.Tensor) or condition.is_meta:
        return None
    condition = condition.to(torch.bool)
    sides = ((yes, condition), (no, ~condition))
    found = [_filled_with(v, where) for v, where in sides if not isinstance(v, Operand | None)]
    return reduce(united, found, None)


def summed(params: Params, shape: Shape) -> Masked | None:
    """A sum: what a constant or another term fixes to -inf stays so."""
    terms = [value for value in _operands(params) if isinstance(value, Operand | torch.Tensor)]
    return reduce(united, map(_term, terms), None)


def multiplied(params: Params, shape: Shape) -> Masked | None:
    """A product: 0 where a factor is 0. Scaling by a number keeps what is fixed."""
    factors = [value for value in _operands(params) if isinstance(value, Operand | torch.Tensor)]
    if len(factors) == 1:
        return of_operand(factors[0])
    return reduce(united, map(_factor, factors), None)


def softened(params: Params, shape: Shape) -> Masked | None:
    """A softmax gives no weight to what is -inf."""
    masked = of_operand(params["input"], (-inf,))
    return None if masked is None else Masked(masked.where, 0.0)


def triangle(name: str) -> Callable[[Params, Shape], Masked]:
    """`tril` and `triu`: 0 outside the triangle."""
    cut = torch.tril if name == "tril" else torch.triu

    def masks(params: Params, shape: Shape) -> Masked:
        inside = torch.ones(shape[-2:], dtype=torch.bool)
        return Masked(~cut(inside, params["diagonal"]), 0.0)

    return masks


def attended(allowed: torch.Tensor | None, dims: Sequence[int], kind: Kind) -> Place:
    """All keys; or those that `allowed`, over `dims` of the output and the keys, does not mask out."""
    if allowed is None or bool(allowed.all()):
        return every(kind)
    lead = len(dims) - (allowed.ndim - 1)
    varying = [dim for dim in range(allowed.ndim - 1) if allowed.shape[dim] > 1]
    rows = allowed.permute(*varying, *(d for d in range(allowed.ndim) if d not in varying))
    rows = rows.reshape(*(allowed.shape[dim] for dim in varying), allowed.shape[-1])

    def at(position: tuple[int, ...]) -> list[int]:
        return [int(key) for key in rows[position].nonzero().flatten()]

    targets = tuple(dims[lead + dim] for dim in varying)
    if len(targets) <= 1:  # one mask for all queries is a table along the last of them
        target = targets[0] if targets else dims[-1]
        return table(target, lambda o: at((o,) if targets else ()), None, _REASON)
    return lookup(targets, at, _REASON)


def allowed_by(mask: object) -> torch.Tensor | None:
    """Where a constant `attn_mask`, boolean or additive, lets a query see a key; None: everywhere."""
    if not isinstance(mask, torch.Tensor) or mask.is_meta:
        return None
    plain = mask.detach().cpu()
    return plain if plain.dtype is torch.bool else plain > _MINUS_INFINITY
