"""`replay`: run a captured graph again, node by node, on tensors or on stand-ins for tensors.

In: a graph, a value for each input. Out: the values of its nodes. A `torch.fx.Interpreter` in which no value
is ever written into. The model's own code runs here, with the modules it was captured from: hold
`rfgraph.graph.guard.untouched` around it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.func import functional_call
from torch.fx.node import Target, map_arg

from rfgraph.errors import InputError
from rfgraph.graph import Graph, Node
from rfgraph.graph.calls import (
    STATISTICS,
    TABLES,
    Args,
    Kwargs,
    is_inplace,
    name_of,
    outputs_of,
    plain,
)
from rfgraph.graph.guard import untouched

_UNSET = frozenset(("empty_like", "new_empty"))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for the value of a node that a probe cannot read. `node` is where that began."""

    node: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} (at {self.node!r})"


class UnreadableError(Exception):
    """Raised inside a replay by a call that the probe cannot read: its node becomes `Unreadable`."""


Visit = Callable[[Node, Any], None]


def replay(
    graph: Graph,
    inputs: Mapping[str, torch.Tensor],
    *,
    keep: Collection[str] | None = None,
    visit: Visit | None = None,
    until: str | None = None,
    unreadable: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The value of every node in `keep` (None: of all nodes); other values are freed when last read.

    Args:
        visit: called with every node, inputs included, and its value.
        until: the last node to be made; None: all.
        unreadable: nodes that are not made, and why: each is `Unreadable`.
    """
    kept: dict[str, Any] = {}

    def visited(node: Node, value: object) -> None:
        if keep is None or node.name in keep:
            kept[node.name] = value
        if visit is not None:
            visit(node, value)

    last = next(reversed(graph.names.values()), None)
    Replay(graph, visited, unreadable, until or last).on(inputs)
    return kept


def returned(graph: Graph, inputs: Mapping[str, torch.Tensor], visit: Visit) -> object:
    """What the graph returns, in the structure in which the model returns it; `visit` as in `replay`."""
    return Replay(graph, visit).run(*(inputs[name] for name in graph.inputs))


class _Until(Exception):
    """The last node that was asked for is made."""


class Replay(fx.Interpreter):
    """An interpreter of a captured graph: each value is made once, and none is written into.

    Args:
        visit, unreadable, until: as in `replay`.
    """

    def __init__(
        self,
        graph: Graph,
        visit: Visit,
        unreadable: Mapping[str, str] | None = None,
        until: str | None = None,
    ) -> None:
        assert graph.fx is not None
        super().__init__(nn.Module(), graph=graph.fx)
        self.extra_traceback = False
        self._graph = graph
        self._visit = visit
        self._unreadable = unreadable or {}
        self._until = until
        self._makers = _makers(graph)

    def on(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """Run on these, by name, up to the last node that is asked for: results are not put in order."""
        with suppress(_Until):
            self.run(*(inputs[name] for name in self._graph.inputs))

    def run_node(self, n: fx.Node) -> object:
        """The value of one fx node; a canonical node is visited with it."""
        value = self._value(n)
        name = self._graph.names.get(n)
        if name is not None:
            self._visit(self._graph[name], value)
            if name == self._until:
                raise _Until
        return value

    def _value(self, n: fx.Node) -> object:
        if n.op == "output":
            return super().run_node(n)
        for operand in n.all_input_nodes:
            if type(value := self.env[operand]) is Unreadable:
                return value
        maker = self._makers.get(n)
        if maker is None:
            return super().run_node(n)
        if maker.name in self._unreadable:
            return Unreadable(maker.name, self._unreadable[maker.name])
        try:
            return super().run_node(n)
        except UnreadableError as error:
            return Unreadable(maker.name, str(error))

    def fetch_attr(self, target: str) -> Any:
        """What a `get_attr` or `call_module` node stands for."""
        return self._graph.attributes[target]

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments; fx holds lists as ones that cannot be changed, which not every function takes."""
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        return tuple(map(plain, args)), {name: plain(value) for name, value in kwargs.items()}

    def call_module(self, target: Any, args: Args, kwargs: dict[str, object]) -> object:
        """A module."""
        return made(self.fetch_attr(target), args, kwargs)

    def call_method(self, target: Target, args: Args, kwargs: dict[str, object]) -> object:
        """A method."""
        return made(target, args, kwargs)

    def call_function(self, target: Target, args: Args, kwargs: dict[str, object]) -> object:
        """A function."""
        return made(target, args, kwargs)


def _makers(graph: Graph) -> dict[fx.Node, Node]:
    """The fx nodes that are calls -> the canonical node of their first output that there is."""
    found: dict[fx.Node, Node] = {}
    for node in graph:
        if node.fx is not None and node.op != "input":
            found.setdefault(node.fx, node)
    return found


def rerun(node: Node, graph: Graph, values: Mapping[str, Any]) -> Any:
    """The node's tensor: its call made again on these values of its operands."""
    target, args, kwargs = graph.call(node)
    assert target is not None  # it was captured
    names = graph.names
    args = map_arg(args, lambda n: values[names[n]])
    kwargs = map_arg(kwargs, lambda n: values[names[n]])
    named = {name: plain(entry) for name, entry in kwargs.items()}
    return outputs_of(made(target, tuple(map(plain, args)), named))[node.output]


def made(target: Target, args: Args, kwargs: Kwargs) -> Any:
    """What the call returns. Neither its arguments nor tensors of the model are written into."""
    if isinstance(target, str):
        first = _copied(args[0]) if is_inplace(target) else args[0]
        result = getattr(first, target)(*args[1:], **kwargs)
        return result.zero_() if target in _UNSET else result
    if may_write(target, args, kwargs):
        args = tuple(map(_copied, args))
        kwargs = {name: _copied(entry) for name, entry in kwargs.items()}
    if isinstance(target, nn.Embedding) and target.max_norm is not None:
        state = {name: tensor.clone() for name, tensor in target.named_parameters()}
        return functional_call(target, state, args, dict(kwargs))
    result = target(*args, **kwargs)
    if name_of(target) in _UNSET:
        return result.zero_()  # memory that holds anything, NaN too, until the model writes into it
    return result


def _copied(value: object) -> object:
    return value.clone() if isinstance(value, torch.Tensor) else value


def may_write(target: Callable[..., object], args: Args, kwargs: Kwargs) -> bool:
    """True where a call may write into a tensor that it is given. Code that is not torch's may."""
    if isinstance(target, nn.Module):
        own = type(target).__module__.startswith("torch.nn.modules.")
        return not own or bool(getattr(target, "inplace", False))
    name = getattr(target, "__name__", "")
    origin = getattr(target, "__module__", None) or ""
    known = origin.startswith(("torch", "_operator")) or origin in ("", "rfgraph.graph.calls")
    flags = any(arg is True for arg in args) or kwargs.get("inplace") is True
    return not known or flags or is_inplace(name) or name in STATISTICS | TABLES


@contextmanager
def guarded(graph: Graph, training: bool = False) -> Iterator[None]:
    """Run the body with the graph's modules in eval mode; all of the model is as before after it.

    On an error and on KeyboardInterrupt, too. Convolutions that transform tiles (Winograd, FFT), where
    a NaN spreads over its tile, are off.
    """
    with (
        untouched(holder_of(graph), training),
        torch.backends.nnpack.flags(enabled=False),
        torch.backends.cudnn.flags(enabled=False),
    ):
        yield


def holder_of(graph: Graph) -> nn.Module:
    """A module that holds those that the graph calls."""
    return nn.ModuleList(
        value for value in graph.attributes.values() if isinstance(value, nn.Module)
    )


def device_of(graph: Graph) -> torch.device:
    """That of the first floating-point tensor of the model that a call holds; else the CPU."""
    for tensor in _constants(graph):
        if tensor.is_floating_point() and not tensor.is_meta:
            return tensor.device
    return torch.device("cpu")


def _constants(graph: Graph) -> Iterator[torch.Tensor]:
    for value in graph.attributes.values():
        if isinstance(value, nn.Module):
            yield from value.parameters()
            yield from value.buffers()
        elif isinstance(value, torch.Tensor):
            yield value


def example_inputs(
    graph: Graph, given: Mapping[str, torch.Tensor] | None, seed: int = 0
) -> dict[str, torch.Tensor]:
    """A tensor for each input: those given, or seeded random ones of its dtype on the model's device.

    Raises:
        InputError: tensors of other names or shapes than the graph was captured at.
    """
    if given is not None:
        return _checked(graph, given)
    device = device_of(graph)
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, torch.Tensor] = {}
    for name, node in graph.inputs.items():
        assert node.fx is not None  # it was captured
        dtype = node.fx.meta["val"].dtype
        if dtype.is_floating_point:
            drawn = torch.randn(node.shape, generator=generator)
            made[name] = drawn.to(device, dtype)
        else:  # the one index that every table has
            made[name] = torch.zeros(node.shape, dtype=dtype, device=device)
    return made


def _checked(graph: Graph, given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    if set(given) != set(graph.inputs):
        raise InputError(
            f"expected a tensor for each of {', '.join(graph.inputs)}, got {', '.join(given)}"
        )
    for name, node in graph.inputs.items():
        if tuple(given[name].shape) != node.shape:
            raise InputError(
                f"input {name!r} was captured with shape {node.shape}, got {tuple(given[name].shape)}"
            )
    return {name: given[name] for name in graph.inputs}
