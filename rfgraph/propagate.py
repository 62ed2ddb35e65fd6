"""One walk over the graph: each node's rule says what it reads, the domain composes the reads.

In: a graph, a vocabulary, the tracked axes, a domain. Out: for every node one abstract value an axis.
Callers: the public functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from rfgraph.domains.base import Domain
from rfgraph.errors import RfgraphError, UnsupportedOperatorError
from rfgraph.graph import Graph, Node
from rfgraph.operators import Vocabulary
from rfgraph.reads import Reads, check, whole

Value = TypeVar("Value")


class Axis(NamedTuple):
    """A tracked axis: dim number `dim` of the input `input`."""

    input: str
    dim: int


def propagate(
    graph: Graph,
    vocabulary: Vocabulary,
    axes: Sequence[Axis],
    domain: Domain[Value],
    unknown_is_whole: bool = False,
) -> dict[str, tuple[Value | None, ...]]:
    """The abstract value of every node for every axis, in the order of `axes`.

    Raises:
        UnsupportedOperatorError: nodes without a rule, all of them at once; not with
            `unknown_is_whole`, which reads them whole, marked `unknown`.
        RfgraphError: a rule returned reads that do not fit its node.
    """
    if not unknown_is_whole:
        _refuse_unknown(graph)
    walk = _Walk(domain, axes)
    for node in graph:
        if node.op == "input":
            walk.enter(node)
        else:
            walk.visit(node, reads_of(node, vocabulary))
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


class _Walk(Generic[Value]):
    """The values found so far."""

    def __init__(self, domain: Domain[Value], axes: Sequence[Axis]) -> None:
        self.values: dict[str, tuple[Value | None, ...]] = {}
        self._domain = domain
        self._axes = axes

    def enter(self, node: Node) -> None:
        """An input: every position reads itself along the input's own axes."""
        self.values[node.name] = tuple(
            self._domain.initial(node, axis.dim) if axis.input == node.name else None
            for axis in self._axes
        )

    def visit(self, node: Node, reads: Reads) -> None:
        """A node whose operands have been visited."""
        operands = [self.values[name] for name in node.operands]
        self.values[node.name] = tuple(
            self._value(node, reads, [operand[axis] for operand in operands])
            for axis in range(len(self._axes))
        )

    def _value(self, node: Node, reads: Reads, operands: list[Value | None]) -> Value | None:
        parts: list[Value] = []
        for read in reads:
            value = operands[read.operand]
            part = None if value is None else self._domain.compose(value, read, node)
            if part is not None:
                parts.append(part)
        return parts[0] if len(parts) == 1 else self._domain.join(parts, node)


def _refuse_unknown(graph: Graph) -> None:
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
        "on_unknown='whole' to count it as a read of everything"
    )
