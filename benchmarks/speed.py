"""What an analysis costs beside `torch.fx.symbolic_trace`, and how it grows with the model.

    python benchmarks/speed.py [--rounds N]    ratios for eight torchvision models
    python benchmarks/speed.py --scaling       seconds per layer and memory for deep stacks
    python benchmarks/speed.py --sized         seconds and memory for every position at one size

**Ratios.** In every round, three things are timed one after the other on each model: the trace,
`propagate()` on a graph captured before, and `rfgraph.analyze(model)` as a whole. Each starts with
rfgraph's memo tables empty, as in a first call, and without the garbage collector, as in `timeit`. A
time is the least of the rounds: what a busy machine does to one is only ever added, and as the three
take turns, a slow spell meets all of them. Exit 1 where a ratio of two such times is over its limit.

The other two are described in `scaling.py` and `sized.py`.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.progress import track
from rich.table import Table
from scaling import STACKS, cost_of, scaling
from sized import SIZED, sized, sized_answers
from torch import fx

import rfgraph
from rfgraph.capture import capture
from rfgraph.domains.periodic import PeriodicDomain
from rfgraph.propagate import Axis, propagate
from rfgraph.rules import VOCABULARY

MODELS = (
    "alexnet",
    "vgg16",
    "resnet50",
    "resnet152",
    "inception_v3",
    "mobilenet_v2",
    "convnext_large",
    "densenet201",
)
PROPAGATE_LIMIT = 0.25
ANALYZE_LIMIT = 2.0


@dataclass(frozen=True)
class Times:
    """The least milliseconds that each of the three took on one model."""

    model: str
    nodes: int
    trace: float
    propagate: float
    analyze: float

    @property
    def propagate_ratio(self) -> float:
        """Propagation over tracing."""
        return self.propagate / self.trace

    @property
    def analyze_ratio(self) -> float:
        """The whole analysis over tracing."""
        return self.analyze / self.trace

    @property
    def is_breach(self) -> bool:
        """True where a ratio is over its limit."""
        return self.propagate_ratio > PROPAGATE_LIMIT or self.analyze_ratio > ANALYZE_LIMIT


def timed(name: str, rounds: int) -> Times:
    """Time the three on one model, taking turns."""
    from torchvision_models import build  # the stacks below do not need torchvision

    model = build(name)
    graph = capture(model, None, VOCABULARY).graph
    (image,) = graph.inputs
    axes = [Axis(image, 2), Axis(image, 3)]
    works: tuple[Callable[[], object], ...] = (
        lambda: fx.symbolic_trace(model),
        lambda: propagate(graph, VOCABULARY, axes, PeriodicDomain()),
        lambda: rfgraph.analyze(model),
    )
    turns = [[milliseconds(work) for work in works] for _ in range(rounds)]
    return Times(name, len(graph), *map(min, zip(*turns, strict=True)))


def milliseconds(work: Callable[[], object]) -> float:
    """How long a first call takes."""
    forget()
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        work()
        return 1e3 * (time.perf_counter() - start)
    finally:
        gc.enable()


def forget() -> None:
    """Empty every memo table of rfgraph."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "rfgraph":
            for value in vars(module).values():
                getattr(value, "cache_clear", lambda: None)()


def ratios(console: Console, rounds: int) -> bool:
    """Print the table of ratios; True where no limit is breached."""
    table = Table(title=f"milliseconds, the least of {rounds} rounds", title_justify="left")
    table.add_column("model")
    for column in ("nodes", "trace", "propagate", "analyze", "propagate/trace", "analyze/trace"):
        table.add_column(column, justify="right")
    table.add_column("")
    times = [timed(name, rounds) for name in track(MODELS, "models", console=Console(stderr=True))]
    for each in times:
        table.add_row(
            each.model,
            str(each.nodes),
            f"{each.trace:.2f}",
            f"{each.propagate:.2f}",
            f"{each.analyze:.2f}",
            f"{each.propagate_ratio:.3f}",
            f"{each.analyze_ratio:.2f}",
            "BREACH" if each.is_breach else "",
            style="red" if each.is_breach else "",
        )
    console.print(table)
    console.print(f"limits: propagate/trace {PROPAGATE_LIMIT}, analyze/trace {ANALYZE_LIMIT:g}")
    return not any(each.is_breach for each in times)


def main() -> int:
    """Print a table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds of the ratios (default 9)")
    parser.add_argument("--scaling", action="store_true", help="time deep stacks instead")
    parser.add_argument("--sized", action="store_true", help="time answers per position instead")
    parser.add_argument("--stack", choices=STACKS, help="one stack, in this process, as JSON")
    parser.add_argument("--sized-model", choices=SIZED, help="one model, in this process, as JSON")
    options = parser.parse_args()
    if options.stack or options.sized_model:
        one = cost_of(options.stack) if options.stack else sized_answers(options.sized_model)
        print(json.dumps(asdict(one)))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 140)
    if options.scaling:
        return 0 if scaling(console, tuple(STACKS)) else 1
    if options.sized:
        return 0 if sized(console) else 1
    return 0 if ratios(console, options.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
