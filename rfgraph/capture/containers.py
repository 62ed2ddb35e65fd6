"""Containers that hold tensors: taken apart, and made again with other parts. For arguments and for results.

In: a list, tuple, dict, named tuple, dataclass or what is registered with torch's pytree. Out: its parts, and
a `Container`, which makes another one of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any, TypeAlias

from torch import nn
from torch.utils import _pytree as pytree

_WRITTEN_AS_CODE = frozenset((str, int, bool, float, type(None)))
_BUILT_IN = (tuple, list, Mapping)
_PLAIN_NEW = (object.__new__, SimpleNamespace.__new__)
Opened: TypeAlias = "tuple[Container, list[object]]"


@dataclass(frozen=True, eq=False)
class Container:
    """A container without its parts.

    Attributes:
        kind: its class. keys: of its parts, in order: names, dict keys or numbers.
        context: in a tuple, what torch's pytree keeps of a registered class beside the parts; else None.
    """

    kind: type
    keys: tuple[Hashable, ...]
    context: Any = None

    @property
    def is_plain(self) -> bool:
        """True for what an `fx` graph holds as it is: tuples, lists, dicts whose keys can be written down."""
        if self.kind is dict:
            return all(type(key) in _WRITTEN_AS_CODE for key in self.keys)
        return self.kind in (tuple, list)

    @property
    def is_named(self) -> bool:
        """True where the keys are names of attributes."""
        kind = self.kind
        return is_dataclass(kind) or hasattr(kind, "_fields") or not issubclass(kind, _BUILT_IN)

    def place(self, key: object) -> str:
        """How a part is reached in Python: `.image`, `[0]`, `['image']`."""
        return f".{key}" if self.is_named else f"[{key!r}]"

    def made(self, parts: Sequence[object]) -> Any:
        """Another container of this class, with these parts."""
        kind: Any = self.kind
        named = dict(zip(self.keys, parts, strict=True))
        if is_dataclass(self.kind):
            given = {each.name for each in fields(self.kind) if each.init}
            made = kind(**{name: part for name, part in named.items() if name in given})
            for name in named.keys() - given:
                object.__setattr__(made, str(name), named[name])
            return made
        if self.context is not None:
            return pytree.SUPPORTED_NODES[kind].unflatten_fn(list(parts), *self.context)
        if issubclass(kind, Mapping):
            return kind(named)
        if not issubclass(kind, tuple | list):
            made = kind.__new__(kind)
            vars(made).update(named)
            return made
        return kind(*parts) if self.is_named else kind(parts)


def made(container: Container, parts: Sequence[object]) -> object:
    """`container.made(parts)`, as a function that an `fx` graph can call."""
    return container.made(parts)


def opened(value: object) -> Opened | None:
    """A container, and its parts in order; None for what is none."""
    kind = type(value)
    if is_dataclass(value):
        names = tuple(each.name for each in fields(value) if hasattr(value, each.name))
        return Container(kind, names), [getattr(value, name) for name in names]
    found = None if kind in (dict, list, tuple) else _registered(value)
    if found is not None:
        return found
    if isinstance(value, Mapping):
        kind = kind if _takes_a_dict(kind) else dict
        return Container(kind, tuple(value)), list(value.values())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return Container(kind, tuple(value._fields)), list(value)
    if isinstance(value, tuple | list):
        return Container(kind, tuple(range(len(value)))), list(value)
    return None


def attributes(value: object) -> Opened | None:
    """An object of a plain class by its attributes, as if it were a container; None for what is none."""
    kind: Any = type(value)
    plain = kind.__new__ in _PLAIN_NEW and hasattr(value, "__dict__")
    plain = plain and not any(vars(base).get("__slots__") for base in kind.__mro__)
    if not plain or isinstance(value, type | nn.Module | Enum):
        return None
    return Container(kind, tuple(vars(value))), list(vars(value).values())


def _registered(value: object) -> Opened | None:
    """By the functions that its class is registered with; None for one that is not."""
    kind = type(value)
    known = pytree.SUPPORTED_NODES.get(kind)
    if known is None or (isinstance(value, Mapping) and known.flatten_with_keys_fn is None):
        return None
    if known.flatten_with_keys_fn is None:
        parts, context = known.flatten_fn(value)
        return Container(kind, tuple(range(len(parts))), (context,)), list(parts)
    pairs, context = known.flatten_with_keys_fn(value)
    keys = tuple(_key(entry) for entry, _ in pairs)
    return Container(kind, keys, (context,)), [part for _, part in pairs]


def _key(entry: object) -> object:
    """The name, key or number in an entry of a pytree path."""
    for attribute in ("name", "key", "idx"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return entry


def _takes_a_dict(kind: type) -> bool:
    """False for a mapping that is made in another way: its parts are kept in a plain dict."""
    try:
        return len(kind({"key": None})) == 1
    except Exception:
        return False
