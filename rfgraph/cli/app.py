"""The commands of `rfgraph`, one file each: the only modules that print or exit.

In: arguments. Out: a report or a verification on standard output, progress and messages on standard error,
an exit code: 0 all is well, 1 a check failed, 2 it could not be answered.
"""

from __future__ import annotations

from typing import Annotated

import typer

import rfgraph
from rfgraph.cli.analyze import analyze
from rfgraph.cli.operators import operators
from rfgraph.cli.verify import verify

app = typer.Typer(
    help="For every node of a PyTorch model, which part of the input it sees.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"rfgraph {rfgraph.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """For every node of a PyTorch model, which part of the input it sees."""


for _command in (analyze, verify, operators):
    app.command()(_command)


def main() -> None:
    """Entry point of the `rfgraph` command."""
    app()
