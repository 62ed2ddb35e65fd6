"""Parts of a sized value: what is read through the same dims of a tensor.

In: sets at one size, what a node reads of a tensor. Out: the dims that carry a part on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rfgraph.graph import Node
from rfgraph.language.reads import Place
from rfgraph.propagation.lattice import Array
from rfgraph.propagation.masked import masked_dims


@dataclass(frozen=True, eq=False)
class Part:
    """What is read through the same dims of the tensor: where all of these are read whole, the axis is.

    Attributes:
        dims: the tensor's dims that carry the axis; none where one position was picked.
        unmasked: those that carry it where the tensor's mask hides nothing.
        sets: over the tensor's dims, of size 1 where they do not vary.
        bounded: a crop, of as many positions at any size: all of it is not the whole axis.
    """

    dims: frozenset[int]
    unmasked: frozenset[int]
    sets: Array
    bounded: bool = False


def is_unbounded(part: Part, places: Sequence[Place]) -> bool:
    """All that carries the part is read whole, or up to a position."""
    if len(part.dims) == 1 and places[min(part.dims)].is_past:
        return True
    return bool(part.dims) and all(places[dim].is_whole for dim in part.dims)


def carried_on(
    part: Part, sets: Array, places: Sequence[Place], node: Node, laid: frozenset[int]
) -> Part:
    """What becomes of a part whose image is `sets`: the dims of the node that carry it.

    `laid`: along which single positions are laid out.
    """
    dims = laid | {target for dim in part.dims for target in places[dim].dims}
    if any(place.at is not None and len(place.dims) > 1 for place in places):
        sets = _narrowed(sets)  # it may have undone another
        dims = frozenset(dim for dim in dims if sets.shape[dim] > 1) or dims
    hiding = (
        masked_dims(node)
        if node.masked is not None and node.masked.hiding is not None
        else frozenset()
    )
    return Part(dims | hiding if dims else dims, dims, sets)


def _narrowed(sets: Array) -> Array:
    """Size 1 along the dims along which the sets turn out not to vary."""
    for dim in range(sets.ndim - 1):
        first = sets[(slice(None),) * dim + (slice(1),)]
        if sets.shape[dim] > 1 and bool((sets == first).all()):
            sets = first
    return sets
