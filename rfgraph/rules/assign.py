"""Assignment to a part of a tensor, `x[index] = value`, and scattering by an index.

In: their nodes. Out: reads. The tensor that was written into is a node of its own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Place, Read, Reads, along, fixed, lookup, table
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import nonnegative, written
from rfgraph.rules.indices import (
    in_range,
    is_constant,
    is_fancy,
    is_flag,
    normalize_index,
    selected,
)
from rfgraph.rules.registry import rule, spellings
from rfgraph.rules.scatter import anywhere, scatter

_REASON = "an assignment to a part of this size"


def _normalize(params: Params, shapes: Sequence[Shape]) -> Params:
    """The index written out for the tensor that is written, which may be one of the model."""
    return normalize_index(params, [tuple(params["input"].shape)])


def _infer(params: Params, shapes: Sequence[Shape]) -> Shape:
    """The shape of what is written into; a value that does not fit is refused, as torch does."""
    shape, entries, value = written(params, shapes), params["index"], params["value"]
    if isinstance(value, Operand) and not any(is_fancy(e) or is_flag(e) for e in entries):
        part = _part(entries, shape)
        pairs = zip_longest(value.shape[::-1], part[::-1], fillvalue=1)
        if any(n not in (1, size) for n, size in pairs):
            raise ValueError(f"a value of shape {value.shape} does not fit a part of shape {part}")
    return shape


def _part(entries: Sequence[int | slice | None], shape: Shape) -> Shape:
    """The shape of what the index selects."""
    chosen, sizes = iter(_chosen(entries, shape)), []
    for entry in entries:
        count = 1 if entry is None else len(next(chosen))
        if entry is None or isinstance(entry, slice):
            sizes.append(count)
    return tuple(sizes)


@rule(
    "__setitem__",
    operator.setitem,
    name="setitem",
    signature="input, index, value",
    normalize=_normalize,
    infer=_infer,
)
def setitem(node: Node) -> Reads:
    """Assignment to integers and slices: `x[:, :, 1::2] = value`.

    Reads:      the value where the index selects; the tensor itself elsewhere.
    Formula:    along a sliced dim the value is read at (o - start) / step, where that is an integer
                within the slice.
    Example:    x[1::3] = v on 8: output 4 reads v at 1, output 5 reads x at 5.
    Precision:  exact for constant indices and masks. Conservative for an index that names a position twice,
                by all that it puts there, and for computed ones: the tensor is read throughout and the value
                whole.
    Documented: https://docs.pytorch.org/docs/stable/tensor_view.html
    """
    entries = node.params["index"]
    if any(is_fancy(entry) or is_flag(entry) for entry in entries):
        return scatter(node)
    chosen = _chosen(entries, node.shape)
    value = node.params["value"]
    is_traced = isinstance(node.params["input"], Operand)
    reads = _elsewhere(entries, chosen, node.shape) if is_traced else []
    if isinstance(value, Operand):
        is_all = all(len(c) == size for c, size in zip(chosen, node.shape, strict=True))
        own = value.shape if is_all else value.shape or (1,)
        reads.append(Read(value.index, _assigned(entries, chosen, node.shape, own)))
    return tuple(reads)


def _chosen(entries: Sequence[int | slice | None], shape: Shape) -> list[range]:
    """What the index selects of each dim."""
    kept = [entry for entry in entries if entry is not None]
    return [
        selected(e, size) if isinstance(e, slice) else range(e % size, e % size + 1)
        for e, size in zip(kept, shape, strict=True)
    ]


def _reaches_the_end(entry: object) -> bool:
    """A slice that begins and ends at a fixed distance from the borders, whatever the size."""
    if not isinstance(entry, slice) or (entry.step or 1) < 1:
        return False
    return (entry.start or 0) >= 0 and (entry.stop is None or entry.stop < 0)


def _from_the_beginning(entry: object, size: int) -> bool:
    """It selects the same positions at any size, as long as there are these."""
    if isinstance(entry, slice):
        return (entry.start or 0) >= 0 and entry.stop is not None and 0 <= entry.stop <= size
    return isinstance(entry, int) and entry >= 0


def _elsewhere(entries: Sequence[object], chosen: Sequence[range], shape: Shape) -> list[Read]:
    """All but the box that was assigned to: for each of its dims, what lies outside along that one."""
    rank = len(shape)
    kept = [entry for entry in entries if entry is not None]

    def outside(dim: int) -> Place:
        inside = chosen[dim]

        def at(o: int) -> tuple[int, ...]:
            return () if o in inside else (o,)

        if not _reaches_the_end(kept[dim]):
            return _at(dim, at, kept[dim], shape[dim])
        step, first = inside.step, inside.start % inside.step
        sets = (Positions.of(() if o == first else (o,)) for o in range(step))
        return table(dim, at, Relation(step, step, sets))

    constrained = [dim for dim in range(rank) if len(chosen[dim]) < shape[dim]]
    return [
        Read(0, tuple(outside(d) if d == dim else along(d) for d in range(rank)))
        for dim in constrained
    ]


def _assigned(
    entries: Sequence[object], chosen: Sequence[range], shape: Shape, own: Shape
) -> tuple[Place, ...]:
    """What is read of the value, dim by dim; dims it lacks decide whether anything is."""
    kept = iter(range(len(shape)))
    targets: list[int | None] = []  # of each dim of the selected box: the dim of the tensor
    for entry in entries:
        dim = None if entry is None else next(kept)
        if entry is None or isinstance(entry, slice):
            targets.append(dim)
    lead = len(own) - len(targets)  # dims of size 1 that the value has beside those of the box
    targets = [*[None] * lead, *targets] if lead > 0 else targets[-lead:]
    plain = [entry for entry in entries if entry is not None]
    reads = [
        _placed(target, size, plain, chosen, shape)
        for target, size in zip(targets, own, strict=True)
    ]
    bound = {target for target in targets if target is not None}
    unbound = [d for d, c in enumerate(chosen) if len(c) < shape[d] and d not in bound]
    settled = all(_from_the_beginning(plain[d], shape[d]) for d in unbound)
    return tuple(_where(reads, targets, {d: chosen[d] for d in unbound}, settled))


def _placed(
    target: int | None, size: int, entries: Sequence[object], chosen: Sequence[range], shape: Shape
) -> Place:
    """One dim of the value, laid along dim `target` of the tensor."""
    if target is None:
        return fixed(0)
    inside, step, length = chosen[target], chosen[target].step, shape[target]
    is_one_of_more = size == 1 < length  # where more are chosen, one is repeated, or there are more
    if size == len(inside) and not is_one_of_more and _reaches_the_end(entries[target]):
        return along(target, Relation.window(1, step, 1, -inside.start).converse())
    repeated = size == 1  # broadcast along the slice

    def at(o: int) -> tuple[int, ...]:
        return () if o not in inside else (0,) if repeated else ((o - inside.start) // step,)

    return _at(target, at, entries[target], length)


def _at(dim: int, at: Callable[[int], Iterable[int]], entry: object, size: int) -> Place:
    """What is read along a dim of `size` that `entry` selects a part of."""
    place = table(dim, at, None, _REASON)
    return replace(place, settled=_from_the_beginning(entry, size))


def _where(
    reads: Sequence[Place],
    targets: Sequence[int | None],
    inside: Mapping[int, range],
    settled: bool,
) -> Iterable[Place]:
    """The reads, the first of them only where the output lies `inside` along further dims.

    `settled`: as it does at any size.
    """
    if not inside or not reads:
        return reads
    first, target = reads[0], targets[0]
    dims = (*(() if target is None else (target,)), *inside)

    def at(position: tuple[int, ...]) -> Iterable[int]:
        further = position[len(dims) - len(inside) :]
        if not all(o in span for o, span in zip(further, inside.values(), strict=True)):
            return ()
        return first.positions(position[: len(first.dims)])

    is_settled = settled and (first.at is None or first.settled)
    return (replace(lookup(dims, at, _REASON), settled=is_settled), *reads[1:])


def indexed(node: Node) -> Reads:
    """index_add, index_copy, index_fill: slices of one dim, added to or replaced.

    Reads:      the tensor at the same position, but where it is replaced; of what is put in, the slices that
                the index sends here.
    Formula:    along dim, position o reads source[j] for every j with index[j] = o.
    Example:    index (4, 0), index_copy: output 4 reads source 0, output 1 reads the tensor at 1.
    Precision:  exact for a constant index. Conservative for a computed one, by which all may be put here.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.index_add_.html
    """
    params, rank = node.params, len(node.shape)
    if not is_constant(params["index"]) or not rank:
        return anywhere(node)
    dim = nonnegative(params["dim"], rank)
    sent = [int(i) % max(node.shape[dim], 1) for i in params["index"].reshape(-1)]
    own = along(dim) if node.op == "index_add" else _but(dim, sent)
    reads = []
    if isinstance(params["input"], Operand):
        reads.append(Read(0, tuple(own if d == dim else along(d) for d in range(rank))))
    source, value = params.get("source"), params.get("value")
    if isinstance(value, Operand):
        filled = table(dim, lambda o: (0,) if o in sent else (), None, _REASON)
        reads.append(Read(value.index, (filled,)))
    if isinstance(source, Operand):
        put = table(dim, lambda o: [j for j, i in enumerate(sent) if i == o], None, _REASON)
        dims = tuple(put if d == dim else along(d) for d in range(len(source.shape)))
        reads.append(Read(source.index, dims))
    return tuple(reads)


def _but(dim: int, replaced: Sequence[int]) -> Place:
    return table(dim, lambda o: () if o in replaced else (o,), None, _REASON)


for _name, _rest in {
    "index_add": "source, *, alpha=1",
    "index_copy": "source",
    "index_fill": "value",
}.items():
    rule(
        *spellings(_name),
        name=_name,
        signature=f"input, dim, index, {_rest}",
        normalize=in_range(signed=_name == "index_fill"),
        infer=written,
    )(indexed)
