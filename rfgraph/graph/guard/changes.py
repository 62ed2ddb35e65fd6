"""Which modules a forward has changed: attributes, tensors and children that it has set or replaced so far.

In: modules, when a forward is about to begin. Out: of any of them, while it runs, whether it is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_, itemgetter
from typing import Any

from torch import nn

_PARTS = itemgetter("_parameters", "_buffers", "_modules")


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
        own = module.__dict__
        before, now = self._held.get(id(module)), _held(own)
        if before is None:
            return False
        if len(now) != len(before) or not all(map(is_, now, before)):
            return True
        inside = own["_modules"]
        return bool(inside) and any(map(self.is_changed, filter(None, inside.values())))


def _held(own: dict[str, Any]) -> list[object]:
    parameters, buffers, inside = _PARTS(own)
    held = [*own, *own.values(), *parameters, *parameters.values()]
    held += (*buffers, *buffers.values(), *inside, *inside.values())
    return held
