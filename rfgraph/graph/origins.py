"""`Origin`: how a model made a constant of its parameters, as calls that can be made again.

In: the calls that a forward made on tensors of the model alone (a `Tape`, which the capture writes). Out:
what they give for other values of the parameters. Which entries are fixed whatever the parameters are is
asked by rules and probes, each in a way of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from rfgraph.graph.calls import is_inplace, name_of, outputs_of

Leaf: TypeAlias = Callable[[torch.Tensor], Any]
"""What is to stand for a parameter."""

_NO_VALUES = frozenset(
    "zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones "
    "new_full new_empty new_tensor shape size dim".split()
)
"""What asks a tensor for its form alone."""


class Slot(NamedTuple):
    """Stands in a step for the tensor that an earlier step returned."""

    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call. `results` are the slots of the tensors that it returned, in order.

    `written`: the memory that it wrote into; `held`: the memory that its results lie in.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    results: tuple[int, ...]
    held: frozenset[int]
    written: int = 0

    @property
    def name(self) -> str:
        """The bare name of what was called; of an attribute, the attribute's."""
        owner = getattr(self.function, "__self__", None)
        name = name_of(self.function)
        return str(getattr(owner, "__name__", name)) if name == "__get__" else name

    @property
    def slots(self) -> Iterator[int]:
        """Of the tensors that it was given."""
        return (leaf.number for leaf in _leaves((self.args, self.kwargs)) if type(leaf) is Slot)


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """The steps that lead to one constant, in order, and its slot.

    `steps` None: it was made of parameters, nobody knows how.
    """

    steps: tuple[Step, ...] | None
    slot: int = 0

    @property
    def names(self) -> frozenset[str]:
        """The names of all that was called."""
        return frozenset(step.name for step in self.steps or ())

    def again(self, leaf: Leaf) -> Any:
        """What the steps give with `leaf(parameter)` in the place of each parameter.

        No tensor of the model is written into, as long as `leaf` gives other tensors.
        """
        made: dict[int, Any] = {}
        parameters: dict[int, Any] = {}

        def given(value: Any) -> Any:
            if type(value) is Slot:
                return made[value.number]
            if isinstance(value, nn.Parameter):
                if id(value) not in parameters:
                    parameters[id(value)] = leaf(value)
                return parameters[id(value)]
            return value

        for step in self.steps or ():
            args, kwargs = _map(step.args, given), _map(dict(step.kwargs), given)
            result = step.function(*args, **kwargs)
            returned = args[0] if result is None else result  # an assignment returns nothing
            tensors = [out for out in outputs_of(returned) if isinstance(out, torch.Tensor)]
            made.update(zip(step.results, tensors, strict=False))
        return made[self.slot]


_origins: MutableMapping[torch.Tensor, Origin] = WeakTensorKeyDictionary()


def origin_of(tensor: torch.Tensor) -> Origin | None:
    """How a constant was made of parameters; None for one that depends on none, and for parameters."""
    return _origins.get(tensor)


@dataclass(eq=False)
class Tape:
    """The calls of one capture in which parameters are used and no tensor of the graph is.

    Calls are not run here. Memory is told apart by its address.
    """

    _steps: list[Step] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _slots: MutableMapping[torch.Tensor, int] = field(default_factory=WeakTensorKeyDictionary)
    _memory: dict[int, torch.Tensor] = field(
        default_factory=dict
    )  # kept, so no other has its address

    def before(
        self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Callable[[Any], None] | None:
        """What is to be told the result of a call that is about to be made; None where it is no step."""
        given = [leaf for leaf in _leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if not any(map(self._is_made, given)):
            return None
        name = name_of(function).partition(".")[0]
        if name in _NO_VALUES:
            return None
        target = args[0] if args and (is_inplace(name) or name == "__set__") else kwargs.get("out")
        if isinstance(target, torch.Tensor) and not self._is_made(target):
            self._step(torch.clone, (target.clone(),), {}, target)  # what it held before
        slotted = _map(args, self._slotted), _map(dict(kwargs), self._slotted)

        def told(result: Any) -> None:
            self._step(function, *slotted, target if result is None else result, target)

        return told

    def copied(self, tensor: torch.Tensor, copy: torch.Tensor) -> None:
        """`copy` holds what `tensor` holds now."""
        if self._is_made(tensor):
            self._step(torch.clone, (self._slotted(tensor),), {}, copy)

    def remember(self, tensor: torch.Tensor, memory: Iterable[int] = ()) -> None:
        """From now on, `origin_of` a constant knows what is known here; `memory`: that of parameters."""
        slot = self._slots.get(tensor)
        if slot is not None:
            _origins[tensor] = Origin(tuple(self._leading_to(slot, _address(tensor))), slot)
        elif not isinstance(tensor, nn.Parameter):
            address = _address(tensor)
            if address in self._memory or address in memory:
                _origins[tensor] = Origin(None)

    def _is_made(self, tensor: torch.Tensor) -> bool:
        return not tensor.is_meta and (isinstance(tensor, nn.Parameter) or tensor in self._slots)

    def _slotted(self, value: Any) -> Any:
        slot = self._slots.get(value) if isinstance(value, torch.Tensor) else None
        return value if slot is None else Slot(slot)

    def _step(
        self,
        function: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
        target: Any = None,
    ) -> None:
        tensors = [out for out in outputs_of(result) if isinstance(out, torch.Tensor)]
        held = frozenset(map(_address, tensors))
        written = _address(target) if isinstance(target, torch.Tensor) else 0
        slots = tuple(islice(self._numbers, len(tensors)))
        for tensor, slot in zip(tensors, slots, strict=True):
            self._slots[tensor] = slot
        self._steps.append(Step(function, args, kwargs, slots, held, written))
        if written:
            self._memory[written] = target

    def _leading_to(self, slot: int, address: int) -> list[Step]:
        """The steps that a tensor depends on: what made it, and what wrote into memory that it lies in."""
        needed, memory, found = {slot}, {address} - {0}, list[Step]()
        for step in reversed(self._steps):
            if needed.isdisjoint(step.results) and step.written not in memory:
                continue
            found.append(step)
            needed.update(step.slots)
            memory |= step.held - {0}
            memory |= {_address(p) for p in _leaves(step.args) if isinstance(p, nn.Parameter)}
        return found[::-1]


def _address(tensor: torch.Tensor) -> int:
    if tensor.is_meta or tensor.layout != torch.strided:
        return 0
    return tensor.untyped_storage().data_ptr()


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list) and type(value) is not Slot:
        for entry in value:
            yield from _leaves(entry)
    elif type(value) is slice:
        yield from (value.start, value.stop, value.step)
    else:
        yield value


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    if type(value) is Slot:
        return change(value)
    if isinstance(value, tuple | list):
        entries: Sequence[Any] = [_map(entry, change) for entry in value]
        return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
    if isinstance(value, dict):
        return {name: _map(entry, change) for name, entry in value.items()}
    if type(value) is slice:
        return slice(*(_map(end, change) for end in (value.start, value.stop, value.step)))
    return change(value)
