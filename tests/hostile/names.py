"""The names of all operators, which is all that is taken from the vocabulary."""

from __future__ import annotations

from rfgraph.rules import VOCABULARY


def names() -> list[str]:
    tables = (VOCABULARY.functions, VOCABULARY.methods, VOCABULARY.modules)
    return sorted({operator.name for table in tables for operator, _ in table.values()})
