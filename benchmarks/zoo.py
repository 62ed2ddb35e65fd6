"""Analyse every torchvision model at its worked-out shape, and show what each answer is worth.

    python benchmarks/zoo.py [--model GLOB]           torchvision
    python benchmarks/zoo.py --timm [--model GLOB]    one model of each family of timm

The first table holds the classification and segmentation models, which `torch.fx.symbolic_trace`
traces. Exit 1 if one of them is not traced after all, cannot be analysed, or uses an operator without
a rule; also if no model has such a name. The tables below hold the other models, and the backbones of
those whose graph depends on the data; they are for information. With `--timm` every model must be
analysed, traced or not, and the operators without a rule are listed, the most wanted first.

A row shows the last node that still has a local field: its size, stride and offset per axis without
whole-axis reads, whether whole-axis reads come on top, whether the figures hold at any size, and where
they do not, from which node on and why. The milliseconds are those of one call of `rfgraph.analyze`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import fx, nn
from torchvision_models import OTHERS, TRACEABLE, build

import rfgraph
from rfgraph import ReceptiveField, Report
from rfgraph.report.table import each, number

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


def row_of(name: str, model: nn.Module, shape: tuple[int, ...] | None = None) -> Row:
    """Trace and analyse one model. Whatever goes wrong is a row: the other models have theirs, too."""
    traced = is_traced(model)
    start = time.perf_counter()
    try:
        report = rfgraph.analyze(model, shape, on_unknown="whole")
        seconds = f"{time.perf_counter() - start:.2f}"
        unsupported = unsupported_operators(report)
        told = ", ".join(f"{op} x{count}" for op, count in unsupported) or "none"
        cells = (name, yes(traced), str(len(report)), told, *figures(report), seconds)
    except Exception as error:  # an RfgraphError, or a bug, which is what this looks for
        text = " ".join(str(error)[:MOST_TEXT].split())
        return Row(name, traced, error=f"{type(error).__name__}: {text}")
    return Row(name, traced, unsupported, cells)


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


def torchvision_zoo(console: Console, chosen: Callable[..., list[str]]) -> bool:
    """Print torchvision's tables; True where all that must be analysed was."""
    required = list(rows_of(progress(chosen(TRACEABLE), "traceable models"), backbones=False))
    others = list(rows_of(progress(chosen(OTHERS), "other models"), backbones=True))
    show(console, "classification and segmentation", required)
    show(console, "detection, video, quantizable and optical flow", others)
    clean = sum(row.is_clean and row.traced for row in required)
    console.print(
        f"{clean} of {len(required)} classification and segmentation models traced and analysed without "
        f"an unsupported operator; of the others, backbones included, "
        f"{sum(row.is_clean for row in others)} of {len(others)} analysed so"
    )
    return clean == len(required) and bool(required or others)


def timm_zoo(console: Console, chosen: Callable[..., list[str]]) -> bool:
    """Print timm's tables; True where every model was analysed without an unsupported operator."""
    import timm_models  # an optional package

    rows = []
    for name in progress(chosen(timm_models.one_of_each_family()), "models of timm"):
        model = timm_models.build(name)
        rows.append(row_of(name, model, timm_models.shape_of(model)))
    show(console, "one model of each family of timm", rows)
    if any(row.unsupported for row in rows):
        console.print(wanted(rows))
    clean = sum(row.is_clean for row in rows)
    console.print(f"{clean} of {len(rows)} models analysed without an unsupported operator")
    return clean == len(rows) > 0


def progress(names: list[str], title: str) -> Iterable[str]:
    """The names, with a bar on stderr."""
    return track(names, title, console=Console(stderr=True))


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="*", metavar="GLOB", help="only models of such a name")
    parser.add_argument("--timm", action="store_true", help="models of timm instead")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 200)

    def chosen(names: Iterable[str]) -> list[str]:
        return [name for name in names if fnmatch(name, options.model)]

    zoo = timm_zoo if options.timm else torchvision_zoo
    return 0 if zoo(console, chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
