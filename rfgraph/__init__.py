"""rfgraph: for every node of a PyTorch model, which part of the input it sees."""

from rfgraph.analysis import analyze
from rfgraph.capture.arguments import value
from rfgraph.errors import (
    CaptureError,
    InputError,
    RateMismatchError,
    RfgraphError,
    UnsupportedOperatorError,
    VerificationError,
)
from rfgraph.field import Cause, Limit, ReceptiveField
from rfgraph.reads import Along, Fixed, Lookup, Read, Regroup, Table, Whole, along, same
from rfgraph.relation import Relation
from rfgraph.report import NodeReport, Report
from rfgraph.rules import rule
from rfgraph.verification import Verification, effective, verify

__version__ = "0.1.0"

__all__ = [
    "Along",
    "CaptureError",
    "Cause",
    "Fixed",
    "InputError",
    "Limit",
    "Lookup",
    "NodeReport",
    "RateMismatchError",
    "Read",
    "ReceptiveField",
    "Regroup",
    "Relation",
    "Report",
    "RfgraphError",
    "Table",
    "UnsupportedOperatorError",
    "Verification",
    "VerificationError",
    "Whole",
    "along",
    "analyze",
    "effective",
    "rule",
    "same",
    "value",
    "verify",
]
