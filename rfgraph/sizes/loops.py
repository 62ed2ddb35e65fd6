"""Loops over positions, which a capture unrolls: as many nodes as the analysed size has positions.

In: looks. Out: the nodes that pick the positions, and those that put them side by side again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rfgraph.graph import Node
from rfgraph.sizes.choice import carrying
from rfgraph.sizes.compare import Sites
from rfgraph.sizes.look import Look


@dataclass(frozen=True)
class Loops:
    """Loops over positions, in one graph.

    Attributes:
        picks: the nodes that pick what a loop is over -> the first of that loop.
        layouts: the nodes that lay out what loops make, side by side.
    """

    picks: Mapping[str, str]
    layouts: frozenset[str]


def loops(first: Look, own: Sites, there: Sites | None) -> Loops:
    """What loops over positions there are, by the sites of this look and of a second one.

    Where there is no second, those that pick every position of a dim that carries an axis.
    """
    picks: dict[str, str] = {}
    for key, nodes in own.items():
        if there is None:
            is_loop = len(nodes) > 1 and _covers(first, nodes)
        else:
            others = there.get(key, [])
            is_loop = bool(others) and _most_of_one(nodes) != _most_of_one(others)
        if is_loop:
            picks.update((node.name, nodes[0].name) for node in nodes)
    if not picks:
        return Loops({}, frozenset())
    most = max(Counter(picks.values()).values())
    at = (lambda key: None) if there is None else there.get
    laid = (node.name for key in own for node in _layouts(own[key], at(key), most))
    return Loops(picks, frozenset(laid))


def _layouts(nodes: Sequence[Node], others: Sequence[Node] | None, most: int) -> Sequence[Node]:
    """Those of a site that put as many tensors side by side as a loop makes, or that do it one by one."""
    is_repeated = len(nodes) >= most if others is None else len(nodes) != len(others)
    if is_repeated and len(set(map(_form, nodes))) > 1:
        return nodes
    if others is None:
        return [node for node in nodes if len(node.operands) >= most]
    counts = {len(other.operands) for other in others}
    return [node for node in nodes if not is_repeated and len(node.operands) not in counts]


def _form(node: Node) -> tuple[object, ...]:
    """What tells a write to one place, or a tensor that grows, from the next of its loop."""
    return node.shape, repr(dict(node.params))


def _most_of_one(nodes: Sequence[Node]) -> int:
    """How many of them read the same tensor: one where each reads another."""
    if len(nodes) == 1:
        return 1
    counts = Counter(name for node in nodes for name in set(node.operands))
    return max(counts.values(), default=1)


def _covers(look: Look, nodes: Sequence[Node]) -> bool:
    """Are all positions of a dim picked one by one, and does it carry an axis?"""
    picked: dict[tuple[str, int], set[int]] = {}
    sizes: dict[tuple[str, int], int] = {}
    for node in nodes:
        if len(node.operands) != 1:
            continue
        for read in look.readings[node.name]:
            for dim, place in enumerate(read.dims):
                if not place.dims and not place.is_whole:
                    of = node.operands[read.operand], dim
                    picked.setdefault(of, set()).update(place.positions(()))
                    sizes[of] = read.sizes(node.operand_shapes)[dim]
    return any(
        size > 1 and picked[of] >= set(range(size)) and _carries(look, *of)
        for of, size in sizes.items()
    )


def _carries(look: Look, name: str, dim: int) -> bool:
    return any(dim in carrying(value, -1) for value in look.values[name].values())
