"""Analyse every torchvision model at its worked-out shape, and show what each answer is worth.

    python benchmarks/zoo.py [--model GLOB]

The first table holds the classification and segmentation models, which `torch.fx.symbolic_trace`
traces. Exit 1 if one of them is not traced after all, cannot be analysed, or uses an operator without
a rule. The tables below hold the other models, and the backbones of those whose graph depends on the
data; they are for information.

A row shows the last node that still has a local field: its size, stride and offset per axis without
whole-axis reads, whether whole-axis reads come on top, whether the figures hold at any size, and where
they do not, from which node on and why. The milliseconds are those of one call of `rfgraph.analyze`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import fx, nn
from torchvision_models import OTHERS, TRACEABLE, build

import rfgraph
from rfgraph.report import ReceptiveField, Report
from rfgraph.table import each, number

FIGURES = ("last local node", "size", "stride", "offset", "whole", "closed form", "why not")
COLUMNS = ("model", "traced", "nodes", "unsupported", *FIGURES, "ms")
NUMBERS = frozenset({"nodes", "size", "stride", "offset", "ms"})
MOST_TEXT = 400


@dataclass(frozen=True)
class Row:
    """One model: the cells of its row, or the error that the analysis ended in."""

    model: str
    traced: bool
    unsupported: str = ""
    cells: tuple[str, ...] = ()
    error: str = ""

    @property
    def is_clean(self) -> bool:
        """Analysed, and every operator has a rule."""
        return not self.error and not self.unsupported


def row_of(name: str, model: nn.Module) -> Row:
    """Trace and analyse one model."""
    traced = is_traced(model)
    start = time.perf_counter()
    try:
        report = rfgraph.analyze(model, on_unknown="whole")
    except rfgraph.RfgraphError as error:
        return Row(name, traced, error=f"{type(error).__name__}: {str(error)[:MOST_TEXT]}")
    milliseconds = f"{1e3 * (time.perf_counter() - start):.0f}"
    unsupported = unsupported_operators(report)
    counted = (name, yes(traced), str(len(report)), unsupported or "none")
    return Row(name, traced, unsupported, (*counted, *figures(report), milliseconds))


def is_traced(model: nn.Module) -> bool:
    """Does `torch.fx.symbolic_trace` trace the model?"""
    try:
        fx.symbolic_trace(model)
    except Exception:  # whatever the model's own code raises on a proxy
        return False
    return True


def unsupported_operators(report: Report) -> str:
    """`grid_sample x12`, for every operator without a rule."""
    nodes = (found["node"] for _, found in report.graph.nodes(data=True))
    counts = Counter(node.op for node in nodes if not node.known)
    return ", ".join(f"{op} x{count}" for op, count in counts.most_common())


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
        each(field.whole, yes),
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


def rows_of(names: Iterable[str], backbones: bool) -> Iterator[Row]:
    """A row a model; with `backbones`, one more for the backbone of a model that fails."""
    for name in names:
        model = build(name)
        row = row_of(name, model)
        yield row
        backbone = getattr(model, "backbone", None)
        if backbones and row.error and isinstance(backbone, nn.Module):
            yield row_of(f"{name}.backbone", backbone)


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="*", metavar="GLOB", help="only models of such a name")
    wanted = parser.parse_args().model
    console, stderr = Console(width=None if sys.stdout.isatty() else 200), Console(stderr=True)

    def chosen(names: Iterable[str], title: str) -> Iterable[str]:
        return track([n for n in names if fnmatch(n, wanted)], title, console=stderr)

    required = list(rows_of(chosen(TRACEABLE, "traceable models"), backbones=False))
    others = list(rows_of(chosen(OTHERS, "other models"), backbones=True))
    show(console, "classification and segmentation", required)
    show(console, "detection, video, quantizable and optical flow", others)
    clean = sum(row.is_clean and row.traced for row in required)
    console.print(
        f"{clean} of {len(required)} classification and segmentation models traced and analysed without "
        f"an unsupported operator; of the others, backbones included, "
        f"{sum(row.is_clean for row in others)} of {len(others)} analysed so"
    )
    return 0 if clean == len(required) else 1


if __name__ == "__main__":
    sys.exit(main())
