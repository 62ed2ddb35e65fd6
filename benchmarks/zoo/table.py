"""Rows and tables of a zoo: what each model's analysis is worth.

In: a name, a model, what its forward takes. Out: a `Row`; a table of rows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from torch import fx, nn

import rfgraph
from rfgraph import ReceptiveField, Report
from rfgraph.report.table import each, number
from zoo.built import Given

FIGURES = ("last local node", "size", "stride", "offset", "causes", "closed form", "why not")
COLUMNS = ("model", "traced", "nodes", "unsupported", *FIGURES, "seconds")
NUMBERS = frozenset({"nodes", "size", "stride", "offset", "causes", "seconds"})
MOST_TEXT = 400


@dataclass(frozen=True)
class Row:
    """One model: the cells of its row, or the error that the analysis ended in."""

    model: str
    traced: bool
    unsupported: tuple[tuple[str, int], ...] = ()
    cells: tuple[str, ...] = ()
    error: str = ""

    @property
    def is_clean(self) -> bool:
        """Analysed, and every operator has a rule."""
        return not self.error and not self.unsupported


def row_of(name: str, model: nn.Module, takes: Sequence[Given] = (Given(),)) -> Row:
    """Trace and analyse one model. Whatever goes wrong is a row: the other models have theirs, too.

    `takes`: what its forward may take; the first that it does is analysed.
    """
    start = time.perf_counter()
    try:
        report = analysed(model, takes)
        seconds = f"{time.perf_counter() - start:.2f}"
        unsupported = unsupported_operators(report)
        told = ", ".join(f"{op} x{count}" for op, count in unsupported) or "none"
        cells = (str(len(report)), told, *figures(report), seconds)
    except Exception as error:  # an RfgraphError, or a bug, which is what this looks for
        text = " ".join(str(error)[:MOST_TEXT].split())
        return Row(name, is_traced(model), error=f"{type(error).__name__}: {text}")
    traced = is_traced(model)  # last: a forward that keeps what it computes would keep a proxy
    return Row(name, traced, unsupported, (name, yes(traced), *cells))


def analysed(model: nn.Module, takes: Sequence[Given]) -> Report:
    """The report at the first of these that the model takes."""
    first: rfgraph.RfgraphError | None = None
    for given in takes:
        try:
            return rfgraph.analyze(model, given.inputs, axes=given.axes, on_unknown="whole")
        except rfgraph.RfgraphError as error:
            first = first or error
    assert first is not None
    raise first


def is_traced(model: nn.Module) -> bool:
    """Does `torch.fx.symbolic_trace` trace the model?"""
    try:
        fx.symbolic_trace(model)
    except Exception:  # whatever the model's own code raises on a proxy
        return False
    return True


def unsupported_operators(report: Report) -> tuple[tuple[str, int], ...]:
    """Every operator without a rule, and how many nodes it has."""
    nodes = (found["node"] for _, found in report.graph.nodes(data=True))
    return tuple(Counter(node.op for node in nodes if not node.known).most_common())


def figures(report: Report) -> tuple[str, ...]:
    """The cells under `FIGURES`."""
    found = last_local(report)
    if found is None:
        return ("none", *("-" for _ in FIGURES[1:]))
    name, field, local = found
    return (
        name,
        each(local.size, number),
        each(local.stride, number),
        each(local.offset, number),
        str(len(field.causes)),
        each(field.closed_form, yes),
        why_not(field),
    )


def last_local(report: Report) -> tuple[str, ReceptiveField, ReceptiveField] | None:
    """The last node that reads part of an input along some axis, its field and the local part of it."""
    fields = ((node.name, field) for node in reversed(report.nodes) for field in node.rfs.values())
    found = ((name, field, field.local) for name, field in fields)
    return next(((name, field, local) for name, field, local in found if local is not None), None)


def why_not(field: ReceptiveField) -> str:
    """Why a field holds at the analysed size only; empty where it holds at any."""
    if all(field.closed_form):
        return ""
    if not field.limits:
        return "positions are regrouped by a reshape"
    first, *others = field.limits
    more = f" and {len(others)} more" if others else ""
    return f"{first.reason} ({first.node}){more}"


def yes(value: bool) -> str:
    """A flag as a word."""
    return "yes" if value else "no"


def show(console: Console, title: str, rows: Iterable[Row]) -> None:
    """Print the analysed models as one table, the others, with their errors, as another."""
    done = Table(title=title, title_justify="left")
    failed = Table(title=f"{title}: not analysed", title_justify="left", style="red")
    for column in COLUMNS:
        done.add_column(column, justify="right" if column in NUMBERS else "left", overflow="fold")
    for column in ("model", "traced", "error"):
        failed.add_column(column, overflow="fold")
    for row in rows:
        if row.error:
            failed.add_row(row.model, yes(row.traced), row.error)
        else:
            done.add_row(*row.cells, style="" if row.is_clean else "red")
    for table in (done, failed):
        if table.row_count:
            console.print(table)


def wanted(rows: Iterable[Row]) -> Table:
    """The operators without a rule, and how many models and nodes wait for each."""
    models: Counter[str] = Counter()
    nodes: Counter[str] = Counter()
    example: dict[str, str] = {}
    for row in rows:
        for op, count in row.unsupported:
            models[op] += 1
            nodes[op] += count
            example.setdefault(op, row.model)
    table = Table(title="operators without a rule", title_justify="left")
    table.add_column("operator")
    table.add_column("models", justify="right")
    table.add_column("nodes", justify="right")
    table.add_column("for example")
    for op, count in models.most_common():
        table.add_row(op, str(count), str(nodes[op]), example[op])
    return table
