"""What code can reach: the globals that a function names, and the slots of a class.

In: a function, a class. Out: names and where they are bound. Only the user's own code is asked: what
torch, numpy and Python's library keep for themselves is theirs.
"""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeAlias
from weakref import WeakKeyDictionary

from rfgraph.graph.guard.contents import ABSENT

_FOREIGN = frozenset(
    (
        *sys.stdlib_module_names,
        *("torch", "functorch", "numpy", "rfgraph", "pytest", "_pytest", "pluggy", "hypothesis"),
    )
)
_STORE = dis.opmap["STORE_GLOBAL"]
Space: TypeAlias = dict[str, object]
Bound: TypeAlias = tuple[Space, str, object]
"""Globals, a name, and what it is bound to there; `ABSENT`: to nothing yet."""
_SLOTS: WeakKeyDictionary[type, tuple[types.MemberDescriptorType, ...]] = WeakKeyDictionary()


def is_foreign(thing: object) -> bool:
    """True for a class or a function that is not the user's."""
    module = getattr(thing, "__module__", None)
    return type(module) is not str or _is_foreign(module)


def _is_foreign(module: str) -> bool:
    return module.partition(".")[0] in _FOREIGN


class Globals:
    """The globals that functions name, their own and those of modules that they name: each is told once."""

    def __init__(self) -> None:
        self._told: dict[int, set[str]] = {}
        self._modules: dict[int, set[str]] = {}

    def of(self, function: types.FunctionType) -> list[Bound]:
        """Those that no function before it has named, and what they are bound to.

        One that asks for `globals()` names them all.
        """
        space = function.__globals__
        mentioned, stored = _names(function.__code__)
        found = self._new(space, frozenset(space) if "globals" in mentioned else mentioned)
        if stored:
            found += self._new(space, stored, bound=False)
        for module in self._named(space, mentioned):
            found += self._new(vars(module), mentioned)
        return found

    def _new(self, space: Space, names: frozenset[str], bound: bool = True) -> list[Bound]:
        told = self._told.setdefault(id(space), set())
        names = names - told
        new = names & space.keys() if bound else names - space.keys()
        told |= new
        return [(space, name, space.get(name, ABSENT)) for name in new]

    def _named(self, space: Space, mentioned: frozenset[str]) -> Iterator[types.ModuleType]:
        """The modules of the user's that names stand for, in these globals or by an import."""
        held = self._modules.get(id(space))
        if held is None:
            held = {name for name, value in space.items() if type(value) is types.ModuleType}
            self._modules[id(space)] = held
        found = [space[name] for name in mentioned & held]
        found += [sys.modules[name] for name in (mentioned - space.keys()) & sys.modules.keys()]
        for module in found:
            if type(module) is types.ModuleType and not _is_foreign(module.__name__):
                yield module


@lru_cache(maxsize=1 << 17)
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The names that code mentions, attributes among them, and the globals that it binds."""
    mentioned, stored = set(code.co_names), set[str]()
    if _STORE in code.co_code[::2]:
        stored.update(str(i.argval) for i in dis.get_instructions(code) if i.opcode == _STORE)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            names, bound = _names(inner)
            mentioned.update(names)
            stored.update(bound)
    return frozenset(mentioned), frozenset(stored)


def slots_of(kind: type) -> tuple[types.MemberDescriptorType, ...]:
    """The descriptors of the attributes that objects of a class keep outside their `__dict__`."""
    if kind not in _SLOTS:
        _SLOTS[kind] = tuple(
            entry
            for base in kind.__mro__
            if "__slots__" in vars(base) and not is_foreign(base)
            for entry in vars(base).values()
            if type(entry) is types.MemberDescriptorType
        )
    return _SLOTS[kind]
