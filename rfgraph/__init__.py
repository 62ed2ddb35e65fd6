"""rfgraph: for every node of a PyTorch model, which part of the input it sees."""

from rfgraph.algebra.relation import Relation
from rfgraph.analysis import analyze
from rfgraph.audit import Finding, audit
from rfgraph.capture.arguments import value
from rfgraph.dictionary import Entry, operators
from rfgraph.errors import (
    CaptureError,
    InputError,
    RateMismatchError,
    RfgraphError,
    UnsupportedOperatorError,
    VerificationError,
)
from rfgraph.graph import Axis
from rfgraph.language.reads import (
    Along,
    Fixed,
    Lookup,
    Place,
    Read,
    Regroup,
    Table,
    Whole,
    along,
    every,
    fixed,
    lookup,
    regrouped,
    same,
    table,
    up_to,
)
from rfgraph.report import NodeReport, Report
from rfgraph.report.axis import AxisReads, Limit
from rfgraph.report.field import Cause, ReceptiveField
from rfgraph.rules import rule
from rfgraph.verification import Verification, effective, verify

__version__ = "0.1.0"

__all__ = [
    "Along",
    "Axis",
    "AxisReads",
    "CaptureError",
    "Cause",
    "Entry",
    "Finding",
    "Fixed",
    "InputError",
    "Limit",
    "Lookup",
    "NodeReport",
    "Place",
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
    "audit",
    "effective",
    "every",
    "fixed",
    "lookup",
    "operators",
    "regrouped",
    "rule",
    "same",
    "table",
    "up_to",
    "value",
    "verify",
]
