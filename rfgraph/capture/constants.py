"""The tensors and objects of the model that a graph holds: parameters, buffers, constants made in forward.

In: what model code passes to calls beside the tensors of the graph. Out: `get_attr` nodes, and what their
targets stand for. A constant that a tensor of the graph is written into becomes one itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import fx, nn
from torch._ops import OpOverload
from torch.fx.node import Target

from rfgraph.capture.memory import Step, Traced, is_same, places_of
from rfgraph.errors import CaptureError
from rfgraph.graph.calls import Args, Kwargs
from rfgraph.graph.guard import held_before
from rfgraph.graph.origins import Tape

_WRITTEN_AS_CODE = frozenset(
    (
        *(type(None), bool, int, float, complex, str, type(Ellipsis)),
        *(torch.dtype, torch.device, torch.memory_format, torch.layout),
    )
)
_untouched = torch._C.DisableTorchFunction
_guarded = torch._C._EnableTorchFunction
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu|meta)(:\d+)?")


class Book(Protocol):
    """The graph that is written, as far as its constants need to know it."""

    graph: fx.Graph

    def hold(self, traced: Traced) -> torch.Tensor:
        """From now on, the traced tensor is known by its stand-in."""

    def know(self, tensor: torch.Tensor, traced: Traced) -> None:
        """From now on, a tensor of the model means a traced one."""

    def find(self, value: object) -> Traced | None:
        """What is known of a tensor of the graph; None for everything else."""

    def record(self, target: Target, *args: object) -> Traced:
        """Write a call down."""

    def at_source(self) -> str:
        """Where the model's code stands."""


class Constants:
    """What one graph holds of a model.

    Attributes:
        values: what the targets of `get_attr` and `call_module` nodes stand for.
        device: of the model's first parameter, or buffer.
        promoted: storage -> the traced tensor that stands for what the model wrote the graph's tensors into.
    """

    def __init__(self, book: Book) -> None:
        self.values: dict[str, Any] = {}
        self.device = torch.device("cpu")
        self.promoted: dict[int, tuple[torch.Tensor, Traced]] = {}
        self._book = book
        self._modules: Mapping[str, nn.Module] = {}
        self._nodes: dict[int, tuple[fx.Node, int]] = {}
        self._changed: set[int] = set()
        self._kept: list[object] = []  # ids are those of objects that live
        self._tape = Tape()

    def own(self, modules: Mapping[str, nn.Module]) -> None:
        """The model's own tensors go by their paths."""
        self._modules = modules
        first = next((tensor for _, tensor in self._held()), None)
        self.device = self.device if first is None else first.device

    def _held(self) -> Iterator[tuple[str, torch.Tensor]]:
        """What the modules held before the forward ran, by path: every parameter, then every buffer."""
        for kind in ("_parameters", "_buffers"):
            for path, module in self._modules.items():
                for name, tensor in held_before(module, kind).items():
                    if tensor is not None:
                        yield f"{path}.{name}" if path else name, tensor

    @cached_property
    def _names(self) -> dict[int, str]:
        """Of the model's own tensors, by id; most models are followed without."""
        return {id(tensor): name for name, tensor in reversed(list(self._held()))}

    @cached_property
    def _memory(self) -> set[int]:
        """Of the parameters."""
        held = (held_before(module, "_parameters") for module in self._modules.values())
        return {_storage(p) for own in held for p in own.values() if p is not None}

    def module(self, path: str, module: nn.Module) -> str:
        """The target of a module's node."""
        return self._kept_as(path or type(module).__name__, module)

    def arg(self, value: Any) -> Any:
        """An argument that is no tensor of the graph, as fx holds it."""
        kind = type(value)
        if kind in _WRITTEN_AS_CODE or isinstance(value, OpOverload):
            return value
        if isinstance(value, np.generic):  # a number, which code writes as Python's
            return value.item()
        return self._node(value)

    def _node(self, value: object) -> fx.Node:
        known = self._nodes.get(id(value))
        if known is not None:
            return known[0]
        name = self._names.get(id(value)) or f"_constant_{len(self._nodes)}"
        storage = _storage(value) if isinstance(value, torch.Tensor) else 0
        held = value
        if (
            isinstance(value, torch.Tensor) and storage in self._changed
        ):  # what it holds now, which the guard knows
            with _guarded():
                held, name = value.clone(), f"{name}_written"
        with _untouched():
            self._check(value)
            node = self._get_attr(self._kept_as(name, held), held)
            if (
                isinstance(value, torch.Tensor)
                and isinstance(held, torch.Tensor)
                and held is not value
            ):
                self._tape.copied(value, held)
            if held is not value or id(value) not in self._names:
                self._remember(held)
        self._nodes[id(value)] = node, storage
        self._kept.append(value)
        return node

    def called(self, function: Callable[..., object], args: Args, kwargs: Kwargs) -> object:
        """What a call on tensors of the model alone returns; how it was made of parameters is kept."""
        told = self._tape.before(function, args, kwargs)
        result = function(*args, **kwargs)
        if told is not None:
            with _untouched():
                told(result)
        return result

    def _remember(self, value: object) -> None:
        """How a constant was made of parameters goes with it from now on."""
        if isinstance(value, torch.Tensor) and not value.is_meta:
            self._tape.remember(value, self._memory)

    def _check(self, value: object) -> None:
        """A meta tensor of a model that is none was made of the graph's tensors, out of sight."""
        stray = isinstance(value, torch.Tensor) and value.is_meta and self.device.type != "meta"
        if stray and id(value) not in self._names:
            raise CaptureError(
                f"a tensor is computed in compiled code{self._book.at_source()}, where it cannot be "
                "followed; put that part into a module of its own and teach it with @rfgraph.rule"
            )

    def _get_attr(self, target: str, value: object) -> fx.Node:
        node = self._book.graph.create_node("get_attr", target)
        node.meta["val"] = value
        return node

    def _kept_as(self, name: str, value: object) -> str:
        """A target for the value: its name, or another where that is taken."""
        taken, number = self.values.get(name, value), 0
        unique = name
        while taken is not value:
            number += 1
            unique = f"{name}_{number}"
            taken = self.values.get(unique, value)
        self.values[unique] = value
        return unique

    def forget(self, node: fx.Node) -> None:
        """A node is taken back."""
        self._nodes = {key: own for key, own in self._nodes.items() if own[0] is not node}

    # --- writes ---------------------------------------------------------------------------------

    def written(self, arguments: object) -> None:
        """A call is about to write constants alone: nodes that hold them keep what they held."""
        storages = {_storage(tensor) for tensor in _tensors(arguments)} - {0}
        for key, (node, storage) in list(self._nodes.items()):
            if storage in storages:
                with _untouched():
                    self.values[str(node.target)] = node.meta["val"] = node.meta["val"].clone()
                del self._nodes[key]
        self._changed |= storages

    def is_written(self, module: nn.Module) -> bool:
        """True where the forward has written into a tensor of a module."""
        if not self._changed and not self.promoted:
            return False
        storages = {_storage(tensor) for tensor in (*module.parameters(), *module.buffers())}
        return not (storages - {0}).isdisjoint((*self._changed, *self.promoted))

    def promote(self, tensor: torch.Tensor) -> None:
        """A tensor of the model is written into: from now on it is one of the graph."""
        with _untouched():
            base = _whole(tensor)
            stand_in = torch.empty_strided(
                base.shape, base.stride(), dtype=base.dtype, device="meta"
            )
        value = base.clone()  # by the guard, which knows what was written into it before
        self._kept += (base, tensor, value)
        with _untouched():
            self._tape.copied(base, value)
            self._remember(value)
        name = self._names.get(id(base)) or f"_constant_{len(self._nodes)}"
        node = self._get_attr(
            self._kept_as(f"{name}_before" if name in self.values else name, value), value
        )
        traced = Traced(stand_in, node, base.device)
        self._book.hold(traced)
        self._book.know(base, traced)
        with _untouched():
            self.promoted[_storage(base)] = base, traced

    def made(self, target: Target, args: Sequence[object]) -> Traced:
        """What a call on tensors of the model alone gives, as one of them."""

        def held(value: object) -> object:
            traced = self._book.find(value)
            return value if traced is None else self.values[str(traced.node.target)]

        with _untouched():
            first, *rest = map(held, args)
            value = (
                getattr(first, target)(*rest) if isinstance(target, str) else target(first, *rest)
            )
            node = self._get_attr(self._kept_as(f"_constant_{len(self.values)}", value), value)
            stand_in = torch.empty_like(value, device="meta")
        traced = Traced(stand_in, node, value.device)
        self._book.hold(traced)
        return traced

    def view_of(self, tensor: torch.Tensor) -> Traced | None:
        """The traced view that a tensor of the model is of one that was promoted."""
        with _untouched():
            if tensor.is_meta or tensor.layout != torch.strided:
                return None
            base, root = self.promoted.get(_storage(tensor), (None, None))
            if base is None or root is None:
                return None
            places = places_of(tensor, base)
            size, stride = tuple(tensor.shape), tensor.stride()
            offset = tensor.storage_offset() - base.storage_offset()
            stand_in = root.tensor.as_strided(size, stride, offset)
            step = None if is_same(stand_in, root.tensor) else self._picked(root, places)
        traced = Traced(stand_in, root.node, root.device, None, root, step)
        traced.version = -1  # its node is made when it is read
        self._kept.append(tensor)
        self._book.hold(traced)
        self._book.know(tensor, traced)
        return traced

    def _picked(self, root: Traced, places: torch.Tensor) -> Step:
        """A view by the places of its elements in the flattened root."""

        def again() -> Traced:
            flat = self._book.record("reshape", root.tensor, (-1,))
            return self._book.record("__getitem__", flat.tensor, places)

        return Step("as_strided", {}, again, lambda whole: whole.reshape(-1)[places])

    def device_of(
        self, op: str, args: Args, kwargs: Kwargs, operands: Sequence[Traced]
    ) -> torch.device:
        """The device of what a call returns: the one it asks for, or that of what it is given."""
        if op in ("cpu", "cuda"):
            return torch.device(op)
        for value in (*args[1:], *kwargs.values()):
            if type(value) is torch.device:
                return value
            if type(value) is str and _DEVICE.fullmatch(value):
                return torch.device(value)
        return operands[0].device if operands else self.device


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that all of the memory is of; a flat one, where no tensor says that it is."""
    base = tensor if tensor._base is None else tensor._base
    memory = base.untyped_storage()
    if base.numel() * base.element_size() == memory.nbytes():
        return base
    flat = torch.empty(0, dtype=base.dtype, device=base.device)
    flat.set_(memory, 0, torch.Size([memory.nbytes() // base.element_size()]), (1,))
    return flat


def _flat(value: object) -> list[object]:
    if isinstance(value, dict):
        return _flat(list(value.values()))
    if isinstance(value, tuple | list):
        return [leaf for entry in value for leaf in _flat(entry)]
    return [value]


def _tensors(value: object) -> list[torch.Tensor]:
    return [leaf for leaf in _flat(value) if isinstance(leaf, torch.Tensor)]


def _storage(tensor: torch.Tensor) -> int:
    """What tensors that share memory have in common."""
    with _untouched():
        if tensor.is_meta:
            return 0
        memory = tensor.untyped_storage()
        return memory.data_ptr() or int(memory._cdata)  # tensors of no elements all begin at 0
