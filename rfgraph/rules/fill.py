"""What is written over a whole tensor: copy_, fill_, zero_ and their like, and views by strides.

In: their nodes. Out: reads. The tensor that was written is a node of its own.
"""

from __future__ import annotations

import torch

from rfgraph.graph import Node, Operand
from rfgraph.language.reads import Read, Reads, broadcast
from rfgraph.rules.common import written
from rfgraph.rules.moves import moves
from rfgraph.rules.registry import rule


@rule(
    "copy_",
    name="copy",
    signature="input, src, non_blocking=False",
    infer=written,
)
def copy(node: Node) -> Reads:
    """`x.copy_(src)`: another tensor in the place of what was there.

    Reads:      src at the output's own position, broadcast; nothing of the tensor that is written.
    Formula:    R(o) = {o} of src.
    Example:    (2, 3).copy_(row of 3): output (1, 2) reads position 2 of the row.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.copy_.html
    """
    src = node.params["src"]
    return (broadcast(src.shape, node.shape, src.index),) if isinstance(src, Operand) else ()


@rule("fill_", torch.fill, torch.fill_, name="fill", signature="input, value", infer=written)
def fill(node: Node) -> Reads:
    """`x.fill_(value)`: one value everywhere.

    Reads:      the value, a tensor without dims; nothing of the tensor that is written.
    Formula:    R(o) = {} of the tensor.
    Example:    x.fill_(y.sum()): output (1, 2) reads the sum.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.fill_.html
    """
    value = node.params["value"]
    return (Read(value.index, ()),) if isinstance(value, Operand) else ()


def overwritten(node: Node) -> Reads:
    """`x.zero_()`, `x.normal_()`: what a tensor held is gone.

    Reads:      nothing.
    Formula:    R(o) = {}.
    Example:    x.zero_(): output (1, 2) reads no element of x.
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.zero_.html
    """
    return ()


for _name in ("zero", "normal", "uniform", "random", "exponential", "geometric", "log_normal"):
    rule(
        f"{_name}_",
        *([torch.zero_] if _name == "zero" else []),
        name=_name,
        signature="input, *operands, **options",
        infer=written,
    )(overwritten)


@rule(
    "as_strided",
    torch.as_strided,
    name="as_strided",
    signature="input, size, stride, storage_offset=None",
)
def as_strided(node: Node) -> Reads:
    """A view by its strides, of a tensor in torch's default order.

    Reads:      the element that lies there in memory.
    Formula:    R(o) = {storage_offset + sum of stride * o over the dims}, counted in the flattened tensor.
    Example:    size (3,), stride (6,) of (3, 6): output 2 reads (2, 0).
    Precision:  exact at the analysed size.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.as_strided.html
    """
    return moves(node, torch.as_strided)
