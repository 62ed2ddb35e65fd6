"""An example held against its rule: what the rule claims beside what the operator was seen to do.

In: an example, its operator's name, a vocabulary. Out: complaints, empty where the rule is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rfgraph.capture import capture
from rfgraph.graph import Graph, Node
from rfgraph.language.readings import reads_of
from rfgraph.language.reads import Place, Reads
from rfgraph.language.vocabulary import Vocabulary
from tests.rules.dependence import Found, dependence, drawn, model_of, outputs_of
from tests.rules.examples import Example
from tests.rules.lowering import inside, lowered, rows


@dataclass(frozen=True, eq=False)
class Claim:
    """What the vocabulary says of an example of the operator `op`."""

    op: str
    example: Example
    vocabulary: Vocabulary

    @cached_property
    def graph(self) -> Graph:
        model = model_of(self.example)
        inputs = drawn(self.example, 0)
        return capture(model, inputs, self.vocabulary, self.example.training).graph

    @cached_property
    def nodes(self) -> list[Node]:
        """One node for each tensor that the model returns, in order."""
        return [self.graph[name] for name in self.graph.outputs.values()]

    @cached_property
    def reads(self) -> list[Reads]:
        return [reads_of(node, self.vocabulary) for node in self.nodes]

    @cached_property
    def dependence(self) -> Found:
        """The reads, as one array for each output and each input of the model."""
        return [self._of(node, reads) for node, reads in zip(self.nodes, self.reads, strict=True)]

    def _of(self, node: Node, reads: Reads) -> list[np.ndarray]:
        inputs = list(self.graph.inputs)
        found = [np.zeros((*node.shape, *own), dtype=bool) for own in self.example.shapes]
        parts = lowered(reads, node.operand_shapes, node.shape)
        for name, part in zip(node.operands, parts, strict=True):
            if name not in inputs and not reads_of(self.graph[name], self.vocabulary):
                continue  # a constant that the example made in an input's image
            found[inputs.index(name)] |= part  # x + x reads one input as two operands
        return found

    def complaints(self) -> Iterator[str]:
        """What is wrong; nothing where the claim holds."""
        others = [node.op for node in self.nodes if node.op != self.op or not node.known]
        if others or not self.nodes:
            yield f"arrives at {others or 'no node'}"
            return
        yield from self._about_shapes()
        yield from self._about_laws()
        yield from self._about_reads()

    def _about_shapes(self) -> Iterator[str]:
        real = outputs_of(model_of(self.example, real=True), drawn(self.example, 1), 0)
        shapes = [tuple(tensor.shape) for tensor in real]
        inferred = [node.shape for node in self.nodes]
        if shapes != inferred:
            yield f"shapes {inferred}, but torch returns {shapes}"

    def _about_laws(self) -> Iterator[str]:
        """Where the law of a table reads positions that all exist, the table reads the same.

        (Where it reads nothing, the table may still read something: a border.)
        """
        for node, reads in zip(self.nodes, self.reads, strict=True):
            for read in reads:
                for size, place in zip(read.sizes(node.operand_shapes), read.dims, strict=True):
                    if place.at is not None and place.law is not None and len(place.dims) == 1:
                        yield from _broken(place, size, node.shape[place.dims[0]])

    def _about_reads(self) -> Iterator[str]:
        seen = dependence(self.example, until=self.dependence)
        wider = False
        for output, pairs in enumerate(map(_pairs, self.dependence, seen)):
            for number, (said, true) in enumerate(pairs):
                at = f"output {output}, operand {number}"
                yield from _first(f"{at} misses", true & ~said)
                if not self.example.conservative:
                    yield from _first(f"{at} has too much", said & ~true)
                wider = wider or bool((said & ~true).any())
        if self.example.conservative and not wider:
            yield "is marked conservative, but says no more than the truth"


def _pairs(ours: list[np.ndarray], theirs: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(ours, theirs, strict=True))


def _broken(table: Place, size: int, count: int) -> Iterator[str]:
    assert table.law is not None and table.at is not None
    for output in range(count):
        law = sorted(rows(table.law.relation, output))
        if table.law.past and law:  # and all that lies before
            law = list(range(max(law) + 1))
        if law and inside(law, size) == law and sorted(table.at((output,))) != law:
            yield f"law reads {law} at {output}, but the table {sorted(table.at((output,)))}"


def _first(what: str, wrong: np.ndarray) -> Iterator[str]:
    if wrong.any():
        first = tuple(map(int, np.argwhere(wrong)[0]))
        yield f"{what} {int(wrong.sum())} of {wrong.size} (output and operand position), first {first}"
