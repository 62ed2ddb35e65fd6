"""Rules are asked once an analysis, whatever is asked of the report afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import rfgraph
from rfgraph.capture import capture
from rfgraph.graph import Node
from rfgraph.language.readings import readings
from rfgraph.language.reads import Read, Reads, along
from rfgraph.rules import VOCABULARY


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the rule of a convolution is asked, by node."""
    counts: Counter[str] = Counter()
    known = VOCABULARY.operators["conv2d"]

    def counted(node: Node) -> Reads:
        counts[node.name] += 1
        return known.rule(node)

    taught = replace(known, rule=counted)
    monkeypatch.setitem(VOCABULARY.operators, "conv2d", taught)
    return counts


def test_a_rule_is_asked_once_a_node(asked: Counter[str]) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, (3, 2)), nn.Flatten(2), nn.Unflatten(2, (4, 6)))
    model = nn.Sequential(model, nn.Conv2d(1, 1, 3, padding=1))
    report = rfgraph.analyze(model, (1, 1, 6, 7))
    assert report.output.rf.size is not None
    assert report.output.region((2, 3)) is not None
    assert str(report)
    assert asked == {"0.0": 1, "1": 1}


def test_readings_are_the_reads_of_every_node_but_inputs() -> None:
    graph = capture(nn.Sequential(nn.ReLU(), nn.Flatten()), (1, 2, 3), VOCABULARY).graph
    read = readings(graph, VOCABULARY)
    assert list(read) == ["0", "1"]
    assert read["0"] == (Read(0, (along(0), along(1), along(2))),)
    assert read.unknown == ()


def test_what_was_measured_stands_for_the_rule_that_is_missing(
    untaught: Callable[..., None],
) -> None:
    untaught("bessel_j0")

    class Blur(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(x)

    graph = capture(Blur(), (1, 2), VOCABULARY, False, True).graph
    (node,) = readings(graph, VOCABULARY).unknown
    measured = (Read(0, (along(0), along(1))),)
    assert readings(graph, VOCABULARY, {node.name: measured})[node.name] is measured
    with pytest.raises(
        rfgraph.UnsupportedOperatorError, match="1 node uses an operator without a rule"
    ):
        readings(graph, VOCABULARY).refuse_unknown()
