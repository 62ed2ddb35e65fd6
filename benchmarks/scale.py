"""How the cost of single answers grows with what is asked about: at n and at 2n, each in a process.

    python benchmarks/scale.py [NAME ...]    exit 1 where one grows over linearly, or takes too much memory

Times are CPU seconds of what is asked, the model built and torch warm before. What grows is memory over
that of an interpreter that has imported torch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from processes import peak_megabytes
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scaling import residual
from torch import nn

import rfgraph

GROWTH_LIMIT = 2.8  # from n to 2n: linear is 2, quadratic 4
LEAST = 0.5  # CPU seconds or hundreds of MB: what is below is not held to any growth
MEMORY_LIMIT = 1_000  # MB, over those of torch: four times the budget of sets


class Function(nn.Module):
    """A forward as a function."""

    def __init__(self, call: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.call = call
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> Any:
        return self.call(self, x)


Ask = Callable[[], object]


def audio(length: int, *layers: nn.Module) -> Ask:
    """Exact reads of the middle of the last node of a chain."""
    model = nn.Sequential(*layers)

    def ask() -> object:
        node = rfgraph.analyze(model, (1, 1, length)).output
        return node.reads(0, node.shape[-1] // 2)

    return ask


def printed(
    model: nn.Module, shape: tuple[int, ...], how: Callable[[rfgraph.Report], object]
) -> Ask:
    """A report in some form; the analysis is not counted."""
    report = rfgraph.analyze(model, shape)
    return lambda: how(report)


def analyzed(model: nn.Module, shape: tuple[int, ...], **options: Any) -> Ask:
    """An analysis and the figures of its last node."""
    return lambda: rfgraph.analyze(model, shape, **options).output.rf.to_dict()


def causal(count: int) -> Ask:
    """Causal attention over as many tokens."""

    def attend(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(x, x, x, is_causal=True)

    return analyzed(Function(attend), (1, 2, count, 8), axes=(2,))


def masked(count: int) -> Ask:
    """Attention under a causal mask that the model makes."""

    def attend(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(count, count, dtype=torch.bool).tril()
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask)

    return analyzed(Function(attend), (1, 2, count, 8), axes=(2,))


def lstm(count: int, both: bool = False) -> Ask:
    """Everything of an LSTM over as many steps, and the reads of one."""
    part = nn.LSTM(4, 5, batch_first=True, bidirectional=both)
    model = Function(lambda m, x: m.part(x)[0], part=part)

    def ask() -> object:
        node = rfgraph.analyze(model, (1, count, 4), axes=(1,)).output
        return node.rf.to_dict(), node.region((0, count // 2, 0))

    return ask


def joined(count: int) -> Ask:
    """Pools that are undone, by strides without a common divisor: their sum repeats after millions."""

    def steps(x: torch.Tensor, size: int) -> torch.Tensor:
        return F.interpolate(F.max_pool1d(x, size), scale_factor=size)[..., : 4 * count]

    def join(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return steps(x, count) + steps(x, count + 1)

    return analyzed(Function(join), (1, 1, 4 * count + 4))


def grids(side: int) -> Ask:
    """`F.unfold` of 64 channels, and the figures of a node behind it."""

    def windows(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return F.unfold(x, 3, padding=1).relu()

    return analyzed(Function(windows), (1, 64, side, side))


def regions(side: int) -> Ask:
    """What one window of `F.unfold` reads."""

    def ask() -> object:
        def windows(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
            return F.unfold(x, 3, padding=1).relu()

        node = rfgraph.analyze(Function(windows), (1, 64, side, side)).output
        return node.region((0, 300, side * side // 2))

    return ask


def densenet(repeats: int) -> Ask:
    """The text of torchvision's, of which the larger puts twice as many pieces side by side."""
    from torchvision_models import build

    report = rfgraph.analyze(build({1: "densenet121", 2: "densenet169"}[repeats]))
    return lambda: str(report)


def far(dilation: int) -> nn.Conv1d:
    """A convolution whose outer taps lie beyond any axis here."""
    return nn.Conv1d(1, 1, 3, dilation=dilation, padding=dilation)


def down_and_up(stride: int) -> nn.Sequential:
    """A pool, undone."""
    return nn.Sequential(nn.MaxPool1d(stride), nn.Upsample(scale_factor=stride))


def chain(length: int) -> Ask:
    """Residual dilated convolutions over audio."""
    layers = [
        nn.Conv1d(1, 1, 16, 8, 4),
        *residual(2**i for i in range(8)),
        nn.ConvTranspose1d(1, 1, 16, 8, 4),
    ]
    return audio(length, *layers)


CASES: dict[str, tuple[Callable[[int], Ask], int]] = {
    "JSON of gated blocks": (
        lambda n: printed(residual([1] * n, gated=True), (1, 1, 4096), rfgraph.Report.to_json),
        500,
    ),
    "text of gated blocks": (
        lambda n: printed(residual([1] * n, gated=True), (1, 1, 4096), str),
        500,
    ),
    "CSV of gated blocks": (
        lambda n: printed(residual([1] * n, gated=True), (1, 1, 4096), rfgraph.Report.to_csv),
        500,
    ),
    "text of residual blocks": (lambda n: printed(residual([1] * n), (1, 1, 4096), str), 5_000),
    "JSON of residual blocks": (
        lambda n: printed(residual([1] * n), (1, 1, 4096), rfgraph.Report.to_json),
        5_000,
    ),
    "text of a DenseNet": (densenet, 1),
    "causal attention": (causal, 2_000),
    "attention, a causal mask": (masked, 1_000),
    "LSTM": (lstm, 2_000),
    "bidirectional LSTM": (lambda n: lstm(n, both=True), 2_000),
    "unfold of 64 channels, rows": (lambda n: grids(isqrt(n)), 28 * 28),
    "unfold of 64 channels, region": (lambda n: regions(isqrt(n)), 28 * 28),
    "dilation of 2^20": (
        lambda n: audio(
            n, nn.Conv1d(1, 1, 3, dilation=1 << 20, padding=1 << 20), nn.Conv1d(1, 1, 3)
        ),
        20_000,
    ),
    "pool and upsampling of long stride": (
        lambda n: analyzed(
            nn.Sequential(nn.MaxPool1d(n), nn.Upsample(scale_factor=n)), (1, 1, 4 * n)
        ),
        500_000,
    ),
    "joined periods": (joined, 3_000),
    "reads of 0.2 s of audio": (lambda n: chain(n), 3_200),
    "reads of 10 s of audio": (lambda n: chain(n), 160_000),
}


@dataclass(frozen=True)
class Cost:
    """What one answer cost, and the error where there was none."""

    seconds: float
    megabytes: float
    error: str = ""


def cost_of(name: str, count: int) -> Cost:
    """Ask once, in this process."""
    rfgraph.analyze(nn.Conv1d(1, 1, 3), (1, 1, 64)).output.reads(0, 5)  # torch and numpy are warm
    ask, before, error = CASES[name][0](count), peak_megabytes(), ""
    start = time.process_time()
    try:
        ask()
    except (rfgraph.RfgraphError, MemoryError) as raised:
        error = f"{type(raised).__name__}: {raised}"[:80]
    return Cost(time.process_time() - start, peak_megabytes() - before, error)


def in_own_process(name: str, count: int) -> Cost:
    """Ask in a fresh interpreter."""
    command = [sys.executable, __file__, "--one", name, "--count", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Cost(**json.loads(done.stdout))


def verdict(small: Cost, large: Cost) -> str:
    """What is wrong with the growth, or nothing."""
    if small.error or large.error:
        return small.error or large.error
    if large.megabytes > MEMORY_LIMIT:
        return f"BREACH: over {MEMORY_LIMIT} MB"
    if large.seconds > GROWTH_LIMIT * max(small.seconds, LEAST):
        return "BREACH: not linear"
    return ""


def main() -> int:
    """Print a table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--one", choices=CASES, help="one answer, in this process, as JSON")
    parser.add_argument("--count", type=int, help="of --one")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(cost_of(options.one, options.count))))
        return 0
    table = Table(title="answers at n and 2n, each in its own process", title_justify="left")
    table.add_column("answer")
    for column in ("n", "CPU s", "at 2n", "ratio", "MB", "at 2n"):
        table.add_column(column, justify="right")
    table.add_column("")
    verdicts: list[str] = []
    names = options.names or list(CASES)
    for name in track(names, "answers", console=Console(stderr=True)):
        count = CASES[name][1]
        small, large = in_own_process(name, count), in_own_process(name, 2 * count)
        verdicts.append(verdict(small, large))
        ratio = large.seconds / max(small.seconds, 1e-3)
        seconds = (f"{cost.seconds:.2f}" for cost in (small, large))
        megabytes = (f"{cost.megabytes:.0f}" for cost in (small, large))
        style = "red" if verdicts[-1] else ""
        row = name, f"{count:,}", *seconds, f"{ratio:.1f}", *megabytes, verdicts[-1]
        table.add_row(*row, style=style)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 1 if any(verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
