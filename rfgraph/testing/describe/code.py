"""`Code`: the class that a description prints as, while it is written; `Layer`: what writes into it.

In: layers. Out: lines of Python, each with the shape of the tensor it makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

Shape: TypeAlias = tuple[int, ...]
"""Channels, then one size for each spatial dim: the batch is the description's affair."""


class Value(NamedTuple):
    """A tensor in the code: the variable that holds it, and its shape."""

    name: str
    shape: Shape


class Layer:
    """One step of a description: a frozen dataclass that writes itself as code."""

    def emit(self, code: Code, source: Value, target: str) -> Value:
        """Write the lines that read `source` and leave the result in the variable `target`."""
        raise NotImplementedError

    def out(self, shape: Shape) -> Shape:
        """The shape that this layer makes of `shape`."""
        return self.emit(Code(), Value("x", shape), "x").shape

    def within(self) -> tuple[Layer, ...]:
        """The layers that this one is made of, its branches in order."""
        return ()

    def __repr__(self) -> str:
        told = (f"{field}={value!r}" for field, value in _told(self))
        return f"{type(self).__name__}({', '.join(told)})"


def _told(layer: Any) -> Iterable[tuple[str, object]]:
    """The fields that are not at their defaults."""
    for field in fields(layer):
        value = getattr(layer, field.name)
        if field.default is MISSING or value != field.default:
            yield field.name, value


class Code:
    """The lines of a model's class, and the names that are taken."""

    def __init__(self, batch: int = 1) -> None:
        self.attributes: list[str] = []
        self.lines: list[str] = []
        self.inputs: dict[str, Shape] = {}
        self.taps: list[str] = []
        self._batch = batch
        self._counts: dict[str, int] = {}
        self._made: list[tuple[str, str]] = []
        self._again: list[tuple[str, str]] = []

    def let(self, target: str, expression: str, shape: Shape) -> Value:
        """A line that assigns a tensor.

        Raises:
            ValueError: there is nothing left of the tensor.
        """
        if min(shape) < 1:
            raise ValueError(
                f"{expression} leaves nothing of its input: its shape would be {shape}"
            )
        self.lines.append(f"{target} = {expression}  # {(self._batch, *shape)}")
        return Value(target, shape)

    def fresh(self, kind: str = "y") -> str:
        """A name that no other line uses."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}{self._counts[kind]}"

    def attribute(self, kind: str, expression: str) -> str:
        """A submodule or a parameter of the model; what is repeated gets those of the first time.

        Raises:
            ValueError: a repetition that would need other ones.
        """
        if self._again:
            name, made = self._again.pop(0)
            if made != expression:
                raise ValueError(f"cannot use {made} again where {expression} is needed")
        else:
            name = self.fresh(kind)
            self.attributes.append(f"self.{name} = {expression}")
        self._made.append((name, expression))
        return f"self.{name}"

    def operator(
        self, functional: bool, names: tuple[str, str, str], arguments: str, x: str
    ) -> str:
        """An operator that has two forms, as an expression; `names`: attribute, module, function."""
        attribute, module, function = names
        if functional:
            return f"{function}({', '.join(filter(None, (x, arguments)))})"
        return f"{self.attribute(attribute, f'{module}({arguments})')}({x})"

    def chain(self, layers: Sequence[Layer], source: Value, target: str | None = None) -> Value:
        """Layers one after the other, in a variable of their own; no layers: the source itself."""
        if layers and target is None:
            target = self.fresh()
        value = source
        for layer in layers:
            value = layer.emit(self, value, target or "")
        return value

    def repeat(self, layers: Sequence[Layer], times: int, source: Value, target: str) -> Value:
        """The same submodules, run `times` times."""
        start = len(self._made)
        value = self.chain(layers, source, target)
        made = self._made[start:]
        for _ in range(times - 1):
            self._again = made + self._again
            value = self.chain(layers, value, target)
        del self._made[start + len(made) :]  # a repetition of this one takes each of them once
        return value


def arguments(*given: object, **named: object) -> str:
    """Arguments of a call; per-axis tuples of one value are written as that value, None is left out."""
    shown = [short(value) for value in given]
    shown += [f"{name}={short(value)}" for name, value in named.items() if value is not None]
    return ", ".join(shown)


def short(value: Any) -> str:
    """`(3, 3)` as `3`."""
    alike = isinstance(value, tuple) and value and len(set(value)) == 1 and value[0] is not None
    return repr(value[0]) if alike else repr(value)


def unless(value: T, default: object) -> T | None:
    """None, which `arguments` leaves out, where a value (on every axis) is the default."""
    every = value if isinstance(value, tuple) else (value,)
    return None if all(entry == default for entry in every) else value
