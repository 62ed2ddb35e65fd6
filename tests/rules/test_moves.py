"""`moves()` held to what it claims beyond the analysed size, and in whole models.

A law without a reason is one at any size: it is read off at one size and held to the operator alone at sizes
that the rule never asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph.algebra.relation import Relation
from rfgraph.language.reads import Place, Read, along
from rfgraph.rules import VOCABULARY, moves
from tests.rules import examples_layout, examples_moves
from tests.rules.claims import Claim
from tests.rules.dependence import dependence
from tests.rules.examples import Example, ex, w
from tests.rules.lowering import rows

ALONE = [
    pytest.param(op, example, id=f"{op}-{number}")
    for op, examples in (
        *sorted(examples_moves.EXAMPLES.items()),
        ("diagonal", examples_layout.EXAMPLES["diagonal"]),
    )
    for number, example in enumerate(examples)
    if not example.conservative
]


def larger(example: Example) -> Iterator[Example]:
    """The example with one dim of all its operands one position larger."""
    for dim in range(max(map(len, example.shapes))):
        shapes = (tuple(n + (d == dim) for d, n in enumerate(own)) for own in example.shapes)
        yield replace(example, shapes=tuple(shapes))


def broken(read: Read, seen: np.ndarray, rank: int) -> Iterator[str]:
    """Where a law that is said without a reason is not what was seen."""
    for place in np.argwhere(seen):
        output, position = place[:rank], place[rank:]
        for number, dim in enumerate(read.dims):
            said: list[int] | None = None
            if dim.at is None and dim.dims and dim.law.extent is None:
                said = rows(dim.law.relation, int(output[dim.dims[0]]))
            if not dim.dims and not dim.is_whole and not dim.reason:
                said = [dim.law.relation.offset]
            if said is not None and int(position[number]) not in said:
                yield f"dim {number} reads {said} at {tuple(output)}, not {tuple(position)}"


def complaints(op: str, example: Example) -> list[str]:
    """What the laws of an example say wrongly at larger sizes."""
    claim = Claim(op, example, VOCABULARY)
    found: list[str] = []
    for other in larger(example):
        try:
            seen = dependence(other, until=Claim(op, other, VOCABULARY).dependence)
        except (RuntimeError, IndexError, ValueError, rfgraph.RfgraphError):
            continue  # the operator does not take these sizes
        for node, reads, truth in zip(claim.nodes, claim.reads, seen, strict=False):
            for read in reads:
                operand = list(claim.graph.inputs).index(node.operands[read.operand])
                found += broken(read, truth[operand], len(node.shape))
    return found


@pytest.mark.parametrize(("op", "example"), ALONE)
def test_a_law_without_a_reason_holds_at_other_sizes(op: str, example: Example) -> None:
    assert complaints(op, example) == []


def test_a_law_of_one_size_alone_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves._Moved, "along", _from_here)
    assert complaints("rot90", ex(torch.rot90, (2, 3)))


def _from_here(self: moves._Moved, dim: int) -> tuple[Place, tuple[int, ...]]:
    dims, table = moves._decided(self.here, dim)
    line = moves._line(dims, table)
    assert line is not None
    return along(line.dim, line.law()), dims


# --- closed forms ---------------------------------------------------------------------------------


def reads_of(function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> list[Read]:
    claim = Claim("", ex(function, *shapes), VOCABULARY)
    return list(claim.reads[0])


def test_what_an_operand_alone_fills_has_a_law_at_any_size() -> None:
    """A class token of the model before the patches, in another spelling than `cat`."""
    (read,) = reads_of(lambda x: torch.hstack((w(2, 1), x)), (2, 3))
    assert read.dims == (along(0, Relation.identity()), along(1, Relation.window(1, 1, 1, 1)))


def test_a_turn_keeps_the_dim_that_it_does_not_count() -> None:
    (read,) = reads_of(torch.rot90, (2, 3))
    kept, turned = read.dims
    assert kept == along(1, Relation.identity())
    assert turned.at is not None and turned.reason and turned.law is not None
    assert turned.law.relation.advance == -1


def test_a_diagonal_keeps_its_law_and_reads_nothing_beside_it() -> None:
    (read,) = reads_of(torch.diag_embed, (2, 3))
    first, last = read.dims
    assert first == along(0, Relation.identity())
    assert len(last.dims) == 2 and last.law == along(1, Relation.identity()).law
    assert list(last.at((2, 2))) == [2] and list(last.at((2, 1))) == []


def test_where_several_tensors_stand_there_is_no_law() -> None:
    for read in reads_of(lambda x, y: torch.hstack((x, y)), (2, 3), (2, 4)):
        assert read.dims[0] == along(0, Relation.identity())
        assert read.dims[1].at is not None and read.dims[1].law is None


# --- in a model -----------------------------------------------------------------------------------


class Between(nn.Module):
    """A convolution, an operator, a convolution."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.before = nn.Conv2d(2, 2, (3, 2), stride=(2, 1), padding=(1, 0))
        self.after = nn.Conv2d(2, 2, (2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.function(self.before(x)))


IN_MODELS: dict[str, Callable[[Tensor], Tensor]] = {
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "hstack": lambda x: torch.hstack((x[:, :1], x[:, 1:])),
    "dstack": lambda x: torch.dstack((x, x.flip(2))),
    "hsplit": lambda x: torch.cat(x.hsplit(2), 1),
    "take_along_dim": lambda x: x.take_along_dim(torch.tensor([4, 0, 2, 3]).reshape(1, 1, 4, 1), 2),
    "fftshift": lambda x: torch.fft.fftshift(x, dim=(2, 3)),
    "as_strided": lambda x: x.as_strided((1, 2, 3, 5), (120, 60, 24, 1)),
    "kron": lambda x: torch.kron(x, torch.ones(1, 1, 2, 1)),
    "diff": lambda x: x.diff(2, dim=2),
    "roll": lambda x: x.roll(5),
}


@pytest.mark.parametrize("name", IN_MODELS)
def test_a_model_with_it_is_exact(name: str) -> None:
    check = rfgraph.verify(Between(IN_MODELS[name]), (1, 2, 11, 13))
    assert check and check.exact, str(check)
