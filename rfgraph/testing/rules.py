"""`check_rule`: the rule of an operator held against what the operator, run alone, depends on.

In: an operator and shapes. Out: nothing, or an `AssertionError` that shows the first wrong position.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from torch import nn

from rfgraph.capture import capture
from rfgraph.errors import InputError
from rfgraph.graph import Graph, Node, Shape
from rfgraph.language.readings import readings, reads_of
from rfgraph.rules import VOCABULARY
from rfgraph.testing.brute import Marks, claimed, depended, outputs_of
from rfgraph.verification.verdicts import spans

Shapes: TypeAlias = Shape | Sequence[Shape]
Arguments: TypeAlias = Callable[[], Iterable[Mapping[str, object]]]

FEWEST, MOST = 4, 60  # base points: a few show what is smooth; maxima and dead gates take more
_TRIED: tuple[Shape, ...] = ((1, 2, 9), (1, 2, 7, 6), (1, 2, 4, 5, 3))
_LARGEST = 1 << 25  # marks: output elements times operand elements


@overload
def check_rule(
    operator: type[nn.Module],
    shapes: Shapes | None = None,
    *,
    conservative: bool = False,
    seed: int = 0,
) -> Callable[[Arguments], Callable[[], None]]: ...


@overload
def check_rule(
    operator: nn.Module | Callable[..., Any],
    shapes: Shapes | None = None,
    *,
    conservative: bool = False,
    seed: int = 0,
) -> None: ...


def check_rule(
    operator: nn.Module | Callable[..., object],
    shapes: Shapes | None = None,
    *,
    conservative: bool = False,
    seed: int = 0,
) -> Callable[[Arguments], Callable[[], None]] | None:
    """An operator's rule says what the operator depends on: no less, and no more.

    The operator is run alone, in double precision, with one element of its operands changed at a time.

    Called with a module, or with a function of tensors, it checks at once::

        check_rule(Blur(size=3), (1, 2, 9))

    With the class of a module it decorates a test that returns the arguments to build it with::

        @check_rule(Blur)
        def test_blur():
            return [{"size": 2}, {"size": 3, "stride": 2}]

    Args:
        operator: a module, a function of the operands, or the class of a module.
        shapes: of the operand, or of each of several. Keep them small: the cost grows with the square
            of the elements. Default: (1, 2, 9), (1, 2, 7, 6) and (1, 2, 4, 5, 3), those that it takes.
        conservative: the rule may say too much, but nothing may be missing.
        seed: of the operands.

    Raises:
        AssertionError: the first position at which the rule is wrong, with both sets.
        UnsupportedOperatorError: the operator has no rule.
        InputError: shapes that the operator does not take, or that are too large.
    """
    if isinstance(operator, type):
        return functools.partial(_decorated, operator, shapes, conservative, seed)
    made = operator if isinstance(operator, nn.Module) else _Function(operator)
    for operands in _examples(made, shapes):
        _check(made, operands, conservative, seed)
    return None


def _decorated(
    operator: type[nn.Module],
    shapes: Shapes | None,
    conservative: bool,
    seed: int,
    test: Arguments,
) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        given = list(test())
        if not given:
            raise InputError(
                f"{test.__name__} returns no arguments to build {operator.__name__} with"
            )
        for arguments in given:
            made: nn.Module = operator(**arguments)
            check_rule(made, shapes, conservative=conservative, seed=seed)

    return run


class _Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *operands: torch.Tensor) -> object:
        return self.function(*operands)


class _Alone(nn.Module):
    """A model of one operator. Capture reads the names of its inputs off `forward`."""

    def __init__(self, operator: nn.Module) -> None:
        super().__init__()
        self.operator = operator


class _One(_Alone):
    def forward(self, a: torch.Tensor) -> object:
        return self.operator(a)


class _Two(_Alone):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> object:
        return self.operator(a, b)


class _Three(_Alone):
    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> object:
        return self.operator(a, b, c)


_MODELS = (_One, _Two, _Three)


def _examples(operator: nn.Module, shapes: Shapes | None) -> list[list[Shape]]:
    if shapes is None:
        taken = [[shape] for shape in _TRIED if _takes(operator, shape)]
        if not taken:
            raise InputError(f"{_named(operator)} takes none of {_TRIED}: pass the shapes it takes")
        return taken
    alone = all(isinstance(size, int) for size in shapes)
    operands: list[Shape] = [tuple(shapes)] if alone else [tuple(s) for s in shapes]  # type: ignore[arg-type]
    if not 1 <= len(operands) <= len(_MODELS):
        raise InputError(
            f"check_rule takes 1 to {len(_MODELS)} operands, got {len(operands)} shapes"
        )
    return [operands]


def _takes(operator: nn.Module, shape: Shape) -> bool:
    try:
        with torch.no_grad():
            outputs_of(operator, [torch.zeros(shape)])
    except Exception:  # whatever a user's own operator raises
        return False
    return True


def _check(operator: nn.Module, shapes: list[Shape], conservative: bool, seed: int) -> None:
    model = _MODELS[len(shapes) - 1](operator)
    inputs = [torch.zeros(shape) for shape in shapes]
    graph = capture(model, inputs, VOCABULARY, False).graph
    readings(graph, VOCABULARY).refuse_unknown()
    nodes = [graph[name] for name in graph.outputs.values()]
    _is_alone(operator, graph, nodes)
    if any(prod(node.shape) * prod(shape) > _LARGEST for node in nodes for shape in shapes):
        raise InputError(f"shapes {shapes} are too large to change one element at a time")
    said = [_said(graph, node, shapes) for node in nodes]
    seen = depended(operator, shapes, lambda found: _covers(found, said), FEWEST, MOST, seed)
    for node, ours, theirs in zip(nodes, said, seen, strict=True):
        if ours[0].shape[: len(node.shape)] != theirs[0].shape[: theirs[0].ndim - len(shapes[0])]:
            raise AssertionError(f"{_named(operator)} returns another shape than {node.shape}")
        for number, (claim, truth) in enumerate(zip(ours, theirs, strict=True)):
            at = f"the rule of {node.op!r} for {_named(operator)} on {shapes[number]}"
            _raise_first(at, "misses", node, number, (claim, truth), truth & ~claim)
            if not conservative:
                _raise_first(at, "has too much", node, number, (claim, truth), claim & ~truth)


def _is_alone(operator: nn.Module, graph: Graph, nodes: Sequence[Node]) -> None:
    others = [node.name for node in graph if node.op != "input" and node not in nodes]
    if others or any(node.op == "input" for node in nodes):
        raise InputError(
            f"{_named(operator)} has no rule of its own: it is followed through {len(graph)} nodes, "
            f"{', '.join(others[:4]) or 'none of them an operator'}"
        )


def _said(graph: Graph, node: Node, shapes: Sequence[Shape]) -> list[Marks]:
    found = [np.zeros((*node.shape, *shape), bool) for shape in shapes]
    parts = claimed(reads_of(node, VOCABULARY), node.operand_shapes, node.shape)
    for name, part in zip(node.operands, parts, strict=True):
        found[list(graph.inputs).index(name)] |= part
    return found


def _covers(found: list[list[Marks]], said: list[list[Marks]]) -> bool:
    """All that is claimed was seen: more base points could only show more of what was not claimed."""
    pairs = [
        pair for ours, its in zip(said, found, strict=True) for pair in zip(ours, its, strict=True)
    ]
    return all(a.shape == b.shape and bool((b | ~a).all()) for a, b in pairs)


def _raise_first(
    at: str, verdict: str, node: Node, operand: int, marks: tuple[Marks, Marks], wrong: Marks
) -> None:
    if not wrong.any():
        return
    first = tuple(map(int, np.argwhere(wrong)[0]))
    output, position = first[: len(node.shape)], first[len(node.shape) :]
    claim, truth = (side[output] for side in marks)
    sets = [
        f"along dim {dim} it says {spans(_along(claim, dim))} and the operator depends on "
        f"{spans(_along(truth, dim))}"
        for dim in range(claim.ndim)
        if _along(claim, dim) != _along(truth, dim)
    ]
    raise AssertionError(
        f"{at} {verdict} {int(wrong.sum())} of {wrong.size} pairs, the first at output {output}, "
        f"position {position} of operand {operand}{': ' if sets else ''}{'; '.join(sets)}"
    )


def _along(marks: Marks, dim: int) -> list[int]:
    others = tuple(d for d in range(marks.ndim) if d != dim)
    return [int(i) for i in np.flatnonzero(marks.any(axis=others))]


def _named(operator: nn.Module) -> str:
    if isinstance(operator, _Function):
        return getattr(operator.function, "__name__", repr(operator.function))
    return " ".join(repr(operator).split())
