"""Constant masks: which positions of a tensor the model fixes.

In: canonical params. Out: `Masked` positions; what is read of them is told in `unmasked.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from math import inf
from typing import Any, TypeAlias

import torch
from torch import Tensor

from rfgraph.graph import LOW, Masked, Operand, Shape
from rfgraph.language.vocabulary import Masks, Params
from rfgraph.rules.common import all_dims
from rfgraph.rules.zeros import constant, fixed, fixed_high, is_low, is_settled

Where: TypeAlias = "Tensor | None"

_VANISHING = frozenset("exp exp2 sigmoid expit softplus ndtr".split())
_LOWS = (LOW, torch.finfo(torch.float32).min, -inf)
"""What stands for -inf: a function of it is known where it is the same for all of these."""


def _zero(where: Where) -> Masked | None:
    return None if where is None else Masked(where, 0.0)


def _some(where: Tensor) -> Where:
    return where if bool(where.any()) else None


def lows(value: Any) -> tuple[Where, Where]:
    """Where a tensor is fixed to -inf itself, and where to a number as good as that, or to one and more."""
    low = fixed(value, -inf)
    if low is None:
        return None, None
    masked = of_operand(value, (-inf, LOW))
    if masked is not None:
        return (low, None) if masked.value == -inf else (None, low)
    held = constant(value)
    assert held is not None
    least = held.detach().cpu() == -inf
    return _some(low & least), _some(low & ~least)


def _low(least: Where, number: Where, hides: bool = True) -> Masked | None:
    """Of what `lows` tells: `hides` where nothing has been added to a number."""
    low = either(least, number)
    if low is None:
        return None
    return Masked(low, -inf) if number is None else Masked(low, LOW, hides, least)


def beside_others(masked: Masked, rank: int, dim: int) -> Tensor:
    """Where it vanishes beside the others along `dim`: a number does not where all of them are as low."""
    where = masked.where.reshape((1,) * (rank - masked.where.ndim) + masked.where.shape)
    return where if masked.value == -inf else where & ~where.all(dim, keepdim=True)


def either(one: Where, other: Where) -> Where:
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


def of_operand(value: Any, kinds: Sequence[float] = (0.0, -inf, LOW)) -> Masked | None:
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
    return masked.at(narrowed(masked.where.expand(operand.shape).reshape(shape)))


def permuted(params: Params, shape: Shape) -> Masked | None:
    """Permutations, by their `order`."""
    operand = next(value for value in params.values() if isinstance(value, Operand))
    masked = of_operand(operand)
    if masked is None:
        return None
    return masked.at(masked.where.expand(operand.shape).permute(params["order"]))


def _picked(where: Where, yes: Any, no: Any) -> Masked | None:
    """`yes` where `where` holds, else `no`: tensors of the graph or of the model, or numbers.

    None: where is computed, and what is fixed is what both sides are fixed to.
    """

    yes, no = (torch.tensor(v) if isinstance(v, int | float | complex) else v for v in (yes, no))

    def side(value: Any, chosen: Where, kind: float) -> Where:
        own = fixed(value, kind, of_zeros=True)
        return None if own is None else own if chosen is None else _both(own, chosen)

    if where is None:
        zero, low = (_both(side(yes, None, k), side(no, None, k)) for k in (0.0, -inf))
    else:
        zero, low = (either(side(yes, where, k), side(no, ~where, k)) for k in (0.0, -inf))
    if low is None:
        return _zero(zero)
    is_number = any(lows(value)[1] is not None for value in (yes, no))
    return _low(None if is_number else low, low if is_number else None, _hide(yes, no))


def _hide(*values: Any) -> bool:
    """False where one is a tensor in which a low number has been added to what is read."""
    found = [of_operand(value) for value in values]
    return all(masked is None or masked.hides for masked in found)


def plain(condition: Any) -> Where:
    """A constant condition; None for one that is computed."""
    found = constant(condition)
    return None if found is None else found.detach().to("cpu", torch.bool)


def filled(params: Params, shape: Shape) -> Masked | None:
    """`masked_fill(input, mask, value)`."""
    input, mask, value = three(params, ("input", "mask", "value"))
    return _picked(plain(mask), value, input)


def chosen(params: Params, shape: Shape) -> Masked | None:
    """`where(condition, input, other)`."""
    condition, input, other = three(params, ("condition", "input", "other"))
    return _picked(plain(condition), input, other)


def three(params: Params, names: Sequence[str]) -> list[Any]:
    """Three operands, named or in order; None for one that is not there."""
    given = [*params.get("operands", ()), None, None, None]
    return [params.get(name, given[place]) for place, name in enumerate(names)]


def summed(params: Params, shape: Shape) -> Masked | None:
    """A sum: -inf where a term is, 0 where all are. A low number is one more term of what is read."""
    terms = [term for term in _operands(params) if isinstance(term, Operand | Tensor)]
    if params.get("alpha", 1) != 1:
        return None
    least, number = (reduce(either, found, None) for found in zip(*map(lows, terms), strict=True))
    low = _low(least, number, hides=len(terms) < 2 and _hide(*terms))
    if low is not None or len(terms) < 2:
        return low
    zero = fixed(terms[0], 0.0, of_zeros=True)
    for term in terms[1:]:
        zero = None if zero is None else _both(zero, fixed(term, 0.0, of_zeros=True))
    return _zero(zero)


def added_to(params: Params, shape: Shape) -> Masked | None:
    """A product added to a term, as in baddbmm and addcmul: -inf where the term is."""
    term = params["input"] if "input" in params else params["operands"][0]
    if params.get("beta", 1) != 1:
        return None
    least, number = lows(term)
    return _low(least, number, hides=False)


def subtracted(params: Params, shape: Shape) -> Masked | None:
    """A difference: -inf where the first is, or where what is taken off is as good as inf.

    What is low in both may be any number.
    """
    one, other = _two(params)
    if params.get("alpha", 1) != 1:
        return None
    off, taken = constant(other), fixed(other, -inf)
    high = None if off is None else fixed_high(off)
    least, number = lows(one)
    if high is not None and off is not None:
        most = off.detach().cpu() == inf
        least, number = either(least, _some(high & most)), either(number, _some(high & ~most))
    if taken is not None:
        least, number = (w if w is None else _some(w & ~taken) for w in (least, number))
    is_one = not isinstance(other, Operand | Tensor)
    low = _low(least, number, hides=is_one and _hide(one))
    if low is not None or is_one:
        return low
    return _zero(_both(*(fixed(term, 0.0, of_zeros=True) for term in (one, other))))


def multiplied(params: Params, shape: Shape) -> Masked | None:
    """A product: 0 where a factor is 0. Scaling by what is above 0 keeps -inf, too."""
    factors = _operands(params)
    graph = [factor for factor in factors if isinstance(factor, Operand)]
    rest = [factor for factor in factors if not isinstance(factor, Operand)]
    low = of_operand(graph[0], (-inf, LOW)) if len(graph) == 1 else None
    if low is not None and all(map(_is_positive, rest)):
        return low
    return _zero(reduce(either, (fixed(factor, 0.0) for factor in factors), None))


def divided(params: Params, shape: Shape) -> Masked | None:
    """A quotient: what is 0 stays 0; -inf stays where the divisor is above 0."""
    one, other = _two(params)
    low = of_operand(one, (-inf, LOW))
    return low if low is not None and _is_positive(other) else _zero(fixed(one, 0.0))


def _is_positive(value: Any) -> bool:
    """True for a number above 0, and for a tensor of such numbers that no parameter can change."""
    if isinstance(value, Tensor):
        if value.is_meta or value.is_complex() or not is_settled(value):
            return False
        return bool((value > 0).all())
    return isinstance(value, int | float) and value > 0


def softened(params: Params, shape: Shape) -> Masked | None:
    """A softmax gives no weight to what is -inf, nor to a low number beside others."""
    masked = of_operand(params["input"], (-inf, LOW))
    if masked is None:
        return None
    return _zero(_some(beside_others(masked, len(shape), params["dim"])))


def log_softened(params: Params, shape: Shape) -> Masked | None:
    """The logarithm of a softmax leaves -inf where it is; to a low number it adds what it reads."""
    masked = of_operand(params["input"], (-inf, LOW))
    if masked is None or masked.value == -inf:
        return masked
    return _low(None, _some(beside_others(masked, len(shape), params["dim"])), hides=False)


def highest(params: Params, shape: Shape) -> Masked | None:
    """A maximum over a dim, exact or smooth, is low where all that it looks at is."""
    operand = next(iter(params.values()))  # by whichever name
    masked, dims = of_operand(operand, (-inf, LOW)), params["dim"]
    if masked is None or isinstance(dims, Operand | Tensor):  # a maximum of two tensors
        return None
    rank = len(operand.shape)
    where = masked.where.reshape((1,) * (rank - masked.where.ndim) + masked.where.shape)
    where = _reduced(where, all_dims(dims, rank), params["keepdim"])
    return masked.at(where) if bool(where.any()) else None


def summed_over(params: Params, shape: Shape) -> Masked | None:
    """A sum or mean over dims is 0 where all that it adds up is."""
    operand = params["input"]
    masked = of_operand(operand, (0.0,))
    if masked is None:
        return None
    rank = len(operand.shape)
    where = masked.where.reshape(*(1,) * (rank - masked.where.ndim), *masked.where.shape)
    return _zero(_some(_reduced(where, all_dims(params["dim"], rank), params["keepdim"])))


def _reduced(where: Tensor, dims: Sequence[int], keepdim: bool) -> Tensor:
    """Where it holds all along some dims."""
    for dim in dims:
        where = where.all(dim, keepdim=True)
    kept = [size for dim, size in enumerate(where.shape) if keepdim or dim not in dims]
    return where.reshape(kept)


def through(function: Callable[..., Tensor]) -> Masks:
    """The masks of a function of one element: what it makes of 0, or of -inf.

    A low number and what it was added to give 0 by what falls off as an exponential does, by no other.
    """
    vanishes = getattr(function, "__name__", "") in _VANISHING

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
        if made is None or (made == 0.0 and not masked.hides and not vanishes):
            return None
        return Masked(masked.where, made, masked.hides or made == 0.0)

    return masks


def _made_of(kind: float, function: Callable[..., Tensor], rest: Sequence[Any]) -> float | None:
    """0 or -inf, where a function makes that of 0, or of all that is as good as -inf."""
    try:
        made = function(torch.tensor((0.0,) if kind == 0.0 else _LOWS), *rest)
    except (RuntimeError, TypeError, ValueError):
        return None
    if made.is_complex() or made.dtype is torch.bool:
        return None
    if bool((made == 0).all()):
        return 0.0
    least = -inf if kind == -inf and bool(made[-1] == -inf) else LOW
    return least if bool(is_low(made).all()) else None


def triangle(name: str) -> Masks:
    """`tril` and `triu`: 0 outside the triangle, also where that is nothing at this size."""
    cut = torch.tril if name == "tril" else torch.triu

    def masks(params: Params, shape: Shape) -> Masked | None:
        outside = ~cut(torch.ones(shape[-2:], dtype=torch.bool), params["diagonal"])
        return _zero(either(outside, fixed(params["input"], 0.0)))

    return masks


def narrowed(where: Tensor) -> Tensor:
    """Of size 1 along the dims along which it does not vary."""
    for dim, size in enumerate(where.shape):
        first = where.narrow(dim, 0, 1) if size > 1 else where
        where = first if torch.equal(first.expand_as(where), where) else where
    return where
