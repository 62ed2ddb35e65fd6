"""What containers, objects, tensors, classes and functions hold, and their way back.

In: one of them, or many. Out: the same with what it held before. Nothing is asked of a user's class: its
own `__eq__`, `__iter__` or `__setitem__` never run.
"""

from __future__ import annotations

import functools
import gc
import threading
import types
from collections import OrderedDict, deque
from collections.abc import Iterable, MutableSequence, Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

Entries: TypeAlias = dict[Any, Any]
"""A dict of anything: its keys and values are never asked for more than who they are."""
Cached: TypeAlias = "functools._lru_cache_wrapper[object]"
Array: TypeAlias = npt.NDArray[Any]
Buffer: TypeAlias = MutableSequence[Any]
"""A byte array, or an array of Python's library."""
Defaults: TypeAlias = tuple[types.FunctionType, tuple[object, ...] | None, dict[str, object] | None]
"""A function, and what its arguments are where they are not given: by position, by keyword."""
ABSENT = object()
_TENSORS_OR_NONE = frozenset((torch.Tensor, nn.Parameter, type(None)))
LAZY = (UninitializedParameter, UninitializedBuffer)
_OURS = frozenset((torch.Tensor, nn.Parameter, *LAZY))
_GRAD, _OWN = attrgetter("grad"), attrgetter("__dict__")


class Dicts:
    """Dicts and copies of them: a model has thousands, of which a run changes a few."""

    def __init__(self) -> None:
        self._dicts: list[Entries] = []
        self._copies: list[Entries] = []
        self._ordered: list[tuple[OrderedDict[object, object], list[tuple[object, object]]]] = []

    def add(self, entries: Entries) -> None:
        if isinstance(entries, OrderedDict):  # its order is not that of the dict below it
            self._ordered.append((entries, list(OrderedDict.items(entries))))
            return
        plain = type(entries) is dict
        self._dicts.append(entries)
        self._copies.append(entries.copy() if plain else dict(dict.items(entries)))

    def add_plain(self, many: Sequence[Entries]) -> None:
        """Add dicts of no other class, all at once."""
        self._dicts += many
        self._copies += map(dict.copy, many)

    def by_id(self) -> dict[int, Entries]:
        """The copy of each dict, by the id of the dict."""
        found = dict(zip(map(id, self._dicts), self._copies, strict=True))
        found.update((id(entries), dict(items)) for entries, items in self._ordered)
        return found

    def put_back(self) -> None:
        if not _same_dicts(self._dicts, self._copies):
            for entries, kept in zip(self._dicts, self._copies, strict=True):
                if not _same_dicts([entries], [kept]):
                    fill(entries, kept.items())
        for ordered, items in self._ordered:
            now = chain.from_iterable(OrderedDict.items(ordered))
            if not same(list(now), list(chain.from_iterable(items))):
                fill(ordered, items)


def _same_dicts(now: Sequence[Entries], kept: Sequence[Entries]) -> bool:
    """The same keys and values in the same order, compared in three sweeps."""
    flat = chain.from_iterable
    return (
        list(map(len, now)) == list(map(len, kept))
        and all(map(is_, flat(map(dict.values, now)), flat(map(dict.values, kept))))
        and all(map(is_, flat(map(dict.keys, now)), flat(map(dict.keys, kept))))
    )


def fill(entries: Entries, kept: Iterable[tuple[object, object]]) -> None:
    """Give a dict these entries, and no others."""
    base: type[Entries] = OrderedDict if isinstance(entries, OrderedDict) else dict
    base.clear(entries)
    for key, value in kept:
        base.__setitem__(entries, key, value)


def same(now: Sequence[object], before: Sequence[object]) -> bool:
    """The same objects in the same order."""
    return len(now) == len(before) and all(map(is_, now, before))


class Tensors:
    """The attributes of tensors: class, `grad`, what Python code hung on them. Not their values."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        self._tensors = tensors
        self._kinds = list(map(type, tensors))
        pairs = zip(tensors, self._kinds, strict=True)
        self._leaves = [
            x for x, kind in pairs if kind in _OURS and x.is_leaf
        ]  # else user code runs
        self._grads = list(map(_GRAD, self._leaves))
        self._dicts = [(own, own.copy()) for own in map(_OWN, tensors) if own]
        is_lazy = any(issubclass(kind, LAZY) for kind in set(self._kinds))
        self._lazy = [(x, x.data) for x in tensors if isinstance(x, LAZY)] if is_lazy else []

    def inside(self) -> list[object]:
        """What the tensors hold."""
        grads = [grad for grad in self._grads if grad is not None]
        return [*grads, *chain.from_iterable(own.values() for own, _ in self._dicts)]

    def with_memory(self) -> list[torch.Tensor]:
        """Those that had memory of their own before the run."""
        pairs = zip(self._tensors, self._kinds, strict=True)
        return [tensor for tensor, kind in pairs if has_memory(kind)]

    def keep_gradients(self) -> None:
        """A backward pass adds to gradients that are there, in place, where no function mode sees it."""
        for tensor, grad in zip(self._leaves, self._grads, strict=True):
            if tensor.grad is not None and tensor.grad is grad:
                tensor.grad = tensor.grad.detach().clone()

    def put_back(self) -> None:
        for lazy, data in self._lazy:
            lazy.data = data
        if not same(list(map(type, self._tensors)), self._kinds):
            for tensor, kind in zip(self._tensors, self._kinds, strict=True):
                if type(tensor) is not kind:
                    tensor.__class__ = kind
        if not same(list(map(_GRAD, self._leaves)), self._grads):
            for tensor, grad in zip(self._leaves, self._grads, strict=True):
                tensor.grad = grad
        self._put_back_attributes()

    def _put_back_attributes(self) -> None:
        if self._dicts or any(map(_OWN, self._tensors)):
            before = {id(own): kept for own, kept in self._dicts}
            for own in map(_OWN, self._tensors):
                fill(own, before.get(id(own), {}).items())


# --- one value -----------------------------------------------------------------------------------


def slot(found: types.MemberDescriptorType, thing: object) -> object:
    try:
        return found.__get__(thing)
    except AttributeError:
        return ABSENT


def put_back_slot(found: types.MemberDescriptorType, thing: object, value: object) -> None:
    if slot(found, thing) is value:
        return
    if value is ABSENT:
        found.__delete__(thing)
    else:
        found.__set__(thing, value)


def contents_of(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def put_back_cell(cell: types.CellType, value: object) -> None:
    if contents_of(cell) is value:
        return
    if value is ABSENT:
        del cell.cell_contents
    else:
        cell.cell_contents = value


def put_back_defaults(functions: Iterable[Defaults]) -> None:
    """Functions, each with the default values of its arguments."""
    for function, defaults, named in functions:
        if function.__defaults__ is not defaults:
            function.__defaults__ = defaults
        if function.__kwdefaults__ is not named:
            function.__kwdefaults__ = named


def put_back_global(space: dict[str, object], name: str, value: object) -> None:
    now = space.get(name, ABSENT)
    if now is value:
        return
    if value is not ABSENT:
        space[name] = value
    elif not isinstance(now, types.ModuleType):  # what was imported meanwhile stays
        del space[name]


def dict_of(thing: object) -> Entries | None:
    """The attributes of an object; of a `threading.local`, those of this thread."""
    kind = type(thing)
    if issubclass(kind, threading.local):
        own: Entries = threading.local.__getattribute__(thing, "__dict__")  # type: ignore[arg-type]
        return own
    return object.__getattribute__(thing, "__dict__") if kind.__dictoffset__ else None


def put_back_class(kind: type, own: dict[str, object]) -> None:
    now = vars(kind)
    if same(list(now.values()), list(own.values())) and same(list(now), list(own)):
        return
    for name in [name for name in now if name not in own and not name.startswith("__")]:
        type.__delattr__(kind, name)
    for name, value in own.items():
        if now.get(name, ABSENT) is not value:
            type.__setattr__(kind, name, value)


def put_back_cache(function: Cached, info: functools._CacheInfo) -> None:
    """Of a `functools.lru_cache` single entries cannot be taken out: what came to an empty one goes.

    So does all of one that keeps a stand-in; the rest may stay, as it would be worked out again.
    """
    if function.cache_info().misses != info.misses and (
        info.currsize == 0 or _holds_stand_in(function)
    ):
        function.cache_clear()


def _holds_stand_in(cache: object) -> bool:
    inside = [x for x in gc.get_referents(cache) if not isinstance(x, type | types.FunctionType)]
    return any(
        isinstance(value, torch.Tensor) and (value.is_meta or not has_memory(type(value)))
        for value in (*inside, *chain.from_iterable(map(gc.get_referents, inside)))
    )


def has_memory(kind: type) -> bool:
    """False for a tensor whose class answers for it, a stand-in, and for one without a shape yet."""
    own = kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__  # type: ignore[attr-defined]
    return not own and not issubclass(kind, LAZY)


def put_back_lists(lists: Iterable[tuple[list[object], list[object]]]) -> None:
    """Lists, each with what it held."""
    for entries, copied in lists:
        if len(entries) != len(copied) or not same(list.copy(entries), copied):
            list.__setitem__(entries, slice(None), copied)


def put_back_sets(sets: Iterable[tuple[set[object], set[object]]]) -> None:
    """Sets, each with what it held."""
    for members, before in sets:
        if len(members) != len(before) or {*map(id, members)} != {*map(id, before)}:
            set.clear(members)
            set.update(members, before)


def put_back_deques(queues: Iterable[tuple[deque[object], list[object]]]) -> None:
    """Deques, each with what it held."""
    for queue, items in queues:
        if not same(list(deque.__iter__(queue)), items):
            deque.clear(queue)
            deque.extend(queue, items)


def put_back_arrays(arrays: Iterable[tuple[Array, Array]]) -> None:
    """Arrays of numpy, each with its numbers."""
    for values, numbers in arrays:
        if not values.flags.writeable:
            values.setflags(write=True)
        if values.tobytes() != numbers.tobytes():
            np.copyto(values, numbers)


def put_back_buffers(buffers: Iterable[tuple[Buffer, Buffer]]) -> None:
    """Byte arrays and arrays of Python's library, each with its numbers."""
    for buffer, content in buffers:
        if buffer != content:
            buffer[:] = content


def holds_tensors(held: Entries) -> bool:
    """Some, and nothing else."""
    return bool(held) and _TENSORS_OR_NONE.issuperset(map(type, held.values()))
