"""The arguments of one forward: which tensors it takes, by name, and what it takes beside them.

In: a module and what the caller passed as `inputs`. Out: `Arguments`, which put any tensors in their places.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeGuard

import torch
from torch import nn

from rfgraph.capture.containers import Container, opened
from rfgraph.errors import InputError, nearest_names

Inputs: TypeAlias = object
"""What `analyze` takes as inputs: a shape, a tensor, a `Value`; several in a row for the first arguments of
forward, or in a dict by their names; each also within a container of any class that torch can take apart."""

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VALUES = "a Python value is passed as rfgraph.value(...)"


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What stands for itself among inputs, and for no shape."""

    value: object


def value(anything: object) -> Value:
    """A Python value among the inputs of a model: what it is, and not a shape.

    `inputs={"x": (1, 3, 32, 32), "flag": rfgraph.value(True), "size": rfgraph.value((8, 9))}`. The forward is
    given a deep copy. What it decides by the value is part of what is analysed.
    """
    return Value(anything)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """The place of a tensor."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A container of places."""

    container: Container
    parts: list[Place]


Place: TypeAlias = "_Leaf | _Held | Value | inspect.Parameter"
"""What stands where an argument, or a part of one, goes."""


@dataclass(frozen=True, eq=False)
class Arguments:
    """What one forward is called with.

    Attributes:
        leaves: name -> meta tensor, in the order of forward's arguments. A tensor within an argument goes by
            its path: `feats.0`, `batch.image`.
        given: the caller's own tensors, by the same names.
    """

    leaves: Mapping[str, torch.Tensor]
    given: Mapping[str, torch.Tensor]
    _args: tuple[Place, ...]
    _kwargs: Mapping[str, Place]

    def filled(
        self, tensors: Mapping[str, torch.Tensor]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """`args` and `kwargs` of a call, with these tensors in the places of the leaves."""
        args = tuple(_filled(place, tensors) for place in self._args)
        return args, {name: _filled(place, tensors) for name, place in self._kwargs.items()}

    def resized(self, shapes: Mapping[str, Sequence[int]]) -> Arguments:
        """The same arguments with leaves of these shapes."""
        metas = {name: meta.new_empty(tuple(shapes[name])) for name, meta in self.leaves.items()}
        return replace(self, leaves=metas, given={})


def given(model: nn.Module, inputs: object) -> Arguments:
    """The arguments that the caller's shapes, tensors and values stand for.

    Raises:
        InputError: a name that forward does not have, a missing one, what is neither shape, tensor nor value.
    """
    if isinstance(inputs, Arguments):
        return inputs
    parameters = inspect.signature(model.forward).parameters
    named = _named(parameters, inputs)
    missing = [name for name in required(parameters) if name not in named]
    if missing:
        raise InputError(
            f"forward also needs {', '.join(map(repr, missing))}: pass a shape for every input, "
            f"as a dict from name to shape; {_VALUES}"
        )
    return placed(parameters, named, dtype_of(model))


def by_keyword(leaves: Mapping[str, torch.Tensor], keywords: Sequence[str]) -> Arguments:
    """The arguments of a forward that takes each leaf, in order, by the keyword that stands in its place."""
    places = {keyword: _Leaf(name) for keyword, name in zip(keywords, leaves, strict=True)}
    return Arguments(leaves, {}, (), places)


def names_of(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """The arguments of forward that have a name each."""
    return [name for name, p in parameters.items() if p.kind not in _VARIADIC]


def required(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """The arguments that forward must be given."""
    return [
        name for name in names_of(parameters) if parameters[name].default is inspect.Parameter.empty
    ]


def dtype_of(model: nn.Module) -> torch.dtype:
    """The dtype that the model takes: of the weight of its first layer, or of its first floating tensor."""
    for tensor in _likeliest(model):
        if tensor is not None and tensor.dtype.is_floating_point:
            return tensor.dtype
    return torch.get_default_dtype()


def _likeliest(model: nn.Module) -> Iterator[torch.Tensor | None]:
    for module in model.modules():
        if not module._modules:
            yield module._parameters.get("weight")
    yield from model.parameters()
    yield from model.buffers()


# --- which argument is which ------------------------------------------------------------------------


def _named(parameters: Mapping[str, inspect.Parameter], inputs: object) -> dict[str, object]:
    """What was passed, by the names of forward's arguments; what `*args` gets is a list under its name."""
    rest, extra = (_first_of_kind(parameters, kind) for kind in _VARIADIC)
    names = [name for name in parameters if name not in (rest, extra)]
    if isinstance(inputs, Mapping) and not is_dataclass(inputs):
        _check_names(inputs, [*names, *filter(None, [rest])], extra)
        return dict(inputs)
    passed = [inputs]
    if isinstance(inputs, tuple | list) and inputs and not hasattr(inputs, "_fields"):
        passed = [inputs] if any(map(_is_number, inputs)) else list(inputs)
    if rest is None and len(passed) > len(names) and not (len(passed) == 1 and extra):
        raise InputError(f"got {len(passed)} inputs, but forward takes {len(names)}")
    if rest is None:
        return dict(zip(names or ["input"], passed, strict=False))
    names = [name for name in names if parameters[name].kind in _BY_POSITION]
    named = dict(zip(names, passed, strict=False))
    return {**named, rest: passed[len(names) :]} if len(passed) > len(names) else named


def _first_of_kind(parameters: Mapping[str, inspect.Parameter], kind: object) -> str | None:
    return next((name for name, p in parameters.items() if p.kind is kind), None)


def _check_names(inputs: Mapping[object, object], names: Sequence[str], extra: str | None) -> None:
    if extra in inputs and extra not in names:
        raise InputError(f"forward takes **{extra}: pass each of them by its own name")
    unknown = [name for name in inputs if name not in names]
    if unknown and (extra is None or not isinstance(unknown[0], str)):
        near = nearest_names(str(unknown[0]), names)
        listed = f"; it has {', '.join(map(repr, names))}" if names else "; it takes none"
        raise InputError(f"forward has no argument {unknown[0]!r}{near or listed}")


def placed(
    parameters: Mapping[str, inspect.Parameter], named: Mapping[str, object], dtype: torch.dtype
) -> Arguments:
    """Each argument in the way that its kind asks for: by position as far as that goes, else by keyword."""
    reading, left = _Reading(dtype), dict(named)
    rest = _first_of_kind(parameters, inspect.Parameter.VAR_POSITIONAL)
    several = left.pop(rest, ()) if rest is not None else ()
    if not isinstance(several, tuple | list) or _is_shape(several):
        raise InputError(f"forward takes *{rest}: pass a list of inputs under that name")
    firsts = [p for p in parameters.values() if p.kind in _BY_POSITION]
    count = next((i for i, p in enumerate(firsts) if p.name not in left), len(firsts))
    by_position = [
        i for i, p in enumerate(firsts, 1) if p.kind is p.POSITIONAL_ONLY and p.name in left
    ]
    count = len(firsts) if several else max([count, *by_position])
    args = [
        reading.argument(p.name, left.pop(p.name)) if p.name in left else p for p in firsts[:count]
    ]
    args += [
        reading.place(f"{rest}.{number}", f"inputs[{rest!r}][{number}]", entry)
        for number, entry in enumerate(several)
    ]
    order = [name for name in parameters if name in left]
    kwargs = {name: reading.argument(name, left[name]) for name in dict.fromkeys([*order, *left])}
    if not reading.leaves:
        raise InputError(
            "none of the inputs is a tensor or a shape, so there is nothing to analyse"
        )
    return Arguments(reading.leaves, reading.given, tuple(args), kwargs)


# --- one argument -----------------------------------------------------------------------------------


class _Reading:
    """The tensors met while what was passed is read. Shapes stand for tensors of `dtype`."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.leaves: dict[str, torch.Tensor] = {}
        self.given: dict[str, torch.Tensor] = {}
        self._dtype = dtype

    def argument(self, name: str, passed: object) -> Place:
        """The place of one argument of forward."""
        return self.place(name, f"inputs[{name!r}]", passed)

    def place(self, name: str, where: str, passed: object) -> Place:
        """A leaf, a value, or a container of these. `where`: as the caller would write it."""
        if isinstance(passed, Value):
            return _copyable(passed, where)
        if isinstance(passed, torch.Tensor) or _is_shape(passed):
            return self._leaf(name, where, passed)
        found = opened(passed)
        if found is None or not found[1] or _is_no_shape(passed):
            raise _refused(name, where, passed)
        kept = [(key, part) for key, part in zip(found[0].keys, found[1], strict=True)
                if _is_passed(found[0].kind, key)]  # fmt: skip
        container = replace(found[0], keys=tuple(key for key, _ in kept))
        parts = [
            Value(part)
            if _is_default(container.kind, key, part)
            else self.place(f"{name}.{key}", where + container.place(key), part)
            for key, part in kept
        ]
        held = _Held(container, parts)
        try:
            _filled(held, self.leaves)
        except Exception as error:
            kind = container.kind.__name__
            raise InputError(
                f"{where}: no other {kind} can be made of tensors: {type(error).__name__}: "
                f"{_short(str(error))}"
            ) from error
        return held

    def _leaf(self, name: str, where: str, passed: torch.Tensor | Sequence[int]) -> _Leaf:
        if name in self.leaves:
            raise InputError(f"two inputs are named {name!r}: give one of their keys another name")
        if isinstance(passed, torch.Tensor):
            self.leaves[name] = torch.empty(passed.shape, dtype=passed.dtype, device="meta")
            self.given[name] = passed
        elif min(passed) >= 1:
            self.leaves[name] = torch.empty(
                tuple(map(int, passed)), dtype=self._dtype, device="meta"
            )
        else:
            raise _refused(name, where, passed)
        return _Leaf(name)


def _filled(place: Place, tensors: Mapping[str, torch.Tensor]) -> object:
    if isinstance(place, _Leaf):
        return tensors[place.name]
    if isinstance(place, _Held):
        return place.container.made([_filled(part, tensors) for part in place.parts])
    if isinstance(place, inspect.Parameter):  # left out, before one that has to come by position
        return place.default
    return copy.deepcopy(place.value)  # the forward may write into it


def _copyable(passed: Value, where: str) -> Value:
    try:
        copy.deepcopy(passed.value)
    except Exception as error:
        raise InputError(
            f"{where} cannot be copied, so it cannot be kept from what forward does to it: "
            f"{type(error).__name__}: {_short(str(error))}"
        ) from error
    return passed


def _is_passed(kind: type, key: object) -> bool:
    """False for a field that a dataclass works out itself."""
    return not is_dataclass(kind) or all(each.init for each in fields(kind) if each.name == key)


def _is_default(kind: Any, key: object, part: object) -> bool:
    """True for a field that was left as its class has it: no one says that it is a shape."""
    if hasattr(kind, "_field_defaults"):
        return key in kind._field_defaults and part is kind._field_defaults[key]
    for each in fields(kind) if is_dataclass(kind) else ():
        if each.name == key:
            empty = each.default_factory is not MISSING and type(part) in (dict, list, set)
            return part is each.default or (empty and not part)
    return False


def _is_shape(passed: object) -> TypeGuard[Sequence[int]]:
    """True for integers in a row; a named tuple is none."""
    if not isinstance(passed, Sequence) or isinstance(passed, str) or hasattr(passed, "_fields"):
        return False
    return len(passed) > 0 and all(map(_is_int, passed))


def _is_no_shape(passed: object) -> bool:
    """True for what was meant as a shape: a list or tuple of inputs holds no bare number."""
    return (type(passed) is list or type(passed) is tuple) and any(map(_is_number, passed))


def _is_number(entry: object) -> bool:
    """A number of Python or numpy, no truth value."""
    return isinstance(entry, Real) and not isinstance(entry, bool)


def _is_int(size: object) -> bool:
    return isinstance(size, Integral) and not isinstance(size, bool)


def _refused(name: str, where: str, passed: object) -> InputError:
    told = f"input {name!r}" if where == f"inputs[{name!r}]" else where
    return InputError(
        f"{told} must be a tensor or a shape of positive integers such as (1, 3, 224, 224), "
        f"got {_short(repr(passed))}; {_VALUES}"
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
