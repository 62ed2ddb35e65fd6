"""Draws layers over sequences, and what a forward does by its size. In: a shape. Out: layers."""

from __future__ import annotations

from hypothesis import strategies as st

from rfgraph.testing.describe import (
    Attention,
    Cumulative,
    Layer,
    Loop,
    MaskedConv,
    Patches,
    Recurrent,
    Shape,
    Sized,
    Slice,
)
from rfgraph.testing.draw.options import Options

_PAIRS = ["all", "causal", "band", "chunks"]
_MASKINGS = ["masked_fill", "where", "-inf", "-1e4", "product", "exp", "linear", "sdpa"]


def attention(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Attention with a mask of any spelling."""
    pairs = draw(st.sampled_from(_PAIRS))
    masking = draw(st.sampled_from([*_MASKINGS, *["triu"] * (pairs == "causal")]))
    return (Attention(pairs=pairs, masking=masking),)  # type: ignore[arg-type]


def recurrent(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """A recurrent layer, perhaps in two parts."""
    kind = draw(st.sampled_from(["LSTM", "GRU", "RNN"]))
    hidden, handed = draw(st.integers(1, options.channels)), draw(st.integers(0, 3))
    return (Recurrent(kind=kind, hidden=hidden, handed=min(handed, shape[1] - 1)),)  # type: ignore[arg-type]


def cumulative(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Sums, maxima or sums of exponentials of all up to a position."""
    kind = draw(st.sampled_from(["cumsum", "cummax", "logcumsumexp"]))
    return (Cumulative(kind=kind, axis=draw(st.integers(0, len(shape) - 2))),)  # type: ignore[arg-type]


def loop(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """A loop over positions."""
    how = draw(st.sampled_from(["stack", "cat", "+="]))
    return (Loop(how=how, state=draw(st.booleans())),)  # type: ignore[arg-type]


def patches(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """Space to depth, after a slice that leaves a multiple."""
    factor = min(draw(st.integers(2, 3)), shape[1])
    how = draw(st.sampled_from(["slices", "reshape", "unflatten", "unfold", "F.unfold"]))
    over = shape[1] % factor
    cut = (Slice(slices=((None, -over, None),)),) if over else ()
    return (*cut, Patches(factor=factor, how=how))  # type: ignore[arg-type]


def sized(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """A slice, a padding, a resampling or a pooling by the size."""
    return (Sized(how=draw(st.sampled_from(["quarter", "padded", "resized", "pooled"]))),)


def masked_conv(draw: st.DrawFn, shape: Shape, options: Options) -> tuple[Layer, ...]:
    """A convolution with a masked weight."""
    kernels = tuple(1 + 2 * draw(st.integers(1, 2)) for _ in shape[1:])
    taps = draw(st.sampled_from(["causal", "strictly causal", "every second"]))
    how = draw(st.sampled_from(["product", "masked_fill", "where"]))
    return (MaskedConv(kernel_size=kernels, taps=taps, how=how),)  # type: ignore[arg-type]
