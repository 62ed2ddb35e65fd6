"""What a forward returns: each tensor in it is an output by its path, and what was captured returns the same."""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rfgraph
from rfgraph.rules import VOCABULARY
from tests.verify.mutants import taught


class Named(NamedTuple):
    first: Any
    second: Any = None


@dataclass
class Result:
    first: Any
    second: Any = None
    notes: list[str] = field(default_factory=list)
    later: Any = field(init=False, default=None)


@dataclass(frozen=True)
class Frozen:
    first: Any
    inside: dict[str, Any]


@dataclass
class ModelOutput(OrderedDict):  # type: ignore[type-arg]
    """A dataclass that is a dict of its fields that are not None, as that of transformers."""

    logits: Any = None
    hidden: Any = None

    def __post_init__(self) -> None:
        for each in fields(self):
            found = getattr(self, each.name)
            if found is not None:
                self[each.name] = found


class Pair:
    """Known to torch's pytree and to no one else."""

    def __init__(self, first: Any, second: Any, label: str) -> None:
        self.first, self.second, self.label = first, second, label


pytree.register_pytree_node(
    Pair,
    lambda pair: ([pair.first, pair.second], pair.label),
    lambda parts, label: Pair(*parts, label),
)


class Odd(Mapping[str, Any]):
    """A mapping that is not made of a dict."""

    def __init__(self, first: Any, second: Any) -> None:
        self._held = {"first": first, "second": second}

    def __getitem__(self, key: str) -> Any:
        return self._held[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


class Row(tuple[Any, ...]):
    pass


class Cache:
    """A plain object, made with other arguments than its attributes, in which others are."""

    def __init__(self, *tensors: Tensor, inside: Any = None) -> None:
        self.layers = [SimpleNamespace(keys=tensor, seen=4) for tensor in tensors]
        self.inside, self.lock = inside, _LOCK


_LOCK = threading.Lock()


class Record(dict[str, Any]):
    pass


class Key(enum.Enum):
    LEFT = 1


class Branches(nn.Module):
    """Returns a window of 3 and one of 5, put together by a function."""

    def __init__(self, together: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Conv1d(2, 3, 3), nn.Conv1d(2, 3, 5)
        self.together = together

    def forward(self, x: Tensor) -> Any:
        return self.together(self.narrow(x), self.wide(x))


def later(a: Tensor, b: Tensor) -> Result:
    made = Result(a, notes=["n"])
    made.later = b
    return made


# what is returned -> path -> size of the field
RETURNED: dict[str, tuple[Callable[[Tensor, Tensor], Any], dict[str, int]]] = {
    "a tensor": (lambda a, b: a, {"output": 3}),
    "a tuple": (lambda a, b: (b, a), {"0": 5, "1": 3}),
    "a list": (lambda a, b: [b, a], {"0": 5, "1": 3}),
    "None and text among them": (lambda a, b: (None, a, {"s": "t", "n": 4, "b": b}), {"1": 3, "2.b": 5}),
    "a dict": (lambda a, b: {"out": a, "aux": [b, None]}, {"out": 3, "aux.0": 5}),
    "a dict of other keys": (lambda a, b: {Key.LEFT: a, 2: b, (0, 1): None}, {"Key.LEFT": 3, "2": 5}),
    "a named tuple": (lambda a, b: Named(b), {"first": 5}),
    "a dataclass": (lambda a, b: Result(a, (b,)), {"first": 3, "second.0": 5}),
    "a field set later": (later, {"first": 3, "later": 5}),
    "a frozen dataclass": (lambda a, b: Frozen(a, {"k": Named(None, b)}), {"first": 3, "inside.k.second": 5}),
    "a model output": (lambda a, b: ModelOutput(hidden=(b, a)), {"hidden.0": 5, "hidden.1": 3}),
    "an ordered dict": (lambda a, b: OrderedDict(b=b, a=a), {"b": 5, "a": 3}),
    "a default dict": (lambda a, b: defaultdict(list, b=b), {"b": 5}),
    "a deque": (lambda a, b: deque([b, a]), {"0": 5, "1": 3}),
    "a tuple of its own": (lambda a, b: Row((b, a)), {"0": 5, "1": 3}),
    "a dict of its own": (lambda a, b: Record(b=b, a=a), {"b": 5, "a": 3}),
    "torch's own": (lambda a, b: b.max(1), {"0": 5, "1": 5}),
    "a registered class": (lambda a, b: Pair(a, [b, 3], "l"), {"0": 3, "1.0": 5}),
    "plain objects": (lambda a, b: (a, Cache(b, inside=Cache(a))), {"0": 3, "1.layers.0.keys": 5, "1.inside.layers.0.keys": 3}),
    "objects without a tensor": (lambda a, b: (a, _LOCK, Key.LEFT, torch.float32), {"0": 3}),
    "a constant": (lambda a, b: (torch.ones(2), a, 1.5), {"1": 3}),
    "the same twice": (lambda a, b: (a, b, a), {"0": 3, "1": 5, "2": 3}),
    "two with one path": (lambda a, b: {"a": {"b": a}, "a.b": b}, {"a.b": 3, "a.b_1": 5}),
    "a local class": (lambda a, b: dataclass(type("Local", (), {"__annotations__": {"x": Any}}))(b), {"x": 5}),
}  # fmt: skip


def assert_same(found: Any, expected: Any) -> None:
    """The same classes, keys and tensors, compared without the code that takes results apart."""
    if isinstance(expected, Tensor):
        assert torch.equal(found, expected)
        return
    assert type(found) is type(expected) or type(expected).__name__ == "Local"
    if isinstance(expected, Mapping):
        assert list(found) == list(expected)
        for key, part in expected.items():
            assert_same(found[key], part)
    elif isinstance(expected, list | tuple | deque):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    if is_dataclass(expected):
        for each in fields(expected):
            assert_same(getattr(found, each.name), getattr(expected, each.name))
    elif isinstance(expected, Pair | Cache | SimpleNamespace):
        assert_same(vars(found), vars(expected))
    elif not isinstance(expected, Mapping | list | tuple | deque):
        assert found == expected


@pytest.mark.parametrize("name", RETURNED)
def test_outputs_go_by_their_paths_and_the_structure_is_kept(name: str) -> None:
    together, expected = RETURNED[name]
    model, x = Branches(together).eval(), torch.randn(1, 2, 11)
    report = rfgraph.analyze(model, (1, 2, 11))
    assert {path: node.rf.size[0] for path, node in report.outputs.items()} == expected
    assert_same(report.fx(x), model(x))
    check = rfgraph.verify(model, (1, 2, 11))
    assert check and check.faithful


def test_a_mapping_that_is_not_made_of_a_dict_becomes_one() -> None:
    model, x = Branches(Odd).eval(), torch.randn(1, 2, 11)
    report = rfgraph.analyze(model, (1, 2, 11))
    assert list(report.outputs) == ["first", "second"]
    assert_same(report.fx(x), dict(model(x)))
    assert rfgraph.verify(model, (1, 2, 11)).faithful


def test_what_holds_itself_is_refused() -> None:
    def knotted(a: Tensor, b: Tensor) -> Any:
        made = Cache(a)
        made.inside = made
        return made

    with pytest.raises(
        rfgraph.CaptureError, match="the forward returns a Cache that holds itself; return"
    ):
        rfgraph.analyze(Branches(knotted), (1, 2, 11))


def test_no_stand_in_is_held_by_what_was_captured() -> None:
    for together, _ in RETURNED.values():
        graph = rfgraph.analyze(Branches(together), (1, 2, 11)).captured
        for held in graph.attributes.values():
            assert not [leaf for leaf in pytree.tree_leaves(vars(held) if hasattr(held, "kind") else held)
                        if isinstance(leaf, Tensor) and leaf.is_meta]  # fmt: skip


def test_a_graph_that_returns_another_tensor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walker of results says so, whatever the container: the second part is not what it was."""
    from rfgraph import faithful

    right = faithful._Replayed.run

    def wrong(self: Any, *inputs: Any) -> Any:
        found = right(self, *inputs)
        return Result(found.first, found.second * 1.5)

    model = Branches(lambda a, b: Result(a, b))
    assert rfgraph.verify(model, (1, 2, 11)).faithful
    monkeypatch.setattr(faithful._Replayed, "run", wrong)
    assert not rfgraph.verify(model, (1, 2, 11)).faithful


def test_a_wrong_rule_is_found_behind_a_dataclass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "rfgraph.analysis.VOCABULARY", taught("conv1d", lambda node: (rfgraph.same(3),))
    )
    check = rfgraph.verify(Branches(lambda a, b: Result(a, b)), (1, 2, 11))
    assert not check and check.faithful and VOCABULARY.operators["conv1d"] is not None
