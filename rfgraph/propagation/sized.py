"""The sized domain: at one input size, what every single position reads, borders included.

In: reads. Out: `Sized` values: arrays of sets over the tensor's own dims.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np

from rfgraph.graph import Carry, Node
from rfgraph.language.reads import Read
from rfgraph.propagation.crops import bounds
from rfgraph.propagation.image import Step
from rfgraph.propagation.lattice import Array, Lattice
from rfgraph.propagation.masked import leaves_out
from rfgraph.propagation.parts import Part, carried_on, is_unbounded
from rfgraph.propagation.trail import Trail, extend, merge


class TooLargeError(MemoryError):
    """The sets exceed the budget of the domain."""


@dataclass(frozen=True, eq=False)
class Sized:
    """What each position of a tensor reads of one axis.

    Attributes:
        parts: whole-axis reads left out, each with dims of its own: attention scores carry an axis along
            the queries and along the keys.
        added: sets as in a part, what whole-axis reads added; None where there are none.
        whole: the nodes that read the whole axis, with the kind of read.
        carries: what the node made of the parts of its operands.
        masked: the node, where the model fixes positions of it.
    """

    parts: tuple[Part, ...]
    added: Array | None = None
    whole: Trail | None = None
    carries: tuple[Carry, ...] = ()
    masked: Node | None = None

    def local(self, lattice: Lattice) -> Array | None:
        """What is read, whole-axis reads left out; None where nothing is left."""
        return _united([part.sets for part in self.parts], lattice)

    def sets(self, lattice: Lattice) -> Array | None:
        """All that is read."""
        arrays = [part.sets for part in self.parts]
        return _united(arrays if self.added is None else [*arrays, self.added], lattice)


_NO_TABLES: Mapping[str, frozenset[int]] = {}
_NO_DIMS: frozenset[int] = frozenset()


class SizedDomain:
    """Composes reads into sets (theory: sized answers).

    Raises `TooLargeError` where the sets of all tensors together exceed `budget` bytes (None: no limit).

    Args:
        tables: the nodes that put positions that were picked one by one side by side, and the dims along
            which, which carry the axis from there on.
        growing: the dims of a node that are longer where an axis is.
        untold: the dims of nodes over which positions need not be told apart.
    """

    def __init__(
        self,
        lattice: Lattice,
        budget: int | None = None,
        tables: Mapping[str, frozenset[int]] = _NO_TABLES,
        growing: Callable[[str], Collection[int]] = lambda name: (),
        untold: Mapping[str, frozenset[int]] = _NO_TABLES,
    ) -> None:
        self.lattice = lattice
        self._untold = untold
        self._growing = growing
        self._left = budget
        self._tables = tables

    def initial(self, node: Node, dim: int) -> Sized:
        length, width = self.lattice.length, self.lattice.width
        if self._left is not None and length * width * 8 > self._left:
            raise TooLargeError(f"the sets of {length} positions exceed the budget")
        shape = [1] * len(node.shape)
        shape[dim] = length
        sets = self.lattice.singletons().reshape(*shape, width)
        dims = frozenset((dim,))
        return Sized((Part(dims, dims, sets),))

    def keeps(self, read: Read, node: Node) -> bool:
        return False  # each node's value says what it is carried by

    def compose(self, value: Sized, read: Read, node: Node) -> Sized | None:
        if 0 in node.operand_shapes[read.operand]:  # there is nothing in it to read
            return None
        untold = _NO_DIMS if node.masked is not None else self._untold.get(node.name, _NO_DIMS)
        shapes = read.sizes(node.operand_shapes), node.shape
        step = Step(self.lattice, read.dims, *shapes, untold)
        image = partial(self._image, step, node)
        whole = value.whole
        added = [] if value.added is None else [image(value.added)]
        parts: list[Part] = []
        carries: list[Carry] = []
        masked = node if node.masked is not None else None
        is_left = value.masked is not None and leaves_out(read, value.masked, node)
        for source in value.parts:
            part = replace(source, dims=source.unmasked) if is_left else source
            sets = image(part.sets)
            growing = partial(self._growing, node.operands[read.operand])
            is_crop = part.bounded or bounds(part.dims, read.dims, growing)
            if not part.bounded and is_unbounded(part, read.dims):
                added.append(sets)
                whole = extend(whole, node.name, read.dims[min(part.dims)].kind)
                carries.append(Carry(read.operand, source.unmasked, None))
            else:
                laid = frozenset() if part.dims else self._tables.get(node.name, frozenset())
                carried = carried_on(part, sets, read.dims, node, laid)
                parts.append(replace(carried, bounded=True) if is_crop and not laid else carried)
                carries.append(Carry(read.operand, source.unmasked, parts[-1].unmasked))
        return Sized(self._merged(parts), self._union(added), whole, tuple(carries), masked)

    def join(self, values: Sequence[Sized], node: Node) -> Sized | None:
        if not values:
            return None
        return Sized(
            self._merged([part for value in values for part in value.parts]),
            self._union([value.added for value in values if value.added is not None]),
            reduce(merge, (value.whole for value in values)),
            tuple(carry for value in values for carry in value.carries),
            values[0].masked,
        )

    def _merged(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """One part for equal dims."""
        together: dict[tuple[frozenset[int], frozenset[int]], list[Part]] = {}
        for part in parts:
            together.setdefault((part.dims, part.unmasked), []).append(part)
        merged: list[Part] = []
        for (dims, unmasked), alike in together.items():
            sets = self._union([part.sets for part in alike])
            if sets is not None:
                merged.append(Part(dims, unmasked, sets, all(part.bounded for part in alike)))
        return tuple(merged)

    def _image(self, step: Step, node: Node, sets: Array) -> Array:
        """What the node reads of these sets of its operand, but where the model fixes its value."""
        image = step.image(sets)
        hiding = None if node.masked is None else node.masked.hiding
        if hiding is not None:
            image = self._unmasked(image, np.asarray(hiding))
        self._charge(image)
        return image

    def _unmasked(self, sets: Array, where: Array) -> Array:
        where = where.reshape(*(1,) * (sets.ndim - 1 - where.ndim), *where.shape)
        shape = np.broadcast_shapes(where.shape, sets.shape[:-1])
        result: Array = np.broadcast_to(sets, (*shape, self.lattice.width)).copy()
        result[np.broadcast_to(where, shape)] = self.lattice.empty()
        return result

    def _union(self, arrays: Sequence[Array]) -> Array | None:
        """The union of some arrays; None of none."""
        united = _united(arrays, self.lattice)
        if united is not None and len(arrays) > 1:
            self._charge(united)
        return united

    def _charge(self, sets: Array) -> None:
        if self._left is not None:
            self._left -= sets.nbytes
            if self._left < 0:
                raise TooLargeError("the sets of this model exceed the budget")


def _united(arrays: Sequence[Array], lattice: Lattice) -> Array | None:
    """The union of arrays, broadcast to each other; None of none."""
    return reduce(lattice.union, arrays) if arrays else None
