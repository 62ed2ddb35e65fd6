"""`measure`: what operators without a rule read, found by running each alone on random tensors.

In: a graph and its model. Out: reads of the unknown nodes, marked. Two trials unite: a NaN in one slice of
an operand marks the outputs it reaches, also through dead gates; a gradient from one slice of the output
finds what a NaN cannot pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.fx.node import map_arg

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.errors import UnsupportedOperatorError
from rfgraph.graph import Graph, Marks, Node, Shape
from rfgraph.graph.calls import outputs_of
from rfgraph.graph.guard import Snapshot, untouched
from rfgraph.language.reads import Place, Read, Reads, every, lookup, table

_REASON = "measured at this size"
_INFERRED = "inferred from measurements at two sizes"
_LONGEST_PERIOD = 8
_MORE = 24  # by how much the second size is larger: divisible by every stride in use
_MOST_MARKS = 1 << 28  # bytes; an operator on larger tensors counts as a read of everything


def measure(graph: Graph, model: nn.Module | Snapshot, training: bool) -> dict[str, Reads]:
    """The reads of every node that has no rule.

    Raises:
        UnsupportedOperatorError: an operator that cannot be run alone.
    """
    with untouched(model, training):
        return {node.name: _measured(node, graph) for node in graph if not node.known}


def _measured(node: Node, graph: Graph) -> Reads:
    try:
        return tuple(_read(node, graph, operand) for operand in range(len(node.operands)))
    except Exception as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UnsupportedOperatorError(
            f"the operator of node {node.where()} could not be measured: {type(error).__name__}: "
            f"{text}. Teach it with @rfgraph.rule, or pass on_unknown='whole'"
        ) from error


def _read(node: Node, graph: Graph, operand: int) -> Read:
    shapes = node.operand_shapes
    dims = tuple(_along(node, graph, operand, dim) for dim in range(len(shapes[operand])))
    return Read(operand, dims)


def _along(node: Node, graph: Graph, operand: int, dim: int) -> Place:
    """What is read along one dim of one operand."""
    size = node.operand_shapes[operand][dim]
    if size * np.prod(node.shape, dtype=float) > _MOST_MARKS:
        return every("measured")
    marks = _Trial(node, graph, node.operand_shapes).marks(operand, dim)
    varying = _varying(marks)
    if not varying and bool(marks.all()) and size > 1:
        return every("measured")
    if size == 1 and node.shape[dim : dim + 1] == (1,):
        varying = [dim]  # a dim of size 1 that stays where it is, such as one sample's batch dim
    if len(varying) > 1:
        return lookup(tuple(varying), _looked_up(marks, varying), _REASON)
    target = varying[0] if varying else 0
    rows = _rows(marks, target)
    law = _law(rows, size)
    if law is not None and law is _law_at_second_size(node, graph, operand, dim, target):
        return table(target, rows.__getitem__, law, mark=_INFERRED)
    return table(target, rows.__getitem__, law, _REASON)


def _varying(marks: Marks) -> list[int]:
    """The output dims along which the marks vary."""
    return [dim for dim in range(marks.ndim - 1) if not bool((marks == marks.take([0], dim)).all())]


def _reduced(marks: Marks, dims: Sequence[int]) -> Marks:
    others = tuple(dim for dim in range(marks.ndim - 1) if dim not in dims)
    return np.logical_or.reduce(marks, axis=others) if others else marks


def _rows(marks: Marks, target: int) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in _reduced(marks, [target])]


def _looked_up(marks: Marks, dims: Sequence[int]) -> Callable[[tuple[int, ...]], list[int]]:
    kept = _reduced(marks, dims)
    return lambda o: [int(i) for i in np.flatnonzero(kept[o])]


class _Trial:
    """One operator on random operands of given shapes."""

    def __init__(self, node: Node, graph: Graph, shapes: Sequence[Shape]) -> None:
        self._call, self._graph = graph.call(node), graph
        self._names, self._output = node.operands, node.output
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.rand(shape, generator=generator) + 0.5 for shape in shapes]
        dtypes = {name: value.meta["val"].dtype for value, name in graph.names.items()}
        self._operands = [
            tensor.to(dtypes[name]) if dtypes[name].is_floating_point else tensor
            for name, tensor in zip(self._names, drawn, strict=True)
        ]

    def run(self, operands: Sequence[torch.Tensor]) -> torch.Tensor:
        values = dict(zip(self._names, operands, strict=True))
        found = outputs_of(self._called(values))[self._output]
        if not isinstance(found, torch.Tensor) or not found.is_floating_point():
            raise TypeError("it returns no floating-point tensor")
        return found

    def _called(self, values: Mapping[str, torch.Tensor]) -> object:
        """The call on copies of these tensors: some operators write into their operands."""
        names = self._graph.names
        target, args, kwargs = self._call
        args, kwargs = map_arg((args, kwargs), lambda n: values[names[n]].clone())
        args = tuple(list(arg) if isinstance(arg, list) else arg for arg in args)
        if isinstance(target, str):
            return getattr(args[0], target)(*args[1:], **kwargs)
        assert target is not None  # it was captured
        return target(*args, **kwargs)

    def marks(self, operand: int, dim: int) -> Marks:
        """Every output that a NaN reaches, or that a gradient comes from, then over positions of `dim`."""
        with torch.no_grad():
            clean = self.run(self._operands)
        if bool(clean.isnan().any()):
            raise ValueError("it returns NaN for random operands")
        poisoned = [
            self._poisoned(operand, dim, i) for i in range(self._operands[operand].shape[dim])
        ]
        marks: Marks = np.stack(poisoned, axis=-1)
        return marks | self._graded(operand, dim, marks.shape)

    def _poisoned(self, operand: int, dim: int, index: int) -> Marks:
        operands = [tensor.clone() for tensor in self._operands]
        operands[operand].select(dim, index).fill_(torch.nan)
        with torch.no_grad():
            return self.run(operands).isnan().numpy()

    def _graded(self, operand: int, dim: int, shape: Shape) -> Marks:
        """Pairs of slices (one of the output, one of the operand) that a gradient joins, as marks."""
        found = np.zeros(shape, bool)
        with torch.enable_grad():
            source = self._operands[operand].clone().requires_grad_()
            operands = [source if i == operand else t for i, t in enumerate(self._operands)]
            result = self.run(operands)
            if result.grad_fn is None:
                return found
            found |= True
            for out_dim in range(result.ndim):
                pairs = np.stack(list(_pairs(result, source, out_dim, dim)))
                placed = [1] * (result.ndim + 1)
                placed[out_dim], placed[-1] = pairs.shape
                found &= pairs.reshape(placed)
        return found


def _pairs(result: torch.Tensor, source: torch.Tensor, out_dim: int, dim: int) -> Iterator[Marks]:
    """For each slice of the output: which slices of the operand its gradient reaches."""
    others = [d for d in range(source.ndim) if d != dim]
    for index in range(result.shape[out_dim]):
        part = result.select(out_dim, index)
        weights = torch.rand(part.shape) + 0.5  # unequal, so that opposite gradients do not cancel
        (grad,) = torch.autograd.grad(part, source, weights, retain_graph=True, allow_unused=True)
        grad = torch.zeros_like(source) if grad is None else grad
        yield ((grad != 0).any(dim=tuple(others)) if others else grad != 0).numpy()


# --- from tables to laws ----------------------------------------------------------------------------


def _law(rows: Sequence[Sequence[int]], size: int) -> Relation | None:
    """The relation that the middle half of the rows obeys, if it repeats often enough there to be one."""
    first, last = len(rows) // 4, len(rows) - len(rows) // 4
    for period in range(1, min(_LONGEST_PERIOD, (last - first) // 3) + 1):
        advance = _advance(rows, first, last, period)
        if advance is None:
            continue
        start = -first % period  # R(0 .. period - 1), counted back from rows of the middle
        middle = [rows[first + (start + phase) % period] for phase in range(period)]
        turns = [(first + (start + phase) % period) // period for phase in range(period)]
        sets = (
            Positions.of(i - advance * turn for i in row)
            for row, turn in zip(middle, turns, strict=True)
        )
        return Relation(period, advance, sets)
    return None


def _advance(rows: Sequence[Sequence[int]], first: int, last: int, period: int) -> int | None:
    """By how much each row is moved against the one a period before; None where it is not the same."""
    found: set[int] = set()
    for o in range(first, last - period):
        one, other = rows[o], rows[o + period]
        if len(one) != len(other):
            return None
        found |= {b - a for a, b in zip(one, other, strict=True)}
    return found.pop() if len(found) == 1 else None


def _law_at_second_size(
    node: Node, graph: Graph, operand: int, dim: int, target: int
) -> Relation | None:
    """The law at a larger size of this dim; None where the operator does not run there."""
    size = node.operand_shapes[operand][dim]
    larger = [
        tuple(n + _MORE if d == dim and n == size else n for d, n in enumerate(shape))
        for shape in node.operand_shapes
    ]
    try:
        marks = _Trial(node, graph, larger).marks(operand, dim)
    except Exception:
        return None
    return _law(_rows(marks, target), size + _MORE) if _varying(marks) in ([target], []) else None
