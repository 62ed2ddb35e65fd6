"""Tensors that are written in place: whole, through views, by item assignment, by activations.

In: what is written, where and how. Out: code and shapes. No write reaches the tensor that a layer is given:
what is written is made in the layer, or is a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from rfgraph.testing.describe.branches import Chain
from rfgraph.testing.describe.code import Code, Layer, Shape, Value
from rfgraph.testing.describe.views import Path, View, seen, written
from rfgraph.testing.describe.windows import Axes, Conv, Pool, TransposedConv

Valued: TypeAlias = Literal["add_", "sub_", "mul_", "copy_", "masked_fill_", "=", "+=", "*="]
Alone: TypeAlias = Literal[
    "zero_", "fill_", "relu_", "sigmoid_", "F.relu", "nn.ReLU", "masked_fill_ by place"
]

_VALUED: dict[str, str] = {
    **{how: f"{{part}}.{how}({{value}})" for how in ("add_", "sub_", "mul_", "copy_")},
    **{how: f"{{part}} {how} {{value}}" for how in ("=", "+=", "*=")},
    "masked_fill_": "{part}.masked_fill_({value} > 0, 0.0)",
}
_ALONE: dict[str, str] = {
    **{how: f"{{part}}.{how}()" for how in ("zero_", "relu_", "sigmoid_")},
    "fill_": "{part}.fill_(0.5)",
    "F.relu": "F.relu({part}, inplace=True)",
    "masked_fill_ by place": "{part}.masked_fill_(torch.arange({part}.shape[-1]) % 2 == 0, 0.0)",
}


@dataclass(frozen=True, repr=False, kw_only=True)
class Zeros(Layer):
    """Zeros, of the sizes of the tensor times `factors` and `margins` more; what it holds is not read."""

    factors: Axes | None = None
    margins: Axes | None = None
    how: Literal["torch.zeros", "new_zeros", "zeros_like"] = "torch.zeros"

    def out(self, shape: Shape) -> Shape:
        grown = zip(shape[1:], self._grown(shape), strict=True)
        return (shape[0], *(factor * n + margin for n, (factor, margin) in grown))

    def _grown(self, shape: Shape) -> list[tuple[int, int]]:
        alike, nothing = (1,) * (len(shape) - 1), (0,) * (len(shape) - 1)
        return list(zip(self.factors or alike, self.margins or nothing, strict=True))

    def emit(self, code: Code, source: Value, target: str) -> Value:
        return code.let(target, self._call(source), self.out(source.shape))

    def _call(self, source: Value) -> str:
        if self.how == "zeros_like":
            if self.out(source.shape) != source.shape:
                raise ValueError(f"zeros_like of another shape than {source.shape}: {self!r}")
            return f"torch.zeros_like({source.name})"
        sizes = [f"{source.name}.shape[{dim}]" for dim in range(len(source.shape) + 1)]
        for dim, (factor, margin) in enumerate(self._grown(source.shape), start=2):
            times, more = f"{factor} * " * (factor != 1), f" + {margin}" * (margin != 0)
            sizes[dim] = f"{times}{sizes[dim]}{more}"
        make = self.how if self.how == "torch.zeros" else f"{source.name}.{self.how}"
        return f"{make}({', '.join(sizes)})"


@dataclass(frozen=True, kw_only=True)
class Write:
    """One statement that writes into a tensor, or into a part of it.

    Attributes:
        how: the method, the operator or the activation; `=` is item assignment.
        path: from the tensor to what is written.
        value: what is written: layers that make it of what the layer was given, or a number.
        pick: the part of that value.
        own: the value is made of the tensor that is written, as it was before.
        named: the view is a variable of its own.
    """

    how: Valued | Alone
    path: Path = ()
    value: Chain | float = ()
    pick: Path = ()
    own: bool = False
    named: bool = False

    def put(self, code: Code, source: Value, whole: Value) -> None:
        """Write the lines that change `whole`.

        Raises:
            ValueError: the value does not fit what is written.
        """
        value = self._value(code, whole if self.own else source) if self.how in _VALUED else None
        part = self._part(code, whole)
        if isinstance(value, Value) and not _fits(value.shape, part.shape):
            raise ValueError(f"{self.how} puts shape {value.shape} into {part.shape}")
        code.lines.append(self._statement(code, part.name, value))

    def _value(self, code: Code, source: Value) -> Value | float:
        if not isinstance(self.value, tuple):
            return self.value
        made = code.chain(self.value, source)
        text = written(self.pick, made.name)
        if self.own and not _is_new(self.value):  # torch refuses to read the memory that it writes
            text += ".clone()"
        return Value(text, seen(self.pick, made.shape))

    def _part(self, code: Code, whole: Value) -> Value:
        part = Value(written(self.path, whole.name), seen(self.path, whole.shape))
        is_target = not self.path or self.path[-1].kind == "index"  # of an augmented assignment
        if self.named or (self.how in ("+=", "*=") and not is_target):
            return code.let(code.fresh("v"), part.name, part.shape)
        return part

    def _is_indexed(self) -> bool:
        return bool(self.path) and self.path[-1].kind == "index" and not self.named

    def _statement(self, code: Code, part: str, value: Value | float | None) -> str:
        if self.how == "nn.ReLU":
            return f"{code.attribute('relu', 'nn.ReLU(inplace=True)')}({part})"
        if self.how == "=" and not self._is_indexed():
            part += "[:]"
        text = value.name if isinstance(value, Value) else repr(value)
        return {**_VALUED, **_ALONE}[self.how].format(part=part, value=text)


def _fits(shape: Shape, into: Shape) -> bool:
    ends = zip(reversed(shape), reversed(into), strict=False)
    return len(shape) == len(into) and all(own in (1, size) for own, size in ends)


@dataclass(frozen=True, repr=False, kw_only=True)
class Written(Layer):
    """`made(x)`, or a copy of x, with `writes` done to it one after the other.

    Attributes:
        made: layers that make the tensor.
        writes: what is written.
        earlier: layers that read the tensor before it is written; what they make is added at the end.
        shown: a view that is taken before the tensor is written, and stands for it afterwards.
    """

    made: Chain = ()
    writes: tuple[Write, ...] = ()
    earlier: Chain | None = None
    shown: Path = ()

    def within(self) -> Chain:
        values = (write.value for write in self.writes if isinstance(write.value, tuple))
        return (*self.made, *(self.earlier or ()), *(layer for value in values for layer in value))

    def emit(self, code: Code, source: Value, target: str) -> Value:
        whole = self._whole(code, source)
        before = None if self.earlier is None else code.chain(self.earlier, whole)
        shown = self._shown(code, whole) if self.shown else whole
        for write in self.writes:
            write.put(code, source, whole)
        if before is None:
            return shown
        if before.shape != shown.shape:
            raise ValueError(f"add of shapes {before.shape} and {shown.shape}")
        return code.let(target, f"{shown.name} + {before.name}", shown.shape)

    def _whole(self, code: Code, source: Value) -> Value:
        made = code.chain(self.made, source)
        if _is_new(self.made):
            return self._laid_out(code, made)
        paths = (self.shown, *(write.path for write in self.writes))
        order = "memory_format=torch.contiguous_format" if any(map(_is_strict, paths)) else ""
        return code.let(code.fresh(), f"{made.name}.clone({order})", made.shape)

    def _laid_out(self, code: Code, made: Value) -> Value:
        """In torch's order where `view` asks for it: a convolution keeps that of its input."""
        if any(_is_strict(path) for path in (self.shown, *(write.path for write in self.writes))):
            return code.let(made.name, f"{made.name}.contiguous()", made.shape)
        return made

    def _shown(self, code: Code, whole: Value) -> Value:
        text = written(self.shown, whole.name)
        return code.let(code.fresh("v"), text, seen(self.shown, whole.shape))


_NEW = (Conv, TransposedConv, Pool, Zeros, Written)
"""What they return has memory of its own; others may return what they were given, or a view of it."""


def _is_new(chain: Chain) -> bool:
    return bool(chain) and isinstance(chain[-1], _NEW)


def _is_strict(path: tuple[View, ...]) -> bool:
    return any(view.kind == "view" for view in path)
