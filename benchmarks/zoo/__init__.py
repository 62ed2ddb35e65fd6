"""Analyse the models of a library, and show what each answer is worth.

    python benchmarks/zoo [--of LIBRARY] [--model GLOB]

Of torchvision, the default, the first table holds the classification and segmentation models, which
`torch.fx.symbolic_trace` traces: exit 1 if one of them is not traced after all, cannot be analysed, or
uses an operator without a rule. The tables below hold the other models, and the backbones of those whose
graph depends on the data; they are for information. Of any other library (`LIBRARIES`) every model must be
analysed, traced or not, and the operators without a rule are listed, the most wanted first. Exit 1, too, if
no model has such a name. The libraries are installed with `pip install --no-deps`, as some ask for another
torch.

A row shows the last node that still has a local field: its size, stride and offset per axis without
whole-axis reads, whether whole-axis reads come on top, whether the figures hold at any size, and where
they do not, from which node on and why. The seconds are those of one call of `rfgraph.analyze`. A model that
takes more than a time limit is a row, too.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch

from rich.console import Console
from rich.progress import track
from torch import nn
from torchvision_models import OTHERS, TRACEABLE, build

from zoo.built import Models
from zoo.table import Row, row_of, show, wanted

LIBRARIES = "timm transformers diffusers kornia ultralytics segmentation spandrel monai".split()
"""Those with a module `of_...` here."""
_LIMIT = 300  # seconds that a model is built and analysed in


def rows_of(names: Iterable[str], backbones: bool) -> Iterator[Row]:
    """A row a model; with `backbones`, one more for the backbone of a model that fails."""
    for name in names:
        model = build(name)
        row = row_of(name, model)
        yield row
        backbone = getattr(model, "backbone", None)
        if backbones and row.error and isinstance(backbone, nn.Module):
            yield row_of(f"{name}.backbone", backbone)


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


def library_zoo(console: Console, library: str, chosen: Callable[..., list[str]]) -> bool:
    """Print a library's tables; True where every model was analysed without an unsupported operator."""
    models: Models = importlib.import_module(f"zoo.of_{library}").models()
    names = progress(chosen(models), f"models of {library}")
    rows = [_row(name, models) for name in names]
    show(console, library, rows)
    if any(row.unsupported for row in rows):
        console.print(wanted(rows))
    clean = sum(row.is_clean for row in rows)
    console.print(f"{clean} of {len(rows)} models analysed without an unsupported operator")
    return clean == len(rows) > 0


def _row(name: str, models: Models) -> Row:
    """A model that cannot be built, or takes too long, is a row that says so."""
    try:
        with _limited(_LIMIT):
            built = models[name]()
            return row_of(name, built.model, built.takes)
    except Exception as error:
        return Row(name, False, error=f"not built: {type(error).__name__}: {str(error)[:200]}")
    except _TooLong:
        return Row(name, False, error=f"took more than {_LIMIT} s")


class _TooLong(BaseException):
    """No `Exception`, so that no model handles it."""


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def progress(names: list[str], title: str) -> Iterable[str]:
    """The names, with a bar on stderr."""
    return track(names, title, console=Console(stderr=True))


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="*", metavar="GLOB", help="only models of such a name")
    parser.add_argument("--of", choices=LIBRARIES, help="a library in place of torchvision")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 200)

    def chosen(names: Iterable[str]) -> list[str]:
        return [name for name in names if fnmatch(name, options.model)]

    if options.of:
        return 0 if library_zoo(console, options.of, chosen) else 1
    return 0 if torchvision_zoo(console, chosen) else 1
