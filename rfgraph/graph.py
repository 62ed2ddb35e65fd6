"""`Node` and `Graph`: a captured model, one node per tensor, in the vocabulary of canonical operators.

In: what a capture found. Out: nodes in topological order, and a `networkx.DiGraph` of them. Callers:
capture builds, everyone else reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx as nx

from rfgraph.errors import InputError, nearest_names
from rfgraph.reads import Shape


def outputs_of(result: Any) -> list[Any]:
    """What a call returned, in the order of `Node.output`: tuples and lists opened at any depth."""
    if isinstance(result, tuple | list):
        return [output for part in result for output in outputs_of(part)]
    return [result]


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """Positions whose value the model fixes, whatever the input: they read nothing.

    `where` is a boolean tensor that broadcasts to the shape of the tensor it describes. `value` is 0, by
    which a product reads nothing of its other factor, or -inf, which a softmax turns into 0.
    """

    where: Any
    value: float


@dataclass(frozen=True, slots=True)
class Operand:
    """Stands in a node's params for its operand number `index`, a tensor of `shape` and (torch) `dtype`."""

    index: int
    shape: Shape
    dtype: Any = None
    masked: Masked | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Value:
    """Stands in a `Call` for the tensor of the node called `name`."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """The call that made a node, as the model wrote it: `target(*args, **kwargs)`.

    A `str` target is a tensor method or attribute of the first argument. `Value` stands for a tensor of
    the graph; everything else stands for itself. No rule reads this: it is what probes run again.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One tensor of the model and the operator that made it.

    Attributes:
        name: dotted module path; functional nodes carry the path of the module they ran in.
        op: canonical operator, e.g. `conv2d` for `nn.Conv2d`, `F.conv2d` and `torch.conv2d` alike.
        operands: names of the nodes it reads, in argument order (`x + x` has two operands).
        params: the operator's arguments, bound and named; an `Operand` stands for a tensor of the
            graph, tensors that are part of the model stand for themselves.
        shape: of the tensor.
        operand_shapes: of the operands.
        output: which output of the operator this is (0 but for operators such as `chunk`), counted
            through nested tuples.
        module: class name of the module it is, or of the one it ran in.
        source: `file:line` of the call in the model's code; empty where there is none.
        call: the call that made it; None for an input.
        masked: positions whose value the model fixes; None where there are none.
        known: False where the vocabulary has no operator for the call; `op` is then the name it was
            called by, and `params["problem"]` may say more.
    """

    name: str
    op: str
    operands: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    shape: Shape = ()
    operand_shapes: tuple[Shape, ...] = ()
    output: int = 0
    module: str = ""
    source: str = ""
    known: bool = True
    call: Call | None = field(default=None, repr=False)
    masked: Masked | None = field(default=None, repr=False)

    def where(self) -> str:
        """`'layer1.add' (add, model.py:12)`, for messages."""
        return f"{self.name!r} ({self.op}{', ' + self.source if self.source else ''})"


class Graph:
    """Nodes in topological order, with the model's inputs and outputs.

    A node may only be added after its operands, so insertion order is a topological order, and the
    walk is deterministic.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, Node] = {}
        self.outputs: dict[str, str] = {}
        self.networkx: nx.DiGraph = nx.DiGraph()
        self._nodes: dict[str, Node] = {}

    def add(self, node: Node) -> None:
        """Append a node whose operands are in the graph already."""
        if node.name in self._nodes:
            raise ValueError(f"two nodes named {node.name!r}")
        self.networkx.add_node(node.name, node=node)
        for operand in node.operands:
            if operand not in self._nodes:
                raise ValueError(f"{node.name!r} reads {operand!r}, which does not come before it")
            self.networkx.add_edge(operand, node.name)
        self._nodes[node.name] = node
        if node.op == "input":
            self.inputs[node.name] = node

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def __getitem__(self, name: str) -> Node:
        try:
            return self._nodes[name]
        except KeyError:
            near = nearest_names(name, self._nodes)
            raise InputError(f"no node named {name!r}{near}") from None
