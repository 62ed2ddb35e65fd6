"""`audit`: what is wrong with an architecture, and where.

In: a model or its report. Out: findings, question by question, each in the order of the model.
"""

from __future__ import annotations

import importlib
import pkgutil

from rfgraph.analysis import analyze
from rfgraph.audit import questions
from rfgraph.audit.finding import Finding
from rfgraph.audit.registry import QUESTIONS, question
from rfgraph.capture.programs import Model
from rfgraph.errors import RfgraphError
from rfgraph.report import Report

__all__ = ["Audit", "Finding", "audit"]

for _found in pkgutil.iter_modules(questions.__path__):
    importlib.import_module(f"{questions.__name__}.{_found.name}")


class Audit:
    """`rfgraph.audit(model)`, and `@rfgraph.audit.question`, which teaches it one more."""

    question = staticmethod(question)

    def __call__(self, model: Model | Report) -> tuple[Finding, ...]:
        """What is wrong with a model, by every question that is known.

        Args:
            model: as `analyze` takes it, at any size; or a report, of which nothing is captured again.

        Raises:
            InputError, CaptureError, UnsupportedOperatorError: as `analyze`.
            RfgraphError: a question answered with another's id.
        """
        report = model if isinstance(model, Report) else analyze(model)
        return tuple(found for id in QUESTIONS for found in _asked(id, report))


audit = Audit()


def _asked(id: str, report: Report) -> tuple[Finding, ...]:
    found = tuple(QUESTIONS[id](report))
    for each in found:
        if each.id != id:
            raise RfgraphError(f"question {id!r} answered with a finding of {each.id!r}")
    return found
