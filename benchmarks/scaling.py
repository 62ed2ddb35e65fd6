"""How the cost of an analysis grows with the model: deep stacks, each in a process of its own.

In: nothing. Out: a table of seconds and memory.

Stacks are made of convolutions of one channel on the meta device, and are analysed at a given
shape; `analyze` and printing the report's last rows are timed apart, once, garbage collector included.
The limits are on the analysis. (The text of a row that a thousand gates reach counts all of them, so a
row of a gated stack costs as much as the stack is deep.) Exit 1 where memory is over its limit, or where
a layer of the deepest stack costs several times what one of the shallowest does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import torch
from processes import MEMORY_LIMIT, in_own_process, peak_megabytes
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

import rfgraph
from rfgraph.report.table import text

GROWTH_LIMIT = 3.0  # linear is 1; a quadratic stack of ten times the depth is 10


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
MOST_ROWS = 1_000

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
    megabytes: float
    rows: int
    print: float


def cost_of(stack: str) -> Cost:
    """Build and analyse one stack in this process."""
    model = STACKS[stack]()
    start = time.perf_counter()
    report = rfgraph.analyze(model, (1, 1, LENGTH))
    seconds, megabytes = time.perf_counter() - start, peak_megabytes()
    start = time.perf_counter()
    rows = report.rows(report.nodes[-MOST_ROWS:])
    text(report.heading, rows)
    printed = time.perf_counter() - start
    field = report.output.rf.local
    assert field is not None and field.size[0] is not None
    size = int(field.size[0])
    return Cost(len(model), len(report), size, seconds, megabytes, len(rows), printed)


def scaling(console: Console, stacks: Sequence[str]) -> bool:
    """Print the table of stacks; True where nothing is over its limit."""
    table = Table(title="deep stacks, each in its own process", title_justify="left")
    table.add_column("stack")
    columns = ("layers", "nodes", "field", "analyze s", "us / layer", "peak MB", "print us / row")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("")
    progress = track(stacks, "stacks", console=Console(stderr=True))
    costs = {stack: Cost(**in_own_process("--stack", stack)) for stack in progress}
    for stack, cost in costs.items():
        over = cost.megabytes > MEMORY_LIMIT
        table.add_row(
            stack,
            f"{cost.layers:,}",
            f"{cost.nodes:,}",
            f"{cost.size:,}",
            f"{cost.analyze:.2f}",
            f"{1e6 * cost.analyze / cost.layers:.0f}",
            f"{cost.megabytes:.0f}",
            f"{1e6 * cost.print / cost.rows:.0f}",
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
