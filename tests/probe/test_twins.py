"""Every twin against brute force: a twin depends on what the operator itself depends on, and on nothing else.

The truth is found by changing one operand element at a time; no rule and no gradient of the operator is
involved. Examples are those that the registry of rules is tested on, a few for each operator.
"""

from __future__ import annotations

import numpy as np
import pytest

from rfgraph.capture import capture
from rfgraph.probe import GradientProbe
from rfgraph.rules import VOCABULARY
from tests.probe.support import joint
from tests.rules.dependence import Found, dependence, drawn, model_of
from tests.rules.examples import Example
from tests.test_registry import EXAMPLES

EACH = 3
HELD = [
    pytest.param(example, id=f"{op}-{number}")
    for op, examples in sorted(EXAMPLES.items())
    for number, example in enumerate([e for e in examples if not e.conservative][:EACH])
    if (op, number) != ("view", 0)  # with another dtype: it has no twin, and says so
]


def by_twin(example: Example) -> Found:
    """[output][operand]: which output elements have a gradient by which operand elements."""
    operands = drawn(example, 0)
    graph = capture(model_of(example), operands, VOCABULARY, example.training).graph
    given = dict(zip(graph.inputs, operands, strict=True))
    probe = GradientProbe(graph, given, training=example.training)
    found: Found = []
    for output in graph.outputs.values():
        shape = graph[output].shape
        masks = [np.zeros((*shape, *operand.shape), dtype=bool) for operand in operands]
        for position in np.ndindex(*shape):
            marks = joint(probe, output, position)
            for mask, name in zip(masks, given, strict=True):
                mask[position] = marks[name]
        found.append(masks)
    return found


@pytest.mark.parametrize("example", HELD)
def test_a_twin_depends_on_what_its_operator_depends_on(example: Example) -> None:
    found = by_twin(example)
    truth = dependence(example, until=found)
    for ours, theirs in zip(found, truth, strict=True):
        for twin, real in zip(ours, theirs, strict=True):
            assert not (real & ~twin).any(), "the twin misses what the operator reads"
            assert not (twin & ~real).any(), "the twin reads what the operator does not"
