"""What a tensor of the model is in the twin: 0 and -inf where the model fixes it to these, else 1.

In: arguments of calls. Out: float64 tensors. A parameter is fixed nowhere. What was made of parameters is
made again, of twins of them, in which nothing cancels: what is 0 there is 0 whatever they are.
"""

from __future__ import annotations

from math import inf
from typing import Any

import torch
from torch import Tensor

from rfgraph.graph.origins import Origin, origin_of
from rfgraph.graph.replay import UnreadableError
from rfgraph.probe.twins.encoding import is_low, numbers, ones, settled
from rfgraph.probe.twins.twin import Setting, Twin, mapped


def encoded(value: Tensor) -> Tensor:
    """The twin of a tensor of the model."""
    origin = origin_of(value)
    if origin is None or origin.steps is None:
        return settled(value)
    found = numbers(value)
    if bool((found == 1).all()):
        return found
    made = _made_again(origin)
    is_number = is_low(found) & is_low(made) & (made != -inf)
    return found.where((found == made) | is_number, ones(value))


def _made_again(origin: Origin) -> Tensor:
    """What twins of the parameters give; where they have none, nobody knows what is fixed."""
    setting = Setting()
    try:
        with torch._C._EnableTorchFunction():
            made = origin.again(lambda p: Twin.make(ones(p), p.dtype, setting))
        return made.value if isinstance(made, Twin) else numbers(made)
    except UnreadableError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        names = ", ".join(origin.names)
        raise UnreadableError(f"what {names} make of parameters has no twin: {error}") from error


def kept(value: Tensor) -> Tensor:
    """0 where a constant factor is fixed to 0, else 1; one that is 0 everywhere is yet to be filled."""
    zero = encoded(value) == 0
    return ones(value) if bool(zero.all()) else ones(value).masked_fill(zero, 0.0)


def plain(value: object) -> Any:
    """Arguments for a call of the real operator on float64 values; indices stay as they are."""
    return mapped(value, _plain)


def _plain(entry: object) -> object:
    if isinstance(entry, Twin):
        return entry.value
    if isinstance(entry, Tensor) and (entry.is_floating_point() or entry.is_complex()):
        return encoded(entry)
    return entry
