"""Values that hold nothing that can change, by their classes.

In: values. Out: those that have to be looked at.
"""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Iterable
from itertools import chain, compress
from operator import not_
from typing import Any

import torch

ATOMS: frozenset[type] = frozenset(
    (
        *(int, float, bool, complex, str, bytes, type(None), type(...), range, slice),
        *(torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format),
        *(types.BuiltinFunctionType, types.MethodWrapperType, types.MemberDescriptorType),
        *(types.GetSetDescriptorType, types.ModuleType, types.MappingProxyType),
    )
)
"""Classes whose objects hold nothing that can change."""
PLAIN = ATOMS | {dict, OrderedDict, set, list, tuple}
"""Classes whose objects can be asked whether they are empty without running a user's code."""


class _CanChange(dict[type, bool]):
    """Whether objects of a class hold what can change, asked at the speed of a dict."""

    def __missing__(self, kind: type) -> bool:
        self[kind] = True
        return True


CAN_CHANGE = _CanChange(dict.fromkeys(ATOMS, False))


def take_out(values: list[object]) -> list[object]:
    """The values that cannot be asked whether they are empty, taken out; in the place of each is None."""
    kinds = list(map(type, values))
    found = []
    for kind in set(kinds) - PLAIN:
        at = -1
        for _ in range(kinds.count(kind)):
            at = kinds.index(kind, at + 1)
            found.append(values[at])
            values[at] = None
    return found


def without_pairs(values: list[object]) -> list[object]:
    """Without tuples, where all of them are of numbers and the like, as those of convolutions are."""
    are_tuples = [kind is tuple for kind in map(type, values)]
    tuples: Iterable[Any] = compress(values, are_tuples)
    inside = chain.from_iterable(tuples)
    if not ATOMS.issuperset(map(type, inside)):
        return values
    return list(compress(values, map(not_, are_tuples)))
