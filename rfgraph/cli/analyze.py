"""`rfgraph analyze TARGET`: the report, in one of four formats."""

from __future__ import annotations

import fnmatch
import json
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Annotated

import typer
from rich.console import Console

import rfgraph
from rfgraph.cli.console import told
from rfgraph.cli.options import Arguments, Debug, Dims, Inputs, OnUnknown, Target
from rfgraph.cli.targets import arguments_of, inputs_of, integers, load
from rfgraph.errors import InputError, nearest_names
from rfgraph.report import NodeReport, Report, table


class Format(str, Enum):
    """How the report is printed."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


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
    with told(debug):
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


def _print(report: Report, nodes: Sequence[NodeReport], format: Format) -> None:
    rows = report.rows(nodes)
    if format is Format.json:
        typer.echo(json.dumps(report.to_dict(nodes), indent=2))
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
