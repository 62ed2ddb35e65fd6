"""Whether a captured graph computes what the model computes: both are run beside each other.

In: a model, its graph, the arguments it was captured with, tensors for them. Out: `Fidelity`.

Rounding would hide a part of the model that adds little, so both are run in float64: a copy of the model is
doubled and captured again, which must give the same graph. What each module returns is held against what its
node returns, and what the model returns against what the graph returns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils.rnn import PackedSequence

from rfgraph.capture.arguments import Arguments
from rfgraph.capture.outputs import leaves
from rfgraph.graph import Graph, Node
from rfgraph.graph.eager import uncompiled
from rfgraph.graph.guard import untouched
from rfgraph.graph.replay import Replay

Tensors: TypeAlias = Mapping[str, torch.Tensor]
Capture: TypeAlias = Callable[[nn.Module, Arguments], Graph]

_TOLERANCE = 1e-9
_DOUBLE = torch.float64


@dataclass(frozen=True)
class Fidelity:
    """Whether a graph computes what its model computes.

    Attributes:
        differs: how it does not, in words; empty where it does.
        note: in which other dtype than float64 that was held, how exactly, and why; empty for float64.
    """

    differs: str = ""
    note: str = ""


class _NoDoubleError(Exception):
    """The model has no copy in float64 that is the same graph."""


def fidelity(
    model: nn.Module,
    graph: Graph,
    arguments: Arguments,
    tensors: Tensors,
    capture: Capture,
    training: bool = False,
) -> Fidelity:
    """Whether the graph computes what the model computes, on these tensors and the same random numbers.

    In float64, to 1e-9 of the largest number of each tensor. A model that has no copy in float64 (it cannot
    be copied, names another dtype, takes another path) is run as it is, to half the digits of its dtype.
    Every node must have the shape that it was captured with.

    Args:
        capture: how the graph was captured: asked again for the copy.
    """
    try:
        double, again, its_arguments, its_tensors = _doubled(
            model, graph, arguments, tensors, capture, training
        )
        run = _Beside(again, its_arguments, its_tensors, training, _TOLERANCE)
        with _default_dtype(_DOUBLE):
            return Fidelity(run.difference(double))
    except Exception as error:  # of the copy: what fails in the model itself fails again below
        dtype = _dtype_of(model, tensors)
        tolerance = torch.finfo(dtype).eps ** 0.5
        run = _Beside(graph, arguments, tensors, training, tolerance)
        reason = " ".join(str(error).split())[:80]
        name = str(dtype).removeprefix("torch.")
        note = (
            f"the graph was held against the model in {name}, to {tolerance:.1g}: "
            f"in float64 it cannot be run ({type(error).__name__.strip('_')}: {reason})"
        )
        return Fidelity(run.difference(model), note)


def _dtype_of(model: nn.Module, tensors: Tensors) -> torch.dtype:
    """The shortest floating-point dtype that the model or an input has."""
    dtypes = {t.dtype for t in (*model.parameters(), *model.buffers(), *tensors.values())}
    floating = [dtype for dtype in dtypes if dtype.is_floating_point]
    return max(floating, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)


# --- the copy in float64 ----------------------------------------------------------------------------


def _doubled(
    model: nn.Module,
    graph: Graph,
    arguments: Arguments,
    tensors: Tensors,
    capture: Capture,
    training: bool,
) -> tuple[nn.Module, Graph, Arguments, Tensors]:
    """A copy of the model in float64, its graph, and what both are called with."""
    copies: dict[int, Any] = {}
    with untouched(model, training), uncompiled():
        double = copy.deepcopy(model, copies)
    for each in list(copies.values()):  # all that was copied, whoever holds it
        if isinstance(each, torch.Tensor) and _is_short(each):
            each.data = each.data.double()
    metas = {name: _double(meta) for name, meta in arguments.leaves.items()}
    own = {name: _double(tensor) for name, tensor in arguments.given.items()}
    arguments = replace(arguments, leaves=metas, given=own)
    with _default_dtype(_DOUBLE):
        again = capture(double, arguments)
    if _skeleton(again) != _skeleton(graph):
        raise _NoDoubleError("its forward takes another path")
    return double, again, arguments, {name: _double(t) for name, t in tensors.items()}


def _is_short(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype is not _DOUBLE


def _double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if _is_short(tensor) else tensor


def _skeleton(graph: Graph) -> list[object]:
    """The calls of a graph, in order, and what each is called on; no numbers and no dtypes."""
    assert graph.fx is not None
    return [(n.op, n.name, [each.name for each in n.all_input_nodes]) for n in graph.fx.nodes]


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        yield
    finally:
        torch.set_default_dtype(before)


# --- both, beside each other ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Beside:
    """A graph to be held against a model: what both are called with, and how much they may differ by."""

    graph: Graph
    arguments: Arguments
    tensors: Tensors
    training: bool
    tolerance: float

    def difference(self, model: nn.Module) -> str:
        """How the graph differs from the model; empty where it does not."""
        calls: list[_Call] = []
        args, kwargs = self.arguments.filled({n: t.clone() for n, t in self.tensors.items()})
        with untouched(model, self.training), uncompiled(), _recorded(calls):
            torch.manual_seed(0)  # both draw the same, where they draw
            expected = _tensors_in(model(*args, **kwargs))
        replayed = _Replayed(self.graph)
        # anew: the model may have written into its buffers
        with untouched(model, self.training), uncompiled():
            torch.manual_seed(0)
            returned = leaves(replayed.run(*(self.tensors[name] for name in self.graph.inputs)))
        told = replayed.shapes[:1] or self._returned(expected, returned)
        told = told or self._modules(calls, replayed)
        return told[0] + self._first(model, calls, replayed) if told else ""

    def _returned(
        self, expected: list[torch.Tensor], returned: list[tuple[str, torch.Tensor]]
    ) -> list[str]:
        """How what is returned differs."""
        if len(expected) != len(returned):  # an exported program returns them without their names
            return [f"it returns {len(returned)} tensors, the model {len(expected)}"]
        pairs = zip(returned, expected, strict=True)
        told = (_values(name, own, tensor, self.tolerance) for (name, tensor), own in pairs)
        return [text for text in told if text][:1]

    def _modules(self, calls: list[_Call], replayed: _Replayed) -> list[str]:
        """How what modules return differs: their calls, in order, beside the nodes that call them."""
        by_module: dict[int, list[_Call]] = {}
        for call in calls:
            by_module.setdefault(id(call.module), []).append(call)
        for call in calls:
            if call.is_packed:  # a node for each length
                by_module.pop(id(call.module), None)
        for n, returned in replayed.modules:
            of_it = by_module.get(id(self.graph.attributes[str(n.target)]))
            for own, tensor in zip(of_it.pop(0).tensors if of_it else (), returned, strict=False):
                if told := _values(self.graph.names.get(n, n.name), own, tensor, self.tolerance):
                    return [told]
        return []

    def _first(self, model: nn.Module, calls: list[_Call], replayed: _Replayed) -> str:
        """The first module that returns a tensor which is nowhere in the graph."""
        paths = {id(module): path for path, module in model.named_modules()}
        for call in calls:
            path = paths.get(id(call.module), "")
            if path and not any(self._is_there(each, replayed) for each in call.tensors):
                return f"; the first module that differs is {path!r}"
        return ""

    def _is_there(self, tensor: torch.Tensor, replayed: _Replayed) -> bool:
        if not tensor.is_floating_point():
            return True
        alike = (each for each in replayed.values if each.shape == tensor.shape)
        return any(not _values("", tensor, each, self.tolerance) for each in alike)


@dataclass(frozen=True, eq=False)
class _Call:
    """A call of a module, and the tensors that it returned, as they were then; of a packed sequence?"""

    module: nn.Module
    tensors: tuple[torch.Tensor, ...]
    is_packed: bool


@contextmanager
def _recorded(calls: list[_Call]) -> Iterator[None]:
    """Write down what every module returns. No module is changed for it."""

    def returned(module: nn.Module, args: object, result: object) -> None:
        first = result[0] if isinstance(result, tuple) and result else None
        tensors = tuple(each.clone() for each in _tensors_in(result))
        calls.append(_Call(module, tensors, isinstance(first, PackedSequence)))

    handle = register_module_forward_hook(returned)
    try:
        yield
    finally:
        handle.remove()


class _Replayed(Replay):
    """A replay that keeps what it has made.

    Attributes:
        shapes: where a tensor has another shape than it was captured with, in words.
        modules: the nodes that call a module, and the tensors that each returned. values: all tensors.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph, lambda node, value: self.shapes.extend(_shape(node, value)))
        self.shapes: list[str] = []
        self.modules: list[tuple[fx.Node, list[torch.Tensor]]] = []
        self.values: list[torch.Tensor] = []

    def run_node(self, n: fx.Node) -> object:
        """The value of one fx node, which is kept."""
        value = super().run_node(n)
        if n.op != "output":
            tensors = _tensors_in(value)
            self.values += tensors
            if n.op == "call_module":
                self.modules.append((n, tensors))
        return value


def _tensors_in(value: object) -> list[torch.Tensor]:
    """The tensors in what was returned, in order."""
    return [tensor for _, tensor in leaves(value)]


def _shape(node: Node, value: object) -> Iterable[str]:
    """Says so where a tensor has another shape than it was captured with."""
    if not isinstance(value, torch.Tensor) or tuple(value.shape) == node.shape:
        return []
    return [f"{node.where()} has shape {tuple(value.shape)}, not {node.shape} as it was captured"]


def _values(name: str, expected: torch.Tensor, returned: torch.Tensor, tolerance: float) -> str:
    if expected.shape != returned.shape:
        return f"{name!r} has shape {tuple(returned.shape)}, in the model {tuple(expected.shape)}"
    numbers = expected.is_floating_point() or expected.is_complex()
    if not numbers or not expected.numel():
        return ""  # indices of near-equal values may differ
    finite = expected[expected.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    if torch.allclose(expected, returned, rtol=0.0, atol=tolerance * scale, equal_nan=True):
        return ""
    most = float((expected - returned).abs().nan_to_num(nan=torch.inf).max())
    return f"{name!r} differs from the model's by up to {most:.3g}"
