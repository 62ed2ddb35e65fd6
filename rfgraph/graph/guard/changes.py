"""Which modules a run has changed: attributes, tensors and children that it has set or replaced so far.

In: what dicts held before the run. Out: of any module, while it runs, whether it is as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_, is_not

from torch import nn

_OWN_CALL = "_compiled_call_impl"
"""With `training`, what a run begins by setting: a module need not have had it."""
_PARTS = ("_parameters", "_buffers", "_modules")


class Modules:
    """What modules held before the run. It is asked of each that is called, so it answers fast.

    Args:
        before: id of a dict -> what it held; empty ones may be left out.
        training: the flag that the run gives every module.
    """

    def __init__(self, before: Mapping[int, Mapping[object, object]], training: bool) -> None:
        self._before = before
        self._training = training

    def is_changed(self, module: nn.Module) -> bool:
        """True where a module, or one inside it, holds something else; False for one that was made since."""
        own = module.__dict__
        before = self._before.get(id(own))
        if before is None:
            return False
        flag, call = own.get("training"), own.get(_OWN_CALL)
        added = call is not None and _OWN_CALL not in before
        if flag is not self._training or len(own) != len(before) + added:
            return True
        others = sum(map(is_not, own.values(), before.values()))  # what was added is not met
        ours = (flag is not before.get("training")) + (call is not before.get(_OWN_CALL))
        if others and others + added != ours:
            return True
        for name in _PARTS:
            now = own[name]
            if now or id(now) in self._before:
                kept = self._before.get(id(now), {})
                if len(now) != len(kept) or not all(map(is_, now.values(), kept.values())):
                    return True
        inside = own["_modules"]
        return bool(inside) and any(
            self.is_changed(child) for child in inside.values() if child is not None
        )
