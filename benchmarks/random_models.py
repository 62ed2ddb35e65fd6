"""Many random models: how many of them, of their nodes and of the positions agreed by both probes.

In: `--models`, `--seed`, `--processes`, `--hold`. Out: the code of every contradiction, when it is found, and
a table; exit 1 where there is one.

Every model is verified at every node in every row; the closed form is held against the sized answer in the
interior, and on every `--every`-th model hulls against sets, and sets against the gradient at every position
of a few nodes. `--hold sizes` holds closed forms at two other sizes instead, and counts by reason the rows
that have none though their reads follow one law; `--hold figures` recomputes figures by their definitions.
What is drawn depends on the seed and on Hypothesis alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))  # `tests` hold what must agree

import rfgraph
from rfgraph.testing import strategies
from rfgraph.testing.describe import Description
from tests.properties.agreement import held_as_hulls, held_at_size, held_inside, verified
from tests.properties.figures import held_by_definition
from tests.properties.kinds import ASKED, EVERY, SMALL, Kind
from tests.properties.other_sizes import held_at_other_sizes, other_reports, unclaimed

BATCH = 125  # models drawn by one run of Hypothesis
KINDS: tuple[Kind, ...] = (
    {},
    {"gates": True},
    {"misaligned": True},
    {"several_inputs": True, "misaligned": True, "gates": True},
    {"max_layers": 7, "max_sizes": {1: 24, 2: 9, 3: 5}},
    {"branches": False, "moves": False, "resampling": False},  # where every third layer writes
    *ASKED.values(),
    EVERY,
    {**EVERY, "gates": True, "misaligned": True, "several_inputs": True},
)


def checked(description: Description, thorough: bool) -> Counter[str]:
    """What agreed on one model.

    Raises:
        AssertionError: what did not.
    """
    found = verified(description)
    report = rfgraph.analyze(description.build(), description.input_shapes)
    counts = Counter(
        {
            "models": 1,
            "nodes": found.checked.nodes,
            "positions by poison": found.checked.poison_positions,
            "positions by gradient": found.checked.gradient_positions,
            "outputs on strips": found.checked.strips,
            "positions by closed form": held_inside(report),
            "nodes that said too much, excused": len(found.mismatches),
            "nodes that no probe could read": sum(
                "equal" not in (row.poison, row.gradient) for row in found.rows
            ),
        }
    )
    if thorough:
        names = [node.name for node in report.outputs.values() if node.rfs]
        counts["sets by gradient, at all positions"] = held_at_size(report, names[:2])
        counts["hulls"] = held_as_hulls(report)
    return counts


def at_other_sizes(description: Description, thorough: bool) -> Counter[str]:
    """Closed forms that hold at two other sizes, and those that could be claimed."""
    model = description.build()
    report = rfgraph.analyze(model, description.input_shapes)
    others = other_reports(report, lambda shapes: rfgraph.analyze(model, shapes))
    held = held_at_other_sizes(report, others)
    counts = {"models": 1, f"models that take {len(others)} other sizes": 1, "closed forms": held}
    return Counter(counts) + unclaimed(report, others)


def by_definition(description: Description, thorough: bool) -> Counter[str]:
    """Rows whose figures are those of their definitions."""
    return Counter({"models": 1}) + held_by_definition(description)


HOLD = {"probes": checked, "sizes": at_other_sizes, "figures": by_definition}


def batch(job: tuple[int, int, int, str]) -> tuple[Counter[str], list[tuple[str, str]]]:
    """One run of Hypothesis: its counts, and (complaint, code) of what did not agree."""
    number, models, every, hold = job
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    wrong: list[tuple[str, str]] = []

    @settings(
        max_examples=models,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed(number)
    @given(strategies.models(**{**SMALL, **KINDS[number % len(KINDS)]}))
    def run(description: Description) -> None:
        try:
            counts.update(HOLD[hold](description, (counts["models"] + 1) % every == 0))
        except Exception as error:  # anything but agreement is told with the code that shows it
            counts["models that did not agree"] += 1
            wrong.append((f"{type(error).__name__}: {error}", description.code()))

    run()
    return counts, wrong


def main() -> int:
    """Run, print, and say by the exit code whether all agreed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--hold", choices=HOLD, default="probes")
    asked = parser.parse_args()
    batches = -(-asked.models // BATCH)
    jobs = [(asked.seed * 1_000_000 + n, BATCH, asked.every, asked.hold) for n in range(batches)]
    counts: Counter[str] = Counter()
    wrong: list[tuple[str, str]] = []
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        for found, its in pool.imap_unordered(batch, jobs):
            counts.update(found)
            wrong += its
            for complaint, code in its:
                print(f"{complaint}\n\n{code}\n", flush=True)
            if counts["models"] // 2000 > (counts["models"] - found["models"]) // 2000:
                print(f"{counts['models']} models, {len(wrong)} wrong", flush=True)
    table = Table("what", "agreed")
    for what, count in counts.items():
        table.add_row(what, f"{count:,}")
    table.add_row("seconds", f"{time.perf_counter() - start:.0f}")
    Console().print(table)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
