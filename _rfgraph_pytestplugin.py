"""The pytest plugin: `--rfgraph-update-snapshots` and the fixture `rfgraph_snapshot`.

It stands outside of the package, because pytest imports it in every run of every project: importing it
imports neither rfgraph nor torch. The work is done in `rfgraph.testing.plugin`, once a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rfgraph.testing.plugin import Snapshot


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that writes snapshots."""
    parser.getgroup("rfgraph").addoption(
        "--rfgraph-update-snapshots",
        action="store_true",
        help="write what rfgraph_snapshot finds, instead of comparing with it",
    )


@pytest.fixture
def rfgraph_snapshot(request: pytest.FixtureRequest) -> Snapshot:
    """`rfgraph_snapshot(model_or_report, name)`: the report is the one kept beside the test."""
    from rfgraph.testing.plugin import Snapshot

    update = bool(request.config.getoption("--rfgraph-update-snapshots"))
    return Snapshot(request.path, request.node.name, update)
