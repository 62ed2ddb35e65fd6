"""Twins of sums, differences, products and quotients.

In: calls on twins. Out: plain float64 tensors. A sum is -inf where a term is fixed to it, a product 0 where a
factor is fixed to it: nothing else is read there.
"""

from __future__ import annotations

from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from rfgraph.graph.origins import origin_of
from rfgraph.probe.twins.constants import encoded, kept
from rfgraph.probe.twins.encoding import SUMMED, average, is_low, lowered, without_low
from rfgraph.probe.twins.twin import Called, Operand, Twin, traced, twin

_REFLECTED = frozenset(("__rsub__", "rsub", "__rdiv__", "__rtruediv__", "__rfloordiv__"))


def _in_order(call: Called, a: Operand, b: Operand) -> tuple[Operand, Operand]:
    """The operands as they are written: `1 - x` calls `x.__rsub__(1)`."""
    return (b, a) if getattr(call.function, "__name__", "") in _REFLECTED else (a, b)


@twin("add")
def added(call: Called, a: Operand, b: Operand, *args: object, **kwargs: Any) -> Tensor:
    """A sum. A constant that is fixed to neither 0 nor -inf makes 0 something else."""
    if kwargs.get("alpha", 1) != 1:
        return average(*map(without_low, traced((a, b)))) + 1.0
    return _summed([_term(a), _term(b)], average(*traced((a, b))), _is_one(a, b))


def added_to(term: Operand, value: Tensor) -> Tensor:
    """A term, and what is added to it."""
    if isinstance(term, Twin):
        return _summed([], average(term.value, value), False)
    return _summed([_term(term)], value, False)


@twin("addcmul addcdiv")
def added_product(call: Called, term: Operand, *factors: Operand, **options: Any) -> Tensor:
    """A term, and a product or quotient of two tensors."""
    values = [*map(without_low, traced(factors))] or [torch.ones((), dtype=torch.float64)]
    return added_to(term, average(*values).expand(call.shape()) + 1.0)


@twin("sub subtract rsub")
def subtracted(call: Called, a: Operand, b: Operand, *args: object, **kwargs: Any) -> Tensor:
    """A difference: -inf, too, where a constant that is as good as inf is taken off.

    What is low in both may be any number.
    """
    a, b = _in_order(call, a, b)
    values = [_lifted(a.value, b)] if isinstance(a, Twin) else []
    values += [without_low(b.value)] if isinstance(b, Twin) else []
    if kwargs.get("alpha", 1) != 1:
        return average(*map(without_low, values)) + 1.0
    return _summed([_term(a), _taken_off(b)], average(*values), _is_one(a, b))


def _summed(constants: list[Tensor | float | None], value: Tensor, is_one: bool) -> Tensor:
    """`is_one`: nothing but one tensor is read, and what is fixed in it stays so."""
    for constant in constants:
        value = value if constant is None else value + constant
    value = value.masked_fill(value == -inf, -inf)  # nothing is read there
    low = is_low(value) & (value != -inf)
    if is_one or not bool(low.any()):
        return value
    return lowered(value, torch.full_like(value, SUMMED).where(low, value.detach()))


def _is_one(*terms: Operand) -> bool:
    return sum(isinstance(term, Tensor) for term in terms) < 2


def _lifted(value: Tensor, other: Operand) -> Tensor:
    """Not low where what is taken off is."""
    if not isinstance(other, Tensor):
        return value
    taken = is_low(other.value if isinstance(other, Twin) else encoded(other))
    return torch.where(taken, without_low(value), value) if bool(taken.any()) else value


def _term(term: Operand) -> Tensor | float | None:
    """What a constant adds; None for a tensor of the graph."""
    if isinstance(term, Twin):
        return None
    return encoded(term) if isinstance(term, Tensor) else float(term != 0)


def _taken_off(term: Operand) -> Tensor | float | None:
    if isinstance(term, Twin):
        return None
    if not isinstance(term, Tensor):
        return float(term != 0)
    if (
        isinstance(term, nn.Parameter)
        or origin_of(term) is not None
        or not term.is_floating_point()
    ):
        return without_low(encoded(term))
    return encoded(-term)


@twin("mul multiply")
def multiplied(call: Called, a: Operand, b: Operand, *args: object, **kwargs: Any) -> Tensor:
    """A product: the mean of its factors, where neither is fixed to 0."""
    values = traced((a, b))
    if len(values) == 1:
        made = _scaled(values[0], b if isinstance(a, Twin) else a)
    else:
        made = average(*(_scaled(value, None) for value in values))
    return _where_not_zero(made, a, b)


@twin("div divide true_divide floor_divide")
def divided(call: Called, a: Operand, b: Operand, *args: object, **kwargs: Any) -> Tensor:
    """A quotient: the mean of both, where it is not 0 that is divided."""
    a, b = _in_order(call, a, b)
    if not isinstance(a, Twin):
        assert isinstance(b, Twin)
        return _where_not_zero(_scaled(b.value, None) + 1.0, a)
    below = [_scaled(b.value, None)] if isinstance(b, Twin) else []
    return _where_not_zero(average(_scaled(a.value, b), *below), a)


def _scaled(value: Tensor, by: Operand | None) -> Tensor:
    """What is low stays so where it is scaled by what is above 0; else it is some number."""
    low = is_low(value)
    if not bool(low.any()) or _is_positive(by):
        return value
    return torch.where(low, without_low(value) + 1.0, value)


def _is_positive(value: Operand | None) -> bool:
    """True for a number above 0, and for a tensor of such numbers that no parameter can change."""
    if isinstance(value, Tensor):
        is_settled = not isinstance(value, Twin | nn.Parameter) and origin_of(value) is None
        return is_settled and not value.is_complex() and bool((value > 0).all())
    return isinstance(value, int | float) and value > 0


def _where_not_zero(made: Tensor, *factors: Operand) -> Tensor:
    for factor in factors:
        if isinstance(factor, Tensor):
            through = factor.value != 0 if isinstance(factor, Twin) else kept(factor) != 0
            made = torch.where(through, made, torch.zeros_like(made))
    return made
