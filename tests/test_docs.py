"""The documentation says what is so: its code runs, its commands print what they show."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rfgraph.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, taught):
    namespace = {"__name__": "example"}  # a page is read from top to bottom
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), namespace)


def test_the_readme_has_code_that_can_fail():
    assert sum(code.count("assert ") for code in blocks(ROOT / "README.md", "python")) >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_shown_command_prints_what_is_shown(page):
    for block in blocks(page, "console"):
        command, _, shown = block.partition("\n")
        arguments = shlex.split(command.removeprefix("$ rfgraph "))
        result = CliRunner().invoke(app, arguments)
        assert result.stdout.rstrip() == shown.rstrip()


def test_the_first_screen_of_the_readme_has_two_commands_of_set_up():
    first = blocks(ROOT / "README.md", "sh")
    assert [block.count("\n") for block in first] == [1, 1]
    assert "pip install" in first[0] and "rfgraph analyze" in first[0]
    assert "[test]" in first[1] and "pytest" in first[1]


def test_the_page_of_operators_is_up_to_date():
    command = [sys.executable, "-m", "rfgraph", "operators", "--format", "markdown"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    kept = (ROOT / "docs" / "operators.md").read_text().splitlines()
    if made[2] != kept[2]:  # with another torch some have other spellings
        made, kept = (
            [line for line in page if not line.startswith("| ")] for page in (made[3:], kept[3:])
        )
    assert made == kept, "run: rfgraph operators --format markdown > docs/operators.md"


def test_no_docstring_names_what_moves():
    sources = sorted((ROOT / "rfgraph").rglob("*.py"))
    assert len(sources) > 100
    moving = re.compile(
        r"Callers:|\bsections?\s+\d|§"
    )  # who calls a module, the numbers of sections
    assert [path.name for path in sources if moving.search(path.read_text("utf-8"))] == []


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
