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
from weakref import WeakKeyDictionary

_FOREIGN = frozenset(
    (
        *sys.stdlib_module_names,
        *("torch", "functorch", "numpy", "rfgraph", "pytest", "_pytest", "pluggy", "hypothesis"),
    )
)
_STORE = dis.opmap["STORE_GLOBAL"]
_SLOTS: WeakKeyDictionary[type, tuple[types.MemberDescriptorType, ...]] = WeakKeyDictionary()


def is_foreign(thing: object) -> bool:
    """True for a class or a function that is not the user's."""
    module = getattr(thing, "__module__", None)
    return type(module) is not str or _is_foreign(module)


def _is_foreign(module: str) -> bool:
    return module.partition(".")[0] in _FOREIGN


def globals_read(function: types.FunctionType) -> Iterator[tuple[dict[str, object], str, bool]]:
    """(globals, name, is bound) of what a function names: its globals, and those of modules it names.

    One that asks for `globals()` names them all.
    """
    space = function.__globals__
    mentioned, stored = _names(function.__code__)
    for name in tuple(space) if "globals" in mentioned else mentioned:
        if name in space:
            yield space, name, True
        elif name in stored:
            yield space, name, False
        module = space[name] if name in space else sys.modules.get(name)
        if type(module) is types.ModuleType and not _is_foreign(module.__name__):
            inside = vars(module)
            yield from ((inside, other, True) for other in mentioned if other in inside)


@lru_cache(maxsize=1 << 13)
def _names(code: types.CodeType) -> tuple[tuple[str, ...], frozenset[str]]:
    """The names that code mentions, attributes among them, and the globals that it binds."""
    mentioned, stored = dict.fromkeys(code.co_names), set[str]()
    if _STORE in code.co_code[::2]:
        stored.update(str(i.argval) for i in dis.get_instructions(code) if i.opcode == _STORE)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            names, bound = _names(inner)
            mentioned.update(dict.fromkeys(names))
            stored.update(bound)
    return tuple(mentioned), frozenset(stored)


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
