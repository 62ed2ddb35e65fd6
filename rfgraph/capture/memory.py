"""What shares memory: which tensors of a capture are views of which, and what a write changes.

In: calls that return a view, calls that write. Out: the fx node that holds a tensor's value now. The
tracer records the nodes that a write takes.

A stand-in is a meta tensor, so torch itself says what is a view of what: stand-ins share storage where the
model's tensors do. A write gives the written tensor a new node, and every tensor that it is a view of one in
which the new part stands in its place; other views of the same memory are read out of these again when they
are next used. So every value of the graph is one node's, and no node's value ever changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

import torch
from torch import fx

from rfgraph.graph import Masked, Operand
from rfgraph.graph.calls import assigned
from rfgraph.language.vocabulary import Params

_REORDERED = frozenset(
    "permute transpose t T mT H mH adjoint swapaxes swapdims movedim moveaxis numpy_T".split()
)
_RESHAPED = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze view_as reshape_as ravel expand expand_as "
    "_unsafe_view".split()
)
_CUT = frozenset("chunk split tensor_split unbind narrow select hsplit vsplit dsplit".split())
_LARGEST = 1 << 24  # elements whose places are looked up one by one
_versions = count(1)  # no two writes have one, also where one of them is taken back
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19)


@dataclass(slots=True)
class Memory:
    """Memory that tensors share: `version` is the last write of it.

    `counter` is torch's own count for the stand-ins, which a capture never writes into.
    """

    version: int = 0
    counter: int = 0


@dataclass(slots=True)
class Step:
    """How a view was made of another tensor, by operator `op`.

    `again` records the call once more, on what that tensor holds now; `on` makes the view of any tensor.
    """

    op: str
    params: Params
    again: Callable[[], Traced]
    on: Callable[[torch.Tensor], torch.Tensor]


State: TypeAlias = "tuple[fx.Node, Masked | None, int, int]"
"""What a write or a reading changes: node, mask, the versions of the tensor and of its memory."""


@dataclass(slots=True, eq=False)
class Traced:
    """A tensor of the model while its forward runs.

    Attributes:
        tensor: the stand-in that model code holds: a meta tensor of its shape, strides and dtype.
        node: the fx node that held its value when its memory had last been written by write `version`.
        device: where the model's own tensor would be.
        masked: positions whose value the model fixes.
        parent: what it is a view of, by `step`; None: of nothing. Without a step it is that tensor itself.
    """

    tensor: torch.Tensor
    node: fx.Node
    device: torch.device
    masked: Masked | None = None
    memory: Memory = field(init=False)
    parent: Traced | None = None
    step: Step | None = None
    version: int = field(init=False)

    def __post_init__(self) -> None:
        parent = self.parent
        self.memory = Memory(counter=self.tensor._version) if parent is None else parent.memory
        self.version = self.memory.version

    def is_written_unseen(self) -> bool:
        """Something wrote into the stand-in itself, where nobody looked."""
        return self.tensor._version != self.memory.counter

    def state(self) -> State:
        """What a write or a reading changes."""
        return self.node, self.masked, self.version, self.memory.version

    def put_back(self, state: State) -> None:
        """Take back what was changed since."""
        self.node, self.masked, self.version, self.memory.version = state

    def refreshed(self) -> Traced:
        """Itself, its node holding what the memory holds now."""
        if self.version != self.memory.version:
            assert self.parent is not None  # what is no view is given its node by the write
            now = self.parent.refreshed()
            now = now if self.step is None else self.step.again()
            self.node, self.masked, self.version = now.node, now.masked, self.memory.version
            self.node.meta["val"] = self.tensor  # of this memory, however it was read out again
        return self


def is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """The same elements in the same places."""
    return (
        one.shape == other.shape
        and one.stride() == other.stride()
        and one.storage_offset() == other.storage_offset()
        and one.dtype == other.dtype
    )


def storage_of(tensor: torch.Tensor) -> int:
    """What stand-ins that share memory have in common."""
    return int(tensor.untyped_storage()._cdata)


Record = Callable[..., Traced]
"""`record(target, *args)` writes down a call on stand-ins and constants; a `str` target is a method."""


def written(target: Traced, value: Traced, record: Record) -> None:
    """Give `target`, and what it is a view of, the node of a new value."""
    changes = [(target, value)]
    while target.parent is not None:
        parent = target.parent.refreshed()
        if target.step is not None:
            value = _put(target, target.step, parent, value, record)
        changes.append((parent, value))
        target = parent
    target.memory.version = next(_versions)
    for each, now in changes:
        each.node, each.masked, each.version = now.node, now.masked, each.memory.version
        each.node.meta["val"] = each.tensor  # the memory is still the same


class Unfollowed(Exception):
    """A write that cannot be put into the tensor that was written."""


def _put(view: Traced, step: Step, parent: Traced, value: Traced, record: Record) -> Traced:
    """The parent with `value` where the view stands in it."""
    whole = parent.tensor
    if view.tensor.dtype != whole.dtype:
        raise Unfollowed("through a view of another dtype")
    if step.op == "unsqueeze":
        return record("squeeze", value.tensor, step.params["dim"] % view.tensor.ndim)
    if step.op == "squeeze":
        for dim in _dropped(step, view.tensor, whole):
            value = record("unsqueeze", value.tensor, dim)
        return value
    if step.op in _RESHAPED and view.tensor.numel() == whole.numel():
        return record("reshape", value.tensor, tuple(whole.shape))
    if step.op in _REORDERED and whole.ndim <= len(_PRIMES):
        return record("permute", value.tensor, _order_back(step, whole.ndim))
    index = _index(step, view.tensor, whole)
    if index is not None:
        return record(assigned, whole, index, value.tensor)
    return _put_by_places(step, parent, value, record)


def _dropped(step: Step, view: torch.Tensor, whole: torch.Tensor) -> list[int]:
    """The dims that a squeeze dropped: a reshape back would not tell them from others of size 1."""
    if view.ndim == whole.ndim:
        return []
    asked = {dim % whole.ndim for dim in step.params["dim"]}
    return [d for d in range(whole.ndim) if whole.shape[d] == 1 and (d in asked or not asked)]


def _order_back(step: Step, rank: int) -> tuple[int, ...]:
    """The permutation that undoes the one of the step: seen on a tensor whose sizes tell its dims apart."""
    turned = step.on(torch.empty(_PRIMES[:rank], device="meta"))
    return tuple(tuple(turned.shape).index(size) for size in _PRIMES[:rank])


def _index(step: Step, view: torch.Tensor, whole: torch.Tensor) -> tuple[object, ...] | None:
    """The index by which the view stands in the whole, for slices and the like."""
    if step.op == "getitem":
        index = step.params["index"]
        return tuple(index) if not any(isinstance(e, Operand) for e in index) else None
    if step.op not in _CUT:
        return None
    if view.ndim < whole.ndim:
        dim = step.params.get("dim", 0) % whole.ndim
        place: object = (view.storage_offset() - whole.storage_offset()) // max(
            whole.stride(dim), 1
        )
    else:
        differing = [d for d in range(whole.ndim) if view.shape[d] != whole.shape[d]]
        dim = differing[0] if differing else 0
        start = (view.storage_offset() - whole.storage_offset()) // max(whole.stride(dim), 1)
        place = slice(start, start + view.shape[dim])  # where a piece lies is counted at this size
    return (*(slice(None),) * dim, place)


def _put_by_places(step: Step, parent: Traced, value: Traced, record: Record) -> Traced:
    """Every other view: its elements are put at their places in the flattened parent."""
    whole = parent.tensor
    if whole.numel() > _LARGEST:
        raise Unfollowed(f"through {step.op} of a tensor of {whole.numel()} elements")
    places = step.on(torch.arange(whole.numel()).reshape(whole.shape)).reshape(-1)
    flat = record("reshape", whole, (-1,))
    new = record("reshape", value.tensor, (-1,))
    put = record("index_copy", flat.tensor, 0, places, new.tensor)
    return record("reshape", put.tensor, tuple(whole.shape))


def places_of(view: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Where in the flattened `base` the elements of a view of the same storage lie, in the view's shape."""
    laid = torch.empty_strided(base.shape, base.stride(), dtype=torch.long)
    laid.copy_(torch.arange(base.numel()).reshape(base.shape))
    offset = view.storage_offset() - base.storage_offset()
    return laid.as_strided(view.shape, view.stride(), offset).contiguous()
