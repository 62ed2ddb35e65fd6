"""Every figure of many reports in one compact file, to hold a change against: what it was, what it is.

    python benchmarks/record.py write FILE [--random N]    a record of this checkout
    python benchmarks/record.py compare OLD NEW            exit 1 where anything differs

Reports are of torchvision's classification and segmentation models, the gallery, the models of the literature
in the tests, and of N random models. Equal rows are written once, so that a record takes a few megabytes.
"""

from __future__ import annotations

import argparse
import gzip
import inspect
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))  # `tests` hold the models of the literature

import rfgraph
from rfgraph import gallery
from rfgraph.testing import strategies
from rfgraph.testing.describe import Description
from tests import models as literature

Rows: TypeAlias = dict[str, dict[str, Any]]
"""The figures of each node of a model."""
LONGEST = 200
"""Characters of a figure that are shown."""


def figures(model: torch.nn.Module, shapes: Any = None) -> Rows:
    """Everything that a report says of every node; an error as a node of its own."""
    try:
        report = rfgraph.analyze(model, shapes)
    except rfgraph.RfgraphError as error:
        return {"error": {"text": str(error)}}
    return {node.name: node.to_dict() for node in report.nodes}


def of_torchvision(name: str) -> Rows:
    """A model of torchvision, whose weights are not drawn: they are 0, as a mask may be made of some."""
    from torchvision_models import build

    model = build(name)
    for parameter in model.parameters():
        parameter.data.zero_()
    return figures(model)


def of_gallery(name: str) -> Rows:
    """A model of the gallery."""
    return figures(getattr(gallery, name)())


def of_literature(name: str) -> Rows:
    """A model of the tests."""
    return figures(getattr(literature, name)())


EVERYTHING: dict[str, Any] = {
    **dict.fromkeys(("gates", "misaligned", "several_inputs"), True),
    "max_layers": 6,
    "writes": False,  # so that models are those of earlier records
}


def of_random(first: int, count: int) -> dict[str, Rows]:
    """Models drawn by the strategies, which depend on the seed and on Hypothesis alone."""
    found: dict[str, Rows] = {}

    @seed(first)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.models(**EVERYTHING))
    def draw(description: Description) -> None:
        rows = figures(description.build(), description.input_shapes)
        found[f"random {first}.{len(found)}"] = rows

    draw()
    return found


def works(random: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is recorded: a name, and what gives its rows."""
    from torchvision_models import TRACEABLE

    for name in TRACEABLE:
        yield f"torchvision {name}", partial(of_torchvision, name)
    for name in ("unet", "unet_bilinear", "tcn", "se_net", "wave_encoder", "vit"):
        yield f"gallery {name}", partial(of_gallery, name)
    for name, build in vars(literature).items():
        if inspect.isfunction(build) and not inspect.signature(build).parameters:
            yield f"literature {name}", partial(of_literature, name)
    for first in range(0, random, 100):
        yield f"random {first}", partial(of_random, first, min(100, random - first))


def done(work: tuple[str, Callable[[], Any]]) -> dict[str, Rows]:
    """The rows of one work, by the name of each model."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    name, rows_of = work
    found = rows_of()
    return found if name.startswith("random") else {name: found}


def write(path: Path, random: int) -> None:
    """Record this checkout."""
    distinct: dict[str, int] = {}
    models: dict[str, dict[str, int]] = {}
    todo = list(works(random))
    with ProcessPoolExecutor(2) as pool:
        for found in track(pool.map(done, todo), total=len(todo), console=Console(stderr=True)):
            for model, rows in found.items():
                texts = {node: json.dumps(row, sort_keys=True) for node, row in rows.items()}
                models[model] = {
                    node: distinct.setdefault(text, len(distinct)) for node, text in texts.items()
                }
    with gzip.open(path, "wt") as file:
        json.dump({"rows": list(distinct), "models": models}, file)
    nodes = sum(map(len, models.values()))
    Console().print(f"{len(models)} models, {nodes} nodes, {path.stat().st_size >> 10} KiB")


def read(path: Path) -> dict[str, dict[str, Any]]:
    """A record: model -> node -> its row, as JSON text."""
    with gzip.open(path, "rt") as file:
        held = json.load(file)
    rows = held["rows"]
    return {
        model: {node: rows[number] for node, number in nodes.items()}
        for model, nodes in held["models"].items()
    }


def compare(old: Path, new: Path) -> bool:
    """Tell what differs, figure by figure; True where nothing does."""
    before, after = read(old), read(new)
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for model, node in {(m, n) for record in (before, after) for m in record for n in record[m]}:
        sides = [record.get(model, {}).get(node) for record in (before, after)]
        if sides[0] != sides[1]:
            for figure, was, now in differences(*(side and json.loads(side) for side in sides)):
                counts[figure] += 1
                examples.setdefault(figure, f"{model}: {node}: {shorten(was)} -> {shorten(now)}")
    table = Table("figure", "nodes", "such as")
    for figure, count in counts.most_common():
        table.add_row(figure, str(count), examples[figure])
    Console(width=160).print(table if counts else "nothing differs")
    return not counts


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The figures that differ between two rows: path, what it was, what it is."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield path or "node", before, after
        return
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            inside = "input" if path == "rfs" else key  # inputs have names of their own
            yield from differences(before.get(key), after.get(key), f"{path}.{inside}".lstrip("."))


def shorten(figure: Any) -> str:
    """A figure as text that a table can hold."""
    text = json.dumps(figure)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def main() -> int:
    """Read the arguments; what to return to the shell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write")
    writing.add_argument("file", type=Path)
    writing.add_argument("--random", type=int, default=1000)
    comparing = commands.add_parser("compare")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "write":
        write(chosen.file, chosen.random)
        return 0
    return 0 if compare(chosen.old, chosen.new) else 1


if __name__ == "__main__":
    sys.exit(main())
