"""The pytest plugin, run as pytest runs it: in projects of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parent.parent.parent
# Whether or not this checkout is installed: the entry point is blocked, and the module is named.
RUN = ("-p", "no:rfgraph", "-p", "_rfgraph_pytestplugin", "-p", "no:cacheprovider")

TEST = """
import pytest
from torch import nn

KERNEL = 3

@pytest.mark.parametrize("width", [2, 4])
def test_stack(rfgraph_snapshot, width):
    model = nn.Sequential(nn.Conv1d(1, width, KERNEL), nn.ReLU(), nn.Conv1d(width, 1, 2))
    rfgraph_snapshot(model, inputs=(1, 1, 16))

def test_named(rfgraph_snapshot):
    rfgraph_snapshot(nn.Conv1d(1, 1, KERNEL), "a conv / of 3", inputs=(1, 1, 16))
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RFGRAPH_UPDATE_SNAPSHOTS", raising=False)
    pytester.makepyfile(test_models=TEST)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_subprocess(*RUN, *arguments)


def test_snapshots_are_written_kept_and_compared(project: pytest.Pytester) -> None:
    missing = run(project)
    missing.assert_outcomes(failed=3)
    missing.stdout.fnmatch_lines(["*there is no snapshot at *test_stack-2.json: run once with *"])

    run(project, "--rfgraph-update-snapshots").assert_outcomes(passed=3)
    folder = project.path / "__snapshots__" / "test_models"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["a-conv-of-3.json", "test_stack-2.json", "test_stack-4.json"]
    kept = json.loads((folder / "a-conv-of-3.json").read_text())
    assert [node["op"] for node in kept["nodes"]] == ["input", "conv1d"]
    run(project).assert_outcomes(passed=3)

    project.makepyfile(test_models=TEST.replace("KERNEL = 3", "KERNEL = 5"))
    changed = run(project)
    changed.assert_outcomes(failed=3)
    changed.stdout.fnmatch_lines(
        ["*test_stack-2.json: node '0' (conv1d): * and 2 more after it; run once with *"]
    )
    changed.stdout.fnmatch_lines(["*--rfgraph-update-snapshots*"])


def test_the_plugin_imports_neither_torch_nor_rfgraph(pytester: pytest.Pytester) -> None:
    code = "import sys, _rfgraph_pytestplugin; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert "_rfgraph_pytestplugin" in loaded
    assert set(loaded) & {"torch", "numpy", "rfgraph", "hypothesis"} == set()


def test_the_plugin_is_registered() -> None:
    told = (ROOT / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\nrfgraph = "_rfgraph_pytestplugin"\n' in told
    assert told.count('"/_rfgraph_pytestplugin.py"') == 2  # in the wheel and in the sdist
