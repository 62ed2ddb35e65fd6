"""What the strategies promise to draw, feature by feature: predicates of descriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rfgraph.testing.describe import (
    AdaptivePool,
    Attention,
    BatchNorm,
    Cat,
    ChannelsLast,
    Conv,
    Cumulative,
    Dense,
    Description,
    Feed,
    Flip,
    GlobalAdd,
    GroupNorm,
    InstanceNorm,
    Layer,
    Loop,
    MaskedConv,
    Pad,
    Patches,
    PixelShuffle,
    PixelUnshuffle,
    Pointwise,
    Pool,
    Recurrent,
    Repeat,
    Residual,
    Resize,
    Roll,
    Sized,
    Slice,
    Softmax,
    SqueezeExcite,
    Swapped,
    Tap,
    TransposedConv,
    Write,
    Written,
    Zeros,
)


def has(kind: type[Layer], test: Callable[[Any], Any] = lambda layer: True) -> Callable[..., bool]:
    """Does a model hold such a layer?"""
    return lambda model: any(isinstance(one, kind) and test(one) for one in model.walk())


def at_input(kind: type[Layer], test: Callable[[Any, tuple[int, ...]], Any]) -> Callable[..., bool]:
    """Is there such a layer in the trunk? `test` gets the shape of what it reads, too."""
    return lambda model: any(
        isinstance(one, kind) and test(one, shape)
        for one, shape in zip(model.layers, model.shapes, strict=False)
    )


def exceeds_input(conv: Conv, shape: tuple[int, ...]) -> bool:
    return any(k > n for k, n in zip(conv.kernel_size, shape[2:], strict=True))


def below_stride(layer: Conv | TransposedConv) -> bool:
    return any(k < s for k, s in zip(layer.kernel_size, layer.stride or (), strict=False))


def hangs_over(pool: Pool, shape: tuple[int, ...]) -> bool:
    return pool.out(shape[1:]) != replace(pool, ceil_mode=False).out(shape[1:])


def writes(test: Callable[[Write], Any]) -> Callable[..., bool]:
    """Is there such a write?"""
    return has(Written, lambda layer: any(map(test, layer.writes)))


def through(kind: str) -> Callable[[Write], bool]:
    return lambda write: any(view.kind == kind for view in write.path)


def indexed(test: Callable[[Any], Any]) -> Callable[[Write], bool]:
    """Does an index of the path hold such an entry?"""
    return lambda write: any(
        view.kind == "index" and any(map(test, view.arguments)) for view in write.path
    )


def cuts(entry: Any) -> bool:
    return isinstance(entry, tuple) and entry != (None, None, None)


def in_branch(model: Description) -> bool:
    holders = (one for one in model.walk() if isinstance(one, Residual | Cat | Dense))
    return any(isinstance(one, Written) for holder in holders for one in holder.within())


VALUED = ("add_", "sub_", "mul_", "copy_", "masked_fill_", "=", "+=", "*=")
ALONE = ("zero_", "fill_", "relu_", "sigmoid_", "F.relu", "nn.ReLU", "masked_fill_ by place")
VIEWS = "index narrow select chunk split unbind transpose squeeze flatten view".split()

WRITES: dict[str, Callable[[Description], bool]] = {
    **{f"written by {how}": writes(lambda w, how=how: w.how == how) for how in (*VALUED, *ALONE)},
    **{f"written through {kind}": writes(through(kind)) for kind in VIEWS},
    "written by a number": writes(lambda write: write.how == "=" and write.value == 0.5),
    "written whole": writes(lambda write: not write.path),
    "written from the end": writes(indexed(lambda e: cuts(e) and min(e[0] or 0, e[1] or 0) < 0)),
    "written at every second": writes(indexed(lambda e: cuts(e) and e[2] == 2)),
    "written at one index": writes(indexed(lambda e: isinstance(e, int))),
    "written at a box": writes(lambda w: any(sum(map(cuts, v.arguments)) == 2 for v in w.path)),
    "written through a view of a view": writes(lambda write: len(write.path) > 1),
    "written through a variable": writes(lambda write: write.named and write.path),
    "written with what it was": writes(lambda write: write.own and write.how in VALUED),
    "written with what is made": writes(lambda write: write.value and write.how in VALUED),
    "written twice": has(Written, lambda layer: len(layer.writes) == 2),
    "written, a convolution": has(Written, lambda layer: isinstance((*layer.made, 0)[0], Conv)),
    "written, a copy": has(Written, lambda layer: not layer.made),
    "written, and read before": has(Written, lambda layer: layer.earlier is not None),
    "written, and seen by a view": has(Written, lambda layer: layer.shown),
    **{
        f"written, {how}": has(Zeros, lambda zeros, how=how: zeros.how == how)
        for how in ("torch.zeros", "new_zeros", "zeros_like")
    },
    "zeros with a margin": has(Zeros, lambda zeros: any(zeros.margins or ())),
    "zeros in between": has(Zeros, lambda zeros: 2 in (zeros.factors or ())),
}

SPECIAL: dict[str, Callable[[Description], bool]] = {
    **{
        f"attention to {pairs}": has(Attention, lambda layer, pairs=pairs: layer.pairs == pairs)
        for pairs in ("all", "causal", "band", "chunks")
    },
    **{
        f"masked by {how}": has(
            Attention, lambda layer, how=how: layer.masking == how and layer.pairs != "all"
        )
        for how in "masked_fill where -inf -1e4 triu product exp linear sdpa".split()
    },
    **{
        f"{kind}, handed on={handed}": has(
            Recurrent,
            lambda layer, kind=kind, handed=handed: (
                layer.kind == kind and bool(layer.handed) == handed
            ),
        )
        for kind in ("LSTM", "GRU", "RNN")
        for handed in (False, True)
    },
    **{
        f"a loop of {how}, state={state}": has(
            Loop, lambda layer, how=how, state=state: (layer.how, layer.state) == (how, state)
        )
        for how in ("stack", "cat", "+=")
        for state in (False, True)
    },
    **{
        f"patches by {how}": has(Patches, lambda layer, how=how: layer.how == how)
        for how in ("slices", "reshape", "unflatten", "unfold", "F.unfold")
    },
    **{
        kind: has(Cumulative, lambda layer, kind=kind: layer.kind == kind)
        for kind in ("cumsum", "cummax", "logcumsumexp")
    },
    **{
        f"sized, {how}": has(Sized, lambda layer, how=how: layer.how == how)
        for how in ("quarter", "padded", "resized", "pooled")
    },
    **{
        f"a weight masked by {how}": has(MaskedConv, lambda layer, how=how: layer.how == how)
        for how in ("product", "masked_fill", "where")
    },
    **{
        f"{taps} taps": has(MaskedConv, lambda layer, taps=taps: layer.taps == taps)
        for taps in ("causal", "strictly causal", "every second")
    },
}

FEATURES: dict[str, Callable[[Description], bool]] = {
    **{f"{n}-d": lambda model, n=n: len(model.shape) == 2 + n for n in (1, 2, 3)},
    "not square": lambda model: len(set(model.shape[2:])) > 1,
    "even kernel": has(Conv, lambda conv: any(k % 2 == 0 for k in conv.kernel_size)),
    "kernel longer than the input": at_input(Conv, exceeds_input),
    "kernel below stride": has(Conv, below_stride),
    "dilation": has(Conv, lambda conv: max(conv.dilation or (1,)) > 1 < max(conv.kernel_size)),
    "axes that differ": has(Conv, lambda conv: len(set(conv.kernel_size)) > 1),
    "groups": has(Conv, lambda conv: conv.groups > 1),
    "depthwise with a multiplier": has(Conv, lambda conv: conv.out_channels > conv.groups > 1),
    "same": has(Conv, lambda conv: conv.padding == "same"),
    "same, even kernel, dilated": has(
        Conv,
        lambda conv: (
            conv.padding == "same"
            and any(
                k % 2 == 0 and d > 1
                for k, d in zip(conv.kernel_size, conv.dilation or (), strict=False)
            )
        ),
    ),
    "valid": has(Conv, lambda conv: conv.padding == "valid"),
    "padding wider than the kernel": has(
        Conv,
        lambda conv: (
            isinstance(conv.padding, tuple)
            and any(p > k for p, k in zip(conv.padding, conv.kernel_size, strict=True))
        ),
    ),
    **{
        f"{mode} convolution": has(
            Conv, lambda conv, mode=mode: conv.padding_mode == mode and conv.padding != "valid"
        )
        for mode in ("reflect", "replicate", "circular")
    },
    "functional convolution": has(Conv, lambda conv: conv.functional),
    "transposed": has(TransposedConv, lambda up: max(up.stride or (1,)) > 1),
    "functional transposed": has(TransposedConv, lambda up: up.functional),
    "output padding": has(TransposedConv, lambda up: max(up.output_padding or (0,)) > 0),
    "transposed, dilated": has(
        TransposedConv, lambda up: max(up.dilation or (1,)) > 1 < max(up.kernel_size)
    ),
    "transposed kernel below stride": has(TransposedConv, below_stride),
    "transposed padding": has(TransposedConv, lambda up: max(up.padding or (0,)) > 0),
    **{
        f"{kind} pool, functional={functional}": has(
            Pool,
            lambda pool, kind=kind, functional=functional: (
                pool.kind == kind and pool.functional == functional
            ),
        )
        for kind in ("max", "avg", "lp")
        for functional in (False, True)
    },
    "a window that hangs over": at_input(Pool, hangs_over),
    "default stride": has(Pool, lambda pool: pool.stride is None and max(pool.kernel_size) > 1),
    "padding not counted": has(Pool, lambda pool: not pool.count_include_pad),
    "dilated pool": has(Pool, lambda pool: max(pool.dilation or (1,)) > 1 < max(pool.kernel_size)),
    "adaptive to a ratio": at_input(
        AdaptivePool,
        lambda pool, shape: any(
            m and n % m for m, n in zip(pool.output_size, shape[2:], strict=True)
        ),
    ),
    "adaptive to more": at_input(
        AdaptivePool,
        lambda pool, shape: any(
            m and m > n for m, n in zip(pool.output_size, shape[2:], strict=True)
        ),
    ),
    "adaptive to one": has(AdaptivePool, lambda pool: 1 in pool.output_size),
    "adaptive, an axis kept": has(AdaptivePool, lambda pool: None in pool.output_size),
    **{
        f"{mode} by {by}": has(
            Resize, lambda up, mode=mode, by=by: up.mode == mode and getattr(up, by) is not None
        )
        for mode in ("nearest", "nearest-exact", "linear", "area")
        for by in ("size", "scale_factor")
    },
    "align_corners": has(Resize, lambda up: up.align_corners),
    "downsampling": has(Resize, lambda up: up.scale_factor and min(up.scale_factor) < 1),
    "a ratio of 3 to 2": has(Resize, lambda up: up.scale_factor and 1.5 in up.scale_factor),
    "pixel shuffle": has(PixelShuffle),
    "pixel unshuffle": has(PixelUnshuffle),
    "strided slice": has(Slice, lambda cut: any((c[2] or 1) > 1 for c in cut.slices)),
    "start from the end": has(Slice, lambda cut: any((c[0] or 0) < 0 for c in cut.slices)),
    "negative padding": has(Pad, lambda pad: min(min(pair) for pair in pad.pads) < 0),
    "crop one side, pad the other": has(Pad, lambda pad: any(a * b < 0 for a, b in pad.pads)),
    "asymmetric padding": has(Pad, lambda pad: any(a != b for a, b in pad.pads)),
    **{
        f"{mode} padding, functional={functional}": has(
            Pad,
            lambda pad, mode=mode, functional=functional: (
                pad.mode == mode and pad.functional == functional and any(map(any, pad.pads))
            ),
        )
        for mode in ("zeros", "reflect", "replicate", "circular")
        for functional in (False, True)
    },
    "flip": has(Flip),
    "flip of two axes": has(Flip, lambda flip: len(flip.axes) == 2),
    "roll": has(Roll, lambda roll: any(roll.shifts)),
    "swapped around a window": has(Swapped, lambda swap: isinstance(swap.body[0], Conv)),
    "channels last": has(ChannelsLast),
    "layer norm": has(ChannelsLast, lambda layer: layer.kind == "layer_norm"),
    "residual": has(Residual, lambda sum: sum.how == "add" and not sum.shortcut),
    "strided shortcut": has(Residual, lambda sum: sum.body and sum.shortcut),
    **{
        f"merge by {how}": has(Residual, lambda sum, how=how: sum.how == how)
        for how in ("torch.add", "mul", "maximum", "cat")
    },
    "dense": has(Dense, lambda dense: len(dense.parts) > 1),
    "inception": has(Cat, lambda cat: len(cat.branches) == 3),
    "an empty branch": has(Cat, lambda cat: () in cat.branches),
    "U-Net": has(Residual, lambda sum: any(isinstance(one, TransposedConv) for one in sum.body)),
    "U-Net, odd size": has(
        Residual,
        lambda sum: (
            len(sum.body) > 1
            and isinstance(sum.body[-1], Slice)
            and isinstance(sum.body[-2], Resize)
        ),
    ),
    "squeeze-excite": has(SqueezeExcite),
    "global sum": has(GlobalAdd),
    "softmax": has(Softmax),
    "instance norm": has(InstanceNorm),
    "group norm": has(GroupNorm, lambda norm: norm.groups > 1),
    "batch norm": has(BatchNorm),
    "activation, module": has(Pointwise, lambda layer: not layer.functional),
    "activation, function": has(Pointwise, lambda layer: layer.functional),
    "shared": has(Repeat),
    "shared, several layers": has(Repeat, lambda repeat: len(repeat.body) > 1),
    "three inputs": lambda model: len(model.input_shapes) == 3,
    "an input of another rate": has(Feed, lambda feed: isinstance((*feed.body, None)[0], Pool)),
    "written": has(Written),
    "written in a branch": in_branch,
    "several outputs": has(Tap),
    "outputs by name": lambda model: has(Tap)(model) and model.returns == "dict",
}
