"""The errors rfgraph raises. Their text is part of the public contract."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RfgraphError(Exception):
    """Base of every error that rfgraph raises on purpose."""


class InputError(RfgraphError, ValueError):
    """What the caller passed cannot be used: an input shape, an axis, a node name, an option."""


class CaptureError(RfgraphError):
    """The model could not be captured as a graph, or rejected the inputs while it was captured."""


class UnsupportedOperatorError(RfgraphError):
    """Operators without a rule; the message names every node of the model that uses one."""


class RateMismatchError(RfgraphError, ValueError):
    """Two relations of different effective strides have no common closed form."""


class VerificationError(RfgraphError, AssertionError):
    """A numerical probe contradicts the analysis."""


def nearest_names(name: str, known: Iterable[str]) -> str:
    """`"; the nearest are 'a', 'b'"` for a misspelt `name`, or `""` where nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"; the nearest are {', '.join(map(repr, near))}" if near else ""
