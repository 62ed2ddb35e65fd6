"""Which modules a forward has changed: attributes, tensors and children that it has set or replaced so far.

In: modules, when a forward is about to begin. Out: of any of them, while it runs, whether it is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_
from typing import Any, TypeAlias

from torch import nn

_Held: TypeAlias = tuple[list[str], list[object]]
"""The names of what a module holds, and what each stands for."""


class Began:
    """What modules held when this was made. It is asked of each that is called, so it answers fast.

    Args:
        modules: those of the tree.
        outside: others, whose flags nobody sets: one in another mode than `training` counts as changed.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        outside: Iterable[nn.Module] = (),
        training: bool = False,
    ) -> None:
        self._held = {id(module): _held(module.__dict__) for module in modules}
        for module in outside:
            self._held[id(module)] = _held({**module.__dict__, "training": training})

    def is_changed(self, module: nn.Module) -> bool:
        """True where a module, or one inside it, holds something else; False for one that was made since.

        What it is when the forward is over is then not what it computed by.
        """
        before = self._held.get(id(module))
        if before is None:
            return False
        names, values = _held(own := module.__dict__)
        if names != before[0] or not all(map(is_, values, before[1])):
            return True
        inside = own["_modules"]
        return bool(inside) and any(map(self.is_changed, filter(None, inside.values())))


def _held(own: dict[str, Any]) -> _Held:
    tensors, buffers, inside = own["_parameters"], own["_buffers"], own["_modules"]
    names = [*own, *tensors, *buffers, *inside]
    return names, [*own.values(), *tensors.values(), *buffers.values(), *inside.values()]
