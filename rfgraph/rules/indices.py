"""Indices as rules see them: one entry for each dim, ellipsis, masks, lists and arrays written out.

In: the params of indexing and of assignment. Out: entries, and what kind each is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, TypeGuard

import numpy as np
import torch

from rfgraph.graph import Operand, Shape
from rfgraph.graph.calls import outputs_of
from rfgraph.language.vocabulary import Normalize, Params

MASKS = (torch.bool, torch.uint8)
"""The dtypes of index tensors that say where, not which."""


def normalize_index(params: Params, shapes: Sequence[Shape]) -> Params:
    """`index` as a tuple with one entry per operand dim or new dim: ellipsis and masks written out."""
    index, shape = params["index"], tuple(params["input"].shape)
    entries: list[object] = []
    masked: dict[int, int] = {}  # id of an index that a mask was -> the size of the mask there
    for entry in map(_plain, index if isinstance(index, tuple) else [index]):
        if _is_mask(entry):
            places = entry.detach().cpu().nonzero(as_tuple=True)
            masked.update((id(each), size) for each, size in zip(places, entry.shape, strict=True))
            entries += places
        else:
            entries.append(entry)
    used = sum(not (entry is None or entry is Ellipsis or is_flag(entry)) for entry in entries)
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    fill = [slice(None)] * (len(shape) - used)
    if dots:
        entries[dots[0] : dots[0] + 1] = fill
    else:
        entries += fill
    at_dims = (entry for entry in entries if not (entry is None or is_flag(entry)))
    for dim, (entry, size) in enumerate(zip(at_dims, shape, strict=False)):
        if masked.get(id(entry), size) != size:
            raise ValueError(
                f"a mask of size {masked[id(entry)]} is none of dim {dim}, of size {size}"
            )
        if is_constant(entry):
            check(entry, size, f"dim {dim}", signed=True)
    return {**params, "index": tuple(entries)}


def in_range(dims: str = "dim", signed: bool = False) -> Normalize:
    """A `normalize` that refuses a constant index which names a position that is not there.

    Args:
        dims: the name of the dim that is indexed; empty where the index counts all elements.
        signed: whether torch counts negative ones from the end.
    """

    def normalize(params: Params, shapes: Sequence[Shape]) -> Params:
        index, shape = params["index"], params["input"].shape
        if is_constant(index) and shape:
            dim = params[dims] % len(shape) if dims else 0
            size, told = (shape[dim], f"dim {dim}") if dims else (prod(shape), "all elements")
            check(index, size, told, signed)
        return params

    return normalize


def check(index: torch.Tensor, size: int, told: str, signed: bool = False) -> None:
    """Refuse what torch refuses.

    Raises:
        ValueError: an index outside of the size.
    """
    if not index.numel():
        return
    least, most = (int(each) for each in index.detach().aminmax())
    if least < (-size if signed else 0) or most >= size:
        wrong = most if most >= size else least
        raise ValueError(f"index {wrong} is out of range for {told}, of size {size}")


def _plain(entry: Any) -> Any:
    """Lists and arrays of constants as tensors; what has no dims as the number that it means."""
    if isinstance(entry, np.ndarray | list | tuple | range) and not _is_computed(entry):
        entry = torch.as_tensor(entry, dtype=None if len(entry) else torch.long)
    if isinstance(entry, np.generic):
        return entry.item()
    return entry.item() if is_constant(entry) and not entry.ndim else entry


def _is_computed(entry: Any) -> bool:
    """True for a list that holds a tensor of the graph, or one without values."""
    leaves = outputs_of(entry) if isinstance(entry, list | tuple) else ()
    return any(isinstance(leaf, Operand | torch.Tensor) for leaf in leaves)


def _is_mask(entry: object) -> bool:
    return is_constant(entry) and entry.dtype in MASKS


def selected(entry: slice, size: int) -> range:
    """The positions that a slice selects; one that begins past the end does so from its own beginning."""
    first, end, step = entry.indices(size)
    return range(first if entry.start is None else max(first, entry.start), end, step)


def is_flag(entry: object) -> bool:
    """True for True and False: a new dim of one position, or of none."""
    return isinstance(entry, bool)


def is_constant(index: object) -> TypeGuard[torch.Tensor]:
    """True for an index that is part of the model, with values that can be looked at."""
    return isinstance(index, torch.Tensor) and not index.is_meta


def is_fancy(entry: object) -> bool:
    """True for an index tensor, a mask, or a list of indices."""
    return isinstance(entry, torch.Tensor | Operand | list | tuple | range)
