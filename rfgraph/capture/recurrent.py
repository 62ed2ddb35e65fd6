"""Recurrent layers that a graph holds as one call of all their weights, as the modules that they were.

In: the arguments of `aten.lstm.input` and its like. Out: what the module of these weights returns, flat.

And what any recurrent layer returns of a long sequence, which torch's meta kernels work out step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map

from rfgraph.errors import CaptureError

_OF_WEIGHTS: WeakSet[nn.Module] = WeakSet()
_FEW = 2  # steps, and one more, which say how the layout grows


def in_few_steps(
    call: Callable[..., object], target: object, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> object:
    """What `call(target, args, kwargs)` returns, all of meta tensors.

    A recurrent layer is called on a few steps of a long sequence, and on one more: its sizes and strides
    are of so much a step.
    """
    sequence = args[0] if args else kwargs.get("input")
    if not _is_plain(target) or not isinstance(sequence, Tensor) or sequence.dim() not in (2, 3):
        return call(target, args, kwargs)
    time = 1 if target.batch_first and sequence.dim() == 3 else 0
    steps = sequence.shape[time]
    if steps <= 2 * _FEW:
        return call(target, args, kwargs)

    def on(count: int) -> object:
        part = sequence.narrow(time, 0, count)
        if args:
            return call(target, (part, *args[1:]), kwargs)
        return call(target, args, {**kwargs, "input": part})

    def grown(few: object, more: object) -> object:
        if not isinstance(few, Tensor) or not isinstance(more, Tensor):
            return few
        layouts = (
            zip(few.shape, more.shape, strict=True),
            zip(few.stride(), more.stride(), strict=True),
        )
        shape, strides = ([a + (steps - _FEW) * (b - a) for a, b in pairs] for pairs in layouts)
        return torch.empty_strided(shape, strides, dtype=few.dtype, device=few.device)

    return tree_map(grown, on(_FEW), on(_FEW + 1))


def _is_plain(target: object) -> TypeGuard[nn.RNNBase]:
    """A recurrent layer without hooks, which may look at what it is given."""
    return isinstance(target, nn.RNNBase) and not (
        target._forward_hooks or target._forward_pre_hooks
    )


def _of_tensors(kind: str, **options: object) -> Callable[..., tuple[object, ...]]:
    """`aten.lstm.input` and its like: the layer with these weights."""

    def spelled(input: Tensor, *given: Any) -> tuple[object, ...]:
        return _run(kind, options, input, *given)

    return spelled


def _of_packed(kind: str, **options: object) -> Callable[..., tuple[object, ...]]:
    """`aten.lstm.data` and its like: the same of the data of a packed sequence."""

    def spelled(data: Tensor, batch_sizes: Tensor, *given: Any) -> tuple[object, ...]:
        return _run(kind, options, PackedSequence(data, batch_sizes), *given)

    return spelled


def _run(
    kind: str,
    options: dict[str, object],
    input: Tensor | PackedSequence,
    hx: object,
    weights: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[object, ...]:
    layer = _layer(
        kind, weights, has_biases, num_layers, dropout, bidirectional, batch_first, options
    )
    layer.train(train)
    output, states = layer(input, tuple(hx) if isinstance(hx, list) else hx)
    output = output.data if isinstance(output, PackedSequence) else output
    return (output, *states) if isinstance(states, tuple) else (output, states)


def _either(kind: str, **options: object) -> Callable[..., tuple[object, ...]]:
    """`torch.lstm` and its like, which take either."""
    plain, of_packed = _of_tensors(kind, **options), _of_packed(kind, **options)

    def spelled(*args: Any) -> tuple[object, ...]:
        return (of_packed if isinstance(args[3], tuple | list) else plain)(*args)

    return spelled


def _layer(
    kind: str,
    weights: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    bidirectional: bool,
    batch_first: bool,
    options: dict[str, object],
) -> nn.RNNBase:
    by_layer = 4 if has_biases else 2
    directions = 2 if bidirectional else 1
    projected = len(weights) == (by_layer + 1) * num_layers * directions
    gates = {"LSTM": 4, "GRU": 3}.get(kind, 1)
    if projected:
        options = {**options, "proj_size": weights[1].shape[1]}
    with torch._C.DisableTorchFunction():
        layer: nn.RNNBase = getattr(nn, kind)(
            weights[0].shape[1],
            weights[0].shape[0] // gates,
            num_layers,
            bias=has_biases,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device="meta",
            **options,
        )
        for name, weight in zip(layer._flat_weights_names, weights, strict=True):
            layer._parameters[name] = (
                weight
                if isinstance(weight, nn.Parameter)
                else nn.Parameter(weight, requires_grad=False)
            )
        layer._flat_weights = [layer._parameters[name] for name in layer._flat_weights_names]
    _OF_WEIGHTS.add(layer)
    return layer


def is_of_weights(layer: nn.Module) -> bool:
    """True for one that was made here: to look inside would make it again."""
    return layer in _OF_WEIGHTS


def refusal(layer: nn.Module, at_source: str) -> CaptureError:
    """What to say of one that was made here and has to be looked into."""
    return CaptureError(
        f"the weights of the {type(layer).__name__} are written or made by the forward itself{at_source}, "
        "which cannot be followed; give it others by torch.nn.utils.parametrize, or make it in __init__"
    )


_KINDS: dict[str, dict[str, Any]] = {
    "lstm": {"kind": "LSTM"},
    "gru": {"kind": "GRU"},
    "rnn_tanh": {"kind": "RNN", "nonlinearity": "tanh"},
    "rnn_relu": {"kind": "RNN", "nonlinearity": "relu"},
}
SPELLED: Mapping[str, Callable[..., Any]] = {
    name: _either(**options) for name, options in _KINDS.items()
}
"""What the modules call, which come by where a module has hooks or a forward of its own."""
OVERLOADS: Mapping[str, Callable[..., Any]] = {
    f"{name}.{form}": make(**options)
    for name, options in _KINDS.items()
    for form, make in (("input", _of_tensors), ("data", _of_packed))
}
"""The same of ATen."""
