"""For tests: strategies that draw models, and assertions about receptive fields.

In: models. Out: examples, or an AssertionError. `import rfgraph` does not import this;
`rfgraph.testing.strategies` needs the `testing` extra.
"""

from rfgraph.testing.assertions import (
    assert_causal,
    assert_no_batch_mixing,
    assert_receptive_field,
    assert_verified,
)
from rfgraph.testing.rules import check_rule
from rfgraph.testing.snapshot import assert_snapshot

__all__ = [
    "assert_causal",
    "assert_no_batch_mixing",
    "assert_receptive_field",
    "assert_snapshot",
    "assert_verified",
    "check_rule",
]
