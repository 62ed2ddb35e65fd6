"""Operators that look positions up by an index tensor: index_select, gather, embedding, one_hot.

In: their nodes. Out: reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Read, Reads, along, every, same
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import along_dim, data_dependent, nonnegative
from rfgraph.rules.indices import check, in_range, is_constant
from rfgraph.rules.registry import rule, spellings
from rfgraph.rules.select import looked_up, picking


@rule(*spellings("index_select"), signature="input, dim, index", normalize=in_range())
def index_select(node: Node) -> Reads:
    """Index select.

    Reads:      along `dim`, the indexed positions; all of it where the index is computed.
    Formula:    R(o) = {index[o]} along dim.
    Example:    index (4, 0): output 1 reads {0}.
    Precision:  exact for a constant index.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.index_select.html
    """
    if not node.shape:
        return data_dependent(node)
    rank = len(node.shape)
    dim, index = nonnegative(node.params["dim"], rank), node.params["index"]
    if is_constant(index):
        size = node.operand_shapes[0][dim]
        place = looked_up((dim,), index.detach().cpu().reshape(-1), size)
        return picking(along_dim(node, dim, place))
    own = Read(index.index, (along(dim),) * len(index.shape))
    return (*_picked_anywhere(node, dim), own)


def _picked_anywhere(node: Node, dim: int) -> Reads:
    """All of `dim` of what is picked from; nothing of a tensor of the model."""
    if not isinstance(node.params["input"], Operand):
        return ()
    return along_dim(node, dim, every("data-dependent"))


@rule(
    *spellings("gather"),
    signature="input, dim, index, sparse_grad=False",
    normalize=in_range(),
)
def gather(node: Node) -> Reads:
    """Gather: an index of its own for every output position.

    Reads:      along `dim`, the position that the index holds there; all of it where it is computed.
    Formula:    R(o) = o, with index[o] along dim.
    Example:    dim 1, index ((2, 0),): output (0, 1) reads (0, 0).
    Precision:  exact for a constant index.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.gather.html
    """
    if not node.shape:
        return data_dependent(node)
    rank = len(node.shape)
    dim, index = nonnegative(node.params["dim"], rank), node.params["index"]
    if is_constant(index):
        size = node.operand_shapes[0][dim]
        return along_dim(node, dim, looked_up(range(rank), index.detach().cpu(), size))
    return (*_picked_anywhere(node, dim), same(rank, index.index))


def _in_table(params: Params, shapes: Sequence[Shape]) -> Params:
    """Refuses a constant index of a row that is not there; a module's table is not looked at."""
    rows = params["weight"]
    if rows is not None and is_constant(params["input"]):
        check(params["input"], rows.shape[0], "the rows of the table")
    return params


@rule(
    *spellings("embedding", nn.Embedding),
    signature="input, weight=None, padding_idx=None, max_norm=None, norm_type=2.0, "
    "scale_grad_by_freq=False, sparse=False",
    normalize=_in_table,
)
def embedding(node: Node) -> Reads:
    """Look-up of a row of a table for each index.

    Reads:      the index at the output's own position; nothing along the embedding dim. Of a table
                computed from the input, the row that a constant index names, or all rows, at the output's
                position along the embedding dim.
    Formula:    R(o) = {o} along each dim of the indices; of the table, row index[o].
    Example:    indices (2, 5) and rows of 8: output (1, 3, 6) reads index (1, 3).
    Precision:  exact. Conservative for rows that are computed as the index is: all may be read.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html
    """
    index, rows, rank = node.params["input"], node.params["weight"], len(node.shape)
    reads: list[Read] = []
    if isinstance(index, Operand):
        reads.append(same(len(index.shape), index.index))
    if isinstance(rows, Operand):
        row = every("data-dependent")
        if is_constant(index):
            row = looked_up(range(rank - 1), index.detach().cpu(), rows.shape[0])
        reads.append(Read(rows.index, (row, along(rank - 1))))
    return tuple(reads)


@rule(*spellings("one_hot"), signature="input, num_classes=-1")
def one_hot(node: Node) -> Reads:
    """One row of zeros and a one for each index.

    Reads:      the index at the output's own position; nothing along the new dim.
    Formula:    R(o) = {o} along each dim of the indices.
    Example:    indices (2, 5): output (1, 3, 6) reads index (1, 3).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html
    """
    return (same(len(node.shape) - 1),)
