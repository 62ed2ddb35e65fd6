"""`replay`: run a captured graph again, node by node, on tensors or on stand-ins for tensors.

In: a graph, a value for each input. Out: the values of its nodes. Callers: the probes. The model's own
code runs here, with the modules it was captured from: hold `rfgraph.guard.untouched` around it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from rfgraph.errors import InputError
from rfgraph.graph import Call, Graph, Node, Value, outputs_of
from rfgraph.guard import untouched

_WRITES = frozenset(
    "__setitem__ setitem __iadd__ __isub__ __imul__ __itruediv__ __ifloordiv__ __imod__ __ipow__ "
    "__iand__ __ior__ __ixor__ iadd isub imul itruediv ifloordiv imod ipow iand ior ixor".split()
)
_WRITES_CONSTANTS = frozenset(("batch_norm", "instance_norm", "embedding"))  # statistics, max_norm


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
Around = Callable[[Node], AbstractContextManager[None]]


def replay(
    graph: Graph,
    inputs: Mapping[str, Any],
    *,
    keep: Collection[str] | None = None,
    visit: Visit | None = None,
    around: Around | None = None,
    until: str | None = None,
    unreadable: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The value of every node in `keep` (None: of all nodes); other values are freed when last read.

    Args:
        visit: called with every node, inputs included, and its value.
        around: a context for the call that makes a node.
        until: the last node to be made; None: all.
        unreadable: nodes that are not made, and why: each is `Unreadable`.
    """
    values: dict[str, Any] = dict(inputs)
    results: dict[int, Any] = {}
    last = _last_use(graph)
    for place, node in enumerate(graph):
        if unreadable and node.name in unreadable:
            values[node.name] = Unreadable(node.name, unreadable[node.name])
        elif node.call is not None:
            values[node.name] = _value(node, node.call, values, results, around)
        if visit is not None:
            visit(node, values[node.name])
        for name in last.get(place, ()):
            if isinstance(name, int):
                results.pop(name, None)
            elif keep is not None and name not in keep:
                values.pop(name, None)
        if node.name == until:
            break
    return values if keep is None else {name: values[name] for name in keep if name in values}


def names_in(value: Any) -> Iterator[str]:
    """The nodes whose values a call's arguments hold, at any depth."""
    if type(value) is Value:
        yield value.name
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from names_in(entry)
    elif isinstance(value, Mapping):
        yield from names_in(list(value.values()))
    elif type(value) is slice:
        yield from names_in((value.start, value.stop, value.step))


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """A call's arguments with tensors in the place of `Value`s."""
    if type(value) is Value:
        return values[value.name]
    if type(value) in (tuple, list):
        return type(value)(filled(entry, values) for entry in value)
    if hasattr(value, "_fields"):  # a named tuple
        return type(value)(*(filled(entry, values) for entry in value))
    if isinstance(value, Mapping):
        return {name: filled(entry, values) for name, entry in value.items()}
    if type(value) is slice:
        ends = (value.start, value.stop, value.step)
        return slice(*(filled(end, values) for end in ends))
    return value


def _last_use(graph: Graph) -> dict[int, list[str | int]]:
    """Place of a node -> the values (by name) and the results (by id of their call) last read there."""
    last: dict[str | int, int] = {}
    for place, node in enumerate(graph):
        last[node.name] = place
        if node.call is not None:
            last[id(node.call)] = place
            last.update(dict.fromkeys(names_in((node.call.args, node.call.kwargs)), place))
    found: dict[int, list[str | int]] = {}
    for name, place in last.items():
        found.setdefault(place, []).append(name)
    return found


def _value(
    node: Node,
    call: Call,
    values: Mapping[str, Any],
    results: dict[int, Any],
    around: Around | None,
) -> Any:
    """The node's tensor; the calls of nodes that share one are made once."""
    if id(call) not in results:
        results[id(call)] = _result(node, call, values, around)
    result = results[id(call)]
    if isinstance(result, Unreadable):
        return result
    return outputs_of(result)[node.output]


def _result(node: Node, call: Call, values: Mapping[str, Any], around: Around | None) -> Any:
    for name in names_in((call.args, call.kwargs)):
        if isinstance(values[name], Unreadable):
            return values[name]
    try:
        if around is None:
            return made(call, values)
        with around(node):
            return made(call, values)
    except UnreadableError as error:
        return Unreadable(node.name, str(error))


_UNSET = frozenset(("empty_like", "new_empty"))


def made(call: Call, values: Mapping[str, Any]) -> Any:
    """What the call returns. Neither `values` nor tensors of the model are written into."""
    args, kwargs = filled(call.args, values), filled(call.kwargs, values)
    target = call.target
    if isinstance(target, str):
        first = _copied(args[0]) if is_inplace(target) else args[0]
        found = getattr(first, target)
        result = found(*args[1:], **kwargs) if callable(found) else found
        result = result.zero_() if target in _UNSET else result
        return first if result is None else result
    if may_write(target, args, kwargs):
        args = tuple(map(_copied, args))
        kwargs = {name: _copied(entry) for name, entry in kwargs.items()}
    if isinstance(target, nn.Embedding) and target.max_norm is not None:
        state = {name: tensor.clone() for name, tensor in target.named_parameters()}
        return functional_call(target, state, args, kwargs)
    result = target(*args, **kwargs)
    if getattr(target, "__name__", "") in _UNSET:
        return result.zero_()  # memory that holds anything, NaN too, until the model writes into it
    return args[0] if result is None and args else result


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def is_inplace(name: str) -> bool:
    """True for a call that writes into its first argument, by its name."""
    return name in _WRITES or (name.endswith("_") and not name.startswith("__"))


def may_write(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """True where a call may write into a tensor that it is given. Code that is not torch's may."""
    if isinstance(target, nn.Module):
        own = type(target).__module__.startswith("torch.nn.modules.")
        return not own or bool(getattr(target, "inplace", False))
    name = getattr(target, "__name__", "")
    origin = getattr(target, "__module__", None) or ""
    known = origin.startswith(("torch", "_operator")) or origin == ""
    flags = any(arg is True for arg in args) or kwargs.get("inplace") is True
    return not known or flags or is_inplace(name) or name in _WRITES_CONSTANTS


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
    modules = {
        id(node.call.target): node.call.target
        for node in graph
        if node.call is not None and isinstance(node.call.target, nn.Module)
    }
    return nn.ModuleList(modules.values())


def device_and_dtype(graph: Graph) -> tuple[torch.device, torch.dtype]:
    """Those of the first floating-point tensor of the model that a call holds; else torch's defaults."""
    for node in graph:
        for tensor in _constants(node.call):
            if tensor.is_floating_point() and not tensor.is_meta:
                return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.get_default_dtype()


def _constants(call: Call | None) -> Iterator[torch.Tensor]:
    if call is None:
        return
    if isinstance(call.target, nn.Module):
        yield from call.target.parameters()
        yield from call.target.buffers()
    for value in (*call.args, *call.kwargs.values()):
        if isinstance(value, torch.Tensor):
            yield value


def example_inputs(
    graph: Graph, given: Mapping[str, torch.Tensor] | None, seed: int = 0
) -> dict[str, torch.Tensor]:
    """A tensor for each input: those given, or seeded random ones on the model's device.

    Raises:
        InputError: tensors of other names or shapes than the graph was captured at.
    """
    if given is not None:
        return _checked(graph, given)
    device, dtype = device_and_dtype(graph)
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, torch.Tensor] = {}
    for name, node in graph.inputs.items():
        if node.params.get("is_float", True):
            drawn = torch.randn(node.shape, generator=generator)
            made[name] = drawn.to(device, dtype)
        else:  # the one index that every table has
            made[name] = torch.zeros(node.shape, dtype=torch.long, device=device)
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
