"""Which arguments of a call are asked for their values, and which for their shape, dtype or device alone.

In: a call's name and arguments. Out: those whose values it uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_MADE_LIKE = frozenset(
    "zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones "
    "new_full new_empty new_tensor".split()
)
"""Made in the image of their first argument."""
_IN_THE_FORM_OF = frozenset("to type type_as expand_as view_as reshape_as".split())
"""Keep the values of their first argument, in the form of another's."""
_WRITTEN_OVER = frozenset(
    "copy fill zero normal uniform random exponential geometric log_normal".split()
)
"""Methods with an underscore, which leave nothing of their first argument, and `torch.fill`."""


def bare(name: str) -> str:
    """An operator's name without overload and underscores: `to` for `to.other`, `relu` for `relu_`."""
    return name.partition(".")[0].strip("_")


def valued(name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> object:
    """What the call `name(*args, **kwargs)` uses the values of."""
    plain = bare(name)
    first = args[0] if args else kwargs.get("self", kwargs.get("input"))
    rest = (*args[1:], *(v for key, v in kwargs.items() if key not in ("self", "input")))
    if plain in _IN_THE_FORM_OF:
        return first
    if plain in _MADE_LIKE or (plain in _WRITTEN_OVER and (_is_written(name) or plain == "fill")):
        return rest
    if plain == "bernoulli" and (_is_written(name) or args[1:] or kwargs.get("p") is not None):
        return rest  # the tensor is filled by a probability of its own
    return (args, kwargs)


def _is_written(name: str) -> bool:
    return name.partition(".")[0].endswith("_")
