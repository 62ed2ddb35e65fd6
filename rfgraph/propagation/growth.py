"""`Growth`: which dims of which node are longer where the input's tracked axes are.

In: readings, the tracked axes. Out: the dims that one axis has for itself, when they are asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from rfgraph.algebra.digits import Digit, growing, plain, stretch
from rfgraph.graph import Axis, Node, Shape
from rfgraph.language.readings import Readings
from rfgraph.language.reads import Place, Read, unmoved

Factors: TypeAlias = frozenset[Digit]
"""Of a dim: the digits of its index that go on where an axis is longer. Tokens of height and width have two;
channels and the places of windows have none."""

_UNKNOWN: Factors = frozenset({Digit(-1, 0), Digit(-1, 1)})  # not one, whatever they are


class Growth:
    """How the size of every dim depends on the input's.

    A dim that grows with one axis alone is in steps of it at any size, whatever a reshape has split off it or
    merged into it.
    """

    def __init__(self, readings: Readings, axes: Collection[Axis]) -> None:
        self._readings = readings
        self._axes = frozenset(axes)
        self._factors: dict[str, tuple[Factors, ...]] = {}
        self._own: dict[str, frozenset[int]] = {}
        self._nodes = iter(readings.graph)

    def own(self, name: str) -> frozenset[int]:
        """The dims of a node that grow with one axis alone."""
        found = self._own.get(name)
        if found is None:
            factors = enumerate(self._factors_of(name))
            found = self._own[name] = frozenset([d for d, each in factors if len(each) == 1])
        return found

    def growing(self, name: str) -> frozenset[int]:
        """The dims of a node that grow with any axis."""
        return frozenset(d for d, each in enumerate(self._factors_of(name)) if each)

    def merged(self, name: str) -> frozenset[int]:
        """The dims of a node that grow with several axes, as tokens do."""
        return frozenset(d for d, each in enumerate(self._factors_of(name)) if len(each) > 1)

    def _factors_of(self, name: str) -> tuple[Factors, ...]:
        """Of each dim of a node."""
        while name not in self._factors:
            node = next(self._nodes)
            self._factors[node.name] = self._entered(node) if node.op == "input" else self._at(node)
        return self._factors[name]

    def _entered(self, node: Node) -> tuple[Factors, ...]:
        tracked = (Axis(node.name, dim) in self._axes for dim in range(len(node.shape)))
        return tuple(frozenset([Digit(dim)] * grows) for dim, grows in enumerate(tracked))

    def _at(self, node: Node) -> tuple[Factors, ...]:
        reads = self._readings[node.name]
        if len(reads) == 1 and is_unmoved(reads[0], node.shape):  # as most are
            return self._factors[node.operands[reads[0].operand]]
        if not any(any(self._factors[name]) for name in node.operands):
            return (frozenset(),) * len(node.shape)
        found: list[Factors] = [frozenset()] * len(node.shape)
        said: set[int] = set()  # the dims that go along one of an operand
        lost = False
        for read in reads:
            own = self._factors[node.operands[read.operand]] or (frozenset(),) * len(read.dims)
            for dim, factors in _carried(read, own, node.shape).items():
                found[dim] = max(found[dim], factors, key=len)
            said.update(dim for place in read.dims for dim in place.dims)
            lost |= any(each and place.is_whole for place, each in zip(read.dims, own, strict=True))
        # A dim that goes along none may be as long as one that is read whole, as a spectrum is.
        rest = _UNKNOWN if lost else frozenset()
        return tuple(found[dim] if dim in said else rest for dim in range(len(node.shape)))


def is_unmoved(read: Read, shape: Shape) -> bool:
    """True where every position of a tensor of `shape` reads the same of its operand."""
    is_as_long = len(read.dims) == len(shape)
    return is_as_long and all(place is unmoved(dim) for dim, place in enumerate(read.dims))


def _carried(read: Read, own: tuple[Factors, ...], shape: Shape) -> dict[int, Factors]:
    """The factors of a node's dims by one read of an operand: merged dims have those of all."""
    found: dict[int, Factors] = {}
    unknown: set[int] = set()
    for place, factors in zip(read.dims, own, strict=True):
        for factor in factors:
            moved = _moved(factor, place, shape, len(factors) == 1)
            if moved is None:
                unknown.update(place.dims)
            else:
                found[moved.dim] = found.get(moved.dim, frozenset()) | {moved}
    return {**found, **dict.fromkeys(unknown, _UNKNOWN)}


def _moved(factor: Digit, place: Place, shape: Shape, alone: bool) -> Digit | None:
    """Where a factor of an operand's dim goes, as a digit of a node of `shape`; None: not known.

    `alone`: it is the dim's only one, and grows as the index does.
    """
    law = place.law
    if len(place.dims) == 1 and place is unmoved(place.dims[0]):
        return plain(place.dims[0])[0] if alone else Digit(place.dims[0], *factor[1:])
    if law is not None and law.extent is not None:
        parts = stretch(factor, law.digits, law.weight, law.extent, shape)
        return growing(tuple(parts), shape)._replace(coefficient=1) if parts else None
    if alone and law is not None and law.digits:
        return growing(law.digits, shape)._replace(coefficient=1)
    return Digit(place.dims[0]) if alone and len(place.dims) == 1 else None
