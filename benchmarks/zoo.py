"""Analyse every torchvision model at its worked-out shape, and show what each answer is worth.

    python benchmarks/zoo.py [--model GLOB]

The first table holds the classification and segmentation models that `torch.fx.symbolic_trace` traces;
exit 1 if one of them cannot be analysed or uses an operator without a rule. The second holds the other
models, and the backbones of those that decide by data; it is for information.

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

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import fx, nn
from torchvision_models import OTHERS, TRACEABLE, build

import rfgraph
from rfgraph.report import ReceptiveField, Report
from rfgraph.table import each, number

NUMBERS = ("nodes", "unsupported", "size", "stride", "offset", "ms")
COLUMNS = ("model", "traces", "nodes", "unsupported", "last local node", "size", "stride", "offset")
COLUMNS += ("whole", "closed form", "why not", "ms")


@dataclass(frozen=True)
class Row:
    """One model of a table."""

    cells: tuple[str, ...]
    traces: bool
    clean: bool


def analysed(name: str, model: nn.Module) -> Row:
    """The row of one model."""
    traces = is_traced(model)
    start = time.perf_counter()
    try:
        report = rfgraph.analyze(model, on_unknown="whole")
    except rfgraph.RfgraphError as error:
        blank = ("-",) * (len(COLUMNS) - 4)
        reason = f"{type(error).__name__}: {shortened(str(error))}"
        return Row((name, yes(traces), *blank, reason, "-"), traces, False)
    seconds = time.perf_counter() - start
    unsupported = unsupported_operators(report)
    cells = (name, yes(traces), str(len(report)), unsupported or "none", *figures(report))
    return Row((*cells, f"{1e3 * seconds:.0f}"), traces, not unsupported)


def shortened(text: str, most: int = 240) -> str:
    """The beginning of a long message."""
    return text if len(text) <= most else text[:most] + "..."


def is_traced(model: nn.Module) -> bool:
    """Does `torch.fx.symbolic_trace` trace the model?"""
    try:
        fx.symbolic_trace(model)
    except Exception:  # it raises whatever the model's code raises on a proxy
        return False
    return True


def unsupported_operators(report: Report) -> str:
    """`grid_sample x12` for every operator without a rule."""
    nodes = (found["node"] for _, found in report.graph.nodes(data=True))
    counts = Counter(node.op for node in nodes if not node.known)
    return ", ".join(f"{op} x{count}" for op, count in counts.most_common())


def figures(report: Report) -> tuple[str, ...]:
    """From `last local node` to `why not`."""
    found = last_local(report)
    if found is None:
        return ("none", *("-" for _ in range(6)))
    name, field, local = found
    limits = [f"{limit.reason} ({limit.node})" for limit in field.limits]
    more = f" and {len(limits) - 1} more" if len(limits) > 1 else ""
    return (
        name,
        each(local.size, number),
        each(local.stride, number),
        each(local.offset, number),
        each(field.whole, yes),
        each(field.closed_form, yes),
        limits[0] + more if limits else "",
    )


def last_local(report: Report) -> tuple[str, ReceptiveField, ReceptiveField] | None:
    """The last node that reads part of an input along some axis, its field and the local part of it."""
    fields = ((node.name, field) for node in reversed(report.nodes) for field in node.rfs.values())
    found = ((name, field, field.local) for name, field in fields)
    return next(((name, field, local) for name, field, local in found if local is not None), None)


def yes(value: bool) -> str:
    """A flag as a word."""
    return "yes" if value else "no"


def rows_of(names: Iterable[str], backbones: bool) -> Iterator[Row]:
    """A row a model; with `backbones`, one more for the backbone of a model that fails."""
    for name in names:
        model = build(name)
        row = analysed(name, model)
        yield row
        if backbones and not row.clean and isinstance(getattr(model, "backbone", None), nn.Module):
            yield analysed(f"{name}.backbone", model.backbone)


def table_of(title: str, rows: Iterable[Row]) -> Table:
    """The rows as a rich table."""
    table = Table(title=title, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*row.cells, style="" if row.clean else "red")
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="*", metavar="GLOB", help="only models of such a name")
    wanted = parser.parse_args().model
    console = Console(width=None if sys.stdout.isatty() else 200)
    progress = Console(stderr=True)
    chosen = [[n for n in names if fnmatch(n, wanted)] for names in (TRACEABLE, OTHERS)]
    required, others = (
        list(rows_of(track(names, title, console=progress), backbones=names is chosen[1]))
        for names, title in zip(chosen, ("models", "others"), strict=True)
    )
    console.print(table_of("classification and segmentation", required))
    console.print(table_of("detection, video, quantizable and optical flow (not required)", others))
    clean = sum(row.clean for row in required)
    traced = sum(row.traces for row in required)
    console.print(
        f"{clean} of {len(required)} analysed without an unsupported operator, {traced} traced by "
        f"torch.fx.symbolic_trace; of the others {sum(row.clean for row in others)} of {len(others)}"
    )
    return 0 if clean == len(required) else 1


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    sys.exit(main())
