"""Which modules a run has changed: attributes, tensors and children that it has set or replaced so far.

In: modules, before the run. Out: of any module, while it runs, whether it is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from operator import is_
from typing import Any

from torch import nn

_PARTS = ("_parameters", "_buffers", "_modules")


class Modules:
    """What modules held when this was made. It is asked of each that is called, so it answers fast."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        owns = [module.__dict__ for module in modules]
        self._held = {id(own): _held_by(own) for own in owns}

    def is_changed(self, module: nn.Module) -> bool:
        """True where a module, or one inside it, holds something else; False for one that was made since."""
        own = module.__dict__
        before = self._held.get(id(own))
        if before is None:
            return False
        count, names, values, *parts = before
        if len(own) != count or not all(map(is_, map(own.get, names), values)):
            return True
        for name, kept in parts:
            now = own[name]
            if len(now) != len(kept) or (kept and not all(map(is_, now.values(), kept))):
                return True
        inside = own["_modules"]
        return bool(inside) and any(
            self.is_changed(child) for child in inside.values() if child is not None
        )


def _held_by(own: dict[str, Any]) -> tuple[Any, ...]:
    """How many attributes a module has, the names and values of its own; (name, contents) of its parts."""
    names = _public(tuple(own))
    parts = ((name, tuple(own[name].values())) for name in _PARTS)
    return (len(own), names, tuple(map(own.__getitem__, names)), *parts)


@lru_cache(maxsize=1 << 10)
def _public(names: tuple[str, ...]) -> tuple[str, ...]:
    """The attributes that a module computes by: others are torch's, such as its hooks."""
    return tuple(name for name in names if not name.startswith("_"))
