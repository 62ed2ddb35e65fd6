"""The command line: the only module that prints or exits.

In: arguments. Out: a report on standard output, messages on standard error, an exit code: 0 all is
well, 2 it could not be answered.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

import rfgraph
from rfgraph import table
from rfgraph.errors import InputError, RfgraphError, nearest_names
from rfgraph.report import NodeReport, Report

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


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """For every node of a PyTorch model, which part of the input it sees."""


@app.command()
def analyze(
    target: Annotated[
        str, typer.Argument(help="package.module:callable or path/to/file.py:callable: a model.")
    ],
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", help="A shape, 1,3,224,224 or name=1,3,224,224. Repeatable."),
    ] = None,
    arg: Annotated[
        list[str] | None, typer.Option(help="key=value for the callable. Repeatable.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="Tracked dims, as in 2,3. Default: from 2 on.")
    ] = None,
    format: Annotated[Format, typer.Option(help="Output format.")] = Format.table,
    node: Annotated[
        str | None, typer.Option(help="Only nodes that match this pattern, as in 'layer4.*'.")
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Analyse in training mode.")] = False,
    on_unknown: Annotated[
        str,
        typer.Option(help="For unknown operators: 'raise', 'whole' (they read all) or 'measure'."),
    ] = "raise",
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Print what every node of TARGET reads: size, stride, dilation, offset, in input pixels."""
    try:
        report = rfgraph.analyze(
            _load(target, _arguments(arg or [])),
            _inputs(input_ or []),
            axes=None if axes is None else _integers(axes, "--axes"),
            mode="train" if train else "eval",
            on_unknown=on_unknown,  # type: ignore[arg-type]
        )
        nodes = _matching(report, node)
    except RfgraphError as error:
        if debug:
            raise
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"rfgraph: {error}", style="red", markup=False
        )
        raise typer.Exit(2) from None
    _print(report, nodes, format)


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


def _inputs(texts: Sequence[str]) -> Any:
    """None, one shape, or shapes by name."""
    if not texts:
        return None
    named = [text.partition("=") for text in texts]
    if len(texts) == 1 and not named[0][1]:
        return _integers(texts[0], "--input")
    if not all(equals for _, equals, _ in named):
        raise InputError(
            "several --input need names: --input image=1,3,64,64 --input mask=1,1,64,64"
        )
    return {name: _integers(shape, "--input") for name, _, shape in named}


def _integers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} takes integers joined by commas, got {text!r}") from None


def _arguments(texts: Sequence[str]) -> dict[str, Any]:
    """`depth=5` gives the integer 5, `mode=bilinear` the string."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--arg takes key=value, got {text!r}")
        try:
            found[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[key] = value
    return found


def _load(target: str, arguments: dict[str, Any]) -> Any:
    """The model that TARGET names."""
    place, colon, name = target.rpartition(":")
    if not colon or not name or not place:
        raise InputError(
            f"TARGET is package.module:callable or path/to/file.py:callable, got {target!r}"
        )
    found: Any = _import(place)
    for part in name.split("."):
        if not hasattr(found, part):
            near = nearest_names(part, (n for n in dir(found) if not n.startswith("_")))
            raise InputError(f"{place} has no {part!r}{near}")
        found = getattr(found, part)
    if isinstance(found, torch.nn.Module):
        if arguments:
            raise InputError(f"{target} is a module already: it takes no --arg")
        return found
    if not callable(found):
        raise InputError(f"{target} is neither a module nor a callable that returns one")
    try:
        return found(**arguments)
    except Exception as error:
        shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise InputError(f"{target}({shown}) failed: {type(error).__name__}: {error}") from error


def _import(place: str) -> ModuleType:
    path = Path(place)
    try:
        if path.suffix == ".py":
            return _run_file(path)
        sys.path.insert(0, "")  # as `python -m` does: models live in the working directory
        try:
            return importlib.import_module(place)
        finally:
            sys.path.remove("")
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"cannot import {place}: {type(error).__name__}: {error}") from error


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # a .py file always has both
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module
