"""Readings: what every node of a graph reads of its operands, as data, worked out once.

In: a graph, a vocabulary, and what was measured of nodes that have no rule. Out: the reads of each node,
which every walk composes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from rfgraph.errors import RfgraphError, UnsupportedOperatorError
from rfgraph.graph import Graph, Node
from rfgraph.language.reads import Place, Read, Reads, check, opened, whole
from rfgraph.language.vocabulary import Rule, Vocabulary

_NONE: Mapping[str, Reads] = {}


@dataclass(frozen=True)
class Readings(Mapping[str, Reads]):
    """The reads of every node of `graph`, by the node's name.

    Attributes:
        bounded: those in which slices that end with their tensor go on where it is longer, as they are where
            such a slice has as many positions at any size.
    """

    graph: Graph
    _reads: Mapping[str, Reads]
    bounded: Mapping[str, Reads] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Reads:
        return self._reads[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._reads)

    def __len__(self) -> int:
        return len(self._reads)

    @property
    def unknown(self) -> tuple[Node, ...]:
        """The nodes whose operator has no rule."""
        return tuple(node for node in self.graph if not node.known)

    def refuse_unknown(self) -> None:
        """Raise `UnsupportedOperatorError` where nodes have no rule, naming all of them."""
        nodes = self.unknown
        if not nodes:
            return
        shown = "; ".join(
            node.where() + (f": {node.params['problem']}" if node.params.get("problem") else "")
            for node in nodes
        )
        count = f"{len(nodes)} node{'s use operators' if len(nodes) > 1 else ' uses an operator'}"
        raise UnsupportedOperatorError(
            f"{count} without a rule: {shown}. Teach the operator with @rfgraph.rule, or pass "
            "on_unknown='measure' to measure what it reads, or 'whole' to count it as a read of everything"
        )


def readings(
    graph: Graph, vocabulary: Vocabulary, measured: Mapping[str, Reads] = _NONE
) -> Readings:
    """Ask the rule of every node. `measured`: reads of nodes that have none.

    Our own rules look at params and shapes alone, and are asked once of nodes that share them.

    Raises:
        RfgraphError: a rule returned reads that do not fit its node.
    """
    asked: dict[str, Reads] = {}
    alike: dict[object, Reads] = {}  # calls that are alike share their params
    for node in graph:
        if node.op != "input":
            key = id(node.params), node.output, node.shape, node.masked
            reads = measured.get(node.name) or alike.get(key) or reads_of(node, vocabulary)
            asked[node.name] = reads
            if node.known and _is_ours(vocabulary.operators[node.op].rule):
                alike[key] = reads
    if not graph.asked:
        return Readings(graph, asked)
    found = {name: _opened(reads, graph[name]) for name, reads in asked.items()}
    bounded = {name: reads for name, reads in asked.items() if found[name] is not reads}
    return Readings(graph, found, bounded)


def _is_ours(rule: Rule) -> bool:
    return rule.__module__.startswith("rfgraph.")


def _opened(reads: Reads, node: Node) -> Reads:
    """The reads in which a slice that ends with the tensor goes on, where the tensor is longer.

    Where the forward has asked for a size, its end may be that; else the end is a number of the code.
    """
    for read in reads:
        for place in read.dims:
            if place.bounded:
                found = tuple(_open_ended(read, node) for read in reads)
                return reads if found == tuple(reads) else found
    return reads


def _open_ended(read: Read, node: Node) -> Read:
    """See `_opened`. What has a reason to hold at this size only is not longer at another."""
    places: list[Place] = []
    for place, size in zip(read.dims, read.sizes(node.operand_shapes), strict=True):
        length = node.shape[place.dims[0]] if place.bounded and not place.reason else 0
        is_last = length > 0 and size - 1 in place.positions((length - 1,))
        places.append(opened(place) if is_last else place)
    return replace(read, dims=tuple(places))


def reads_of(node: Node, vocabulary: Vocabulary) -> Reads:
    """What the node's rule says, checked to fit the node; unknown operators read everything."""
    if not node.known:
        return tuple(whole(len(shape), "unknown", i) for i, shape in enumerate(node.operand_shapes))
    reads = vocabulary.operators[node.op].rule(node)
    problem = check(reads, node.operand_shapes, len(node.shape))
    if problem:
        raise RfgraphError(f"the rule of {node.op!r} {problem}, at node {node.where()}")
    return reads
