"""Inputs that are worked out from the model, where the caller names none.

In: a module. Out: arguments that it might accept.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from keyword import iskeyword

from torch import nn

from rfgraph.capture.arguments import Arguments, dtype_of, names_of, placed, required
from rfgraph.errors import InputError

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
    nn.Linear: 0,
}
_NO_TENSOR = re.compile(
    r"(typing\.)?(bool|int|float|complex|str|bytes|tuple|list|dict|set|sequence|mapping)\b", re.I
)
"""How annotations begin of what is no tensor; it may hold some."""
_SIDES = {
    # 224 and 256 divide by 32; 299, 32 and 28 are what older classifiers were built for. Long or
    # unpadded networks need more; shapes cost nothing, so the list ends where no one goes.
    1: (1024, 16_000, 65_536, 1 << 20, 1 << 24),
    2: (224, 256, 32, 28, 299, 512, 1024, 4096, 1 << 15, 1 << 21),
    3: (64, 32, 16, 112, 128, 224, 256, 512),
}


def worked_out(model: nn.Module, modules: Sequence[nn.Module]) -> Iterator[Arguments]:
    """Arguments that the model might accept, likeliest first; `modules`: those of the tree, in its order.

    Raises:
        InputError: nothing in the model tells what its inputs are; an argument that is no tensor.
    """
    parameters, dtype = inspect.signature(model.forward).parameters, dtype_of(model)
    names = required(parameters) or names_of(parameters)[:1]
    for name in names:
        _refuse_other(parameters[name])
    described = list(_described(modules))
    if not names or not described:
        raise InputError(
            f"cannot work out an input shape for {type(model).__name__}: pass one, as in "
            "analyze(model, (1, 3, 224, 224))"
        )
    rank, _ = described[0]
    channels = list(dict.fromkeys(count for r, count in described if r == rank))
    own = list(_own_sides(modules)) if rank == 2 else []
    for side in dict.fromkeys((*own, *_SIDES[max(rank, 1)])):
        for count in channels[:2]:
            shape = (1, count, *(side,) * rank) if rank else (1, side, count)
            yield placed(parameters, dict.fromkeys(names, shape), dtype)


def _refuse_other(parameter: inspect.Parameter) -> None:
    """An argument that is said to be another thing than a tensor has to be given."""
    noted = parameter.annotation
    text = noted.__name__ if type(noted) is type else str(noted)
    if _NO_TENSOR.match(text):
        raise InputError(
            f"no input can be worked out for {parameter.name!r}, which is said to be {text}: pass inputs, "
            "with rfgraph.value(...) for what is no tensor"
        )


def _described(modules: Sequence[nn.Module]) -> Iterator[tuple[int, int]]:
    """(spatial dims, channels) of the layers that say them, in the order of the module tree."""
    ranks = {kind: _rank_of(kind) for kind in set(map(type, modules))}
    for module in modules:
        rank = ranks[type(module)]
        if rank is not None:
            own = vars(module)
            channels = (
                own.get("in_channels") or own.get("num_features") or own.get("in_features", 0)
            )
            yield rank, int(channels)


def _rank_of(kind: type) -> int | None:
    return next((rank for known, rank in _RANKS.items() if issubclass(kind, known)), None)


def _own_sides(modules: Sequence[nn.Module]) -> Iterator[int]:
    """Image sizes that the model itself states."""
    for module in modules:
        own = vars(module)
        for name in _SIZE_ATTRIBUTES if not own.keys().isdisjoint(_SIZE_ATTRIBUTES) else ():
            value = own.get(name)
            if isinstance(value, Mapping):
                value = value.get("input_size")
            sizes = value if isinstance(value, tuple | list) else (value,)
            if sizes and isinstance(sizes[-1], int) and sizes[-1] > 1:
                yield int(sizes[-1])


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """What inputs are called in the code of an fx graph: `feats.0` is `feats_0`."""
    plain = [name for name in names if name.isidentifier() and not iskeyword(name)]
    found, taken = dict(zip(plain, plain, strict=True)), set(plain)
    for name in names:
        if name not in found:
            found[name] = re.sub(r"\W|^(?=\d)", "_", name)
            while found[name] in taken or iskeyword(found[name]):
                found[name] += "_"
            taken.add(found[name])
    return found
