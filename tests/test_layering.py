"""Who may import whom: the floors of the house, held against the imports of every module.

A module may import what its row says and nothing else of rfgraph; a third-party library only where
the row names it. Imports inside functions count; imports for type checkers alone do not.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import networkx as nx
import pytest

import rfgraph

PACKAGE = Path(rfgraph.__file__).parent


@dataclass(frozen=True)
class Row:
    """What one room may import: rooms of rfgraph (itself included, always), and libraries."""

    rooms: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


GROUND = ("errors", "algebra", "graph")
SPEECH = (*GROUND, "language")
REPORT = (*SPEECH, "propagation", "report")
BELOW = (*REPORT, "sizes", "capture", "rules", "analysis", "audit", "verification", "dictionary")

# A room is a top-level module or a folder; "" is rfgraph/__init__.py. Rows may name rows above alone.
FLOORS = {
    # 1: the standard library, and torch for models to show
    "errors": Row(),
    "gallery": Row((), ("torch",)),
    # 2: what positions are, and what a captured model is
    "algebra": Row(("errors",)),
    "graph": Row(("errors",), ("torch", "networkx", "numpy")),
    # 3: what rules say; what numbers say. The probe knows nothing of what it checks
    "language": Row(GROUND, ("networkx",)),
    "probe": Row(("errors", "graph"), ("torch", "numpy")),
    # 4: these do not know each other
    "capture": Row(SPEECH, ("torch", "numpy")),
    "rules": Row(SPEECH, ("torch", "numpy")),
    "propagation": Row(SPEECH, ("numpy", "networkx")),
    # 5: what is said of a model
    "report": Row((*SPEECH, "propagation"), ("rich", "networkx", "numpy", "pandas")),
    "sizes": Row((*SPEECH, "propagation")),
    "dictionary": Row((*SPEECH, "rules", "capture"), ("torch",)),
    # 6: the public function, and what is asked of a report
    "faithful": Row((*SPEECH, "capture"), ("torch",)),
    "analysis": Row((*REPORT, "sizes", "capture", "rules", "faithful"), ("torch",)),
    "audit": Row((*REPORT, "capture", "analysis"), ("numpy", "networkx")),
    "render": Row(REPORT, ("rich", "jinja2", "matplotlib", "numpy")),
    # 7: the report and the probe meet
    "verification": Row(
        (*REPORT, "sizes", "analysis", "capture", "faithful", "rules", "probe"),
        ("torch", "numpy", "networkx"),
    ),
    "relation": Row(("algebra",)),
    "": Row((*BELOW, "relation")),
    # 8 and 9: what users build on, and what prints
    "testing": Row((*BELOW, ""), ("torch", "numpy", "networkx", "hypothesis", "pytest")),
    "cli": Row((*BELOW, ""), ("torch", "rich", "typer")),
    "__main__": Row(("cli",)),
}


@dataclass(frozen=True)
class Import:
    """`module` is imported by `importer`, a path within the package, at `line`."""

    importer: str
    module: str
    line: int

    def __str__(self) -> str:
        return f"rfgraph/{self.importer}:{self.line} imports {self.module}"


def room_of(path: str) -> str:
    """The room that a file of the package stands in."""
    name = path.split("/")[0].removesuffix(".py")
    return "" if name == "__init__" else name


def imports_of(path: str, source: str) -> Iterator[Import]:
    """Every import of a file, by the full name of the module."""
    package = ["rfgraph", *path.split("/")[:-1]]
    for statement in _executed(ast.parse(source)):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield Import(path, alias.name, statement.lineno)
        elif isinstance(statement, ast.ImportFrom):
            start = package[: len(package) - statement.level + 1] if statement.level else []
            module = ".".join([*start, *filter(None, [statement.module])])
            if module == "rfgraph":  # `from rfgraph import table` imports rfgraph.report.table
                for alias in statement.names:
                    yield Import(path, f"rfgraph.{alias.name}", statement.lineno)
            else:
                yield Import(path, module, statement.lineno)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: all but the bodies of `if TYPE_CHECKING:`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(tree, ast.If) and _is_type_checking(tree.test) and child in tree.body:
            continue
        yield from _executed(child)


def _is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def breaches(path: str, source: str) -> list[str]:
    """The imports of a file that its floor does not allow."""
    room = room_of(path)
    return [str(found) for found in imports_of(path, source) if not _allowed(room, found.module)]


def _allowed(room: str, module: str) -> bool:
    top, _, rest = module.partition(".")
    if top != "rfgraph":
        return top in sys.stdlib_module_names or top in FLOORS[room].libraries
    target = rest.split(".")[0]
    if target not in FLOORS:  # a name that rfgraph/__init__.py exports
        target = ""
    return target == room or target in FLOORS[room].rooms


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES)
def test_a_module_imports_its_own_floor_and_those_below(path: str) -> None:
    assert room_of(path) in FLOORS, f"rfgraph/{path} stands on no floor: give it one in FLOORS"
    assert breaches(path, (PACKAGE / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("algebra/relation.py", "import networkx"),
        ("algebra/digits.py", "from rfgraph.graph import Node"),
        ("graph/calls.py", "from rfgraph.language.reads import Read"),
        ("language/reads.py", "from rfgraph.capture import capture"),
        ("rules/conv.py", "from rfgraph.propagation.periodic import Periodic"),
        ("rules/conv.py", "from ..capture import capture"),
        ("capture/tracer.py", "def late():\n    from rfgraph import rules"),
        ("capture/tracer.py", "import rfgraph.rules.registry as registry"),
        ("propagation/periodic.py", "import torch.nn.functional as F"),
        ("probe/gradient.py", "from rfgraph.language.reads import Along"),
        ("propagation/walk.py", "if True:\n    from rfgraph.report import Report"),
        ("report/report.py", "from rfgraph import analyze"),
        ("report/report.py", "from ..probe import poison"),
        ("report/table.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch"),
        ("analysis.py", "import matplotlib.pyplot"),
    ],
)
def test_a_breach_is_caught(path: str, source: str) -> None:
    assert len(breaches(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("algebra/relation.py", "from collections.abc import Iterable\nimport rfgraph.errors"),
        ("rules/conv.py", "from .common import padded\nfrom . import registry"),
        ("report/table.py", "if TYPE_CHECKING:\n    from rfgraph.capture import capture"),
        ("report/table.py", "if typing.TYPE_CHECKING:\n    import torch"),
        ("cli/app.py", "import rfgraph\nfrom rfgraph import report, analyze"),
        ("report/report.py", "def frame():\n    import pandas"),
    ],
)
def test_what_the_floors_allow_is_no_breach(path: str, source: str) -> None:
    assert breaches(path, source) == []


def test_the_floors_are_an_order() -> None:
    rooms = list(FLOORS)
    for place, room in enumerate(rooms):
        assert set(FLOORS[room].rooms) - {room} <= set(rooms[:place]), room


def test_no_two_modules_import_each_other() -> None:
    names = {_name(path): path for path in FILES}
    graph = nx.DiGraph()
    for name, path in names.items():
        for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = {each if each in names else node.module for each in full}
                graph.add_edges_from((name, each) for each in targets & set(names) - {name})
    assert list(nx.simple_cycles(graph)) == []


def _name(path: str) -> str:
    return ".".join(["rfgraph", *path.removesuffix(".py").split("/")]).removesuffix(".__init__")


def test_files_and_functions_are_short() -> None:
    lengths = {path: (PACKAGE / path).read_text(encoding="utf-8").count("\n") for path in FILES}
    assert {path: count for path, count in lengths.items() if count >= 400} == {}
    functions = [
        node.end_lineno - node.body[0].lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    assert median(functions) < 8


# --- what importing rfgraph costs ---------------------------------------------------------------


def test_importing_rfgraph_imports_no_optional_library() -> None:
    code = "import sys, rfgraph; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    ).stdout.split()
    assert "rfgraph.algebra.relation" in loaded
    assert set(loaded) & {"hypothesis", "matplotlib", "torchvision", "pandas", "pytest"} == set()


def test_every_module_can_be_imported_by_itself() -> None:
    for path in (path for path in FILES if path != "__main__.py"):
        parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
        name = ".".join(["rfgraph", *(part for part in parts if part != "__init__")])
        assert importlib.import_module(name).__name__ == name


def test_the_public_names_exist_and_are_sorted() -> None:
    assert list(rfgraph.__all__) == sorted(set(rfgraph.__all__))
    for name in rfgraph.__all__:
        assert getattr(rfgraph, name) is not None


SCRIPTS = sorted(PACKAGE.parent.joinpath("benchmarks").rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_benchmark_imports_of_rfgraph_is_there(script: Path) -> None:
    """No benchmark runs in CI, and most need a library that CI has not."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rfgraph":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(
                    f"{node.module}.{alias.name}"
                )
