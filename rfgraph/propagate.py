"""The walk over the graph: each node's rule says what it reads, a domain composes the reads.

In: a graph, a vocabulary, the tracked axes, a domain. Out: for every node the abstract value of each axis.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Generic, TypeVar

from rfgraph.domains.base import Domain
from rfgraph.errors import RfgraphError, UnsupportedOperatorError
from rfgraph.graph import Axis, Graph, Node
from rfgraph.operators import Vocabulary
from rfgraph.reads import Reads, check, whole

Value = TypeVar("Value")


_NONE: Mapping[str, Reads] = {}


class Walk(Generic[Value]):
    """The abstract values of the nodes visited so far: `values[name][axis]`, for the axes a node reads."""

    def __init__(
        self,
        graph: Graph,
        vocabulary: Vocabulary,
        axes: Sequence[Axis],
        domain: Domain[Value],
        measured: Mapping[str, Reads] = _NONE,
    ) -> None:
        self.values: dict[str, dict[Axis, Value]] = {}
        self._graph = graph
        self._vocabulary = vocabulary
        self._measured = measured
        self._axes = axes
        self._domain = domain

    def visit(self, names: Container[str] | None = None) -> None:
        """Visit the nodes called `names` (None: all), which must include what they read.

        Raises:
            RfgraphError: a rule returned reads that do not fit its node.
        """
        for node in self._graph:
            if node.name not in self.values and (names is None or node.name in names):
                self.values[node.name] = self._enter(node) if node.op == "input" else self._at(node)

    def _enter(self, node: Node) -> dict[Axis, Value]:
        """An input: every position reads itself along the input's own axes."""
        mine = (axis for axis in self._axes if axis.input == node.name)
        return {axis: self._domain.initial(node, axis.dim) for axis in mine}

    def _at(self, node: Node) -> dict[Axis, Value]:
        reads = self._measured.get(node.name) or reads_of(node, self._vocabulary)
        operands = [self.values[name] for name in node.operands]
        values: dict[Axis, Value] = {}
        for axis in self._axes:
            value = self._along(node, reads, [operand.get(axis) for operand in operands])
            if value is not None:
                values[axis] = value
        return values

    def _along(self, node: Node, reads: Reads, operands: Sequence[Value | None]) -> Value | None:
        parts: list[Value] = []
        for read in reads:
            value = operands[read.operand]
            part = None if value is None else self._domain.compose(value, read, node)
            if part is not None:
                parts.append(part)
        return parts[0] if len(parts) == 1 else self._domain.join(parts, node)


def propagate(
    graph: Graph,
    vocabulary: Vocabulary,
    axes: Sequence[Axis],
    domain: Domain[Value],
    measured: Mapping[str, Reads] = _NONE,
) -> dict[str, dict[Axis, Value]]:
    """The abstract value of every node for every axis that it reads: `[name][axis]`.

    Args:
        measured: reads of nodes that have no rule.

    Raises:
        RfgraphError: a rule returned reads that do not fit its node.
    """
    walk = Walk(graph, vocabulary, axes, domain, measured)
    walk.visit()
    return walk.values


def reads_of(node: Node, vocabulary: Vocabulary) -> Reads:
    """What the node's rule says, checked to fit the node; unknown operators read everything."""
    if not node.known:
        return tuple(whole(len(shape), "unknown", i) for i, shape in enumerate(node.operand_shapes))
    reads = vocabulary.operators[node.op].rule(node)
    problem = check(reads, node.operand_shapes, len(node.shape))
    if problem:
        raise RfgraphError(f"the rule of {node.op!r} {problem}, at node {node.where()}")
    return reads


def refuse_unknown(graph: Graph) -> None:
    """Raise `UnsupportedOperatorError` where nodes have no rule, naming all of them."""
    unknown = [node for node in graph if not node.known]
    if not unknown:
        return
    shown = "; ".join(
        node.where() + (f": {node.params['problem']}" if node.params.get("problem") else "")
        for node in unknown
    )
    count = f"{len(unknown)} node{'s use operators' if len(unknown) > 1 else ' uses an operator'}"
    raise UnsupportedOperatorError(
        f"{count} without a rule: {shown}. Teach the operator with @rfgraph.rule, or pass "
        "on_unknown='measure' to measure what it reads, or 'whole' to count it as a read of everything"
    )
