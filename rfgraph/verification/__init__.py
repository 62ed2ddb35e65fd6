"""Whether numbers from a model agree with its analysis: phases that return data, and one ledger of verdicts.

In: a model, inputs, options. Out: a `Verification`, an `Effective`: frozen plain data.
"""

from rfgraph.verification.run import arguments_of, effective, verify
from rfgraph.verification.verdicts import Blame, Checked, Mismatch, Row, Verification

__all__ = [
    "Blame",
    "Checked",
    "Mismatch",
    "Row",
    "Verification",
    "arguments_of",
    "effective",
    "verify",
]
