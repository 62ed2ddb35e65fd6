"""Calls of every operator and random graphs of them, held against perturbation.

In: `--graphs`, `--calls`, `--seed`, `--processes`. Out: every fault as code that runs, when it is found, and
counts; exit 1 where there is one, or where more than one program in twenty is refused.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # `tests` hold the generator

from tests.hostile.campaign import Tally, call, graph
from tests.hostile.names import names

BATCH = 100
REFUSED = 0.05
"""The share of calls and graphs that may be refused; a refusal is an answer, and a rare one."""


def batch(kind: str, seed: int, start: int, count: int) -> Tally:
    torch.set_num_threads(1)
    tally, all_names = Tally(), names()
    for n in range(start, start + count):
        if kind == "calls":
            tally.add(call(all_names[n % len(all_names)], seed * 1_000_000 + n))
        else:
            tally.add(graph(seed * 1_000_000 + n, all_names))
    return tally


def so_far(total: Tally, begin: float) -> str:
    """One line of counts."""
    kinds = ("graphs", "positions", "positions agreed", "laws", "refused")
    counts = ", ".join(f"{kind} {total.counts[kind]:,}" for kind in kinds)
    return f"{counts}, faults {len(total.faults)}; {time.monotonic() - begin:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    begin = time.monotonic()
    jobs = [
        (kind, asked.seed, start, min(BATCH, count - start))
        for kind, count in (("calls", asked.calls), ("graphs", asked.graphs))
        for start in range(0, count, BATCH)
    ]
    total, shown = Tally(), set()
    with ProcessPoolExecutor(asked.processes) as pool:  # a worker that dies ends the run
        for done in as_completed([pool.submit(batch, *job) for job in jobs]):
            tally = done.result()
            for fault in tally.faults:
                key = (fault.kind, fault.program.statements[-1].operator, fault.told[:30])
                if key not in shown:
                    print(fault, flush=True)
                shown.add(key)
            thousands = total.counts["graphs"] // 1000
            total.add(tally)
            if total.counts["graphs"] // 1000 > thousands:  # a run of hours may be cut
                print(so_far(total, begin), flush=True)
    for title in ("counts", "overstated", "refused"):
        print(f"\n{title}")
        for text, count in getattr(total, title).most_common(60):
            print(f"  {count:8d}  {text}")
    if asked.calls:
        missing = [name for name in names() if not total.drawn[name]]
        print(f"\noperators without a call: {missing}")
    print(f"\n{so_far(total, begin)}")
    drawn = total.counts["calls"] + total.counts["graphs"]
    return int(bool(total.faults) or total.counts["refused"] > REFUSED * drawn)


if __name__ == "__main__":
    sys.exit(main())
