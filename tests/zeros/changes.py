"""The oracle of this folder: which rows of the input change which elements of the output, by running the model.

In: what builds a model, an input shape. Out: for each output element, the rows that it depends on. Every
parameter is redrawn, none of them 0: an output that no draw shows to change is fixed by the model. It shares
nothing with rfgraph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Marks = npt.NDArray[np.bool_]
DRAWS = 4


def changed(build: Callable[[], nn.Module], shape: Sequence[int], dim: int) -> Marks:
    """`[*output shape, shape[dim]]`: which rows along `dim` each output element depends on."""
    found: Marks | None = None
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in range(DRAWS):
            torch.manual_seed(seed)
            model = build().double().eval()
            for parameter in model.parameters():
                sign = torch.rand(parameter.shape).sub(0.3).sign() if seed else 1.0
                parameter.copy_((torch.rand(parameter.shape) + 0.5) / 2 * sign)
            x = torch.randn(*shape, dtype=torch.float64)
            seen = np.stack([_moved(model, x, dim, row) for row in range(shape[dim])], axis=-1)
            found = seen if found is None else found | seen
    assert found is not None
    return found


def _moved(model: nn.Module, x: torch.Tensor, dim: int, row: int) -> Marks:
    other = x.clone()
    other.select(dim, row).add_(torch.rand_like(other.select(dim, row)) + 0.5)
    return np.asarray(model(x.clone()) != model(other))
