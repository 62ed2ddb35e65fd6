"""A model that holds something of everything, and the things that a forward may do to it.

`MUTATIONS` maps a name to a function of the model and its input; `Hoard(names)` does them in order.
"""

from __future__ import annotations

import array
import functools
import random
import threading
import types
import weakref
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tests.capture import held

GRIDS: dict[Any, Any] = {(3, 3): torch.ones(1)}
LOG: list[Any] = ["begin"]
COUNT = 0
MASK = torch.ones(2, 2)


class Plain:
    """A plain object, with a class attribute."""

    shared: ClassVar[list[Any]] = []
    total = 0

    def __init__(self) -> None:
        self.kept: Any = None
        self.inner: dict[str, Any] = {"list": [1, [2, {"deep": 3}]]}


class Slotted:
    __slots__ = ("cache", "unset")

    def __init__(self) -> None:
        self.cache: dict[str, Any] = {}


@dataclass(frozen=True)
class Frozen:
    entries: list[Any] = field(default_factory=list)


class OwnDict(dict):  # type: ignore[type-arg]
    """A dict whose attributes are its entries, and which shouts when it is written."""

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, ("shouted", value))


class Other(nn.Identity):
    pass


class Threads(threading.local):
    """Attributes that each thread has for itself."""

    def __init__(self) -> None:
        self.last, self.seen = None, [1]


@functools.lru_cache(maxsize=4)
def halved(size: int) -> Tensor:
    return torch.full((1,), size / 2)


@functools.cache
def remembered(x: Any) -> Any:
    return x + 1


def with_default(x: Any, memo: list[Any] = []) -> Any:  # noqa: B006
    memo.append(x)
    return x


def closed_over() -> tuple[Any, Any]:
    count, seen = 0, []

    def step(x: Any) -> None:
        nonlocal count
        count += 1
        seen.append(x)

    return step, seen


class Hoard(nn.Module):
    """Holds something of everything; its forward does what `todo` says, and fails where `fail` says."""

    total = 0
    memory = property(lambda self, memo=[]: memo)
    once = functools.cached_property(lambda self, memo=[]: memo)

    @staticmethod
    def noted(x: Any, memo: list[Any] = []) -> None:  # noqa: B006
        memo.append(x)

    def __init__(self, todo: list[str], fail: BaseException | None = None, at: int = -1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.5)
        self.child = nn.Sequential(nn.Identity(), nn.Identity())
        self.child[0].train(False)
        self.register_buffer("steps", torch.zeros(2))
        self.register_buffer("hidden", torch.zeros(2, 3), persistent=False)
        self.tensor = torch.arange(6.0)
        self.tensor.tags = [1]  # type: ignore[attr-defined]
        self.view = self.tensor[2:4]
        self.rows = self.hidden.numpy()
        self.numbers = np.arange(4.0)
        self.objects = np.array([[1], None], dtype=object)
        self.dict: dict[Any, Any] = {"one": 1}
        self.list: list[Any] = [1, [2]]
        self.keyed = {Plain(): 1}
        self.set = {1, 2}
        self.deque = deque([1, 2, 3], maxlen=3)
        self.ordered = OrderedDict(a=1, b=2)
        self.groups: defaultdict[str, list[Any]] = defaultdict(list, a=[1])
        self.counter = Counter("abc")
        self.user = UserDict(a=1)
        self.own = OwnDict(a=1)
        self.bytes, self.array = bytearray(b"abc"), array.array("d", [1.0])
        self.nested = {"a": [{"b": ({"c": []},)}]}
        self.loop: list[Any] = []
        self.loop.append(self.loop)
        self.plain, self.slotted, self.frozen = Plain(), Slotted(), Frozen()
        self.plain.owner = self  # type: ignore[attr-defined]
        self.space = types.SimpleNamespace(last=None)
        self.thread, self.threads = threading.local(), Threads()
        self.thread.last = None
        self.weak = weakref.WeakKeyDictionary({self.plain: 1})
        self.partial = functools.partial(with_default, memo=[])
        self.step, self.seen = closed_over()
        self.random, self.numpy_random = random.Random(0), np.random.default_rng(0)
        self.generator = torch.Generator().manual_seed(0)
        self.todo, self.fail, self.at = todo, fail, at

    def forward(self, x: Tensor) -> Tensor:
        for place, name in enumerate(self.todo):
            if place == self.at and self.fail is not None:
                raise self.fail
            MUTATIONS[name](self, x)
        if self.fail is not None:
            raise self.fail
        return self.drop(self.norm(self.conv(x)))


def _global(m: Hoard, x: Tensor) -> None:
    global COUNT
    COUNT += 1
    MASK.add_(1)
    MASK.note = x  # type: ignore[attr-defined]
    globals()["GRIDS"][tuple(x.shape)] = x
    LOG.append(x)


def _nested(m: Hoard, x: Tensor) -> None:
    held.keep(x)
    held.HELD.append(x)


def _in_class(m: Hoard, x: Tensor) -> None:
    m.noted(x)
    m.memory.append(x)
    m.once.append(x)


def _gradients(m: Hoard, x: Tensor) -> None:
    m.tensor.tags.append(x)  # type: ignore[attr-defined]
    if m.conv.weight.grad is not None:
        m.conv.weight.grad.mul_(2)


def _new_global(m: Hoard, x: Tensor) -> None:
    global LATE
    LATE = x


def _class(m: Hoard, x: Tensor) -> None:
    type(m).total += 1
    Plain.shared.append(x)
    Plain.late = x  # type: ignore[attr-defined]


def _hook(m: Hoard, x: Tensor) -> None:
    m.conv.register_forward_hook(lambda module, args, out: None)
    m.norm.register_forward_pre_hook(lambda module, args: None)
    m.register_load_state_dict_post_hook(lambda module, keys: None)
    nn.modules.module.register_module_forward_hook(lambda module, args, out: None)


def _buffers(m: Hoard, x: Tensor) -> None:
    m.register_buffer("late", torch.ones(1), persistent=False)
    m._non_persistent_buffers_set.discard("hidden")
    del m.steps
    m.register_parameter("scale", nn.Parameter(torch.ones(1)))
    m.add_module("extra", nn.ReLU())


def _reclass(m: Hoard, x: Tensor) -> None:
    m.child[1].__class__ = Other
    m.plain.__class__ = type("Changed", (Plain,), {})
    m.plain.__dict__ = {"kept": x}


def _tensor_values(m: Hoard, x: Tensor) -> None:
    m.steps.add_(1)
    m.steps += 1
    m.tensor[1:] = 7
    m.view.mul_(3)
    m.tensor.view(2, 3).t_()
    torch.add(m.tensor, 1, out=m.tensor)
    torch._foreach_add_([m.tensor, m.steps], 1.0)
    torch.ops.aten.add_.Tensor(m.steps, m.steps)
    torch.nn.functional.relu(m.tensor, inplace=True)
    with torch.no_grad():
        m.conv.weight.fill_(1)
        m.conv.weight += 1
    m.conv.weight.data.mul_(2)
    torch.nn.functional.batch_norm(
        torch.ones(2, 2, 3), m.norm.running_mean, m.norm.running_var, training=True
    )
    torch.nn.functional.embedding(torch.tensor([1]), m.hidden, max_norm=0.1)


def _tensor_attributes(m: Hoard, x: Tensor) -> None:
    m.conv.weight.requires_grad_(False)
    m.conv.bias.data = torch.ones(2)
    m.conv.bias.grad = torch.ones(2)
    m.tensor.note = x  # type: ignore[attr-defined]
    m.tensor.resize_(2)
    m.conv.weight.requires_grad = True


def _numpy(m: Hoard, x: Tensor) -> None:
    m.rows[0] = 5
    m.numbers += 1
    m.numbers.setflags(write=False)
    m.objects[0].append(x)
    m.objects[1] = x
    m.tensor.numpy()[0] = 9
    np.asarray(m.steps)[0] = 9


def _flags(m: Hoard, x: Tensor) -> None:
    m.train()
    m.child[0].training = True
    m.norm.momentum = 0.7
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)


def _random(m: Hoard, x: Tensor) -> None:
    torch.rand(1), random.random(), np.random.rand()
    m.random.random(), m.numpy_random.random(), torch.rand(1, generator=m.generator)
    torch.manual_seed(3)


def _cached(m: Hoard, x: Tensor) -> None:
    halved(x.shape[-1])
    remembered(x)


def _backward(m: Hoard, x: Tensor) -> None:
    with torch.enable_grad():
        m.conv.weight.sum().backward()


MUTATIONS: dict[str, Any] = {
    "dict": lambda m, x: m.dict.update(two=x),
    "dict key": lambda m, x: m.dict.update(uno=m.dict.pop("one", 1)),
    "list": lambda m, x: (m.list.append(x), m.list[1].append(x)),
    "list order": lambda m, x: m.list.reverse(),
    "set": lambda m, x: (m.set.add(x), m.set.discard(1)),
    "deque": lambda m, x: m.deque.append(x),
    "ordered": lambda m, x: m.ordered.move_to_end("a"),
    "groups": lambda m, x: (
        m.groups["b"].append(x),
        m.groups["a"].append(x),
        setattr(m.groups, "default_factory", int),
    ),
    "counter": lambda m, x: m.counter.update("a"),
    "user dict": lambda m, x: m.user.update(b=x),
    "own dict": lambda m, x: (m.own.update(b=x), m.own.pop("a", None)),
    "bytes": lambda m, x: (m.bytes.extend(b"d"), m.array.append(2.0)),
    "deep": lambda m, x: m.nested["a"][0]["b"][0]["c"].append(x),
    "loop": lambda m, x: m.loop.append(x),
    "plain": lambda m, x: (setattr(m.plain, "kept", x), m.plain.inner["list"][1][1].update(deep=x)),
    "slots": lambda m, x: (
        setattr(m.slotted, "unset", x),
        m.slotted.cache.update(a=x),
        setattr(m.slotted, "cache", {}),
    ),
    "frozen": lambda m, x: (
        m.frozen.entries.append(x),
        object.__setattr__(m.frozen, "entries", [x]),
    ),
    "thread": lambda m, x: (setattr(m.thread, "last", x), setattr(m.thread, "more", x)),
    "own thread": lambda m, x: (
        setattr(m.threads, "last", x),
        setattr(m.threads, "more", x),
        m.threads.seen.append(x),
    ),
    "namespace": lambda m, x: (setattr(m.space, "last", x), setattr(m.space, "more", x)),
    "weak": lambda m, x: m.weak.update({m.frozen.__class__: x}),
    "partial": lambda m, x: m.partial(x),
    "default": lambda m, x: with_default(x),
    "closure": lambda m, x: m.step(x),
    "global": _global,
    "nested": _nested,
    "in class": _in_class,
    "gradients": _gradients,
    "key": lambda m, x: setattr(next(iter(m.keyed)), "kept", x),
    "new global": _new_global,
    "class": _class,
    "hooks": _hook,
    "tensor values": _tensor_values,
    "tensor attributes": _tensor_attributes,
    "numpy": _numpy,
    "flags": _flags,
    "random": _random,
    "lru": _cached,
    "backward": _backward,
    "classes": _reclass,
    "buffers": _buffers,
    "attribute": lambda m, x: (
        setattr(m, "last", x),
        m.__dict__.pop("dict", None),
        setattr(m, "list", [x]),
    ),
}


def roots(model: nn.Module) -> tuple[Any, ...]:
    """The model and the module-level objects that its code writes to."""
    own = {k: v for k, v in globals().items() if k in ("GRIDS", "LOG", "COUNT", "MASK", "LATE")}
    hooks = [
        v
        for k, v in vars(nn.modules.module).items()
        if k.startswith("_global_") and isinstance(v, dict)
    ]
    functions = with_default, halved, remembered
    lists = [entry for entry in vars(held).values() if type(entry) is list]  # names neither
    return model, " ".join(sorted(own)), *own.values(), Plain, Hoard, *functions, *lists, *hooks
