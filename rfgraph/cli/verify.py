"""`rfgraph verify TARGET`: the analysis held against numbers, node by node."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import rfgraph
from rfgraph.cli.console import progress_bar, told
from rfgraph.cli.options import Arguments, Debug, Dims, Inputs, OnUnknown, Target
from rfgraph.cli.targets import arguments_of, inputs_of, integers, load
from rfgraph.errors import InputError


class CheckFormat(str, Enum):
    """How a verification is printed."""

    table = "table"
    json = "json"


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
    with told(debug), progress_bar() as progress:
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


def _rows(text: str) -> Literal["auto", "all"] | int:
    named: dict[str, Literal["auto", "all"]] = {"auto": "auto", "all": "all"}
    if text in named:
        return named[text]
    if text.isdigit() and int(text):
        return int(text)
    raise InputError(f"--rows takes auto, all or a positive number, got {text!r}")


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
