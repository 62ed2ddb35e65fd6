"""Hypothesis profiles: `ci` is thorough and repeats itself exactly, `dev` is quick and explores.

`RFGRAPH_PROFILE=long` explores for hours; `benchmarks/random_models.py` does so faster, and counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

from rfgraph.probe.twins.twin import HANDLERS
from rfgraph.rules import VOCABULARY
from tests.zoo import missing

# Tensors of tests are small: threads cost more than they bring, and more yet beside other workers.
torch.set_num_threads(1)

# How long an example takes says more of the machine than of the code, so nothing is timed.
_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("ci", max_examples=200, derandomize=True, **_UNTIMED)
settings.register_profile("dev", max_examples=50, **_UNTIMED)
settings.register_profile("long", max_examples=5000, **_UNTIMED)
settings.load_profile(
    os.environ.get("RFGRAPH_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    """Models of tests have random weights: the same ones in every run."""
    torch.manual_seed(0)


@pytest.fixture
def taught() -> Iterator[None]:
    """Undo what a test teaches."""
    tables = (VOCABULARY.operators, VOCABULARY.functions, VOCABULARY.methods, VOCABULARY.modules)
    before = [dict(table) for table in tables]
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)


@pytest.fixture
def untaught(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Take rules and twins of operators away for a test: `untaught("cdist")`, in every spelling."""

    def take(*names: str) -> None:
        for table in (VOCABULARY.functions, VOCABULARY.methods, VOCABULARY.modules):
            for target in [target for target, (known, _) in table.items() if known.name in names]:
                monkeypatch.delitem(table, target)
        for name in names:
            monkeypatch.delitem(HANDLERS, name)

    return take


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, and how to have it."""
    if missing():
        terminalreporter.write_line(
            f"tests/zoo was left out, it needs torchvision: pip install '.[zoo]' ({missing()})"
        )
