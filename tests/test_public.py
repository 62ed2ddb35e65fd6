"""What Python's own tools tell of the public names: `help` in screens, types that are no `Any`."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pytest

import rfgraph
from rfgraph.graph import Axis, Graph, Masked, Node, Operand

NAMES = [name for name in rfgraph.__all__ if not isinstance(getattr(rfgraph, name), str)]
CLASSES = {
    *(value for name in NAMES if inspect.isclass(value := getattr(rfgraph, name))),
    *(Axis, Graph, Masked, Node, Operand),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_name_is_a_few_screens(name: str) -> None:
    value = getattr(rfgraph, name)
    assert len(pydoc.render_doc(value)) < (12_000 if inspect.isclass(value) else 6_000)


def test_the_help_of_rule_fits_a_screen() -> None:
    assert len(pydoc.render_doc(rfgraph.rule)) < 2_000
    assert (
        repr(rfgraph.rules.VOCABULARY)
        == f"Vocabulary({len(rfgraph.rules.VOCABULARY.operators)} operators)"
    )


def attributes(owner: type) -> Iterator[tuple[str, Any]]:
    """The public attributes of a class with their annotations as text: fields and properties."""
    for base in owner.__mro__:
        if base.__module__.partition(".")[0] != "rfgraph":
            continue
        for name, kind in vars(base).get("__annotations__", {}).items():
            yield name, kind
        for name, value in vars(base).items():
            if isinstance(value, property):
                yield name, inspect.signature(value.fget).return_annotation  # type: ignore[arg-type]
            elif isinstance(value, cached_property):
                yield name, inspect.signature(value.func).return_annotation


def untyped(owner: type) -> list[str]:
    """The public attributes of which a type checker learns nothing."""
    nothing = (inspect.Parameter.empty, "Any", Any)
    return [
        name for name, kind in attributes(owner) if not name.startswith("_") and kind in nothing
    ]


@pytest.mark.parametrize("owner", sorted(CLASSES, key=lambda each: each.__name__))
def test_public_attributes_have_types(owner: type) -> None:
    assert untyped(owner) == []


def test_an_attribute_without_a_type_is_caught() -> None:
    class Bad:
        __module__ = "rfgraph.bad"
        some: Any
        size: int
        name = property(lambda self: "name")

        @property
        def op(self) -> str:
            return "op"

    assert untyped(Bad) == ["some", "name"]


def test_a_node_report_has_typed_properties() -> None:
    kinds = dict(attributes(rfgraph.NodeReport))
    assert {name: kinds[name] for name in ("name", "op", "module", "source")} == dict.fromkeys(
        ("name", "op", "module", "source"), "str"
    )
    assert kinds["shape"] == "tuple[int, ...]" and kinds["operands"] == "tuple[str, ...]"
