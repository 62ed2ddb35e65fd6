"""A fault planted in any rule is caught by `verify`, and blamed on the node whose rule it is.

Every operator of the registry is analysed with wrong versions of its rule (`tests.verify.mutants`), on
its own examples, with every dim of every operand tracked. What an altered rule says must differ from
what it said, input by input and dim by dim; then the numbers must differ from it, too.
"""

from __future__ import annotations

from collections import Counter

import pytest

import rfgraph
from rfgraph.capture import capture
from rfgraph.graph import Graph, Node
from rfgraph.language.readings import reads_of
from rfgraph.language.reads import Reads
from rfgraph.rules import VOCABULARY
from tests.rules import EXAMPLES
from tests.rules.dependence import drawn, model_of
from tests.rules.examples import Example
from tests.rules.lowering import lowered
from tests.verify.mutants import mutants, taught

pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLES_PER_OPERATOR = 2
MANY = 10
"""Of a rule that so many operators share, wrong versions are held on one example of each operator."""

_VALUES = "where it reads is decided by values: its rule is an upper bound, and says so"
_MEMORY = "its result is whatever memory held"
_UNWRITTEN = "it returns memory that nobody has written, which holds anything"
UNSEEN: dict[str, str] = {
    **dict.fromkeys(
        "cholesky_solve eigh eigvalsh solve_triangular".split(),
        "all of its examples are conservative: one triangle of the matrix is read",
    ),
    "corrcoef": "all of its examples are conservative: the diagonal is 1",
    "qr": "all of its examples are conservative: a column reads those before it",
    "trace": "all of its examples are conservative: the diagonal alone is read",
    "cholesky": "no matrix that is drawn is positive-definite",
    "affine_grid": "all of its examples are conservative: its rule is an upper bound",
    "bernoulli": "torch refuses to draw with a probability that is NaN",
    "cuda": "needs a GPU",
    "empty_like": _MEMORY,
    "new_empty": _MEMORY,
    "nll_loss": "all of its examples are conservative: the target's class alone is read",
    "scatter_reduce": _VALUES,
    "take": _VALUES,
}
"""Operators whose faults cannot be shown here, and why."""

SHARED = Counter(operator.rule for operator in VOCABULARY.operators.values())


def seen_examples(op: str) -> list[Example]:
    """Examples of which the rule says exactly the truth, and that both probes may run."""
    wanted = [e for e in EXAMPLES[op] if not (e.training or e.conservative or e.reference)]
    if op == "view":  # as another dtype: neither probe reads that
        wanted = [e for e in wanted if verified(e)]
    return wanted[:EXAMPLES_PER_OPERATOR]


def graph_of(example: Example) -> Graph:
    return capture(model_of(example), drawn(example, 0), VOCABULARY, False).graph


def verified(example: Example) -> rfgraph.Verification:
    inputs = dict(zip("abcd", drawn(example, 0), strict=False))
    axes = {name: list(range(tensor.ndim)) for name, tensor in inputs.items()}
    return rfgraph.verify(model_of(example), inputs, axes=axes)


def projections(reads: Reads, node: Node) -> list[bytes]:
    """What a node reads of each dim of each input, as bytes to be compared."""
    rank, united = len(node.shape), {}
    parts = lowered(reads, node.operand_shapes, node.shape)
    for name, part in zip(node.operands, parts, strict=True):
        united[name] = united.get(name, False) | part
    return [
        part.any(axis=tuple(d for d in range(rank, part.ndim) if d != dim)).tobytes()
        for part in united.values()
        for dim in range(rank, part.ndim)
    ]


def faults(node: Node) -> dict[str, tuple[str, Reads]]:
    """One wrong version of each kind that says something else."""
    reads = reads_of(node, VOCABULARY)
    right = projections(reads, node)
    found: dict[str, tuple[str, Reads]] = {}
    for label, wrong in mutants(reads, node):
        kind = label.partition(",")[0]
        if kind not in found and _is_fault(wrong, node, right):
            found[kind] = label, wrong
    return found


def _is_fault(wrong: Reads, node: Node, right: list[bytes]) -> bool:
    try:
        return projections(wrong, node) != right
    except IndexError:  # it reads what does not exist: refused before it is verified
        return False


def complaint(op: str, example: Example, node: Node, wrong: Reads) -> str:
    """What `verify` fails to say of a wrong rule; nothing where it says all."""
    rule = VOCABULARY.operators[op].rule

    def altered(at: Node) -> Reads:
        return wrong if at.name == node.name else rule(at)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rfgraph.analysis.VOCABULARY", taught(op, altered))
        patched.setattr("rfgraph.verification.blame.repro", lambda *given: "")  # has its own tests
        try:
            check = verified(example)
        except rfgraph.VerificationError:  # dims that do not fit together: refused, out loud
            return ""
    if check.mismatches and check.mismatches[0].kind == "size-dependent":
        return "no probe sees it, a second size does"
    if check.blame is None:
        row = next(row for row in check.rows if row.node == node.name)
        return f"not caught: {row}"
    return "" if check.blame.node == node.name else f"blamed on {check.blame.node!r}"


@pytest.mark.parametrize("op", sorted(VOCABULARY.operators.keys() - UNSEEN.keys()))
def test_a_planted_fault_is_caught_and_blamed_on_its_node(op: str) -> None:
    count, complaints, examples = 0, [], seen_examples(op)
    planted = examples[:1] if SHARED[VOCABULARY.operators[op].rule] >= MANY else examples
    for example in examples:
        check = verified(example)
        assert not check.mismatches, f"without a fault: {check}"
        node = next(node for node in reversed(list(graph_of(example))) if node.op == op)
        for label, wrong in faults(node).values() if example in planted else ():
            count += 1
            said = complaint(op, example, node, wrong)
            complaints += [f"{label} on {example.shapes}: {said}"] * bool(said)
    assert not complaints, "\n".join(complaints)
    assert count, f"no fault was planted in {op!r}"


def test_what_is_left_out_is_of_the_registry() -> None:
    assert UNSEEN.keys() <= VOCABULARY.operators.keys()
