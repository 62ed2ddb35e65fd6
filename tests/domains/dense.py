"""A reference interpreter of reads: what every position of a tensor reads of one axis, as plain sets.

It follows the definition of `Place` position by position, borders included, and knows nothing
of digits, scans or relations composed in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from rfgraph.graph import Shape
from rfgraph.language.reads import Place, Read

Dense = np.ndarray  # of frozensets, one a position


def source(shape: Shape, dim: int) -> Dense:
    """The input itself: every position reads its own index along `dim`."""
    value = np.empty(shape, dtype=object)
    for position in np.ndindex(*shape):
        value[position] = frozenset([position[dim]])
    return value


def apply(operands: Sequence[Dense], reads: Sequence[Read], shape: Shape) -> Dense:
    """The tensor of `shape` whose positions read the operands by `reads`."""
    value = np.empty(shape, dtype=object)
    for position in np.ndindex(*shape):
        read = [operands[r.operand][at] for r in reads for at in _read(r, operands, position)]
        value[position] = frozenset().union(*read)
    return value


def _read(read: Read, operands: Sequence[Dense], position: Shape) -> Iterator[Shape]:
    """The positions of the operand that one output position reads; none outside of it."""
    shape = operands[read.operand].shape
    sizes = shape or (1,) * len(read.dims)  # what has no dims may be read as one of one
    along = [list(_indices(d, size, position)) for d, size in zip(read.dims, sizes, strict=True)]
    return product(*along) if shape else iter([()] if all(along) else [])


def _indices(read: Place, size: int, position: Shape) -> Iterator[int]:
    chosen = tuple(position[d] for d in read.dims)
    if read.at is not None:
        yield from (i for i in read.at(chosen) if 0 <= i < size)
    elif read.law is None:
        yield from range(size)
    elif read.law.extent is not None:
        z = sum(digit.at(position[digit.dim]) for digit in read.law.digits)
        yield z // read.law.weight % read.law.extent
    else:
        z = sum(digit.at(position[digit.dim]) for digit in read.law.digits)
        yield from (i for i in read.law.relation.at(z) if 0 <= i < size)
