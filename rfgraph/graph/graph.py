"""`Node` and `Graph`: a captured model, one node per tensor, in the vocabulary of canonical operators.

In: what a capture found. Out: nodes in topological order, and a `networkx.DiGraph` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import networkx as nx
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx
from torch.fx import GraphModule
from torch.fx.node import Argument, Target, map_arg

from rfgraph.errors import InputError, nearest_names

LOW = -1e4
"""What is below this vanishes in a softmax, as -inf does: models write -1e9, or the least of their dtype."""


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """Positions whose value the model fixes, whatever the input: they read nothing.

    `where` is a boolean tensor that broadcasts to the shape of the tensor it describes. `value` is 0, by
    which a product reads nothing of its other factor; or -inf, or `LOW` for a number as good as that, which
    a softmax turns into 0. Such a number, *added* to what is read, hides nothing by itself (not `hides`);
    of a mask that has both, -inf does, at the positions `hidden`.
    """

    where: Tensor
    value: float
    hides: bool = True
    hidden: Tensor | None = None

    @property
    def hiding(self) -> Tensor | None:
        """The positions that read nothing."""
        return self.where if self.hides else self.hidden

    @property
    def is_low(self) -> bool:
        """True for what is as good as -inf."""
        return self.value <= LOW

    def at(self, where: Tensor) -> Masked:
        """The same, of other positions, of which it is not said which alone hide."""
        return replace(self, where=where, hidden=None)


class Axis(NamedTuple):
    """A tracked axis: dim number `dim` of the input `input`."""

    input: str
    dim: int


Call: TypeAlias = fx.Node
"""A node of a `torch.fx` graph."""

Shape: TypeAlias = tuple[int, ...]
"""Sizes of a tensor's dims."""

Position: TypeAlias = Mapping[int, int]
"""A position in a tensor: dim -> index. Dims that are left out: any position along them."""

Marks: TypeAlias = npt.NDArray[np.bool_]
"""What is read: True for those elements of a tensor, or for those pairs of positions."""

Indices: TypeAlias = npt.NDArray[np.int64]
"""Positions along one dim, sorted."""


class Carry(NamedTuple):
    """How a node reads one part of an operand: the dims that carry a tracked axis in it, there and here.

    Attributes:
        operand: number of the operand.
        source: the operand's dims that carry the part.
        target: the node's; None where all of `source` is read whole.
    """

    operand: int
    source: frozenset[int]
    target: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class Operand:
    """Stands in a node's params for its operand number `index`, a tensor of `shape` and (torch) `dtype`.

    `masked`: positions whose value the model fixes. `known` gives the tensor itself, or None, where it
    depends on no input.
    """

    index: int
    shape: Shape
    dtype: torch.dtype
    masked: Masked | None = field(default=None, compare=False)
    known: Callable[[], Tensor | None] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False, init=False)
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
        fx: the node of the `torch.fx` graph that made it: the call, of which this is output number `output`.
        masked: positions whose value the model fixes; None where there are none.
        known: False where the vocabulary has no operator for the call; `op` is then the name it was
            called by, and `params["problem"]` may say more.
    """

    name: str
    op: str
    operands: tuple[str, ...]
    params: Mapping[str, Any] = field(repr=False)
    shape: Shape
    operand_shapes: tuple[Shape, ...]
    output: int
    module: str
    source: str
    known: bool
    fx: Call | None = field(repr=False)
    masked: Masked | None = field(repr=False)

    def __init__(
        self,
        name: str,
        op: str,
        operands: tuple[str, ...] = (),
        params: Mapping[str, Any] | None = None,
        shape: Shape = (),
        operand_shapes: tuple[Shape, ...] = (),
        output: int = 0,
        module: str = "",
        source: str = "",
        known: bool = True,
        fx: Call | None = None,
        masked: Masked | None = None,
    ) -> None:
        self.__dict__.update(  # at once: a frozen dataclass sets its fields one by one, a graph's every node
            name=name,
            op=op,
            operands=operands,
            params={} if params is None else params,
            shape=shape,
            operand_shapes=operand_shapes,
            output=output,
            module=module,
            source=source,
            known=known,
            fx=fx,
            masked=masked,
        )

    def where(self) -> str:
        """`'layer1.add' (add, model.py:12)`, for messages."""
        return f"{self.name!r} ({self.op}{', ' + self.source if self.source else ''})"


class Graph:
    """Nodes in topological order, with the model's inputs and outputs, over the `torch.fx` graph they are of.

    `networkx` gives the walks: ancestors, dominators, paths. A node may only be added after its operands, so
    the order of capture, in which a graph is iterated over, is a topological order.

    Attributes:
        inputs: the model's tensors by the names of forward's arguments. outputs: key -> name of a node.
        fx: what was captured; None for a graph that was put together by hand.
        attributes: what the targets of its `get_attr` and `call_module` nodes stand for.
        names: the `torch.fx` node whose value a node's tensor is -> the name of that node.
        asked: the nodes whose sizes the forward asked for, each with the dim, or None for all of them; a node
            without a name is one that is not known.
        note: what to know of how it was captured; empty where there is nothing to say.
    """

    def __init__(self, captured: fx.Graph | None = None) -> None:
        self.inputs: dict[str, Node] = {}
        self.outputs: dict[str, str] = {}
        self.fx = captured
        self.attributes: dict[str, Any] = {}
        self.names: dict[fx.Node, str] = {}
        self.asked: frozenset[tuple[str, int | None]] = frozenset()
        self.note = ""
        self._nodes: dict[str, Node] = {}
        self._networkx: nx.DiGraph | None = None

    @property
    def networkx(self) -> nx.DiGraph:
        """The nodes, by name, each with its `node`, and who reads whom; made when it is first asked for."""
        if self._networkx is None:
            made = nx.DiGraph()
            made.add_nodes_from((name, {"node": node}) for name, node in self._nodes.items())
            for name, node in self._nodes.items():
                made.add_edges_from([(operand, name) for operand in node.operands])
            self._networkx = made
        return self._networkx

    def add(self, *nodes: Node) -> None:
        """Append nodes, each of which comes after its operands."""
        self._networkx, held = None, self._nodes
        for node in nodes:
            if node.name in held:
                raise ValueError(f"two nodes named {node.name!r}")
            for operand in node.operands:
                if operand not in held:
                    raise ValueError(
                        f"{node.name!r} reads {operand!r}, which does not come before it"
                    )
            held[node.name] = node
            if node.op == "input":
                self.inputs[node.name] = node

    def call(self, node: Node) -> tuple[Target | None, tuple[Argument, ...], dict[str, Argument]]:
        """The target, args and kwargs of the call that made a node.

        A `str` target is a method of the first argument. `torch.fx` nodes stand for tensors of the graph
        (`names` has their names); what the model holds stands for itself.
        """
        made = node.fx
        if made is None:
            return None, (), {}

        def held(value: fx.Node) -> Any:
            return self.attributes[str(value.target)] if value.op == "get_attr" else value

        target = self.attributes[str(made.target)] if made.op == "call_module" else made.target
        return target, map_arg(made.args, held), map_arg(made.kwargs, held)

    def module(self) -> GraphModule:
        """What was captured, as a module that computes it: a copy of the graph, with the model's own tensors.

        Raises:
            InputError: a graph that was put together by hand.
        """
        if self.fx is None:
            raise InputError("this graph was not captured, so there is nothing to run")
        copy, held = fx.Graph(), {}
        made: dict[fx.Node, fx.Node] = {}
        for node in self.fx.nodes:
            made[node] = copy.node_copy(node, made.__getitem__)
            if node.op in ("get_attr", "call_module"):
                target = made[node].target = self._apart(str(node.target))
                held[target] = self.attributes[str(node.target)]
        return GraphModule(held, copy, "Captured")

    def _apart(self, target: str) -> str:
        """A target that is not within another: a module may be called, and its own tensor read, too."""
        parts = target.split(".")
        within = any(".".join(parts[:i]) in self.attributes for i in range(1, len(parts)))
        return target.replace(".", "__") if within else target

    def operands(self, value: Any) -> list[str]:
        """The nodes in arguments of a call, at any depth: each once, in order."""
        found: dict[str, None] = {}
        map_arg(value, lambda n: found.setdefault(self.names[n]) if n in self.names else None)
        return list(found)

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
