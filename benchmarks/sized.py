"""What every position of every node reads at one size: seconds and memory.

In: nothing. Out: a table.

Borders included, each model in a process of its own: a resnet50 at 224 by exact sets, and an
encoder-decoder over 160,000 samples, where sets would not fit into the memory budget, by hulls. Exit 1
where seconds or memory are over their limit, or where the second answers with sets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from processes import MEMORY_LIMIT, in_own_process, peak_megabytes
from rich.console import Console
from rich.table import Table
from torch import nn

import rfgraph


class EncoderDecoder(nn.Module):
    """A U-Net over time: halvings by convolution, doublings by transposed convolution, skips by sums."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv1d(1, 1, 4, 2, 1, device="meta") for _ in range(levels))
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(1, 1, 4, 2, 1, device="meta") for _ in range(levels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = skips.pop() + up(x)
        return x


def resnet() -> nn.Module:
    """torchvision's resnet50."""
    from torchvision_models import build

    return build("resnet50")


@dataclass(frozen=True)
class Sized:
    """A model, the shape it is asked at, how its sets must be held, and the limits."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    exact: bool
    seconds: float | None
    megabytes: float


SIZED = {
    "resnet50": Sized(resnet, (1, 3, 224, 224), True, 1.0, MEMORY_LIMIT),
    "encoder-decoder": Sized(lambda: EncoderDecoder(5), (1, 1, 160_000), False, None, MEMORY_LIMIT),
}


@dataclass(frozen=True)
class Answered:
    """What the sized answers of one model cost, and the refusal of exact sets where there was one."""

    nodes: int
    positions: int
    seconds: float
    before: float
    megabytes: float
    refusal: str


def sized_answers(name: str) -> Answered:
    """Ask every node of one model for what its middle position reads, along all axes.

    One position is enough: a node's answer is worked out for all of its positions at once.
    """
    case = SIZED[name]
    report = rfgraph.analyze(case.build(), case.shape)
    nodes, before = report.nodes, peak_megabytes()
    start = time.perf_counter()
    for node in nodes:
        middle = tuple(size // 2 for size in node.shape)
        if node.region(middle) is None:
            raise AssertionError(f"{node.name} reads nothing at {middle}")
    seconds = time.perf_counter() - start
    positions = sum(math.prod(node.shape[2:]) for node in nodes)
    costs = seconds, before, peak_megabytes()
    try:
        nodes[-1].reads(0, tuple(size // 2 for size in nodes[-1].shape))
    except rfgraph.InputError as error:
        return Answered(len(nodes), positions, *costs, str(error))
    return Answered(len(nodes), positions, *costs, "")


def sized(console: Console) -> bool:
    """Print the table of sized answers; True where no limit is breached."""
    table = Table(title="every node, every position, each in its own process", title_justify="left")
    for column in ("model", "shape"):
        table.add_column(column)
    for column in ("nodes", "positions", "seconds", "MB before", "peak MB"):
        table.add_column(column, justify="right")
    for column in ("reads()", ""):
        table.add_column(column, overflow="fold")
    found = {name: Answered(**in_own_process("--sized-model", name)) for name in SIZED}
    kept = {name: within(SIZED[name], answer) for name, answer in found.items()}
    for name, answer in found.items():
        table.add_row(
            name,
            " x ".join(map(str, SIZED[name].shape)),
            f"{answer.nodes:,}",
            f"{answer.positions:,}",
            f"{answer.seconds:.2f}",
            f"{answer.before:.0f}",
            f"{answer.megabytes:.0f}",
            answer.refusal or "exact sets",
            "" if kept[name] else "BREACH",
            style="" if kept[name] else "red",
        )
    console.print(table)
    return all(kept.values())


def within(case: Sized, answer: Answered) -> bool:
    """Are the limits kept, and is the answer of the kind that was asked for?"""
    quick = case.seconds is None or answer.seconds <= case.seconds
    honest = not answer.refusal
    return quick and honest and answer.megabytes <= case.megabytes
