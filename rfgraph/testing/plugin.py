"""`Snapshot`: what the fixture `rfgraph_snapshot` gives to a test.

In: a model or a report, and a name. Out: a file in `__snapshots__/` beside the test, or an `AssertionError`
that names the first node that changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rfgraph.capture.arguments import Inputs
from rfgraph.capture.programs import Model
from rfgraph.report import Report
from rfgraph.testing.snapshot import assert_snapshot

FOLDER = "__snapshots__"


@dataclass(frozen=True)
class Snapshot:
    """The snapshots of one test.

    Attributes:
        test_file: where the test is written. test: its name. update: write instead of comparing.
    """

    test_file: Path
    test: str
    update: bool = False

    def path(self, name: str | None = None) -> Path:
        """The file of a snapshot: `__snapshots__/<test file>/<name>.json`."""
        safe = re.sub(r"[^\w.-]+", "-", name or self.test).strip("-.")
        return self.test_file.parent / FOLDER / self.test_file.stem / f"{safe}.json"

    def __call__(
        self, model: Model | Report, name: str | None = None, *, inputs: Inputs = None
    ) -> None:
        """The report is the one that is kept.

        Args:
            model: a model, or a report.
            name: of the snapshot; default: the test's own, parameters included.
            inputs: as for `rfgraph.analyze`.

        Raises:
            AssertionError: no snapshot yet, or the first node, in the order of the model, that changed.
        """
        __tracebackhide__ = True
        assert_snapshot(model, self.path(name), inputs, update=self.update)
