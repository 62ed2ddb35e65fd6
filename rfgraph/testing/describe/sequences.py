"""Attention, loops, recurrent layers; masked weights, and what a forward does by its size.

In: which spelling. Out: code and shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from rfgraph.testing.describe.code import Code, Layer, Shape, Value

Pairs: TypeAlias = Literal["all", "causal", "band", "chunks"]
Masking: TypeAlias = Literal[
    "masked_fill", "where", "-inf", "-1e4", "triu", "product", "exp", "linear", "sdpa"
]
_PAIRS: dict[str, str] = {
    "causal": "{i}[:, None] >= {i}",
    "band": "({i}[:, None] - {i}).abs() <= 1",
    "chunks": "{i}[:, None] // 2 == {i} // 2",
}
_SCORES: dict[str, str] = {
    "masked_fill": "{s}.masked_fill(~{m}, -torch.inf).softmax(-1)",
    "where": "torch.where({m}, {s}, -torch.inf).softmax(-1)",
    "-inf": "({s} + torch.zeros({m}.shape).masked_fill(~{m}, -torch.inf)).softmax(-1)",
    "-1e4": "({s} + (1.0 - {m}.float()) * -1e4).softmax(-1)",
    "triu": "({s} + torch.full({m}.shape, -torch.inf).triu(1)).softmax(-1)",
    "product": "{s} * {m}",
    "exp": "{s}.exp() * {m}",
    "linear": "torch.tanh({s}).masked_fill(~{m}, 0.0)",
}


@dataclass(frozen=True, repr=False, kw_only=True)
class Attention(Layer):
    """Attention of every position to those that a mask lets through, written out.

    Attributes:
        pairs: which positions read which.
        masking: how that is said; `"triu"` says causal ones alone. By product, and linear: without a softmax.
    """

    pairs: Pairs = "all"
    masking: Masking = "masked_fill"

    def emit(self, code: Code, source: Value, target: str) -> Value:
        channels, size = source.shape
        tokens, square = (size, channels), (size, size)
        q, k, v = (code.attribute("to", f"nn.Linear({channels}, {channels})") for _ in range(3))
        rows = code.let(code.fresh(), f"{source.name}.transpose(1, 2)", tokens)
        mask = self._mask(code, size, source)
        if self.masking == "sdpa":
            given = f", attn_mask={mask}" if mask else ""
            heads = ", ".join(f"{each}({rows.name})" for each in (q, k, v))
            call = f"F.scaled_dot_product_attention({heads}{given})"
        else:
            scores = code.let(
                code.fresh(), f"{q}({rows.name}) @ {k}({rows.name}).transpose(1, 2)", square
            )
            weights = _SCORES[self.masking].format(s=scores.name, m=mask)
            if not mask:
                weights = f"{scores.name}.softmax(-1)"
            scores = code.let(scores.name, weights, square)
            call = f"{scores.name} @ {v}({rows.name})"
        rows = code.let(rows.name, call, tokens)
        return code.let(target, f"{rows.name}.transpose(1, 2)", source.shape)

    def _mask(self, code: Code, size: int, source: Value) -> str:
        if self.pairs == "all":
            return ""
        places, mask = code.fresh("i"), code.fresh("mask")
        code.lines.append(f"{places} = torch.arange({source.name}.shape[2])")
        code.lines.append(f"{mask} = {_PAIRS[self.pairs].format(i=places)}")
        return mask


@dataclass(frozen=True, repr=False, kw_only=True)
class Recurrent(Layer):
    """A recurrent layer; `handed`: its state is handed from a first part of the sequence to the rest."""

    kind: Literal["LSTM", "GRU", "RNN"] = "LSTM"
    hidden: int = 1
    handed: int = 0

    def emit(self, code: Code, source: Value, target: str) -> Value:
        channels, size = source.shape
        made = (size, self.hidden)
        layer = code.attribute(
            "rnn", f"nn.{self.kind}({channels}, {self.hidden}, batch_first=True)"
        )
        rows = code.let(code.fresh(), f"{source.name}.transpose(1, 2)", (size, channels))
        if not self.handed:
            rows = code.let(rows.name, f"{layer}({rows.name})[0]", made)
        else:
            first, state = code.fresh("part"), code.fresh("state")
            code.lines.append(f"{first}, {state} = {layer}({rows.name}[:, :{self.handed}])")
            rest = f"{layer}({rows.name}[:, {self.handed}:], {state})[0]"
            rows = code.let(rows.name, f"torch.cat([{first}, {rest}], dim=1)", made)
        return code.let(target, f"{rows.name}.transpose(1, 2)", (self.hidden, size))


@dataclass(frozen=True, repr=False, kw_only=True)
class Cumulative(Layer):
    """Sums, products or maxima of all up to a position, along any spatial axis."""

    kind: Literal["cumsum", "cummax", "logcumsumexp"] = "cumsum"
    axis: int = 0

    def emit(self, code: Code, source: Value, target: str) -> Value:
        values = ".values" * (self.kind == "cummax")
        call = f"{source.name}.{self.kind}({2 + self.axis}){values}"
        return code.let(target, call, source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class Loop(Layer):
    """A Python loop over positions, whose results are stacked, concatenated or added up in place.

    Attributes:
        state: each result is added to the one before.
    """

    how: Literal["stack", "cat", "+="] = "stack"
    state: bool = False

    def out(self, shape: Shape) -> Shape:
        return (shape[0], shape[1] + (self.how == "+="))

    def emit(self, code: Code, source: Value, target: str) -> Value:
        place, made, x = code.fresh("t"), code.fresh("made"), source.name
        several = ":" if self.how == "stack" else f"{place} : {place} + 1"
        part = f"{x}[..., {place}]" if self.how == "stack" else f"{x}[..., {several}]"
        if self.how == "+=":
            code.lines.append(f"{made} = {x}.new_zeros(*{x}.shape[:2], {x}.shape[2] + 1)")
        else:
            code.lines.append(f"{made} = []")
        state = code.fresh("state") if self.state else ""
        if state:
            code.lines.append(f"{state} = torch.zeros_like({part.replace(place, '0')})")
        code.lines.append(f"for {place} in range({x}.shape[2]):")
        if state:
            code.lines.append(f"    {state} = torch.tanh({part} + {state})")
        value = state or part
        if self.how == "+=":
            code.lines.append(f"    {made}[..., {place} : {place} + 2] += {value}")
            return Value(made, self.out(source.shape))
        code.lines.append(f"    {made}.append({value})")
        return code.let(target, f"torch.{self.how}({made}, dim=2)", source.shape)


@dataclass(frozen=True, repr=False, kw_only=True)
class Patches(Layer):
    """Space to depth: groups of positions that lie side by side become channels, in one of its spellings."""

    factor: int = 2
    how: Literal["slices", "reshape", "unflatten", "unfold", "F.unfold"] = "slices"

    def out(self, shape: Shape) -> Shape:
        channels, size = shape
        if size % self.factor:
            raise ValueError(f"{self.factor} positions a patch, and {size}")
        return (channels * self.factor, size // self.factor)

    def emit(self, code: Code, source: Value, target: str) -> Value:
        return code.let(target, self._call(source), self.out(source.shape))

    def _call(self, source: Value) -> str:
        x, f = source.name, self.factor
        if self.how == "slices":
            return f"torch.cat([{', '.join(f'{x}[..., {i}::{f}]' for i in range(f))}], dim=1)"
        if self.how == "F.unfold":
            return f"F.unfold({x}.unsqueeze(2), (1, {f}), stride=(1, {f}))"
        apart = {
            "reshape": f"{x}.reshape(*{x}.shape[:2], -1, {f})",
            "unflatten": f"{x}.unflatten(2, (-1, {f}))",
            "unfold": f"{x}.unfold(2, {f}, {f})",
        }[self.how]
        return f"{apart}.transpose(2, 3).flatten(1, 2)"


@dataclass(frozen=True, repr=False, kw_only=True)
class Sized(Layer):
    """What a forward does by the size that it asks for, along the last axis."""

    how: Literal["quarter", "padded", "resized", "pooled"] = "quarter"

    def out(self, shape: Shape) -> Shape:
        size = shape[-1]
        made = {"quarter": size - size // 4, "padded": size + -size % 4}.get(self.how, size)
        return (*shape[:-1], made)

    def emit(self, code: Code, source: Value, target: str) -> Value:
        x, dims = source.name, len(source.shape) - 1
        call = {
            "quarter": f"{x}[..., {x}.shape[-1] // 4 :]",
            "padded": f"F.pad({x}, (0, -{x}.shape[-1] % 4))",
            "resized": f"F.interpolate(F.max_pool{dims}d({x}, 2, ceil_mode=True), size={x}.shape[2:])",
            "pooled": f"{x} + F.avg_pool{dims}d({x}, {x}.shape[2:])",
        }[self.how]
        return code.let(target, call, self.out(source.shape))


@dataclass(frozen=True, repr=False, kw_only=True)
class MaskedConv(Layer):
    """A convolution, padded by half, whose weight is masked.

    Attributes:
        taps: those up to the centre, those before it, every second.
    """

    kernel_size: tuple[int, ...]
    taps: Literal["causal", "strictly causal", "every second"] = "causal"
    how: Literal["product", "masked_fill", "where"] = "product"

    def emit(self, code: Code, source: Value, target: str) -> Value:
        channels, kernels = source.shape[0], self.kernel_size
        dims, count, shape = len(kernels), 1, (channels, channels, *kernels)
        for kernel in kernels:
            count *= kernel
        last = count // 2 + (self.taps == "causal")
        taps = f"torch.arange({count}) < {last}"
        if self.taps == "every second":
            taps = f"torch.arange({count}) % 2 == 0"
        weight = code.attribute("weight", f"nn.Parameter(torch.randn{shape})")
        mask = code.attribute("mask", f"nn.Buffer(({taps}).view{kernels})")
        masked = {
            "product": f"{weight} * {mask}",
            "masked_fill": f"{weight}.masked_fill(~{mask}, 0.0)",
            "where": f"torch.where({mask}, {weight}, 0.0)",
        }[self.how]
        padding = tuple(kernel // 2 for kernel in kernels)
        call = f"F.conv{dims}d({source.name}, {masked}, padding={padding})"
        return code.let(target, call, source.shape)
