"""`Kept`: the contents of everything that is reachable from a model, and their way back.

In: a model. Out: after `put_back`, every container, object, cell, class and global that was found holds
what it held: the same objects, in the same order. Nothing is copied deeply: what is inside is found, too.
"""

from __future__ import annotations

import argparse
import array
import functools
import random
import threading
import types
import weakref
from collections import ChainMap, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import chain, compress, filterfalse
from operator import not_
from typing import Any

import numpy as np
import torch
from torch import nn

from rfgraph.errors import InputError
from rfgraph.graph.guard import contents
from rfgraph.graph.guard.atoms import ATOMS, CAN_CHANGE, PLAIN, take_out, without_pairs
from rfgraph.graph.guard.code import Bound, Globals, is_foreign, slots_of
from rfgraph.graph.guard.contents import Cached, Dicts, Entries, Tensors
from rfgraph.graph.guard.process import global_hooks

Look = Callable[["Kept", Any], None]

_TENSORS = (torch.Tensor, nn.Parameter)
_OF_TENSORS = ("_parameters", "_buffers")


_HEAP_TYPE = 1 << 9  # a class made by Python code


class Kept:
    """What was there when this was made. `put_back` may be called again where it was interrupted.

    `modules`: those of the model's tree.
    """

    def __init__(self, model: nn.Module, modules: list[nn.Module]) -> None:
        self._dicts = Dicts()
        self._empty: list[Any] = []
        self._objects: list[tuple[object, type, dict[str, object] | None]] = []
        self._slots: list[tuple[types.MemberDescriptorType, object, object]] = []
        self._lists: list[tuple[list[object], list[object]]] = []
        self._sets: list[tuple[set[object], set[object]]] = []
        self._deques: list[tuple[deque[object], list[object]]] = []
        self._arrays: list[tuple[contents.Array, contents.Array]] = []
        self._buffers: list[tuple[contents.Buffer, contents.Buffer]] = []
        self._cells: list[tuple[types.CellType, object]] = []
        self._globals: list[Bound] = []
        self._named = Globals()
        self._functions: list[contents.Defaults] = []
        self._classes: list[tuple[type, dict[str, object]]] = []
        self._caches: list[tuple[Cached, functools._CacheInfo]] = []
        self._attributes: list[tuple[object, str, object]] = []
        self._states: list[tuple[Callable[[Any], object], Any]] = []
        self._tensors: list[Tensors] = []
        self._found: list[torch.Tensor] = []
        self._iterators: dict[int, object] = {}
        self._looks: dict[type, Look | None] = dict.fromkeys(ATOMS)
        self._seen: set[int] = set()
        self._stack: list[Any] = [model, *global_hooks()]
        self._begin(modules)
        self._walk()
        self._refuse_iterators()

    @property
    def tensors(self) -> list[torch.Tensor]:
        """Every tensor with memory: the model's own."""
        return [tensor for tensors in self._tensors for tensor in tensors.with_memory()]

    def dicts(self) -> dict[int, Entries]:
        """What every dict held, by its id; empty ones are left out."""
        return self._dicts.by_id()

    def modules(self) -> list[nn.Module]:
        """Every module that was found, in the tree or not."""
        return [thing for thing, *_ in self._objects if isinstance(thing, nn.Module)]

    def keep_gradients(self) -> None:
        for tensors in self._tensors:
            tensors.keep_gradients()

    # --- the walk -------------------------------------------------------------------------------

    def _begin(self, modules: list[nn.Module]) -> None:
        """Those of the tree are looked at all at once, as there are thousands."""
        self._seen.update(map(id, modules))
        for kind in dict.fromkeys(map(type, modules)):
            self._learn(kind)
        self._modules(modules)

    def _learn(self, kind: type) -> None:
        """How objects of a class are looked at; its own code and that of its bases is looked at, too."""
        self._looks[kind] = _look_of(kind)
        self._stack += [base for base in kind.__mro__ if not is_foreign(base)]

    def _walk(self) -> None:
        looked = 0
        while self._stack:
            self._look_at_all()
            tensors = Tensors(self._found[looked:])
            looked = len(self._found)
            self._tensors.append(tensors)
            self._later(tensors.inside())

    def _look_at_all(self) -> None:
        """Look at everything that waits."""
        stack, seen, looks, tensors = self._stack, self._seen, self._looks, self._found
        while stack:
            found = stack.pop()
            if id(found) in seen:
                continue
            seen.add(id(found))
            kind = type(found)
            if kind in _TENSORS:
                tensors.append(found)
                continue
            if kind not in looks:
                self._learn(kind)
            look = looks[kind]
            if look is not None:
                look(self, found)

    def _later(self, values: Iterable[Any]) -> None:
        """Look at these values, too."""
        atoms = ATOMS
        self._stack += [
            value
            for value in values
            if (kind := type(value)) not in atoms
            and not (kind is tuple and atoms.issuperset(map(type, value)))
        ]

    def _entries(self, own: Entries) -> None:
        """Look at what a dict holds; most of a module's are numbers, strings and empty dicts."""
        self._dicts.add(own)
        values = own.values()
        if PLAIN.issuperset(map(type, values)):
            self._empty += filterfalse(None, values)
            values = filter(None, values)  # type: ignore[assignment]
        self._later(values)

    def _module(self, module: nn.Module) -> None:
        self._modules([module])

    def _modules(self, modules: list[nn.Module]) -> None:
        owns = [module.__dict__ for module in modules]
        self._objects += zip(modules, map(type, modules), owns, strict=True)
        named = [own.get(name) for name in _OF_TENSORS for own in owns]
        held = [found for found in named if type(found) is dict and contents.holds_tensors(found)]
        self._seen.update(map(id, held))
        tensors = chain.from_iterable(map(dict.values, held))
        self._found += [tensor for tensor in tensors if tensor is not None]
        self._dicts.add_plain(held)
        self._dicts.add_plain(owns)
        values = list(chain.from_iterable(map(dict.values, owns)))
        self._later(take_out(values))
        self._empty += filterfalse(None, values)
        filled = list(filter(None, values))
        filled = list(compress(filled, map(CAN_CHANGE.__getitem__, map(type, filled))))
        seen = map(self._seen.__contains__, map(id, filled))
        self._later(without_pairs(list(compress(filled, map(not_, seen)))))

    def _object(self, thing: object) -> None:
        own = contents.dict_of(thing)
        if not isinstance(thing, threading.local):  # whose dict, one a thread, cannot be another
            self._objects.append((thing, type(thing), own))
        if own is not None:
            self._entries(own)
        for found in slots_of(type(thing)):
            value = contents.slot(found, thing)
            self._slots.append((found, thing, value))
            self._later((value,))

    def _tensor(self, tensor: torch.Tensor) -> None:
        self._found.append(tensor)

    def _dict(self, entries: Entries) -> None:
        if type(entries) in PLAIN:
            self._entries(entries)
        else:
            self._dicts.add(entries)
            self._later(dict.values(entries))
        if not ATOMS.issuperset(map(type, dict.keys(entries))):
            self._later(dict.keys(entries))
        if isinstance(entries, defaultdict):
            self._attributes.append((entries, "default_factory", entries.default_factory))
            self._later((entries.default_factory,))
        self._rest(entries, dict, OrderedDict, defaultdict)

    def _list(self, entries: list[object]) -> None:
        self._lists.append((entries, list.copy(entries)))
        self._later(list.__iter__(entries))
        self._rest(entries, list)

    def _set(self, entries: set[object]) -> None:
        self._sets.append((entries, set.copy(entries)))
        self._later(set.__iter__(entries))
        self._rest(entries, set)

    def _deque(self, entries: deque[object]) -> None:
        copied = list(deque.__iter__(entries))
        self._deques.append((entries, copied))
        self._later(copied)
        self._rest(entries, deque)

    def _elements(self, entries: tuple[object, ...] | frozenset[object]) -> None:
        base: Any = tuple if isinstance(entries, tuple) else frozenset
        self._later(base.__iter__(entries))
        self._rest(entries, base)

    def _rest(self, container: object, *plain: type) -> None:
        """The attributes of a container whose class is the user's own."""
        if type(container) not in plain and type(container).__flags__ & _HEAP_TYPE:
            self._object(container)

    def _array(self, values: contents.Array) -> None:
        if isinstance(values, np.memmap):
            return
        if values.dtype.hasobject:
            self._later(values.ravel().tolist())
        if values.flags.writeable:
            self._arrays.append((values, np.array(values, copy=True, subok=False)))

    def _buffer(self, values: contents.Buffer) -> None:
        self._buffers.append((values, values[:]))

    def _generator(self, source: Any) -> None:
        if isinstance(source, torch.Generator):
            self._states.append((source.set_state, source.get_state()))
        elif isinstance(source, random.Random):
            self._states.append((source.setstate, source.getstate()))
        elif isinstance(source, np.random.RandomState):
            self._states.append((source.set_state, source.get_state()))
        else:
            bits = source.bit_generator
            self._states.append((functools.partial(setattr, bits, "state"), bits.state))

    # --- code: what it closes over, and the globals that it names -------------------------------

    def _function(self, function: types.FunctionType) -> None:
        for cell in function.__closure__ or ():
            if id(cell) not in self._seen:
                self._seen.add(id(cell))
                self._cells.append((cell, contents.contents_of(cell)))
                self._later((self._cells[-1][1],))
        if is_foreign(function):
            return
        own, bound = function.__dict__, self._named.of(function)
        self._functions.append((function, function.__defaults__, function.__kwdefaults__))
        self._empty += () if own else (own,)  # of a hundred thousand functions most are
        self._globals += bound
        self._later((*self._functions[-1][1:], own or None, *[value for _, _, value in bound]))

    def _class(self, kind: type) -> None:
        if not is_foreign(kind):
            self._classes.append((kind, dict(vars(kind))))
            self._later((*vars(kind).values(), *kind.__bases__))

    def _method(self, method: types.MethodType) -> None:
        self._later((method.__self__, method.__func__))

    def _partial(self, call: functools.partial[Any]) -> None:
        self._later((call.func, call.args, call.keywords, call.__dict__))

    def _wrapped(self, wrapper: Any) -> None:
        self._later((wrapper.__func__,))

    def _property(self, found: property) -> None:
        self._later((found.fget, found.fset, found.fdel))

    def _cached_property(self, found: functools.cached_property[Any]) -> None:
        self._later((found.func,))

    def _cache(self, function: Cached) -> None:
        if not is_foreign(function):
            self._caches.append((function, function.cache_info()))
            self._later((function.__wrapped__,))

    def _iterator(self, iterator: object) -> None:
        self._iterators[id(iterator)] = iterator

    def _refuse_iterators(self) -> None:
        """One that a module holds moves on when it is asked, and cannot be moved back."""
        for owner, kind, own in self._objects if self._iterators else ():
            for name, value in (own or {}).items():
                if id(value) in self._iterators and isinstance(owner, nn.Module):
                    raise InputError(
                        f"{kind.__name__}.{name} is an iterator ({type(value).__name__}), which could "
                        "not be put back where it stands: hold a list or a number instead"
                    )

    # --- the way back ---------------------------------------------------------------------------

    def put_back(self) -> None:
        """Give everything back what it held. What did not change is not written."""
        for thing, kind, own in self._objects:
            if type(thing) is not kind:
                object.__setattr__(thing, "__class__", kind)
            if own is not None and thing.__dict__ is not own:
                object.__setattr__(thing, "__dict__", own)
        if any(self._empty):
            for container in filter(None, self._empty):
                container.clear()
        self._dicts.put_back()
        self._put_back_containers()
        for tensors in self._tensors:
            tensors.put_back()
        self._put_back_code()

    def _put_back_containers(self) -> None:
        for found, thing, value in self._slots:
            contents.put_back_slot(found, thing, value)
        contents.put_back_lists(self._lists)
        contents.put_back_sets(self._sets)
        contents.put_back_deques(self._deques)
        contents.put_back_arrays(self._arrays)
        contents.put_back_buffers(self._buffers)

    def _put_back_code(self) -> None:
        for thing, name, value in self._attributes:
            if getattr(thing, name) is not value:
                setattr(thing, name, value)
        for cell, value in self._cells:
            contents.put_back_cell(cell, value)
        contents.put_back_defaults(self._functions)
        for space, name, value in self._globals:
            contents.put_back_global(space, name, value)
        for kind, own in self._classes:
            contents.put_back_class(kind, own)
        for cache, info in self._caches:
            contents.put_back_cache(cache, info)
        for set_state, state in self._states:
            set_state(state)


# --- what to do with a value, by its class -------------------------------------------------------


def _look_of(kind: type) -> Look | None:
    """How an object of a class is looked at; None: not at all."""
    for base, look in _LOOKS:
        if issubclass(kind, base):
            return look
    if kind.__module__ in ("builtins", "itertools") and hasattr(kind, "__next__"):
        return Kept._iterator
    own = kind.__flags__ & _HEAP_TYPE and not is_foreign(kind)
    return Kept._object if own or kind in _OPEN else None


_LOOKS: tuple[tuple[type | tuple[type, ...], Look], ...] = (
    (nn.Module, Kept._module),
    (torch.Tensor, Kept._tensor),
    (dict, Kept._dict),
    (list, Kept._list),
    ((tuple, frozenset), Kept._elements),
    (set, Kept._set),
    (deque, Kept._deque),
    (np.ndarray, Kept._array),
    ((bytearray, array.array), Kept._buffer),
    (type, Kept._class),
    (types.FunctionType, Kept._function),
    (types.MethodType, Kept._method),
    ((functools.partial, functools.partialmethod), Kept._partial),
    ((staticmethod, classmethod), Kept._wrapped),
    (property, Kept._property),
    (functools.cached_property, Kept._cached_property),
    (type(functools.cache(lambda: None)), Kept._cache),
    ((torch.Generator, random.Random), Kept._generator),
    ((np.random.RandomState, np.random.Generator), Kept._generator),
)
"""The first that fits."""
_OPEN = frozenset(
    (
        *(types.SimpleNamespace, argparse.Namespace, threading.local, UserDict, UserList, ChainMap),
        *(weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet),
    )
)
"""Classes of Python's own library whose objects keep what a user puts into them."""
