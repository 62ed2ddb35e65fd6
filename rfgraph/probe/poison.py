"""`PoisonProbe`: what every node reads of one row of an input, by a NaN put there and one forward pass.

In: a graph, a row of an input. Out: for every node, its positions that turn NaN. The model's
own code runs in eval mode, with its own weights.

A NaN passes through activations, max pooling, gates and weights of zero. Operators that stop it are
found by a check of their own, on NaN alone; they and all that reads them are unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from rfgraph.errors import InputError, VerificationError
from rfgraph.graph import Graph, Marks, Node
from rfgraph.graph.replay import Unreadable, example_inputs, guarded, replay
from rfgraph.probe.blocking import blocked, fills, overcounted, reads_nothing

Keep: TypeAlias = Mapping[str, Sequence[int]]


class PoisonProbe:
    """The poisoned positions of the nodes of one graph.

    Args:
        graph: a captured model.
        inputs: a tensor for each input, of the captured shape; None: seeded random ones.
        batch: how many rows one forward pass may take, where the model keeps samples apart.

    Attributes:
        unreadable: node -> why a NaN does not show what it reads.
        overcounts: node -> why it may turn NaN without reading the row: a weight that is zero by
            construction, times NaN.
    """

    def __init__(
        self, graph: Graph, inputs: Mapping[str, Tensor] | None = None, *, batch: int = 16
    ) -> None:
        self.graph = graph
        self.unreadable: dict[str, str] = {}
        self.overcounts: dict[str, str] = {}
        self._batch = max(batch, 1)
        self._constants: set[str] = set()
        self._filled: set[str] = set()
        self._inputs = self._baseline(inputs)

    def rows(
        self,
        input: str,
        dim: int,
        indices: Sequence[int] | None = None,
        keep: Keep | None = None,
    ) -> dict[str, Marks]:
        """Node -> (row, *dims): which positions of the node turn NaN when a row of an input is NaN.

        A row: one position of the dim `dim` of `input`. Unreadable nodes are left out.

        Args:
            indices: the rows, in order; None: all.
            keep: node -> the dims that the answer is over; any poisoned element of the other dims
                counts. Nodes left out are not answered for. None: all nodes, all dims.

        Raises:
            InputError: an input, dim or row that the graph does not have; an input of integers.
        """
        dim, wanted = self._rows_of(input, dim, indices)
        keep = self._kept(keep)
        size = self._batch if len(wanted) > 1 and self._keeps_apart else 1
        parts: dict[str, list[Marks]] = {name: [] for name in keep}
        for start in range(0, len(wanted), size):
            for name, found in self._pass(input, dim, wanted[start : start + size], keep).items():
                parts[name].append(found)
        return {n: np.concatenate(found) for n, found in parts.items() if n not in self.unreadable}

    # --- what can be read -----------------------------------------------------------------------

    def _baseline(self, given: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Inputs on which no node is NaN by itself; what blocks and what over-counts is found on them."""
        inputs = example_inputs(self.graph, given)
        with guarded(self.graph):
            values = replay(self.graph, inputs)
            if given is None and any(map(_has_nan, values.values())):  # a root of a negative number
                inputs = {
                    n: t.abs() + 0.1 if t.is_floating_point() else t for n, t in inputs.items()
                }
                values = replay(self.graph, inputs)
            for node in self.graph:
                self._judge(node, values)
        return inputs

    def _judge(self, node: Node, values: Mapping[str, Tensor]) -> None:
        if fills(node, self.graph, values, self._filled):
            self._filled.add(node.name)
        if reads_nothing(node, self.graph, self._constants):
            self._constants.add(node.name)
            asked = [self.unreadable[n] for n in node.operands if n in self.unreadable]
            self.unreadable.update((node.name, why) for why in asked[:1])  # it will not be run
            return
        nan = _has_nan(values[node.name])
        why = (
            "is NaN without any poison"
            if nan
            else blocked(node, self.graph, values, self._constants)
        )
        for name in node.operands:
            why = why or self.unreadable.get(name, "")
        if why:
            self.unreadable[node.name] = why if "(at " in why else f"{why} (at {node.name!r})"
        why = overcounted(node, self.graph, values, self._filled)
        why = f"{why} (at {node.name!r})" if why else ""
        for name in node.operands:
            why = why or self.overcounts.get(name, "")
        if why:
            self.overcounts[node.name] = why

    def _kept(self, keep: Keep | None) -> dict[str, tuple[int, ...]]:
        if keep is None:
            keep = {node.name: range(len(node.shape)) for node in self.graph}
        return {
            name: tuple(sorted(d % max(len(self.graph[name].shape), 1) for d in dims))
            for name, dims in keep.items()
            if name not in self.unreadable
        }

    def _rows_of(
        self, input: str, dim: int, indices: Sequence[int] | None
    ) -> tuple[int, list[int]]:
        if input not in self.graph.inputs:
            raise InputError(f"no input named {input!r}; it has {', '.join(self.graph.inputs)}")
        shape = self.graph.inputs[input].shape
        if not -len(shape) <= dim < len(shape):
            raise InputError(f"input {input!r} of shape {shape} has no dim {dim}")
        if not self._inputs[input].is_floating_point():
            raise InputError(f"input {input!r} holds integers, which cannot be NaN")
        wanted = list(range(shape[dim])) if indices is None else list(indices)
        if any(not 0 <= index < shape[dim] for index in wanted):
            raise InputError(f"dim {dim} of input {input!r} has rows 0 to {shape[dim] - 1}")
        return dim % len(shape), wanted

    # --- forward passes -------------------------------------------------------------------------

    def _pass(
        self, input: str, dim: int, rows: Sequence[int], keep: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Marks]:
        """One forward pass for these rows, each in a copy of the batch of its own."""
        found: dict[str, Marks] = {}
        copies = len(rows)

        def visit(node: Node, value: Tensor | Unreadable) -> None:
            if isinstance(value, Unreadable):
                self.unreadable.setdefault(node.name, str(value))
            elif node.name in keep:
                if copies > 1:
                    _check_batched(node, value, copies)
                shape = (copies, *node.shape)
                found[node.name] = _poisoned(value.reshape(shape), keep[node.name])

        inputs = {
            name: tensor.repeat(copies, *(1,) * (tensor.ndim - 1)) if copies > 1 else tensor.clone()
            for name, tensor in self._inputs.items()
        }
        each = inputs[input].unflatten(0, (copies, -1))  # type: ignore[no-untyped-call]
        for copy, row in enumerate(rows):
            each[copy].select(dim, row).fill_(torch.nan)
        with guarded(self.graph):  # what cannot be read is not run: some kernels crash on a NaN
            known = dict(self.unreadable)
            replay(self.graph, inputs, keep=(), visit=visit, unreadable=known)
        return found

    @cached_property
    def _keeps_apart(self) -> bool:
        """True where two samples side by side in one batch are computed as each alone, at every node."""
        if self._batch == 1 or any(not tensor.ndim for tensor in self._inputs.values()):
            return False
        pair = [self._inputs, {name: _other(tensor) for name, tensor in self._inputs.items()}]
        names = self._inputs.keys()
        alone: list[dict[str, Tensor]] = []

        def visit(node: Node, value: Tensor) -> None:
            _check_batched(node, value, 2)
            for found, side in zip(alone, value.chunk(2), strict=True):
                if not _same(side, found[node.name]):
                    raise VerificationError(f"{node.where()} does not keep samples apart")

        with guarded(self.graph):
            try:
                alone += [replay(self.graph, dict(inputs)) for inputs in pair]
                together = {name: torch.cat([inputs[name] for inputs in pair]) for name in names}
                replay(self.graph, together, keep=(), visit=visit)
            except Exception:  # the model's own code may hold the size of the batch in any way
                return False
        return True


def _check_batched(node: Node, value: Tensor, copies: int) -> None:
    expected = (copies * node.shape[0], *node.shape[1:]) if node.shape else None
    if tuple(value.shape) != expected:
        raise VerificationError(f"{node.where()} does not keep samples apart")


def _other(tensor: Tensor) -> Tensor:
    """Another sample of the same shape: what mixes the two gives neither."""
    return tensor.flip(tensor.ndim - 1) * 0.7 - 0.1 if tensor.is_floating_point() else tensor


def _same(one: Tensor, other: Tensor) -> bool:
    if not isinstance(one, Tensor) or not one.is_floating_point():
        return True  # an index of near-equal values may differ
    scale = float(other.abs().nan_to_num(0.0, 0.0, 0.0).max()) if other.numel() else 0.0
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3 * scale, equal_nan=True)


def _poisoned(value: Tensor, dims: Sequence[int]) -> Marks:
    """(row, *dims): True where any element is NaN. `amax` passes NaN on."""
    others = tuple(d + 1 for d in range(value.ndim - 1) if d not in dims)
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj()).amax(-1)
    if not value.is_floating_point():
        value = torch.zeros_like(value, dtype=torch.float32)
    if others and 0 in value.shape:
        return np.zeros([n for d, n in enumerate(value.shape) if d not in others], dtype=bool)
    reduced = value.amax(others) if others else value
    found: Marks = reduced.isnan().cpu().numpy()
    return found


def _has_nan(value: object) -> bool:
    return isinstance(value, Tensor) and bool(value.isnan().any())
