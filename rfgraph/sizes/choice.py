"""Which second size: whether a forward asks for one, and shapes that the model may take.

In: a `Look`, or what is known of a report. Out: shapes of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, zip_longest
from math import gcd, lcm
from typing import TypeAlias

from rfgraph.algebra.digits import is_plain
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Axis, Graph, Node, Shape
from rfgraph.propagation.periodic import Periodic
from rfgraph.sizes.compare import is_to_a_size, sites, twins
from rfgraph.sizes.look import Look, rows

Larger: TypeAlias = Callable[[int, int], int]
"""A size and the grid -> a larger size."""


def by_half(more: int) -> Larger:
    """Larger by half and `more` grids, so that a quarter of it is another, too."""
    return lambda n, grid: _no_multiple(n + grid * (n // (2 * grid) + more), n, grid)


def _near(n: int, grid: int) -> int:
    """Larger by half and four grids; by less where that is much, about twice as large: it costs more.

    By a number of grids that has no factor 2, 3 or 5: remainders and parts of the size are others, too.
    """
    grids = n // (2 * grid) + (4 if 4 * grid <= _CHEAP else min(4, -(-n // grid)))
    return n + grid * next(more for more in count(grids) if gcd(more, 30) == 1)


def _far(n: int, grid: int) -> int:
    """Twice as large, or by 37 positions: more than most of what a size is made a multiple of."""
    return n + grid * -(-max(n, 37) // grid)


def by_grids(more: int) -> Larger:
    """Larger by so many grids."""
    return lambda n, grid: _no_multiple(n + more * grid, n, grid)


def in_proportion(n: int, grid: int) -> int:
    """Larger by half: several inputs keep their proportions."""
    return n * 3 // 2


def _again_in_proportion(n: int, grid: int) -> int:
    """As far as one that is in proportion to the one in proportion: parts of that may be the same."""
    return in_proportion(in_proportion(n, grid), grid)


def _double(n: int, grid: int) -> int:
    """Twice as large, which is all that some models take."""
    return 2 * n


def _no_multiple(larger: int, n: int, grid: int) -> int:
    """One grid more, where that is no multiple of the size."""
    return larger + grid if larger % n == 0 < grid % n else larger


_CHEAP = 32
"""Positions more that cost nothing to speak of."""
_LONGEST = 1 << 16
"""Positions of an axis that is made longer: advances of several axes may have a huge common multiple."""
_PIECES = frozenset(("unbind", "split", "unsafe_split"))
"""Operators that give more outputs of a longer dim."""


# --- whether to look again ------------------------------------------------------------------------


def asks(first: Look) -> bool:
    """True where what a graph is, or a parameter in it, may come from the size of a tracked axis."""
    if any(_may_vary(first, name, dim) for name, dim in first.graph.asked):
        return True
    if any(_counts(first, node) for node in first.graph):
        return True
    own = (value for row in rows(first) for value in row.values())
    return any(len(scan.digits) > 1 for value in own for scan in value.local)


def _may_vary(first: Look, name: str, dim: int | None) -> bool:
    """May the size of a node along a dim (None: along any) be another where the input's is?"""
    if name not in first.graph:
        return True
    if first.graph[name].op == "input":
        mine = (axis.dim for axis in first.axes if axis.input == name)
        return any(dim in (None, own) for own in mine)
    values = first.values[name].values()
    return not values or dim is None or any(dim in carrying(value, dim) for value in values)


def carrying(value: Periodic, dim: int) -> set[int]:
    """The dims that may be as long as an axis is; behind a whole read, or what is known no further, any."""
    if value.whole is not None or value.limits is not None:
        return {dim}
    return {digit.dim for scan in value.scans for digit in scan.digits}


def _counts(first: Look, node: Node) -> bool:
    """True for what is by itself another thing at another size, though no one asks for the size."""
    if is_to_a_size(node):
        return True
    if node.op not in _PIECES:
        return False
    dim = int(node.params.get("dim", 0)) % len(node.operand_shapes[0])
    before = first.values[node.operands[0]].values()
    return any(dim in carrying(value, -1) for value in before)


# --- which shapes ---------------------------------------------------------------------------------


def grid_of(laws: Iterable[Relation | None]) -> int:
    """The least common multiple of the advances: a size that is taken is taken again that much further."""
    return lcm(*{law.advance for law in laws if law is not None and law.advance > 0})


def resized(
    graph: Graph, axes: Sequence[Axis], grid: int, sizes: Iterable[Larger]
) -> Iterator[dict[str, Shape]]:
    """Shapes of the inputs, larger along every tracked axis.

    An axis of one position stays one: along it, tensors are repeated.
    """
    for size in sizes:
        shapes = {name: list(node.shape) for name, node in graph.inputs.items()}
        for name, dim in axes:
            n = shapes[name][dim]
            if n > 1:
                shapes[name][dim] = size(n, grid)
        if all(
            shapes[name][dim] <= max(_LONGEST, 2 * graph[name].shape[dim]) for name, dim in axes
        ):
            yield {name: tuple(shape) for name, shape in shapes.items()}


def near_shapes(first: Look) -> Iterator[dict[str, Shape]]:
    """The first that is tried. A verification begins with another."""
    return _others(first, _near)


def double_shapes(first: Look) -> Iterator[dict[str, Shape]]:
    """Twice as large, where a model does not take the first."""
    return _others(first, _double)


def far_shapes(first: Look) -> Iterator[dict[str, Shape]]:
    """Larger yet, where the first does not tell."""
    return _others(first, _far)


def unlike_shapes(first: Look) -> Iterator[dict[str, Shape]]:
    """Of several inputs that do not grow alike: in proportion, and again; one more, which a pool may drop."""
    return _others(first, in_proportion, _again_in_proportion, lambda n, grid: n + 1)


def _others(first: Look, *sizes: Larger) -> Iterator[dict[str, Shape]]:
    rows = {first.shown(name, axis) for name, row in first.values.items() for axis in row}
    laws = (row.law for row in rows if row is not None)
    own = {name: node.shape for name, node in first.graph.inputs.items()}
    shapes = resized(first.graph, first.axes, grid_of(laws), sizes)
    return (other for other in shapes if other != own)


def tells(first: Look, second: Look) -> bool:
    """False where a size that the forward asks for is the same in both: what is made of it is, too."""
    other = twins(sites(first.graph), sites(second.graph))
    for name, dim in first.graph.asked:
        there = second.graph[other[name]].shape if name in other else ()
        for own in _lengths(first, name, dim) if there else ():
            if first.graph[name].shape[own] == there[own]:
                return False
    return True


def _lengths(first: Look, name: str, dim: int | None) -> set[int]:
    """The dims, of those asked for, that an axis of several positions has for itself, at any size."""
    scans = (
        scan
        for axis, value in first.values[name].items()
        if value.limits is None and first.graph[axis.input].shape[axis.dim] > 1
        for scan in value.scans
        if scan.digits and is_plain(scan.digits)
    )
    return {scan.digits[0].dim for scan in scans if dim in (None, scan.digits[0].dim)}


def fit(first: Graph, second: Graph) -> bool:
    """False where sizes of several inputs fit by luck: one that is repeated there was not here.

    What comes of inputs that stay as they are may be repeated: that is what the model makes of the others.
    """
    grown = {name for name, own in first.inputs.items() if own.shape != second.inputs[name].shape}
    there = _repeats(second, grown)
    pairs = ((own, there.get(name, own)) for name, own in _repeats(first, grown).items())
    return all(own == other for own, other in pairs if len(own) == len(other))


def _repeats(graph: Graph, inputs: Iterable[str]) -> dict[str, list[list[int]]]:
    """Along which dims what comes of these inputs is repeated: other dims, where sizes fit by luck."""
    found: dict[str, list[list[int]]] = {}
    behind = set(inputs)
    for node in graph:
        held = [own for own in node.operands if own in behind]
        if not held:
            continue
        behind.add(node.name)
        if len(node.operands) > 1 and _is_broadcast(node):
            found[node.name] = [_repeated(graph[own].shape, node.shape) for own in held]
    return found


def _is_broadcast(node: Node) -> bool:
    """True where a node is as large as its operands are together: not of tensors put side by side."""
    shapes = *node.operand_shapes, node.shape
    sizes = zip_longest(*map(reversed, shapes), fillvalue=1)
    return all(set(own) <= {1, made} and made in (1, *own) for *own, made in sizes)


def _repeated(own: Shape, shape: Shape) -> list[int]:
    """The dims, from the last, along which an operand has one position and the node more, or has none."""
    sizes = zip_longest(reversed(own), reversed(shape), fillvalue=1)
    return [dim for dim, (one, made) in enumerate(sizes) if one == 1 < made]
