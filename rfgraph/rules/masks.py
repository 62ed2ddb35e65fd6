"""Constant masks: which positions of a tensor the model fixes, and what is not read because of them.

In: canonical params. Out: `Masked` positions, and reads that leave masked keys out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from math import inf
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from rfgraph.algebra.digits import plain
from rfgraph.algebra.relation import Relation
from rfgraph.graph import LOW, Masked, Operand, Shape
from rfgraph.language.reads import Kind, Law, Place, every, table
from rfgraph.language.vocabulary import Masks, Params
from rfgraph.rules.bands import band_of
from rfgraph.rules.common import all_dims
from rfgraph.rules.zeros import constant, fixed, fixed_high, is_low, is_settled

Where: TypeAlias = "Tensor | None"

_REASON = "a constant mask holds at this size"
_LOWS = (LOW, torch.finfo(torch.float32).min, -inf)
"""What stands for -inf: a function of it is known where it is the same for all of these."""


def _masked(zero: Where, low: Where) -> Masked | None:
    """Of positions fixed to 0 and to -inf; a tensor has those of one kind, -inf before 0."""
    if low is not None:
        return Masked(low, -inf)
    return None if zero is None else Masked(zero, 0.0)


def _either(one: Where, other: Where) -> Where:
    return one if other is None else other if one is None else one | other


def _both(one: Where, other: Where) -> Where:
    """None where no position is fixed in both."""
    if one is None or other is None:
        return None
    both = one & other
    return both if bool(both.any()) else None


def _operands(params: Params) -> list[Any]:
    """The tensors and numbers among arguments, in order."""
    given = [*params.get("operands", ()), *params.values()]
    return [value for value in given if isinstance(value, Operand | Tensor | int | float)]


def _two(params: Params) -> tuple[Any, Any]:
    """The operands of a binary operator, in order; None for one that is not there."""
    named = [params[name] for name in ("input", "other") if params.get(name) is not None]
    given = [*params.get("operands", ()), *named, None, None]
    return given[0], given[1]


def of_operand(value: Any, kinds: Sequence[float] = (0.0, -inf)) -> Masked | None:
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
    where = masked.where.expand(operand.shape).reshape(shape)
    return Masked(narrowed(where), masked.value)


def permuted(params: Params, shape: Shape) -> Masked | None:
    """Permutations, by their `order`."""
    operand = next(value for value in params.values() if isinstance(value, Operand))
    masked = of_operand(operand)
    if masked is None:
        return None
    return Masked(masked.where.expand(operand.shape).permute(params["order"]), masked.value)


def _picked(where: Where, yes: Any, no: Any) -> Masked | None:
    """`yes` where `where` holds, else `no`: tensors of the graph or of the model, or numbers.

    None: where is computed, and what is fixed is what both sides are fixed to.
    """

    def side(value: Any, chosen: Where, kind: float) -> Where:
        if isinstance(value, int | float | complex):
            value = torch.tensor(value)
        own = fixed(value, kind, of_zeros=True)
        return None if own is None else own if chosen is None else _both(own, chosen)

    if where is None:
        return _masked(*(_both(side(yes, None, k), side(no, None, k)) for k in (0.0, -inf)))
    zero, low = (_either(side(yes, where, k), side(no, ~where, k)) for k in (0.0, -inf))
    return _masked(zero, low)


def _plain(condition: Any) -> Where:
    """A constant condition; None for one that is computed."""
    found = constant(condition)
    return None if found is None else found.detach().to("cpu", torch.bool)


def filled(params: Params, shape: Shape) -> Masked | None:
    """`masked_fill(input, mask, value)`."""
    input, mask, value = _three(params, ("input", "mask", "value"))
    return _picked(_plain(mask), value, input)


def chosen(params: Params, shape: Shape) -> Masked | None:
    """`where(condition, input, other)`."""
    condition, input, other = _three(params, ("condition", "input", "other"))
    return _picked(_plain(condition), input, other)


def _three(params: Params, names: Sequence[str]) -> list[Any]:
    """Three operands, named or in order; None for one that is not there."""
    given = [*params.get("operands", ()), None, None, None]
    return [params.get(name, given[place]) for place, name in enumerate(names)]


def summed(params: Params, shape: Shape) -> Masked | None:
    """A sum: -inf where a term is, 0 where all are."""
    terms = [term for term in _operands(params) if isinstance(term, Operand | Tensor)]
    if params.get("alpha", 1) != 1:
        return None
    low = reduce(_either, (fixed(term, -inf) for term in terms), None)
    if low is not None or len(terms) < 2:
        return _masked(None, low)
    zero = fixed(terms[0], 0.0, of_zeros=True)
    for term in terms[1:]:
        zero = None if zero is None else _both(zero, fixed(term, 0.0, of_zeros=True))
    return _masked(zero, None)


def subtracted(params: Params, shape: Shape) -> Masked | None:
    """A difference: -inf where the first is, or where what is taken off is as good as inf."""
    one, other = _two(params)
    if params.get("alpha", 1) != 1:
        return None
    off = constant(other)
    high = None if off is None else fixed_high(off)
    low = _either(fixed(one, -inf), high)
    if low is not None or not isinstance(other, Operand | Tensor):
        return _masked(None, low)
    return _masked(_both(*(fixed(term, 0.0, of_zeros=True) for term in (one, other))), None)


def multiplied(params: Params, shape: Shape) -> Masked | None:
    """A product: 0 where a factor is 0. Scaling by what is above 0 keeps -inf, too."""
    factors = _operands(params)
    graph = [factor for factor in factors if isinstance(factor, Operand)]
    rest = [factor for factor in factors if not isinstance(factor, Operand)]
    scaled = len(graph) == 1 and of_operand(graph[0], (-inf,)) is not None
    low = fixed(graph[0], -inf) if scaled and all(map(_is_positive, rest)) else None
    return _masked(reduce(_either, (fixed(factor, 0.0) for factor in factors), None), low)


def divided(params: Params, shape: Shape) -> Masked | None:
    """A quotient: what is 0 stays 0; -inf stays where the divisor is above 0."""
    one, other = _two(params)
    return _masked(fixed(one, 0.0), fixed(one, -inf) if _is_positive(other) else None)


def _is_positive(value: Any) -> bool:
    """True for a number above 0, and for a tensor of such numbers that no parameter can change."""
    if isinstance(value, Tensor):
        if value.is_meta or value.is_complex() or not is_settled(value):
            return False
        return bool((value > 0).all())
    return isinstance(value, int | float) and value > 0


def softened(params: Params, shape: Shape) -> Masked | None:
    """A softmax gives no weight to what is -inf."""
    masked = of_operand(params["input"], (-inf,))
    return None if masked is None else Masked(masked.where, 0.0)


def log_softened(params: Params, shape: Shape) -> Masked | None:
    """The logarithm of a softmax leaves -inf where it is."""
    return of_operand(params["input"], (-inf,))


def summed_over(params: Params, shape: Shape) -> Masked | None:
    """A sum or mean over dims is 0 where all that it adds up is."""
    operand = params["input"]
    masked = of_operand(operand, (0.0,))
    if masked is None:
        return None
    rank = len(operand.shape)
    where = masked.where.reshape(*(1,) * (rank - masked.where.ndim), *masked.where.shape)
    dims = all_dims(params["dim"], rank)
    for dim in dims:
        where = where.all(dim, keepdim=True)
    kept = [size for dim, size in enumerate(where.shape) if params["keepdim"] or dim not in dims]
    return Masked(where.reshape(kept), 0.0) if bool(where.any()) else None


def through(function: Callable[..., Tensor]) -> Masks:
    """The masks of a function of one element: what it makes of 0, or of -inf."""

    def masks(params: Params, shape: Shape) -> Masked | None:
        given = list(params.get("operands", ()))
        if "input" in params:
            given.insert(0, params["input"])
        masked = of_operand(given[0]) if given else None
        others = [*given[1:], *(v for k, v in params.items() if k not in ("input", "operands"))]
        if masked is None or any(isinstance(value, Operand | Tensor) for value in others):
            return None
        options = {
            name: value
            for name, value in params.items()
            if name not in ("input", "operands", "inplace") and value is not None
        }
        made = _made_of(masked.value, partial(function, **options), given[1:])
        return None if made is None else Masked(masked.where, made)

    return masks


def _made_of(kind: float, function: Callable[..., Tensor], rest: Sequence[Any]) -> float | None:
    """0 or -inf, where a function makes that of 0, or of all that is as good as -inf."""
    try:
        made = function(torch.tensor((0.0,) if kind == 0.0 else _LOWS), *rest)
    except (RuntimeError, TypeError, ValueError):
        return None
    if made.is_complex() or made.dtype is torch.bool:
        return None
    return 0.0 if bool((made == 0).all()) else -inf if bool(is_low(made).all()) else None


def triangle(name: str) -> Masks:
    """`tril` and `triu`: 0 outside the triangle, also where that is nothing at this size."""
    cut = torch.tril if name == "tril" else torch.triu

    def masks(params: Params, shape: Shape) -> Masked | None:
        outside = ~cut(torch.ones(shape[-2:], dtype=torch.bool), params["diagonal"])
        return _masked(_either(outside, fixed(params["input"], 0.0)), None)

    return masks


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


def left_along(operand: Any, dim: int, targets: Mapping[int, int], kind: Kind) -> Place:
    """All of a dim; of a masked tensor what the mask leaves, where that may be a law.

    `targets`: the output's dim for each other one of the operand.
    """
    masked = of_operand(operand)
    if masked is None:
        return every(kind)
    rank = len(operand.shape)
    where = narrowed(masked.where.reshape((1,) * (rank - masked.where.ndim) + masked.where.shape))
    varying = [d for d in range(rank) if where.shape[d] > 1 and d != dim]
    if where.shape[dim] == 1 or not targets.keys() >= {*varying}:
        return every(kind)
    live = ~where.permute(*varying, dim, *(d for d in range(rank) if d not in (*varying, dim)))
    place = attended(live.flatten(len(varying)), [targets[d] for d in varying], kind)
    return every(kind) if place.proposed is None else place


def narrowed(where: Tensor) -> Tensor:
    """Of size 1 along the dims along which it does not vary."""
    for dim, size in enumerate(where.shape):
        first = where.narrow(dim, 0, 1) if size > 1 else where
        where = first if torch.equal(first.expand_as(where), where) else where
    return where


def allowed_by(mask: Any) -> Tensor | None:
    """Where a constant `attn_mask`, boolean or additive, lets a query see a key; None: everywhere."""
    if not isinstance(mask, Operand | Tensor):
        return None
    where = fixed(mask, 0.0 if mask.dtype is torch.bool else -inf)
    return None if where is None else ~where
