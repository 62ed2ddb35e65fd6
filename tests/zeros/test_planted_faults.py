"""A fault planted in what is masked is caught by `verify`, and blamed on the node whose rule it is.

Faults of two kinds: a rule that reads too much or too little at the masked product, and an operator that
loses what is fixed, or invents it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

import rfgraph
from rfgraph.errors import InputError
from rfgraph.graph import Masked, Node, Shape
from rfgraph.language.readings import reads_of
from rfgraph.language.reads import Reads
from rfgraph.language.vocabulary import Params, Vocabulary
from rfgraph.rules import VOCABULARY
from tests.verify.mutants import mutants, taught
from tests.zeros.models import CASES

PLACES = {  # the case -> the operator that a fault is planted in, at its last node
    **{f"PixelCNN A: {spelling}": "conv2d" for spelling in ("multiplied", "data", "parametrize")},
    "PixelCNN B: where": "conv2d",
    "kernel: blur": "conv1d",
    "kernel: blur, transposed": "conv_transpose1d",
    "kernel: taper": "mul",
    "matrix: linear": "linear",
    "matrix: einsum": "einsum",
    "matrix: tril": "matmul",
    "matrix: toeplitz": "matmul",
    "matrix: softmax": "matmul",
    "causal: boolean": "matmul",
    "band: minus 1e4": "matmul",
    "chunks: multiplied": "matmul",
    "causal: exponentiated": "matmul",
    "causal: retention": "matmul",
    "causal: retention by einsum": "einsum",
    "causal: mlstm": "matmul",
    "causal: mamba 2": "einsum",
}


def verified(name: str, vocabulary: Vocabulary) -> rfgraph.Verification:
    build, shape = CASES[name]
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rfgraph.analysis.VOCABULARY", vocabulary)
        patched.setattr("rfgraph.verification.blame.repro", lambda *given: "")  # has its own tests
        return rfgraph.verify(build(), shape)


def last(name: str, op: str) -> Node:
    build, shape = CASES[name]
    return [node for node in rfgraph.analyze(build(), shape).captured if node.op == op][-1]


def is_same(one: Node, other: Node) -> bool:
    """The same node at one size: wrong tables are of that size."""
    return (one.name, one.shape) == (other.name, other.shape)


def told_apart(name: str, op: str, node: Node, wrong: Reads) -> bool:
    """True where the wrong reads say something else of some position of the node."""

    def altered(at: Node) -> Reads:
        return wrong if is_same(at, node) else VOCABULARY.operators[op].rule(at)

    build, shape = CASES[name]
    right = rfgraph.analyze(build(), shape)[node.name]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rfgraph.analysis.VOCABULARY", taught(op, altered))
        other = rfgraph.analyze(build(), shape)[node.name]
    try:
        return _sets(right, right.dims, len(shape)) != _sets(other, right.dims, len(shape))
    except InputError:  # it reads nothing any more
        return True


def _sets(
    node: rfgraph.NodeReport, dims: Sequence[int], rank: int
) -> dict[tuple[int, ...], set[int]]:
    """(axis, *position over dims) -> what is read there, whatever the other dims."""
    found: dict[tuple[int, ...], set[int]] = {}
    for axis in range(rank - 2):
        for place in np.ndindex(*node.shape):
            key = axis, *(place[dim] for dim in dims)
            found.setdefault(key, set()).update(node.reads(axis, place).tolist())
    return found


@pytest.mark.parametrize("name", PLACES)
def test_a_wrong_reading_is_blamed_on_its_node(name: str) -> None:
    op = PLACES[name]
    node = last(name, op)
    seen: dict[str, tuple[str, Reads]] = {}
    for label, wrong in mutants(reads_of(node, VOCABULARY), node):
        kind = label.partition(",")[0]
        if kind not in seen and told_apart(name, op, node, wrong):
            seen[kind] = label, wrong
    assert len(seen) > 1
    for label, wrong in seen.values():

        def altered(at: Node, wrong: Reads = wrong) -> Reads:
            return wrong if is_same(at, node) else VOCABULARY.operators[op].rule(at)

        check = verified(name, taught(op, altered))
        assert check.blame is not None and check.blame.node == node.name, f"{label}: {check}"


# --- what is fixed ----------------------------------------------------------------------------------

Masks = Callable[[Params, Shape], Masked | None]


def fixing(op: str, masks: Masks | None) -> Vocabulary:
    """A vocabulary in which `op` fixes something else."""
    vocabulary = taught(op, VOCABULARY.operators[op].rule)
    replaced = replace(vocabulary.operators[op], masks=masks)
    vocabulary.operators[op] = replaced
    for table in (vocabulary.functions, vocabulary.methods, vocabulary.modules):
        table.update({k: (replaced, own) for k, (o, own) in table.items() if o.name == op})
    return vocabulary


LOST = {
    "causal: boolean": "masked_fill",
    "causal: minus 1e4": "add",
    "causal: taken off": "sub",
    "causal: where": "where",
    "causal: multiplied": "mul",
    "causal: exponentiated": "exp",
    "causal: sigmoid": "sigmoid",
    "causal: tril": "tril",
    "causal: retention": "mul",
    "causal: mlstm": "exp",
    "causal: mamba 2": "exp",
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_of_a_mask_is_noticed(name: str) -> None:
    check = verified(name, fixing(LOST[name], None))
    assert not check.agrees, str(check)
    assert check.mismatches[0].kind == "overstated"


@pytest.mark.parametrize("name", LOST)
def test_an_entry_that_is_fixed_in_error_is_noticed(name: str) -> None:
    op = LOST[name]
    masks = VOCABULARY.operators[op].masks
    assert masks is not None

    def more(params: Params, shape: Shape) -> Masked | None:
        found = masks(params, shape)
        if found is None or len(shape) < 2:
            return found
        where = found.where.expand(shape).clone()
        where.diagonal(dim1=-2, dim2=-1).fill_(True)  # no query sees its own key
        return Masked(where, found.value)

    check = verified(name, fixing(op, more))
    assert not check.agrees, str(check)
    assert check.mismatches[0].kind == "understated"


@pytest.mark.parametrize("name", ["PixelCNN A: multiplied", "matrix: tril", "matrix: toeplitz"])
def test_a_parameter_that_is_taken_for_fixed_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(value: torch.Tensor, test: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        where = test(value)
        where[..., 0, :] = True  # weights that are no mask's
        return where

    monkeypatch.setattr("rfgraph.rules.zeros._settled", careless)
    check = verified(name, VOCABULARY)
    assert not check.agrees and check.mismatches[0].kind == "understated", str(check)
