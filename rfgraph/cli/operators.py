"""`rfgraph operators [NAME]`: the vocabulary, or all that is known of an operator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum
from itertools import groupby
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import rfgraph
from rfgraph import dictionary
from rfgraph.cli.console import told
from rfgraph.cli.options import Debug
from rfgraph.dictionary import Entry


class EntryFormat(str, Enum):
    """How operators are printed."""

    table = "table"
    json = "json"
    markdown = "markdown"


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
    with told(debug):
        entries = rfgraph.operators() if name is None else dictionary.operators_named(name)
    if format is EntryFormat.json:
        typer.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
    elif format is EntryFormat.markdown:
        typer.echo(dictionary.markdown(entries), nl=False)
    else:
        Console().print(_entry_table(*entries) if len(entries) == 1 else _entries_table(entries))


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
