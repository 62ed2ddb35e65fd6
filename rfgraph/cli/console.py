"""Messages and progress, on standard error."""

from __future__ import annotations

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
            f"rfgraph: {error}", style="red", markup=False
        )
        raise typer.Exit(2) from None


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
