"""The questions of an audit, by their ids.

In: functions from a `Report` to findings, taught by `@rfgraph.audit.question`. Out: `QUESTIONS`, in order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

from rfgraph.audit.finding import Finding
from rfgraph.errors import InputError
from rfgraph.report import Report

Question: TypeAlias = Callable[[Report], Iterator[Finding]]
QUESTIONS: dict[str, Question] = {}
_ID = re.compile(r"[a-z]+(-[a-z]+)*")


def question(id: str) -> Callable[[Question], Question]:
    """Teach the audit a question: a function from a `Report` to the findings, whose `id` it gives.

    Args:
        id: lower-case words, joined by hyphens. One that is there already is asked no longer.

    Raises:
        InputError: it has other characters.
    """
    if not _ID.fullmatch(id):
        raise InputError(f"the id of a question must be words such as 'not-causal', got {id!r}")

    def taught(ask: Question) -> Question:
        QUESTIONS[id] = ask
        return ask

    return taught
