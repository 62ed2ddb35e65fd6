"""`effective`: the effective receptive field of a model as it is, with its own weights.

In: a graph, inputs, a node. Out: where the gradient mass of the node's centre lies, with the protocol it
was measured by. Luo et al. 2016; shares as in Ding et al. 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rfgraph.errors import InputError, VerificationError
from rfgraph.graph import Graph, Node
from rfgraph.graph.replay import example_inputs, guarded, replay
from rfgraph.probe.gradient import Position, index_of

Map: TypeAlias = npt.NDArray[np.float64]
Magnitude: TypeAlias = Literal["absolute", "squared"]
Inputs: TypeAlias = Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]

SHARES = (0.2, 0.3, 0.5, 0.99)


@dataclass(frozen=True)
class Share:
    """The smallest centred square with a share of the gradient mass.

    Attributes:
        share: of the mass, as asked for.
        side: of the square (of the cube; of the interval), in input positions.
        area: of the square within the input, as a part of the input's.
    """

    share: float
    side: int
    area: float


@dataclass(frozen=True)
class Effective:
    """An effective receptive field, and the protocol that the figures depend on.

    Attributes:
        map: over the input's spatial dims; sums to 1.
        shares: at 20, 30, 50 and 99 % of the mass.
        node: whose centre it is. position: the index of that centre, dim by dim of the node.
        input: the input that the map is over. center: the middle of the squares.
        samples: how many inputs were averaged. source: "given", or "normal" for random inputs.
        magnitude: of the gradient: absolute or squared, summed over channels.
    """

    map: Map
    shares: tuple[Share, ...]
    node: str
    position: tuple[tuple[int, int], ...]
    input: str
    center: tuple[int, ...]
    samples: int
    source: str
    magnitude: Magnitude

    def protocol(self) -> str:
        """How it was measured, in one line."""
        at = ", ".join(f"dim {dim}: {index}" for dim, index in self.position)
        size = "x".join(map(str, self.map.shape))
        return (
            f"{self.magnitude} gradient of {self.node!r} at its centre ({at}), summed over channels, "
            f"averaged over {self.samples} {self.source} inputs of {size}; own weights, eval mode; "
            f"smallest square around {self.center}"
        )


def effective(
    graph: Graph,
    inputs: Inputs | None = None,
    node: str | None = None,
    *,
    input: str | None = None,
    position: Position | None = None,
    magnitude: Magnitude = "absolute",
    samples: int = 8,
    seed: int = 0,
) -> Effective:
    """The effective receptive field of a node's centre, over one input.

    Args:
        graph: a captured model.
        inputs: tensors by name, or several such; None: `samples` draws of normal noise.
        node: the first output by default.
        input: the first input of real numbers by default.
        position: another than the centre (of the dims from 2 on).
        magnitude: of the gradient.

    Raises:
        InputError: no such node, input or position.
        VerificationError: the gradient is all zero, or no number; a model of float16, where parts of it
            would vanish.
    """
    name = node if node is not None else next(iter(graph.outputs.values()))
    own = graph[name]
    drawn = _listed(graph, inputs, samples, seed)
    over = input if input is not None else _first_float(drawn[0])
    if over not in graph.inputs:
        raise InputError(f"no input named {over!r}; it has {', '.join(graph.inputs)}")
    if drawn[0][over].dtype is torch.float16:
        raise VerificationError(
            f"{over!r} is float16, in which small gradients vanish: take a copy of the model in float32, "
            "copy.deepcopy(model).float()"
        )
    centre = (
        {d: n // 2 for d, n in enumerate(own.shape) if d >= 2} if position is None else position
    )
    index = index_of(own, centre)
    total = sum(_mass(graph, given, own, index, over, magnitude) for given in drawn)
    found = np.asarray(total, dtype=np.float64)
    mass = float(found.sum())
    if not np.isfinite(mass) or mass <= 0:
        raise VerificationError(
            f"the gradient of {own.where()} over {over!r} is {'zero everywhere' if mass == 0 else mass}"
        )
    found = found / mass
    middle = tuple(n // 2 for n in found.shape)
    at = tuple((dim, entry) for dim, entry in enumerate(index) if isinstance(entry, int))
    shares = tuple(_share(found, middle, share) for share in SHARES)
    source = "normal" if inputs is None else "given"
    return Effective(found, shares, name, at, over, middle, len(drawn), source, magnitude)


def _listed(
    graph: Graph, inputs: Inputs | None, samples: int, seed: int
) -> list[dict[str, Tensor]]:
    if inputs is None:
        return [example_inputs(graph, None, seed + i) for i in range(max(samples, 1))]
    several = [inputs] if isinstance(inputs, Mapping) else list(inputs)
    if not several:
        raise InputError("no inputs were given")
    return [example_inputs(graph, given) for given in several]


def _first_float(inputs: Mapping[str, Tensor]) -> str:
    for name, tensor in inputs.items():
        if tensor.is_floating_point():
            return name
    raise InputError("no input holds real numbers, so there is no gradient")


def _mass(
    graph: Graph,
    inputs: Mapping[str, Tensor],
    node: Node,
    index: tuple[int | slice, ...],
    over: str,
    magnitude: Magnitude,
) -> Map:
    """The gradient mass of one sample over the input's spatial dims."""
    own = {name: tensor.detach().clone() for name, tensor in inputs.items()}
    own[over].requires_grad_()
    with guarded(graph), torch.enable_grad():
        value = replay(graph, own, keep=(node.name,), until=node.name)[node.name]
        if not value.requires_grad:
            raise VerificationError(f"{node.where()} has no gradient over {over!r}")
        (gradient,) = torch.autograd.grad(value[index].sum(), own[over], allow_unused=True)
    if gradient is None:
        raise VerificationError(f"{node.where()} has no gradient over {over!r}")
    mass = gradient.double().abs() if magnitude == "absolute" else gradient.double().square()
    lead = tuple(range(min(2, mass.ndim - 1)))
    return (mass.sum(lead) if lead else mass).cpu().numpy()


def _share(found: Map, center: Sequence[int], share: float) -> Share:
    """The smallest square of odd side around the centre that holds `share` of the mass."""
    for reach in range(max(found.shape) + 1):
        inside = found[tuple(slice(max(0, c - reach), c + reach + 1) for c in center)]
        if inside.sum() >= share or inside.size == found.size:
            return Share(share, 2 * reach + 1, inside.size / found.size)
    raise AssertionError("the whole map is a square of its own")
