"""Scattering: an index says where each element goes, one by one.

In: nodes of scatter and its like, index_put, masked_scatter, and of assignments by index tensors. Out: reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx.node import map_aggregate

from rfgraph.graph import Node, Operand, Shape
from rfgraph.graph.calls import outputs_of
from rfgraph.language.reads import Place, Read, Reads, along, same
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import data_dependent, nonnegative, written
from rfgraph.rules.indices import in_range, is_constant, normalize_index
from rfgraph.rules.masks import narrowed
from rfgraph.rules.moves import moved, moves, on_cpu
from rfgraph.rules.registry import rule, spellings

_REASON = "an assignment to a part of this size"
_MOST_TIMES = 64
"""How often indices of several dims may name a position, until all that they put may be anywhere."""


def scatter(node: Node) -> Reads:
    """Scatter, index_put, masked_scatter: an index says where a value goes, element by element.

    Reads:      the tensor at the same position, but where it is replaced; of what is scattered, the
                element that the index sends here.
    Formula:    along dim, R(o) = {j : index[j] = o} of the source; {o} of the tensor where there is none,
                or where the source joins it.
    Example:    x.scatter(1, ((2, 0),), src): output (0, 2) reads src at (0, 0), output (0, 1) x at (0, 1).
    Precision:  exact for a constant index; where it names a position several times, all that it sends there,
                of which torch leaves one. Conservative for one that is computed: then all may come here, and
                the tensor is read throughout.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.scatter_.html
    """
    way = _WAYS[node.op]
    given = {name: node.params[name] for name in _WHERE if name in node.params}
    is_traced = isinstance(node.params["input"], Operand)
    if not _is_fixed(given.values()):
        return anywhere(node)
    reads = moves(node, way.put, by=given)
    source = node.params.get(way.source)
    if isinstance(source, Operand) and _is_twice(node.shape, way, given):
        sent = _sent(node, source) if "dim" in given else _put(node, way, given, source)
        if sent is None:
            return anywhere(node)
        reads = (*(read for read in reads if read.operand != source.index), *sent)
    if is_traced and way.joins(node.params):
        return (same(len(node.shape)), *(read for read in reads if read.operand))
    return reads


def _sent(node: Node, source: Operand) -> Reads:
    """What an index along one dim sends to each position, however often it names it."""
    rank, index = len(node.shape), node.params["index"].detach().cpu()
    dim = nonnegative(node.params["dim"], rank)
    own = narrowed(index)
    counts = [index.shape[d] if d == dim else own.shape[d] for d in range(rank)]
    told = index[tuple(slice(n) for n in counts)]  # all there is to know of it
    varying = [d for d in range(rank) if d != dim and told.shape[d] > 1]
    cut = [d for d in range(rank) if d != dim and index.shape[d] < node.shape[d]]
    over = tuple(sorted({dim, *varying, *cut}))
    sent: dict[tuple[int, ...], list[int]] = {}
    for place in product(*map(range, told.shape)):
        to = tuple(int(told[place]) if d == dim else place[d] for d in range(rank))
        sent.setdefault(to, []).append(place[dim])

    def at(o: tuple[int, ...]) -> Sequence[int]:
        position = dict(zip(over, o, strict=True))
        if any(position[d] >= index.shape[d] for d in cut):
            return ()
        asked = tuple(position[d] if d == dim or d in varying else 0 for d in range(rank))
        return sent.get(asked, ())

    put = Place(over, at, reason=_REASON)
    return (Read(source.index, tuple(put if d == dim else along(d) for d in range(rank))),)


def _put(node: Node, way: _Way, where: Params, source: Operand) -> Reads | None:
    """The same of indices of several dims: a read for each time that a position is named; None: too many."""
    count = prod(node.shape)
    named = way.named(torch.arange(count).reshape(node.shape), **map_aggregate(dict(where), on_cpu))
    more = max(len(source.shape) - named.ndim, 0)  # dims of size 1 that it begins with
    shape = source.shape[more:]
    own = torch.arange(prod(shape)).reshape(shape).expand(named.shape)
    pairs = torch.stack([named.flatten(), own.flatten()])
    reads: list[Read] = []
    while pairs.shape[1]:
        if len(reads) == _MOST_TIMES:
            return None
        number = torch.full((count,), -1)
        number[pairs[0]] = pairs[1]
        reads.append(moved(node, source, number.reshape(node.shape)))
        pairs = pairs[:, number[pairs[0]] != pairs[1]]
    return tuple(reads)


def anywhere(node: Node) -> Reads:
    """What is put may come to any position, and the tensor may stay at any."""
    everything = data_dependent(node)
    is_traced = isinstance(node.params["input"], Operand)
    return (same(len(node.shape)), *everything[1:]) if is_traced else everything


def _is_fixed(where: Iterable[object]) -> bool:
    """True where the model fixes all indices."""
    leaves = (leaf for each in where for leaf in outputs_of([each]))
    return all(is_constant(e) for e in leaves if isinstance(e, Operand | Tensor))


def _is_twice(shape: Shape, way: _Way, where: Params) -> bool:
    """True where an index names a position twice: which element is left there, torch does not say."""
    places = torch.arange(prod(shape)).reshape(shape)
    given: Params = map_aggregate(dict(where), on_cpu)
    named = way.named(places, **given).flatten().tolist()
    return len(set(named)) < len(named)


class _Way(NamedTuple):
    """How elements are put somewhere.

    Attributes:
        put: the call, on arrays of positions; a number puts none.
        named: of an array of places, those that the index names.
        joins: whether what is there stays, by the params.
        source: the name of what is put.
    """

    put: Callable[..., Tensor]
    named: Callable[..., Tensor]
    joins: Callable[[Params], bool]
    source: str


def _assigned_to(input: Tensor, index: Any, value: object) -> Tensor:
    input = input.clone()
    input[index] = value if isinstance(value, Tensor) else 0
    return input


def _index_put(input: Tensor, indices: Any, values: Tensor, **options: object) -> Tensor:
    return _assigned_to(input, _whole_dims(indices), values)


def _whole_dims(indices: Sequence[Tensor | None]) -> tuple[Any, ...]:
    return tuple(slice(None) if index is None else index for index in indices)


def _there(params: Params, shapes: Sequence[Shape]) -> Params:
    """Refuses indices of positions that are not there."""
    normalize_index({**params, "index": _whole_dims(params["indices"])}, shapes)
    return params


def _scattered(input: Tensor, dim: int, index: Tensor, src: object, **options: object) -> Tensor:
    given = src if options.get("value") is None else options["value"]
    return (
        input.scatter(dim, index, given)
        if isinstance(given, Tensor)
        else input.scatter(dim, index, 0)
    )


def _masked(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    return input.masked_scatter(mask, source)


def _gathered(places: Tensor, dim: int, index: Tensor) -> Tensor:
    return places.gather(dim, index)


_WHERE = ("dim", "index", "indices", "mask")
_WAYS = {
    "setitem": _Way(
        _assigned_to, lambda places, index: places[index], lambda params: False, "value"
    ),
    "index_put": _Way(
        _index_put,
        lambda places, indices: places[_whole_dims(indices)],
        lambda params: bool(params["accumulate"]),
        "values",
    ),
    "masked_scatter": _Way(_masked, lambda places, mask: places, lambda params: False, "source"),
    "scatter": _Way(_scattered, _gathered, lambda params: params["reduce"] is not None, "src"),
    "scatter_add": _Way(_scattered, _gathered, lambda params: True, "src"),
    "scatter_reduce": _Way(
        _scattered, _gathered, lambda params: params["include_self"] is True, "src"
    ),
}
for _name, _signature in {
    "index_put": "input, indices, values, accumulate=False",
    "masked_scatter": "input, mask, source",
    "scatter": "input, dim, index, src=None, *, value=None, reduce=None",
    "scatter_add": "input, dim, index, src",
    "scatter_reduce": "input, dim, index, src, reduce, *, include_self=True",
}.items():
    rule(
        *spellings(_name),
        name=_name,
        signature=_signature,
        normalize=_there if _name == "index_put" else in_range() if "dim" in _signature else None,
        infer=written,
    )(scatter)
