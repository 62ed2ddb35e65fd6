"""Faults to plant in rules: each alters what a rule says in one way that a wrong rule might.

In: a rule. Out: the same rule, wrong. Callers: `test_seeded_faults.py`. A mutator that does not apply to
a read gives None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from rfgraph.graph import Node
from rfgraph.operators import Vocabulary
from rfgraph.reads import (
    Along,
    DimRead,
    Fixed,
    Lookup,
    Read,
    Reads,
    Regroup,
    Table,
    Whole,
    along,
    whole,
)
from rfgraph.relation import Relation
from rfgraph.rules import VOCABULARY

Mutator = Callable[[DimRead, int, int, Node], DimRead | None]
"""(what is read of one dim, which dim of the operand, its size, the node) -> a wrong reading."""


def _law(read: DimRead, change: Callable[[Relation], Relation]) -> DimRead | None:
    return Along(read.dim, change(read.relation)) if isinstance(read, Along) else None


def shifted(read: DimRead, dim: int, size: int, node: Node) -> DimRead | None:
    """A wrong padding: everything is read one further."""
    match read:
        case Along():
            return _law(read, lambda law: law.shift(1))
        case Fixed():
            return replace(read, index=(read.index + 1) % size)
        case Table():
            law = None if read.relation is None else read.relation.shift(1)
            return replace(read, at=lambda o: {(i + 1) % size for i in read.at(o)}, relation=law)
        case Lookup():
            return replace(read, at=lambda o: {(i + 1) % size for i in read.at(o)})
    return None


def widened(read: DimRead, dim: int, size: int, node: Node) -> DimRead | None:
    """A kernel one too large."""
    match read:
        case Along():
            return _law(read, lambda law: law.join(law.shift(1)))
        case Table():
            more = lambda o: {j % size for i in read.at(o) for j in (i, i + 1)}  # noqa: E731
            law = None if read.relation is None else read.relation.join(read.relation.shift(1))
            return replace(read, at=more, relation=law)
        case Lookup():
            return replace(read, at=lambda o: {j % size for i in read.at(o) for j in (i, i + 1)})
    return None


def narrowed(read: DimRead, dim: int, size: int, node: Node) -> DimRead | None:
    """A kernel one too small."""
    match read:
        case Along():
            sets = read.relation.phases
            if all(len(phase) <= 1 for phase in sets):
                return None
            law = read.relation
            kept = [Relation.constant(p[:-1] if len(p) > 1 else p).sets[0] for p in sets]
            return Along(read.dim, Relation(law.period, law.advance, kept))
        case Table() | Lookup():
            return replace(read, at=lambda o: sorted(read.at(o))[:-1])
        case Whole():
            return Fixed(0) if size > 1 else None
    return None


def restrided(read: DimRead, dim: int, size: int, node: Node) -> DimRead | None:
    """A stride twice too large."""
    if isinstance(read, Table) and node.shape[read.dim] > 1:
        count = node.shape[read.dim]
        return replace(read, at=lambda o: read.at(2 * o % count), relation=None, reason="wrong")
    return _law(read, lambda law: Relation.window(1, 2).compose(law))


def spread(read: DimRead, dim: int, size: int, node: Node) -> DimRead | None:
    """A dilation one too large: positions move away from the first that is read."""
    if not isinstance(read, Along) or all(len(phase) <= 1 for phase in read.relation.phases):
        return None
    law = read.relation
    apart = [Relation.constant(2 * i - p[0] for i in p).sets[0] for p in law.phases if p]
    return Along(read.dim, Relation(law.period, law.advance, apart)) if all(law.phases) else None


def all_of_it(read: DimRead, dim: int, size: int, node: Node) -> DimRead | None:
    """The whole dim in the place of a part of it."""
    return None if isinstance(read, Whole | Regroup) or size < 2 else Whole("linear")


def one_of_it(read: DimRead, dim: int, size: int, node: Node) -> DimRead | None:
    """The same position in the place of the whole dim."""
    fits = dim < len(node.shape) and node.shape[dim] == size > 1
    return along(dim) if isinstance(read, Whole | Regroup | Fixed) and fits else None


MUTATORS: tuple[Mutator, ...] = (
    *(shifted, widened, narrowed, restrided, spread, all_of_it, one_of_it),
)


def mutants(reads: Reads, node: Node) -> Iterator[tuple[str, Reads]]:
    """Every wrong version of a rule's reads: one dim of one read, a read left out, one made up."""
    if not reads and node.operands:
        yield "invented", (whole(len(node.operand_shapes[0]), "linear"),)
    for number, read in enumerate(reads):
        for mutator in MUTATORS:
            for dim, entry in enumerate(read.dims):
                wrong = mutator(entry, dim, node.operand_shapes[read.operand][dim], node)
                if wrong is not None and wrong != entry:
                    yield (
                        f"{mutator.__name__}, read {number}, dim {dim}",
                        _with(reads, number, (*read.dims[:dim], wrong, *read.dims[dim + 1 :])),
                    )
        for dim in range(len(read.dims) - 1):
            swapped = list(read.dims)
            swapped[dim : dim + 2] = reversed(swapped[dim : dim + 2])
            if not any(isinstance(entry, Regroup | Fixed) for entry in swapped):
                yield f"swapped, read {number}, dim {dim}", _with(reads, number, tuple(swapped))
        if any(isinstance(entry, Regroup) for entry in read.dims):
            everything = tuple(Whole("linear") for _ in read.dims)
            yield f"all of it, read {number}", _with(reads, number, everything)
        yield f"forgotten, read {number}", (*reads[:number], *reads[number + 1 :])


def _with(reads: Reads, number: int, dims: tuple[DimRead, ...]) -> Reads:
    return (*reads[:number], Read(reads[number].operand, dims), *reads[number + 1 :])


def taught(op: str, wrong: Callable[[Node], Reads]) -> Vocabulary:
    """A vocabulary in which `op`, in every spelling, has another rule."""
    vocabulary = VOCABULARY.copy()
    replaced = replace(vocabulary.operators[op], rule=wrong)
    vocabulary.operators[op] = replaced
    for table in (vocabulary.functions, vocabulary.methods, vocabulary.modules):
        table.update({k: (replaced, own) for k, (o, own) in table.items() if o.name == op})
    return vocabulary
