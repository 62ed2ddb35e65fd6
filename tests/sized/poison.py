"""The oracle of this folder: a NaN in one row of the input, and where it comes out of the model.

In: a module, an input shape. Out: for each output element, the rows that reach it. It runs the model and
shares nothing with rfgraph. A NaN passes dead gates and arg-maxes; it also passes weights of zero, so it
says nothing of masked attention: such figures are worked out by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import rfgraph


class Apply(nn.Module):
    """A model that is one function, with the modules that it uses."""

    def __init__(self, function: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def with_windows(function: Callable[..., Tensor], **parts: nn.Module) -> Apply:
    """The same over (batch, 2, length), with windows of three and of five that keep the length."""
    three, five = (nn.Conv1d(2, 2, size, padding=size // 2) for size in (3, 5))
    return Apply(function, three=three, five=five, **parts)


def rows_reaching(model: nn.Module, shape: Sequence[int], dim: int) -> npt.NDArray[np.bool_]:
    """`[*output shape, shape[dim]]`: which rows along `dim` each output element depends on."""
    torch.manual_seed(0)
    clean = torch.randn(*shape, dtype=torch.float64)
    found = []
    with torch.no_grad():
        for row in range(shape[dim]):
            x = clean.clone()
            x.select(dim, row).fill_(torch.nan)
            found.append(model(x).isnan().numpy())
    return np.stack(found, axis=-1)


def assert_equal_at_every_position(
    model: nn.Module, shape: Sequence[int], axes: Sequence[int] | None = None
) -> rfgraph.NodeReport:
    """Hold `reads` and `region` of the output against the oracle, element by element."""
    model = model.double().eval()
    report = rfgraph.analyze(model, torch.empty(*shape, dtype=torch.float64), axes=axes)
    node = report.output
    dims = list(axes if axes is not None else range(2, len(shape)))
    found = [rows_reaching(model, shape, dim) for dim in dims]
    for position in np.ndindex(*node.shape):
        expected = [np.flatnonzero(rows[position]).tolist() for rows in found]
        reads = [node.reads(axis, position).tolist() for axis in range(len(dims))]
        assert reads == expected, f"{node.name} at {position}"
        hull = node.region(position)
        assert hull == (
            tuple((rows[0], rows[-1]) for rows in expected) if all(expected) else None
        ), f"{node.name} at {position}"
    for position, rows in _over_channels(node, found):
        assert [node.reads(axis, position).tolist() for axis in range(len(dims))] == rows
    return node


def _over_channels(
    node: rfgraph.NodeReport, found: Sequence[npt.NDArray[np.bool_]]
) -> Iterator[tuple[tuple[int, ...], list[list[int]]]]:
    """Positions over the node's own dims, and what any element there depends on."""
    if len(node.dims) == len(node.shape):
        return
    others = tuple(dim for dim in range(len(node.shape)) if dim not in node.dims)
    united = [rows.any(axis=others) for rows in found]
    for position in np.ndindex(*(node.shape[dim] for dim in node.dims)):
        yield position, [np.flatnonzero(rows[position]).tolist() for rows in united]
