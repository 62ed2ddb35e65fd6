"""Indices as rules see them: one entry for each dim, ellipsis, masks, lists and arrays written out.

In: the params of indexing and of assignment. Out: entries, and what kind each is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import torch

from rfgraph.graph import Operand, Shape
from rfgraph.graph.calls import outputs_of
from rfgraph.language.vocabulary import Params

MASKS = (torch.bool, torch.uint8)
"""The dtypes of index tensors that say where, not which."""


def normalize_index(params: Params, shapes: Sequence[Shape]) -> Params:
    """`index` as a tuple with one entry per operand dim or new dim: ellipsis and masks written out."""
    index = params["index"]
    entries: list[object] = []
    for entry in map(_plain, index if isinstance(index, tuple) else [index]):
        entries += entry.detach().cpu().nonzero(as_tuple=True) if _is_mask(entry) else [entry]
    used = sum(not (entry is None or entry is Ellipsis or is_flag(entry)) for entry in entries)
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    fill = [slice(None)] * (len(params["input"].shape) - used)
    if dots:
        entries[dots[0] : dots[0] + 1] = fill
    else:
        entries += fill
    return {**params, "index": tuple(entries)}


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


def is_flag(entry: object) -> bool:
    """True for True and False: a new dim of one position, or of none."""
    return isinstance(entry, bool)


def is_constant(index: object) -> TypeGuard[torch.Tensor]:
    """True for an index that is part of the model, with values that can be looked at."""
    return isinstance(index, torch.Tensor) and not index.is_meta


def is_fancy(entry: object) -> bool:
    """True for an index tensor, a mask, or a list of indices."""
    return isinstance(entry, torch.Tensor | Operand | list | tuple | range)
