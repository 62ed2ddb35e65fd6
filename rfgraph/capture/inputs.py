"""Which tensors a model is analysed on: those the caller described, or some worked out from the model.

In: a module and what the caller passed as `inputs`. Out: named meta tensors. Callers: `capture`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from rfgraph.errors import InputError, nearest_names

Inputs = dict[str, torch.Tensor]

_SIZE_ATTRIBUTES = ("image_size", "img_size", "input_size", "input_resolution", "default_cfg")
_RANKS = {
    nn.Conv1d: 1,
    nn.Conv2d: 2,
    nn.Conv3d: 3,
    nn.ConvTranspose1d: 1,
    nn.ConvTranspose2d: 2,
    nn.ConvTranspose3d: 3,
    nn.BatchNorm1d: 1,
    nn.BatchNorm2d: 2,
    nn.BatchNorm3d: 3,
}
_SIDES = {
    # 224 and 256 divide by 32; 299, 32 and 28 are what older classifiers were built for. Long or
    # unpadded networks need more; shapes cost nothing, so the list ends where no one goes.
    1: (1024, 16_000, 65_536, 1 << 20, 1 << 24),
    2: (224, 256, 32, 28, 299, 512, 1024, 4096, 1 << 15, 1 << 21),
    3: (64, 32, 16, 112, 128, 224, 256, 512),
}


def given(model: nn.Module, inputs: Any) -> Inputs:
    """The caller's shapes and tensors by the names of the model's arguments.

    Raises:
        InputError: a name that forward does not have, a shape that is none, the wrong number of inputs.
    """
    names = list(_parameters(model))
    if isinstance(inputs, Mapping):
        unknown = [name for name in inputs if name not in names]
        if unknown and not _takes_any(model):
            near = nearest_names(str(unknown[0]), names)
            raise InputError(f"forward has no argument {unknown[0]!r}{near or _listed(names)}")
        named = dict(inputs)
    elif _is_sequence(inputs) and not all(map(_is_int, inputs)):
        if len(inputs) > len(names):
            raise InputError(f"got {len(inputs)} inputs, but forward takes {len(names)}")
        named = dict(zip(names, inputs, strict=False))
    else:
        named = {(names or ["input"])[0]: inputs}
    missing = [name for name in _required(model) if name not in named]
    if missing:
        raise InputError(
            f"forward also needs {', '.join(map(repr, missing))}: pass a shape for every input, "
            "as a dict from name to shape"
        )
    return {name: _meta(name, value) for name, value in named.items()}


def worked_out(model: nn.Module) -> Iterator[Inputs]:
    """Inputs that the model might accept, likeliest first.

    Raises:
        InputError: nothing in the model tells what its inputs are.
    """
    names = _required(model) or list(_parameters(model))[:1]
    described = list(_described(model))
    if not names or not described:
        raise InputError(
            f"cannot work out an input shape for {type(model).__name__}: pass one, as in "
            "analyze(model, (1, 3, 224, 224))"
        )
    rank, _ = described[0]
    channels = list(dict.fromkeys(count for r, count in described if r == rank))
    own = list(_own_sides(model)) if rank == 2 else []
    for side in dict.fromkeys((*own, *_SIDES[max(rank, 1)])):
        for count in channels[:2]:
            shape = (1, count, *(side,) * rank) if rank else (1, side, count)
            yield {name: torch.empty(shape, device="meta") for name in names}


def _meta(name: str, value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    is_shape = _is_sequence(value) and all(map(_is_int, value))
    if is_shape and all(size >= 1 for size in value):
        return torch.empty(tuple(value), device="meta")
    raise InputError(
        f"input {name!r} must be a tensor or a shape of positive integers such as (1, 3, 224, 224), "
        f"got {value!r}"
    )


def _described(model: nn.Module) -> Iterator[tuple[int, int]]:
    """(spatial dims, channels) of the layers that say them, in the order of the module tree."""
    for module in model.modules():
        for kind, rank in _RANKS.items():
            if isinstance(module, kind):
                yield rank, int(vars(module).get("in_channels") or vars(module)["num_features"])
        if isinstance(module, nn.Linear):
            yield 0, module.in_features


def _own_sides(model: nn.Module) -> Iterator[int]:
    """Image sizes that the model itself states."""
    for module in model.modules():
        for name in _SIZE_ATTRIBUTES:
            value = vars(module).get(name)
            if isinstance(value, Mapping):
                value = value.get("input_size")
            sizes = value if isinstance(value, tuple | list) else (value,)
            if sizes and isinstance(sizes[-1], int) and sizes[-1] > 1:
                yield int(sizes[-1])


def _parameters(model: nn.Module) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(model.forward).parameters
    skipped = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in parameters.items() if p.kind not in skipped}


def leading(model: nn.Module, inputs: Mapping[str, Any]) -> Iterator[str]:
    """The inputs that forward takes by position, from its first argument on."""
    for name, parameter in inspect.signature(model.forward).parameters.items():
        by_position = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if name not in inputs or not by_position:
            return
        yield name


def _required(model: nn.Module) -> list[str]:
    return [name for name, p in _parameters(model).items() if p.default is p.empty]


def _takes_any(model: nn.Module) -> bool:
    parameters = inspect.signature(model.forward).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(names: Sequence[str]) -> str:
    return f"; it has {', '.join(map(repr, names))}" if names else "; it takes none"
