"""The documentation says what is so: its code runs, its commands print what they show."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rfgraph.cli import app
from rfgraph.rules import VOCABULARY

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.fixture
def taught():
    """Undo what a page teaches."""
    tables = (VOCABULARY.operators, VOCABULARY.functions, VOCABULARY.methods, VOCABULARY.modules)
    before = [dict(table) for table in tables]
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)


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


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
