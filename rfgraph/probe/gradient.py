"""`GradientProbe`: what a node depends on, by the gradient of a positive float64 twin of the graph.

In: a graph, a node, output positions. Out: masks over the inputs, joint over all their dims, and their
projections. No rule is asked: the twin runs the captured calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from rfgraph.errors import InputError, VerificationError
from rfgraph.graph import Graph, Marks, Node
from rfgraph.graph.replay import Unreadable, example_inputs, guarded, replay
from rfgraph.probe.parts import ByParts, LeftOut
from rfgraph.probe.twins.twin import Setting, Twin

Position: TypeAlias = Sequence[int] | Mapping[int, int]

_KEPT_TWINS = 4  # one as it is, one for each of up to three axes without whole reads


class GradientProbe:
    """The gradients of one graph. A twin is run once; each position asked for is one backward pass.

    Args:
        graph: a captured model.
        inputs: tensors of the inputs' shapes; only their devices matter. None: the model's device.
        seed: of the twin's weights.
        training: as the graph was captured; True: batch norm takes statistics of its input.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[str, Tensor] | None = None,
        seed: int = 0,
        *,
        training: bool = False,
    ) -> None:
        self.graph = graph
        self._training = training
        self._seed = seed
        self._inputs = example_inputs(graph, inputs)
        self._twins: dict[LeftOut | None, _Run] = {}

    @property
    def unreadable(self) -> dict[str, str]:
        """The nodes that have no twin, and why: an operator unknown to the probe, or one before it."""
        values = self._run(None).values
        return {name: str(value) for name, value in values.items() if isinstance(value, Unreadable)}

    def joints(
        self, node: str, positions: Sequence[Position], left_out: LeftOut | None = None
    ) -> list[dict[str, Marks]]:
        """Input -> which of its elements the node depends on, over the input's dims; for each position.

        Args:
            positions: each an index for each dim of the node; or for each dim from 2 on; or a dict from
                dim to index. Every element of the dims left out is in the cotangent.
            left_out: reads of a whole axis that are left out: softmax, statistics, reductions, global
                pooling, keys of attention, contractions. Of other inputs than its axis' nothing is seen.

        Raises:
            InputError: no such node or position.
            VerificationError: the node has no twin, or the gradient is no number.
        """
        return self._run(left_out).joints(self.graph[node], positions)

    def _run(self, left_out: LeftOut | None) -> _Run:
        if left_out not in self._twins:
            if len(self._twins) >= _KEPT_TWINS:
                self._twins.pop(next(reversed(self._twins)))
            self._twins[left_out] = _Run(
                self.graph, self._inputs, Setting(self._seed), left_out, self._training
            )
        return self._twins[left_out]


class _Run:
    """One forward pass of the twin, with every value kept."""

    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[str, Tensor],
        setting: Setting,
        left_out: LeftOut | None,
        training: bool,
    ) -> None:
        self.values: dict[str, object] = {}
        self._leaves = {
            name: torch.ones(given.shape, dtype=torch.float64, device=given.device).requires_grad_()
            for name, given in inputs.items()
        }
        twins = {
            name: Twin.make(leaf * 1.0, inputs[name].dtype, setting)
            for name, leaf in self._leaves.items()
        }
        with guarded(graph, training), torch.enable_grad():
            if left_out is None:
                replay(graph, twins, keep=(), visit=self._visit)
            else:
                ByParts(graph, left_out, setting, self._visit).on(twins)

    def _visit(self, node: Node, value: object) -> None:
        """Hold a value to being a number, and have its gradient replaced by where it is not 0.

        A gradient that is 0 or 1 at every node cannot underflow, however deep the model.
        """
        self.values[node.name] = value
        if not isinstance(value, Twin):
            return
        if bool((value.value.isnan() | (value.value == torch.inf)).any()):
            raise VerificationError(f"the twin of {node.where()} overflows")
        for tensor in {
            id(each): each for each in (value.value, *(p.value for p in value.parts))
        }.values():
            if tensor.requires_grad:
                # of no run: a hook that holds one is held by its tensors, out of the collector's sight
                tensor.register_hook(partial(_zero_or_one, node))  # type: ignore[no-untyped-call]

    def joints(self, node: Node, positions: Sequence[Position]) -> list[dict[str, Marks]]:
        """Input -> where the gradient of the node is not 0, for each position."""
        value = self.values[node.name]
        if isinstance(value, Unreadable):
            raise VerificationError(f"{node.where()} cannot be read: {value}")
        return [self._joint(node, value, position) for position in positions]

    def _joint(self, node: Node, value: object, position: Position) -> dict[str, Marks]:
        index = index_of(node, position)
        leaves = self._leaves
        if not isinstance(value, Twin) or not value.value.requires_grad:  # reads nothing
            return {name: np.zeros(tuple(leaf.shape), np.bool_) for name, leaf in leaves.items()}
        cotangent = torch.zeros_like(value.value, memory_format=torch.contiguous_format)
        cotangent[index] = 1.0
        with torch.enable_grad():
            found = torch.autograd.grad(
                value.value, list(leaves.values()), cotangent, retain_graph=True, allow_unused=True
            )
        return {
            name: np.zeros(tuple(leaf.shape), np.bool_) if g is None else (g > 0).cpu().numpy()
            for (name, leaf), g in zip(leaves.items(), found, strict=True)
        }


def _zero_or_one(node: Node, gradient: Tensor | None) -> Tensor | None:
    """Where the gradient of a node is not 0."""
    if gradient is None:  # another output of the same call is asked for
        return None
    if not bool((gradient >= 0).all()):
        raise VerificationError(f"the twin's gradient at {node.where()} is negative or no number")
    return (gradient > 0).to(gradient.dtype)


def index_of(node: Node, position: Position) -> tuple[int | slice, ...]:
    """An index of the node's tensor.

    Raises:
        InputError: a position that the node does not have.
    """
    rank = len(node.shape)
    if isinstance(position, Mapping):
        chosen = {dim % rank: at for dim, at in position.items() if -rank <= dim < rank}
        fits = len(chosen) == len(position)
    else:
        first = 0 if len(position) == rank else 2
        chosen = dict(enumerate(position, first))
        fits = first + len(position) == rank
    if not fits or any(not 0 <= at < node.shape[dim] for dim, at in chosen.items()):
        raise InputError(
            f"{position!r} is no position of {node.name!r}, whose shape is {node.shape}"
        )
    return tuple(chosen.get(dim, slice(None)) for dim in range(rank))
