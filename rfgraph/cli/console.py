"""Messages and progress, on standard error."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from rfgraph.errors import RfgraphError


@contextmanager
def told(debug: bool) -> Iterator[None]:
    """One short paragraph on standard error, and exit code 2, for what could not be answered."""
    try:
        yield
    except RfgraphError as error:
        if debug:
            raise
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"rfgraph: {worded(str(error))}", style="red", markup=False
        )
        raise typer.Exit(2) from None


_WORDS = {
    r"as in analyze\(model, \((\d+(?:, \d+)*)\)\)": lambda m: "as in --input " + _joined(m[1]),
    r"a shape of positive integers such as \((\d+(?:, \d+)*)\)": lambda m: (
        "a shape of positive integers such as " + _joined(m[1])
    ),
    r"as a dict from name to shape": lambda m: "as in --input NAME=1,3,224,224",
    r"a Python value is passed as rfgraph\.value\(\.\.\.\)": lambda m: (
        "a value is passed as --input NAME:=VALUE"
    ),
    r"\b(on_unknown|capture)='(\w+)'": lambda m: f"--{m[1].replace('_', '-')} {m[2]}",
    r"\bmode='train'": lambda m: "--train",
    r"\b(on_unknown|capture) must": lambda m: f"--{m[1].replace('_', '-')} must",
    r"^axes: ": lambda m: "--axes: ",
    r"with axes=, as in axes=\((\d+),\)": lambda m: f"with --axes, as in --axes {m[1]}",
    r"\bleave (capture|mode) out": lambda m: f"leave --{'train' if m[1] == 'mode' else m[1]} out",
}
"""What one writes in Python, as one writes it on the command line."""


def _joined(shape: str) -> str:
    return shape.replace(" ", "")


def worded(message: str) -> str:
    """A message of the library in the words of the command line."""
    for spelling, option in _WORDS.items():
        message = re.sub(spelling, option, message)
    return message


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error, where that is a terminal, for work of more than a second."""
    console, start = Console(stderr=True), time.monotonic()
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    bar = Progress(*columns, console=console, transient=True)
    tasks: dict[str, TaskID] = {}

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
