"""Faults to plant in rules: each alters what a rule says in one way that a wrong rule might.

In: a rule. Out: the same rule, wrong. A mutator that does not apply to
a read gives None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node
from rfgraph.language.reads import Law, Place, Read, Reads, along, every, fixed, whole
from rfgraph.language.vocabulary import Vocabulary
from rfgraph.rules import VOCABULARY

Mutator = Callable[[Place, int, int, Node], Place | None]
"""(what is read along one dim, which dim of the operand, its size, the node) -> a wrong reading."""


def _bent(place: Place, change: Callable[[Relation], Relation]) -> Place | None:
    """The place with another law, where its law says all: along one dim, or of a table."""
    law = place.law
    if law is None or law.extent is not None or len(place.dims) != 1:
        return None
    return replace(place, law=replace(law, relation=change(law.relation)))


def shifted(place: Place, dim: int, size: int, node: Node) -> Place | None:
    """A wrong padding: everything is read one further."""
    law = place.law
    if place.is_whole or (law is not None and law.extent is not None):
        return None
    if not place.dims:
        return replace(
            place, law=Law((), law.relation.shift(1 if law.relation.offset + 1 < size else -1))
        )
    bent = _bent(place, lambda law: law.shift(1)) or place
    return _tabled(bent, lambda members: {(i + 1) % size for i in members})


def widened(place: Place, dim: int, size: int, node: Node) -> Place | None:
    """A kernel one too large."""
    bent = _bent(place, lambda law: law.join(law.shift(1)))
    if place.at is None:
        return bent
    return _tabled(bent or place, lambda members: {j % size for i in members for j in (i, i + 1)})


def _tabled(place: Place, change: Callable[[Iterable[int]], Iterable[int]]) -> Place:
    """The place, whose table reads something else; without one, as it is."""
    at = place.at
    return place if at is None else replace(place, at=lambda o: change(at(o)))


def narrowed(place: Place, dim: int, size: int, node: Node) -> Place | None:
    """A kernel one too small."""
    if place.is_whole:
        return fixed(0) if size > 1 else None
    if place.at is not None:
        return _tabled(place, lambda members: sorted(members)[:-1])
    law = place.law
    if not place.dims or law.extent is not None or all(len(p) <= 1 for p in law.relation.phases):
        return None

    def less(relation: Relation) -> Relation:
        kept = [p[:-1] if len(p) > 1 else p for p in relation.phases]
        sets = [Relation.constant(phase).sets[0] for phase in kept]
        return Relation(relation.period, relation.advance, sets)

    return _bent(place, less)


def restrided(place: Place, dim: int, size: int, node: Node) -> Place | None:
    """A stride twice too large."""
    at = place.at
    if at is None:
        return _bent(place, lambda law: Relation.window(1, 2).compose(law))
    if len(place.dims) != 1 or node.shape[place.dims[0]] == 1:
        return None
    count = node.shape[place.dims[0]]
    return replace(place, at=lambda o: at((2 * o[0] % count,)), law=None, reason="wrong")


def spread(place: Place, dim: int, size: int, node: Node) -> Place | None:
    """A dilation one too large: positions move away from the first that is read."""
    if place.at is not None or place.law is None or not place.dims or place.law.extent is not None:
        return None
    law = place.law.relation
    if all(len(phase) <= 1 for phase in law.phases) or not all(law.phases):
        return None
    apart = [Relation.constant(2 * i - p[0] for i in p).sets[0] for p in law.phases]
    return _bent(place, lambda law: Relation(law.period, law.advance, apart))


def all_of_it(place: Place, dim: int, size: int, node: Node) -> Place | None:
    """The whole dim in the place of a part of it."""
    return None if place.is_whole or _is_split(place) or size < 2 else every("linear")


def one_of_it(place: Place, dim: int, size: int, node: Node) -> Place | None:
    """The same position in the place of the whole dim."""
    fits = dim < len(node.shape) and node.shape[dim] == size > 1
    return along(dim) if (place.is_whole or _is_split(place) or not place.dims) and fits else None


def _is_fixed(place: Place) -> bool:
    return not place.dims and not place.is_whole


def _is_split(place: Place) -> bool:
    """One dim of a reshape."""
    return place.law is not None and place.law.extent is not None


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
                wrong = mutator(entry, dim, read.sizes(node.operand_shapes)[dim], node)
                if wrong is not None and wrong != entry:
                    yield (
                        f"{mutator.__name__}, read {number}, dim {dim}",
                        _with(reads, number, (*read.dims[:dim], wrong, *read.dims[dim + 1 :])),
                    )
        for dim in range(len(read.dims) - 1):
            swapped = list(read.dims)
            swapped[dim : dim + 2] = reversed(swapped[dim : dim + 2])
            if not any(_is_split(entry) or _is_fixed(entry) for entry in swapped):
                yield f"swapped, read {number}, dim {dim}", _with(reads, number, tuple(swapped))
        if any(map(_is_split, read.dims)):
            everything = tuple(every("linear") for _ in read.dims)
            yield f"all of it, read {number}", _with(reads, number, everything)
        yield f"forgotten, read {number}", (*reads[:number], *reads[number + 1 :])


def _with(reads: Reads, number: int, dims: tuple[Place, ...]) -> Reads:
    return (*reads[:number], Read(reads[number].operand, dims), *reads[number + 1 :])


def taught(op: str, wrong: Callable[[Node], Reads]) -> Vocabulary:
    """A vocabulary in which `op`, in every spelling, has another rule."""
    vocabulary = VOCABULARY.copy()
    replaced = replace(vocabulary.operators[op], rule=wrong)
    vocabulary.operators[op] = replaced
    for table in (vocabulary.functions, vocabulary.methods, vocabulary.modules):
        table.update({k: (replaced, own) for k, (o, own) in table.items() if o.name == op})
    return vocabulary
