"""Positions that are picked near a border: what they read, where padding of a map on the way reads nothing.

In: a look. Out: the same, in which closed forms that do not move are exact at the beginning of the axis, and
those that depend on where it ends hold at this size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rfgraph.algebra.digits import plain
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Axis, Node
from rfgraph.language.reads import Place, Read
from rfgraph.propagation.past import goes_round
from rfgraph.propagation.periodic import Periodic
from rfgraph.propagation.scans import Scan
from rfgraph.propagation.trail import extend
from rfgraph.sizes.look import Look, rows

ENDS = "reads from the other end, which another size moves"


class _UntoldError(Exception):
    """The axis lies along no one dim on the way, so that its positions are not told from each other."""


def bordered(one: Look) -> Look:
    """The look in which what is read at given positions leaves out the paddings on the way."""
    if not any(_is_picked(value) for row in rows(one) for value in row.values()):
        return one
    order = list(one.graph)
    values = dict(one.values)
    for place, node in enumerate(order):
        row = one.values[node.name]
        if node.op != "input" and any(map(_is_picked, row.values())):
            before = order[place::-1]
            values[node.name] = {axis: _at_border(one, before, axis) for axis in row}
    return replace(one, values=values)


def _is_picked(value: Periodic) -> bool:
    """Its local reads are of given positions alone, or of none, at any size."""
    is_fixed = all(scan.relation is not None and not scan.digits for scan in value.local)
    return value.limits is None and value.whole is None and not value.past and is_fixed


def _at_border(one: Look, before: list[Node], axis: Axis) -> Periodic:
    """What the first of some nodes, from it backwards, reads of an axis."""
    value = one.values[before[0].name][axis]
    if not _is_picked(value):
        return value
    law = {i for scan in value.local if scan.relation for i in scan.relation.at(0)}
    try:
        found = _Way(one, axis).back(before)
    except _UntoldError:
        return value
    if found.ends:
        return replace(value, limits=extend(None, found.ends[-1], ENDS))
    members = found.members if found.folded else found.members & law
    if members == {i for i in law if i >= 0}:
        return value
    scan = next(iter(value.local), Scan(None, ()))
    scans = (replace(scan, relation=Relation.constant(members)),)
    return replace(value, local=scans if members else ())


@dataclass
class _Way:
    """The way back from a node to an input.

    Attributes:
        needed: of each node, the positions that are read, along the dim that carries the axis; 0 of what
            reads the same at all.
        folded: a padding on the way reads real positions near the beginning, as one that reflects does.
        ends: the nodes whose padding reads from the other end.
    """

    look: Look
    axis: Axis
    needed: dict[str, set[int]] = field(default_factory=dict)
    folded: bool = False
    ends: list[str] = field(default_factory=list)

    @property
    def members(self) -> set[int]:
        """The positions of the input."""
        return self.needed.get(self.axis.input, set())

    def back(self, nodes: list[Node]) -> _Way:
        """Go back from the first of some nodes, each before those that it reads."""
        self.needed[nodes[0].name] = {0}
        for node in nodes:
            if self.needed.get(node.name) and node.op != "input":
                for read in self.look.readings[node.name]:
                    self._through(node, read)
        return self

    def _through(self, node: Node, read: Read) -> None:
        name = node.operands[read.operand]
        value = self.look.values[name].get(self.axis)
        if value is None:
            return
        dim, needed = _dim(value), self.needed.setdefault(name, set())
        if dim is None:
            needed.add(0)
            return
        size, place = read.sizes(node.operand_shapes)[dim], read.dims[dim]
        is_crop = all(scan.crop is not None for scan in value.scans)
        if place.is_whole:  # of the axis, it is left out
            needed.update(range(size) if is_crop else ())
            return
        taken = self._taken(node, place, size)
        needed.update(i for i in taken if i >= 0 and (i < size or not is_crop))

    def _taken(self, node: Node, place: Place, size: int) -> Iterable[int]:
        """The positions of an operand's dim of `size` that are read by those of the node that are needed."""
        law = place.law
        if law is None or law.extent is not None:
            raise _UntoldError
        if not law.digits:
            return law.relation.sets[0].members()
        dim = _dim(self.look.values[node.name][self.axis])
        if dim is None and len(place.dims) == 1 and node.shape[place.dims[0]] == 1:
            dim = place.dims[0]  # one position of a crop
        if dim is None or law.digits != plain(dim):
            raise _UntoldError
        found: set[int] = set()
        for output in self.needed[node.name]:
            reads = set(law.at((output,), (dim,)))
            if place.at is not None and place.dims == (dim,) and output < node.shape[dim]:
                if _is_folded(place, output, size):
                    is_end = any(i >= size for i in reads)  # where its law says, at another size
                    reads = set(place.positions((output,)))
                    self.folded = True
                    is_end = is_end or any(2 * i >= size for i in reads)
                    is_end = is_end or goes_round(place, law, output, size, node.shape[dim])
                    self.ends += [node.name] * is_end
                elif not reads.issuperset(place.positions((output,))):  # near the end, at this size
                    self.ends.append(node.name)
            found |= reads
        return found


def _dim(value: Periodic) -> int | None:
    """The one dim that carries the axis; None where a value reads the same at all positions."""
    moving = {scan.digits for scan in value.scans if scan.digits}
    if not moving:
        return None
    digits = moving.pop()
    if (
        moving
        or any(scan.relation is None for scan in value.scans)
        or digits != plain(digits[0].dim)
    ):
        raise _UntoldError
    return digits[0].dim


def _is_folded(place: Place, output: int, size: int) -> bool:
    """Does a position, and all before it, read other positions than its law says, as near a beginning?

    Or more often: what padding folds onto a position that is read anyway folds elsewhere at another size.
    """
    return not any(_is_by_law(place, o, size) for o in range(output + 1))


def _is_by_law(place: Place, output: int, size: int) -> bool:
    """A position reads what its law says of a dim of `size`."""
    law = place.law
    assert law is not None and len(place.dims) == 1
    told = {i for i in law.at((output,), place.dims) if 0 <= i < size}
    return sorted(place.positions((output,))) == sorted(told)
