"""The command line: the only module that prints or exits.

In: arguments. Out: a report or a verification on standard output, progress and messages on standard error,
an exit code: 0 all is well, 1 a check failed, 2 it could not be answered.
"""

from __future__ import annotations

import fnmatch
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import Enum
from itertools import groupby
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

import rfgraph
from rfgraph import dictionary
from rfgraph.cli.targets import arguments_of, inputs_of, integers, load
from rfgraph.dictionary import Entry
from rfgraph.errors import InputError, RfgraphError, nearest_names
from rfgraph.report import NodeReport, Report, table

app = typer.Typer(
    help="For every node of a PyTorch model, which part of the input it sees.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Format(str, Enum):
    """How the report is printed."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"rfgraph {rfgraph.__version__}")
        raise typer.Exit


class EntryFormat(str, Enum):
    """How operators are printed."""

    table = "table"
    json = "json"
    markdown = "markdown"


class CheckFormat(str, Enum):
    """How a verification is printed."""

    table = "table"
    json = "json"


Target = Annotated[
    str,
    typer.Argument(
        help="A model: package.module:callable or path/to/file.py:callable, or a .pt2 file."
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        help="A shape, 1,3,224,224 or name=1,3,224,224; of a list feats.0=..., of a dict batch.image=...; "
        "a Python literal flag:=True. Repeatable.",
    ),
]
Arguments = Annotated[
    list[str] | None, typer.Option("--arg", help="key=value for the callable. Repeatable.")
]
Dims = Annotated[str | None, typer.Option(help="Tracked dims, as in 2,3. Default: from 2 on.")]
OnUnknown = Annotated[
    str, typer.Option(help="For unknown operators: 'raise', 'whole' (they read all) or 'measure'.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """For every node of a PyTorch model, which part of the input it sees."""


@app.command()
def analyze(
    target: Target,
    input_: Inputs = None,
    arg: Arguments = None,
    axes: Dims = None,
    format: Annotated[Format, typer.Option(help="Output format.")] = Format.table,
    node: Annotated[
        str | None, typer.Option(help="Only nodes that match this pattern, as in 'layer4.*'.")
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Analyse in training mode.")] = False,
    on_unknown: OnUnknown = "raise",
    capture: Annotated[
        str, typer.Option(help="How a forward becomes a graph: 'auto', 'fx' or 'export'.")
    ] = "auto",
    check: Annotated[
        bool, typer.Option("--check", help="Run the captured graph beside the model.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Print what every node of TARGET reads: size, stride, dilation, offset, in input pixels."""
    with _told(debug):
        report = rfgraph.analyze(
            load(target, arguments_of(arg or [])),
            inputs_of(input_ or []),
            axes=None if axes is None else integers(axes, "--axes"),
            mode="train" if train else "eval",
            capture=capture,  # type: ignore[arg-type]
            on_unknown=on_unknown,  # type: ignore[arg-type]
            check=check,
        )
        nodes = _matching(report, node)
    _print(report, nodes, format)


@app.command()
def verify(
    target: Target,
    input_: Inputs = None,
    arg: Arguments = None,
    axes: Dims = None,
    rows: Annotated[
        str, typer.Option(help="Rows of each axis to poison: auto, all, or a number.")
    ] = "auto",
    format: Annotated[CheckFormat, typer.Option(help="Output format.")] = CheckFormat.table,
    on_unknown: OnUnknown = "raise",
    debug: Debug = False,
) -> None:
    """Hold the analysis of TARGET against numbers from the same model, at every node.

    Exit code 0: the numbers agree. 1: they do not. 2: it could not be answered.
    """
    with _told(debug), _progress() as progress:
        check = rfgraph.verify(
            load(target, arguments_of(arg or [])),
            inputs_of(input_ or []),
            axes=None if axes is None else integers(axes, "--axes"),
            on_unknown=on_unknown,  # type: ignore[arg-type]
            rows=_rows(rows),
            progress=progress,
        )
    if format is CheckFormat.json:
        typer.echo(check.to_json())
    else:
        wide = None if sys.stdout.isatty() else 200
        Console(width=wide).print(_check_table(check))
        typer.echo(str(check))
    if not check:
        raise typer.Exit(1 if check.compared else 2)


@app.command()
def operators(
    name: Annotated[
        str | None,
        typer.Argument(
            help="An operator as in a report, a spelling (nn.Conv2d, F.conv2d, aten.conv2d) or a pattern."
        ),
    ] = None,
    format: Annotated[EntryFormat, typer.Option(help="Output format.")] = EntryFormat.table,
    debug: Debug = False,
) -> None:
    """Print what rfgraph knows: every operator by family, or all that is known of NAME."""
    with _told(debug):
        entries = rfgraph.operators() if name is None else dictionary.operators_named(name)
    if format is EntryFormat.json:
        typer.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
    elif format is EntryFormat.markdown:
        typer.echo(dictionary.markdown(entries), nl=False)
    else:
        Console().print(_entry_table(*entries) if len(entries) == 1 else _entries_table(entries))


def main() -> None:
    """Entry point of the `rfgraph` command."""
    app()


def _print(report: Report, nodes: Sequence[NodeReport], format: Format) -> None:
    rows = report.rows(nodes)
    if format is Format.json:
        data = {**report.to_dict(), "nodes": [node.to_dict() for node in nodes]}
        typer.echo(json.dumps(data, indent=2))
    elif format is Format.csv:
        typer.echo(table.csv_text(rows), nl=False)
    elif format is Format.markdown:
        typer.echo(table.markdown(rows), nl=False)
    elif sys.stdout.isatty():  # fold long cells into the terminal's width
        typer.echo(report.heading)
        Console().print(table.rich_table(rows))
    else:
        typer.echo(table.text(report.heading, rows))


def _matching(report: Report, pattern: str | None) -> tuple[NodeReport, ...]:
    if pattern is None:
        return report.nodes
    found = tuple(node for node in report.nodes if fnmatch.fnmatchcase(node.name, pattern))
    if not found:
        near = nearest_names(pattern, (node.name for node in report.nodes))
        raise InputError(f"no node of {report.model} matches {pattern!r}{near}")
    return found


def _rows(text: str) -> Literal["auto", "all"] | int:
    named: dict[str, Literal["auto", "all"]] = {"auto": "auto", "all": "all"}
    if text in named:
        return named[text]
    if text.isdigit() and int(text):
        return int(text)
    raise InputError(f"--rows takes auto, all or a positive number, got {text!r}")


@contextmanager
def _told(debug: bool) -> Iterator[None]:
    """One short paragraph on standard error, and exit code 2, for what could not be answered."""
    try:
        yield
    except RfgraphError as error:
        if debug:
            raise
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"rfgraph: {error}", style="red", markup=False
        )
        raise typer.Exit(2) from None


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error, where that is a terminal, for work of more than a second."""
    console, start = Console(stderr=True), time.monotonic()
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    bar = Progress(*columns, console=console, transient=True)
    tasks: dict[str, Any] = {}

    def progress(stage: str, share: float) -> None:
        if console.is_terminal and time.monotonic() - start > 1:
            bar.start()
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=1.0)
            bar.update(tasks[stage], completed=share)

    try:
        yield progress
    finally:
        if tasks:  # a bar that never started would print an empty line
            bar.stop()


_COLORS = {"equal": "green", "inside": "yellow", "outside": "red"}


def _check_table(check: rfgraph.Verification) -> Table:
    """What was checked, by which probe: a row for each node."""
    made = Table(box=box.SIMPLE, show_edge=False)
    for name in ("node", "op", "poison", "positions", "gradient", "positions", "note"):
        made.add_column(name, overflow="fold", justify="right" if name == "positions" else "left")
    for row in check.rows:
        poison, gradient = (
            Text(verdict, _COLORS.get(verdict, "dim")) for verdict in (row.poison, row.gradient)
        )
        positions = f"{row.poison_positions:,}", f"{row.gradient_positions:,}"
        made.add_row(
            *(Text(row.node), row.op, poison, positions[0], gradient, positions[1], Text(row.note))
        )
    return made


def _entries_table(entries: Sequence[Entry]) -> Table:
    """What operators read: a row for those that share a rule, below the name of their family."""
    title = f"{dictionary.count(entries)}; `rfgraph operators NAME` prints all that is known of one"
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    longest = max(len(entry.name) for entry in entries)
    shown.add_column("operators", ratio=2, min_width=longest + 1, overflow="fold")
    shown.add_column("what an output position reads", ratio=3, overflow="fold")
    rules = dictionary.by_rule(entries)
    for family, shared in groupby(rules, key=lambda together: together[0].family):
        shown.add_row(Text(family, "bold"), "")
        for together in shared:
            names = ", ".join(entry.name for entry in together)
            shown.add_row(Text(names), Text(together[0].reads))
        shown.add_section()
    return shown


def _entry_table(entry: Entry) -> Table:
    """All that is known of an operator: a row for each field."""
    shown = Table.grid(padding=(0, 2))
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in asdict(entry).items():
        shown.add_row(
            Text(name, "bold"), Text(value if isinstance(value, str) else ", ".join(value))
        )
    return shown
