"""Layers that hold layers: sums, concatenations, gates, swapped axes, repetitions, further inputs.

In: tuples of layers, an empty one for the tensor as it is. Out: code and shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from rfgraph.testing.describe.code import Code, Layer, Shape, Value

Chain: TypeAlias = tuple[Layer, ...]
Merge: TypeAlias = Literal["add", "torch.add", "mul", "maximum", "cat"]
_MERGES = {
    "add": "{} + {}",
    "torch.add": "torch.add({}, {})",
    "mul": "{} * {}",
    "maximum": "torch.maximum({}, {})",
    "cat": "torch.cat([{}, {}], dim=1)",
}


def _merged(code: Code, how: Merge, one: Value, two: Value, target: str) -> Value:
    shape = one.shape
    if shape[1:] != two.shape[1:] or (how != "cat" and shape[0] != two.shape[0]):
        raise ValueError(f"{how} of branches of shapes {shape} and {two.shape}")
    if how == "cat":
        shape = (one.shape[0] + two.shape[0], *one.shape[1:])
    return code.let(target, _MERGES[how].format(one.name, two.name), shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class Residual(Layer):
    """`body(x) + shortcut(x)`, or another way to merge the two."""

    body: Chain = ()
    shortcut: Chain = ()
    how: Merge = "add"

    def within(self) -> Chain:
        return (*self.body, *self.shortcut)

    def emit(self, code: Code, source: Value, target: str) -> Value:
        body = code.chain(self.body, source)
        return _merged(code, self.how, body, code.chain(self.shortcut, source), target)


@dataclass(frozen=True, repr=False, kw_only=True)
class Cat(Layer):
    """Branches side by side, concatenated along channels."""

    branches: tuple[Chain, ...]

    def within(self) -> Chain:
        return tuple(layer for branch in self.branches for layer in branch)

    def emit(self, code: Code, source: Value, target: str) -> Value:
        return _cat(code, [code.chain(branch, source) for branch in self.branches], target)


@dataclass(frozen=True, repr=False, kw_only=True)
class Dense(Layer):
    """Chains each of which reads the concatenation of the input and all that came before it."""

    parts: tuple[Chain, ...]

    def within(self) -> Chain:
        return tuple(layer for part in self.parts for layer in part)

    def emit(self, code: Code, source: Value, target: str) -> Value:
        found = [source]
        for part in self.parts:
            if len(found) == 1:
                found.append(code.chain(part, source))
            else:
                read = _cat(code, found, code.fresh())
                found.append(code.chain(part, read, read.name))
        return _cat(code, found, target)


def _cat(code: Code, values: list[Value], target: str) -> Value:
    sizes = {value.shape[1:] for value in values}
    if len(sizes) > 1:
        raise ValueError(f"cat of branches of sizes {', '.join(map(str, sorted(sizes)))}")
    names = ", ".join(value.name for value in values)
    channels = sum(value.shape[0] for value in values)
    return code.let(target, f"torch.cat([{names}], dim=1)", (channels, *values[0].shape[1:]))


@dataclass(frozen=True, repr=False, kw_only=True)
class SqueezeExcite(Layer):
    """Each channel times a gate that its average over space decides."""

    functional: bool = False

    def emit(self, code: Code, source: Value, target: str) -> Value:
        channels, *sizes = source.shape
        dims, gate = len(sizes), code.fresh()
        names = ("squeeze", f"nn.AdaptiveAvgPool{dims}d", f"F.adaptive_avg_pool{dims}d")
        alone = (channels, *(1 for _ in sizes))
        code.let(gate, code.operator(self.functional, names, "1", source.name), alone)
        excite = code.attribute("excite", f"nn.Conv{dims}d({channels}, {channels}, 1)")
        code.let(gate, f"{excite}({gate})", alone)
        names = ("gate", "nn.Sigmoid", "torch.sigmoid")
        code.let(gate, code.operator(self.functional, names, "", gate), alone)
        return code.let(target, f"{source.name} * {gate}", source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class GlobalAdd(Layer):
    """A reduction over space, kept as size 1 and added back everywhere."""

    kind: Literal["mean", "sum", "amax"] = "mean"

    def emit(self, code: Code, source: Value, target: str) -> Value:
        channels, *sizes = source.shape
        dims, alone = tuple(range(2, 2 + len(sizes))), (channels, *(1 for _ in sizes))
        call = f"{source.name}.{self.kind}({dims}, keepdim=True)"
        found = code.let(code.fresh(), call, alone)
        return code.let(target, f"{source.name} + {found.name}", source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class Swapped(Layer):
    """Two spatial axes swapped, a chain, and the axes swapped back."""

    axes: tuple[int, int] = (0, 1)
    body: Chain = ()

    def within(self) -> Chain:
        return self.body

    def emit(self, code: Code, source: Value, target: str) -> Value:
        dims = ", ".join(str(2 + axis) for axis in self.axes)
        there = f"{source.name}.transpose({dims})"
        value = code.let(code.fresh(), there, self._swapped(source.shape))
        value = code.chain(self.body, value, value.name)
        return code.let(target, f"{value.name}.transpose({dims})", self._swapped(value.shape))

    def _swapped(self, shape: Shape) -> Shape:
        one, two = (1 + axis for axis in self.axes)
        sizes = list(shape)
        sizes[one], sizes[two] = sizes[two], sizes[one]
        return tuple(sizes)


@dataclass(frozen=True, repr=False, kw_only=True)
class ChannelsLast(Layer):
    """A permute to channels last, a linear layer or a layer norm over channels, and the way back."""

    kind: Literal["linear", "layer_norm"] = "linear"
    out_channels: int | None = None

    def emit(self, code: Code, source: Value, target: str) -> Value:
        channels, *sizes = source.shape
        dims, made = len(sizes), self._channels(channels)
        there = (0, *range(2, 2 + dims), 1)
        back = (0, dims + 1, *range(1, dims + 1))
        value = code.let(code.fresh(), f"{source.name}.permute{there}", (*sizes, channels))
        if self.kind == "linear":
            layer = code.attribute("linear", f"nn.Linear({channels}, {made})")
        else:
            layer = code.attribute("norm", f"nn.LayerNorm({channels})")
        value = code.let(value.name, f"{layer}({value.name})", (*sizes, made))
        return code.let(target, f"{value.name}.permute{back}", (made, *sizes))

    def _channels(self, channels: int) -> int:
        wanted = self.out_channels if self.kind == "linear" else None
        return channels if wanted is None else wanted


@dataclass(frozen=True, repr=False, kw_only=True)
class Repeat(Layer):
    """The same submodules, run several times one after the other."""

    body: Chain
    times: int = 2

    def within(self) -> Chain:
        return self.body

    def emit(self, code: Code, source: Value, target: str) -> Value:
        return code.repeat(self.body, self.times, source, target)


@dataclass(frozen=True, repr=False, kw_only=True)
class Feed(Layer):
    """A further input of the model, which a chain brings to where it is merged."""

    shape: Shape
    body: Chain = ()
    how: Merge = "add"

    def within(self) -> Chain:
        return self.body

    def emit(self, code: Code, source: Value, target: str) -> Value:
        name = code.fresh("side")
        code.inputs[name] = self.shape
        value = code.chain(self.body, Value(name, self.shape))
        return _merged(code, self.how, source, value, target)


@dataclass(frozen=True, repr=False, kw_only=True)
class Tap(Layer):
    """The tensor at this point is also an output of the model."""

    def emit(self, code: Code, source: Value, target: str) -> Value:
        name = code.fresh("out")
        code.taps.append(name)
        code.lines.append(f"{name} = {source.name}")
        return source
