"""`shape-dependent`: nodes from which on the answer holds at the analysed size only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rfgraph.audit.finding import Finding
from rfgraph.audit.registry import question
from rfgraph.report import Report

ID = "shape-dependent"


@question(ID)
def shape_dependent(report: Report) -> Iterator[Finding]:
    """One finding for each node, and each reason, by which rows have no closed form."""
    rows = Counter(
        limit
        for node in report
        for limit in dict.fromkeys(each for rf in node.rfs.values() for each in rf.limits)
    )
    for limit, count in rows.items():
        yield Finding.at(
            report[limit.node],
            f"what is read from here on holds at the analysed size only: {limit.reason}",
            id=ID,
            severity="note",
            why="sizes, strides and halos may be others at another input size",
            mend="give the operator a scale or a stride, not a size; or analyse at the size that is run",
            nodes=count,
        )
