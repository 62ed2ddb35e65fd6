"""A reference interpreter of reads: what every position of a tensor reads of one axis, as plain sets.

It follows the definition of each `DimRead` position by position, borders included, and knows nothing
of digits, scans or relations composed in closed form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from rfgraph.reads import Along, Fixed, Read, Regroup, Shape, Table, Whole

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
    along = [
        list(_indices(d, dim, size, position))
        for dim, (d, size) in enumerate(zip(read.dims, shape, strict=True))
    ]
    return product(*along)


def _indices(read, dim: int, size: int, position: Shape) -> Iterator[int]:
    if isinstance(read, Whole):
        yield from range(size)
    elif isinstance(read, Fixed):
        yield read.index
    elif isinstance(read, Regroup):
        flat = np.ravel_multi_index([position[d] for d in read.dims], read.shape)
        yield int(np.unravel_index(flat, read.operand_shape)[read.operand_dims.index(dim)])
    else:
        assert isinstance(read, Along | Table)
        at = read.relation.at if isinstance(read, Along) else read.at
        yield from (i for i in at(position[read.dim]) if 0 <= i < size)
