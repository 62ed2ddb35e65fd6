"""What an analysis costs beside `torch.fx.symbolic_trace`, and how it grows with the model.

    python benchmarks/speed.py [--rounds N]    ratios for ten torchvision models
    python benchmarks/speed.py --scaling       seconds per layer and memory for deep stacks
    python benchmarks/speed.py --sized         seconds and memory for every position at one size

**Ratios.** In every round, these are timed one after the other on each model: the trace, the capture,
`propagate()` on a graph captured before, `rfgraph.analyze(model)` as a whole, and `report.fx`, the module
that is made when it is asked for. Each starts with
rfgraph's memo tables empty, as in a first call, and without the garbage collector, as in `timeit`; but what
torch has confirmed of a shape stays so, as it does in a process: the first analysis of one asks torch about
every distinct call, and takes two to four times as long as a trace. A
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
from rfgraph.graph import Axis
from rfgraph.language.readings import readings
from rfgraph.propagation.periodic import PeriodicDomain
from rfgraph.propagation.walk import propagate
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
    "swin_t",
    "vit_b_16",
)
LIMITS = {"capture": 1.0, "propagate": 0.25, "analyze": 1.1}
"""Times over the time of a trace."""
TRANSFORMERS = ("swin_t", "vit_b_16")
TRANSFORMER_LIMITS = {"capture": 1.5, "propagate": 0.75, "analyze": 1.5}
"""Attention takes many small calls, which cost a capture more than a trace, as it asks for their shapes."""


@dataclass(frozen=True)
class Times:
    """The least milliseconds that each work took on one model."""

    model: str
    nodes: int
    trace: float
    works: dict[str, float]

    @property
    def ratios(self) -> dict[str, float]:
        """Over the time of the trace."""
        return {work: time / self.trace for work, time in self.works.items()}

    @property
    def breaches(self) -> list[str]:
        """The works whose ratio is over its limit."""
        limits = TRANSFORMER_LIMITS if self.model in TRANSFORMERS else LIMITS
        return [work for work, limit in limits.items() if self.ratios[work] > limit]


def timed(name: str, rounds: int) -> Times:
    """Time all works on one model, taking turns."""
    from torchvision_models import build  # the stacks below do not need torchvision

    model = build(name)
    report = rfgraph.analyze(model)
    graph = capture(model, None, VOCABULARY).graph
    (image,) = graph.inputs
    axes = [Axis(image, 2), Axis(image, 3)]
    works: dict[str, Callable[[], object]] = {
        "trace": lambda: fx.symbolic_trace(model),
        "capture": lambda: capture(model, None, VOCABULARY),
        "propagate": lambda: propagate(readings(graph, VOCABULARY), axes, PeriodicDomain()),
        "analyze": lambda: rfgraph.analyze(model),
        "report.fx": lambda: report.fx,
    }
    turns = [[milliseconds(work) for work in works.values()] for _ in range(rounds)]
    least = dict(zip(works, map(min, zip(*turns, strict=True)), strict=True))
    return Times(name, len(graph), least.pop("trace"), least)


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
    times = [timed(name, rounds) for name in track(MODELS, "models", console=Console(stderr=True))]
    table = Table(
        title=f"milliseconds, the least of {rounds} rounds (over the trace)", title_justify="left"
    )
    table.add_column("model")
    for column in ("nodes", "trace", *times[0].works):
        table.add_column(column, justify="right")
    table.add_column("over the limit")
    for each in times:
        cells = (f"{each.works[work]:.1f} ({ratio:.2f})" for work, ratio in each.ratios.items())
        over = ", ".join(each.breaches)
        style = "red" if over else ""
        table.add_row(each.model, str(each.nodes), f"{each.trace:.1f}", *cells, over, style=style)
    console.print(table)
    console.print(f"limits: {LIMITS}; of {' and '.join(TRANSFORMERS)}: {TRANSFORMER_LIMITS}")
    return not any(each.breaches for each in times)


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
