"""Operators that keep every element and its order: reshape, flatten, view, squeeze, expand.

In: their nodes. Out: reads, with a `Regroup` wherever dims are split or merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod

import torch
from torch import nn

from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Place, Read, Reads, along, broadcast, every, fixed, regrouped
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import nonnegative
from rfgraph.rules.masks import kept, reshaped
from rfgraph.rules.registry import rule, spellings

DROPPED = "drops a dim that has one position at this size"


def groups(operand: Shape, shape: Shape) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The finest pairing (operand dims, output dims) of two shapes of equally many elements."""
    pairs: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    i = j = 0
    while i < len(operand) or j < len(shape):
        start, stop = i, j
        left, right = prod(operand[i : i + 1]), prod(shape[j : j + 1])
        i, j = min(i + 1, len(operand)), min(j + 1, len(shape))
        while left != right:
            if left < right and i < len(operand):
                left, i = left * operand[i], i + 1
            elif j < len(shape):
                right, j = right * shape[j], j + 1
            elif i < len(operand):
                left, i = left * operand[i], i + 1
            else:  # of no elements
                break
        pairs.append((tuple(range(start, i)), tuple(range(stop, j))))
    return pairs


def reshape(node: Node) -> Reads:
    """Reshape, view, flatten, unflatten.

    Reads:      the element at the same place in the order of elements; nothing of a tensor that is asked
                for its shape.
    Formula:    with flat(p) = the row-major index of p: flat(R(o)) = flat(o).
    Example:    (2, 12) to (2, 3, 4): output (1, 2, 3) reads (1, 11).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.reshape.html
    """
    if not isinstance(node.params["input"], Operand):
        return ()  # reshape_as, of a tensor of the model
    return (_regrouped(node.operand_shapes[0], node.shape, _free(node), _flattened(node)),)


@lru_cache(maxsize=256)
def _regrouped(own: Shape, shape: Shape, free: int | None, flattened: range) -> Read:
    read: list[Place] = [fixed(0)] * len(own)
    for before, after in _pairs(own, shape, flattened):
        wide_before = [d for d in before if own[d] != 1]
        wide_after = [d for d in after if shape[d] != 1 or d == free]
        if len(wide_before) == len(wide_after) == 1:
            read[wide_before[0]] = along(wide_after[0])
        elif len(before) == len(after) == 1:
            read[before[0]] = along(after[0])  # a dim of size 1 that stays where it is
        elif len(before) == len(wide_after) == 1:
            read[before[0]] = along(wide_after[0])  # and one that is split, by -1
        elif wide_before:
            for dim, place in zip(
                wide_before, _split(own, wide_before, shape, wide_after, free), strict=True
            ):
                read[dim] = place
    return Read(0, tuple(read))


def _split(
    own: Shape, before: Sequence[int], shape: Shape, after: Sequence[int], free: int | None
) -> Sequence[Place]:
    """A place for each dim of a group. A dim asked for as -1 grows, be it of one position at this size.

    That it stays one, as the batch does where the other sizes are computed, is for a second size to say.
    """
    grows = free if len(before) == 1 and free in after else None
    sizes = tuple(own[d] for d in before), tuple(shape[d] for d in after)
    places = regrouped(tuple(before), sizes[0], tuple(after), sizes[1], grows)
    if grows is None or shape[grows] > 1:
        return places
    kept = _split(own, before, shape, [d for d in after if d != free], None)
    return [replace(p, proposed=k.law) for p, k in zip(places, kept, strict=True)]


def _pairs(
    own: Shape, shape: Shape, flattened: range
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """As `groups`; dims beside those that are `flattened` stay, where not all of these have one position."""
    if all(own[dim] == 1 for dim in flattened):
        return groups(own, shape)
    first, last = flattened.start, flattened.stop
    before = [((dim,), (dim,)) for dim in range(first)]
    behind = [((dim,), (dim - len(flattened) + 1,)) for dim in range(last, len(own))]
    return [*before, (tuple(flattened), (first,)), *behind]


def _flattened(node: Node) -> range:
    """The dims that a flatten makes one; none of any other operator."""
    if node.op != "flatten" or not node.operand_shapes[0]:
        return range(0)
    rank = len(node.operand_shapes[0])
    first, last = (nonnegative(node.params[name], rank) for name in ("start_dim", "end_dim"))
    return range(first, last + 1)


def _free(node: Node) -> int | None:
    """The dim that was asked for as -1, which is as long as the others leave it."""
    params = node.params
    first = nonnegative(params["dim"], len(node.operand_shapes[0])) if "sizes" in params else 0
    asked = params.get("sizes") or params.get("shape") or ()
    free = [
        first + place for place, size in enumerate(asked) if isinstance(size, int) and size == -1
    ]
    return free[0] if free else None


for _name, _signature in {
    "reshape": "input, *shape",
    "view": "input, *shape",
    "reshape_as": "input, other",
    "view_as": "input, other",
    "ravel": "input",
}.items():
    rule(*spellings(_name), name=_name, signature=_signature, masks=reshaped, values=("input",))(
        reshape
    )
rule(
    *spellings("unflatten", nn.Unflatten, torch.Tensor.unflatten),
    name="unflatten",
    signature="input, dim, sizes=None, *, unflattened_size=None",
    masks=reshaped,
)(reshape)


def _infer_flatten(params: Params, shapes: Sequence[Shape]) -> Shape:
    own = shapes[0]
    start, end = (nonnegative(params[name], len(own)) for name in ("start_dim", "end_dim"))
    return (*own[:start], prod(own[start : end + 1]), *own[end + 1 :])


rule(
    *spellings("flatten", nn.Flatten),
    name="flatten",
    signature="input, start_dim=0, end_dim=-1",
    infer=_infer_flatten,
    masks=reshaped,
)(reshape)


@rule(*spellings("squeeze"), signature="input, *dim", masks=reshaped)
def squeeze(node: Node) -> Reads:
    """Squeeze: drop dims of size 1.

    Reads:      the same element.
    Formula:    R(o) = o with a 0 put in for each dropped dim.
    Example:    (2, 1, 5) squeezed at 1: output (1, 3) reads (1, 0, 3).
    Precision:  exact; at the analysed size along an axis that has but one position there.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.squeeze.html
    """
    own = node.operand_shapes[0]
    asked = {nonnegative(d, len(own)) for d in node.params["dim"]} or set(range(len(own)))
    if len(node.shape) == len(own):
        asked = set()  # squeeze(()), by which none are meant
    read: list[Place] = []
    position = 0
    for dim, size in enumerate(own):
        gone = size == 1 and dim in asked
        read.append(fixed(0, DROPPED) if gone else along(position))
        position += not gone
    return (Read(0, tuple(read)),)


@rule(*spellings("unsqueeze"), signature="input, dim", masks=reshaped)
def unsqueeze(node: Node) -> Reads:
    """Unsqueeze: add a dim of size 1.

    Reads:      the same element.
    Formula:    R(o) = o without the new dim.
    Example:    (2, 5) unsqueezed at 1: output (1, 0, 3) reads (1, 3).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.unsqueeze.html
    """
    rank = len(node.shape)
    new = nonnegative(node.params["dim"], rank)
    return (Read(0, tuple(along(d) for d in range(rank) if d != new)),)


def expand(node: Node) -> Reads:
    """Expand and broadcast_to: repeat dims of size 1.

    Reads:      the same element; an expanded dim is read at 0. Nothing of a tensor that is asked for its
                shape.
    Formula:    R(o) = o, with 0 in the expanded dims.
    Example:    (2, 1) to (2, 4): output (1, 3) reads (1, 0).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.expand.html
    """
    if not isinstance(node.params["input"], Operand):
        return ()  # expand_as, of a tensor of the model
    return (broadcast(node.operand_shapes[0], node.shape),)


for _name, _signature in {
    "expand": "input, *size",
    "broadcast_to": "input, *size",
    "expand_as": "input, other",
}.items():
    rule(*spellings(_name), name=_name, signature=_signature, masks=kept, values=("input",))(expand)


@rule(*spellings("broadcast_tensors"), signature="*tensors")
def broadcast_tensors(node: Node) -> Reads:
    """Every tensor, repeated to the shape of all of them together.

    Reads:      output number i reads tensor number i at its own position, a dim of size 1 at 0.
    Formula:    R(o) = o, with 0 in the dims that are repeated.
    Example:    of (2, 1) and (4,): the first output reads (1, 0) at (1, 3).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.broadcast_tensors.html
    """
    given = node.params["tensors"][node.output]
    return (broadcast(given.shape, node.shape, given.index),) if isinstance(given, Operand) else ()


@rule(*spellings("view_as_complex"), signature="input")
def view_as_complex(node: Node) -> Reads:
    """Complex numbers of pairs along the last dim.

    Reads:      both entries of the last dim; its own position elsewhere.
    Formula:    out[o] reads input[o, :].
    Example:    of (3, 2): output 1 reads (1, 0) and (1, 1).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.view_as_complex.html
    """
    return (Read(0, (*map(along, range(len(node.shape))), every("linear"))),)
