"""The blame phase: the node at which a fault begins, and code that shows it.

In: a report, the gradients, how things stand. Out: entries of a closer look; a `Blame`.
"""

from __future__ import annotations

import networkx as nx

from rfgraph.report import Report
from rfgraph.verification.gradient import Gradients
from rfgraph.verification.ledger import Entry
from rfgraph.verification.repro import Check, repro, shown_params
from rfgraph.verification.verdicts import Blame, Mismatch

_MANY = 64


def closer(gradients: Gradients, first: Mismatch) -> tuple[Entry, ...]:
    """Ask the gradient about every node before the first that differs: the fault may begin there."""
    graph, entries = gradients.report.captured, list[Entry]()
    if first.kind == "size-dependent":  # no operand differs, at every position
        return ()
    before = nx.ancestors(graph.networkx, first.node)
    for node in graph:
        if node.name in before and node.op != "input":
            said = gradients.at_limit(node.name, _MANY)
            entries += said
            if any(entry.mismatch is not None for entry in said):
                break
    return tuple(entries)


def blame(report: Report, first: Mismatch, check: Check | None) -> Blame:
    """The node of the first mismatch, with code that was run by `check`, where there is one."""
    node = report.captured[first.node]
    return Blame(
        node.name,
        node.op,
        node.module,
        node.source,
        shown_params(node),
        repro(node, report, check),
    )
