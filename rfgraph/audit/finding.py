"""`Finding`: what is wrong with a model, at one node of it, in words and in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rfgraph.report import NodeReport
from rfgraph.report.figures import plain_data

Severity: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer to a question of an audit.

    Attributes:
        id: the question's, such as `shape-dependent`; it has a page of its own, `link`.
        severity: `error`, what is computed is wrong; `warning`, it is likely not meant; `note`, to be known.
        node: the name of the node where it begins.
        source: `file:line` of the model's code, "" where there is none.
        message: one sentence.
        numbers: what was measured, as plain data by name; positions and sizes in input pixels.
        why: why it matters.
        mend: what to change.
    """

    id: str
    severity: Severity
    node: str
    source: str
    message: str
    why: str
    mend: str
    numbers: Mapping[str, object]

    @classmethod
    def at(
        cls,
        node: NodeReport,
        message: str,
        *,
        id: str,
        severity: Severity,
        why: str,
        mend: str,
        **numbers: object,
    ) -> Finding:
        """A finding at a node of a report."""
        return cls(
            id=id,
            severity=severity,
            node=node.name,
            source=node.source,
            message=message,
            why=why,
            mend=mend,
            numbers={name: plain_data(number) for name, number in numbers.items()},
        )

    @property
    def link(self) -> str:
        """The page that tells what the question asks, and how it is answered."""
        return f"docs/findings/{self.id}.md"

    def __str__(self) -> str:
        where = f" ({self.source})" if self.source else ""
        return f"{self.severity}: {self.id} at {self.node!r}{where}: {self.message}"
