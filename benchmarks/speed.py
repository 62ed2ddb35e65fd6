"""What an analysis costs beside `torch.fx.symbolic_trace`, and how it grows with the model.

    python benchmarks/speed.py [--rounds N]    ratios for eight torchvision models
    python benchmarks/speed.py --scaling       seconds per layer and memory for deep stacks

**Ratios.** In every round, three things are timed one after the other on each model: the trace,
`propagate()` on a graph captured before, and `rfgraph.analyze(model)` as a whole. Each starts with
rfgraph's memo tables empty, as in a first call, and without the garbage collector, as in `timeit`. A
time is the least of the rounds: what a busy machine does to one is only ever added, and as the three
take turns, a slow spell meets all of them. Exit 1 where a ratio of two such times is over its limit.

**Scaling.** Each stack runs in a process of its own, so that its peak memory, torch included, is its
own. Stacks are made of convolutions of one channel on the meta device, and are analysed at a given
shape; `analyze` and printing the whole report are timed apart, once, garbage collector included. Exit 1
where memory is over its limit, or where a layer of the deepest stack costs several times what one of
the shallowest does.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import fx, nn

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
MEMORY_LIMIT = 500  # MB
GROWTH_LIMIT = 3.0  # linear is 1; a quadratic stack of ten times the depth is 10


# --- ratios -----------------------------------------------------------------------------------------


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


# --- scaling ----------------------------------------------------------------------------------------


def conv(kernel: int, dilation: int = 1) -> nn.Module:
    """A convolution along one axis that keeps the length, or loses one where the kernel is even."""
    padding = dilation * (kernel - 1) // 2
    return nn.Conv1d(1, 1, kernel, dilation=dilation, padding=padding, device="meta")


class Residual(nn.Module):
    """`x + conv(x)`, with a gate that reads the whole axis where `gated` (squeeze and excite)."""

    def __init__(self, dilation: int, gated: bool = False) -> None:
        super().__init__()
        self.conv = conv(3, dilation)
        self.gated = gated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.conv(x)
        return x + inner * inner.mean(-1, keepdim=True) if self.gated else x + inner


def plain(count: int) -> nn.Sequential:
    """`count` convolutions of kernel 3, each followed by nothing."""
    return nn.Sequential(*(conv(3) for _ in range(count)))


def dilated(dilations: Iterable[int], kernel: int = 3) -> nn.Sequential:
    """A convolution for each dilation."""
    return nn.Sequential(*(conv(kernel, dilation) for dilation in dilations))


def residual(dilations: Iterable[int], gated: bool = False) -> nn.Sequential:
    """A residual block for each dilation."""
    return nn.Sequential(*(Residual(dilation, gated) for dilation in dilations))


def down_and_up(levels: int) -> nn.Sequential:
    """`levels` halvings, then as many doublings: a period of `2 ** levels` half way up."""
    down = [nn.Conv1d(1, 1, 3, 2, 1, device="meta") for _ in range(levels)]
    up = [nn.ConvTranspose1d(1, 1, 4, 2, 1, device="meta") for _ in range(levels)]
    return nn.Sequential(*down, *up)


POWERS = tuple(2**i for i in range(10))  # 1 .. 512
LENGTH = 1 << 22  # longer than any field below

STACKS: dict[str, Callable[[], nn.Sequential]] = {
    "1,000 plain": lambda: plain(1_000),
    "2,000 plain": lambda: plain(2_000),
    "5,000 plain": lambda: plain(5_000),
    "10,000 plain": lambda: plain(10_000),
    "1,000 residual": lambda: residual([1] * 1_000),
    "10,000 residual": lambda: residual([1] * 10_000),
    "1,000 gated residual": lambda: residual([1] * 1_000, gated=True),
    "10,000 gated residual": lambda: residual([1] * 10_000, gated=True),
    "20 of kernel 2, dilations 1 .. 2^19": lambda: dilated((2**i for i in range(20)), kernel=2),
    "20 of kernel 2, dilations 2^19 .. 1": lambda: dilated((2**i for i in range(19, -1, -1)), 2),
    "13 of kernel 2, dilations 1 .. 3^12": lambda: dilated((3**i for i in range(13)), kernel=2),
    "5,000 of dilation 100": lambda: dilated([100] * 5_000),
    "10,000 cycling dilations 1 .. 512": lambda: dilated(islice(cycle(POWERS), 10_000)),
    "10,000 cycling dilations 512 .. 1": lambda: dilated(islice(cycle(POWERS[::-1]), 10_000)),
    "10,000 residual cycling 1 .. 512": lambda: residual(islice(cycle(POWERS), 10_000)),
    "1,000 residual of dilation 1,000": lambda: residual([1_000] * 1_000),
    "12 halvings and doublings": lambda: down_and_up(12),
}
GROWTH = (
    ("1,000 plain", "10,000 plain"),
    ("1,000 residual", "10,000 residual"),
    ("1,000 gated residual", "10,000 gated residual"),
)


@dataclass(frozen=True)
class Cost:
    """What one stack cost."""

    layers: int
    nodes: int
    size: int
    analyze: float
    print: float
    megabytes: float


def cost_of(stack: str) -> Cost:
    """Build and analyse one stack in this process."""
    model = STACKS[stack]()
    start = time.perf_counter()
    report = rfgraph.analyze(model, (1, 1, LENGTH))
    analysed = time.perf_counter()
    str(report)
    printed = time.perf_counter()
    field = report.output.rf.local
    assert field is not None and field.size[0] is not None
    size = int(field.size[0])
    layers = len(model)
    times = analysed - start, printed - analysed
    return Cost(layers, len(report), size, *times, peak_megabytes())


def peak_megabytes() -> float:
    """The most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # bytes there, kilobytes here


def in_own_process(stack: str) -> Cost:
    """The cost of a stack, measured in a fresh interpreter."""
    command = [sys.executable, __file__, "--stack", stack]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Cost(**json.loads(done.stdout))


def scaling(console: Console, stacks: Sequence[str]) -> bool:
    """Print the table of stacks; True where nothing is over its limit."""
    table = Table(title="deep stacks, each in its own process", title_justify="left")
    table.add_column("stack")
    columns = ("layers", "nodes", "field", "analyze s", "us / layer", "print us / layer", "peak MB")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("")
    progress = track(stacks, "stacks", console=Console(stderr=True))
    costs = {stack: in_own_process(stack) for stack in progress}
    for stack, cost in costs.items():
        over = cost.megabytes > MEMORY_LIMIT
        table.add_row(
            stack,
            f"{cost.layers:,}",
            f"{cost.nodes:,}",
            f"{cost.size:,}",
            f"{cost.analyze:.2f}",
            f"{1e6 * cost.analyze / cost.layers:.0f}",
            f"{1e6 * cost.print / cost.layers:.0f}",
            f"{cost.megabytes:.0f}",
            "BREACH" if over else "",
            style="red" if over else "",
        )
    console.print(table)
    growths = [
        (costs[small], costs[large]) for small, large in GROWTH if {small, large} <= costs.keys()
    ]
    linear = [grows_linearly(console, small, large) for small, large in growths]  # print all
    return all(linear) and all(cost.megabytes <= MEMORY_LIMIT for cost in costs.values())


def grows_linearly(console: Console, small: Cost, large: Cost) -> bool:
    """Does a layer of the large stack cost about what one of the small does? Says so, too."""
    growth = large.analyze / large.layers / (small.analyze / small.layers)
    verdict = "" if growth <= GROWTH_LIMIT else "  BREACH: not linear"
    console.print(
        f"seconds per layer, {large.layers:,} over {small.layers:,} layers of "
        f"{large.nodes // large.layers} nodes: {growth:.2f}{verdict}"
    )
    return growth <= GROWTH_LIMIT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds of the ratios (default 9)")
    parser.add_argument("--scaling", action="store_true", help="time deep stacks instead")
    parser.add_argument("--stack", choices=STACKS, help="one stack, in this process, as JSON")
    options = parser.parse_args()
    if options.stack:
        print(json.dumps(asdict(cost_of(options.stack))))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 140)
    if options.scaling:
        return 0 if scaling(console, tuple(STACKS)) else 1
    return 0 if ratios(console, options.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
