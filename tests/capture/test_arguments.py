"""The arguments of a forward: each tensor in them is an input, each value stands for itself, each goes its own way."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rfgraph
from rfgraph import value
from rfgraph.errors import RfgraphError


class Named(NamedTuple):
    image: Any
    mask: Any = None


@dataclass
class Batch:
    """`rank` is worked out of the image, which a shape has another of than a tensor of that shape."""

    image: Any
    mask: Any = None
    notes: list[str] = field(default_factory=list)
    rank: int = field(init=False)

    def __post_init__(self) -> None:
        self.rank = self.image.ndim if isinstance(self.image, Tensor) else -1


@dataclass(frozen=True)
class Frozen:
    image: Any
    scale: float = 2.0


class Pair:
    """Known to torch's pytree and to no one else."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second


pytree.register_pytree_node(
    Pair, lambda pair: ([pair.first, pair.second], None), lambda parts, _: Pair(*parts)
)


def window(x: Tensor, size: int) -> Tensor:
    """Each element with its `size - 1` neighbours to the right along the last dim: a field of `size`."""
    return sum(x[..., i : x.shape[-1] - size + 1 + i] for i in range(size))  # type: ignore[return-value]


def model_of(forward: Callable[..., Any]) -> nn.Module:
    """A module with the forward of this function, whose first argument is the module."""
    kind = type("Model", (nn.Module,), {"forward": forward})
    return kind()  # type: ignore[no-any-return]


def sizes(model: nn.Module, inputs: Any, axes: Any = None) -> dict[str, Any]:
    """Input -> size of the output's field along the last dim."""
    report = rfgraph.analyze(model, inputs, axes=axes)
    return {name: rf.size[-1] for name, rf in report.output.rfs.items()}


# --- values ---------------------------------------------------------------------------------------


def test_a_value_is_what_forward_gets() -> None:
    def forward(self: Any, x: Tensor, wide: bool, size: Any = None, name: str = "a") -> Tensor:
        assert size == (8, 9) and name == "b"
        return window(x, 5) if wide else window(x, 2)

    inputs = {"x": (1, 2, 3, 11), "size": value((8, 9)), "name": value("b")}
    assert sizes(model_of(forward), {**inputs, "wide": value(True)}) == {"x": 5}
    assert sizes(model_of(forward), {**inputs, "wide": value(False)}) == {"x": 2}


@pytest.mark.parametrize("given", [None, 3, 2.5, "text", (8, 9), [1, 2], {"a": 1}, torch.float16])
def test_anything_can_be_a_value(given: Any) -> None:
    def forward(self: Any, x: Tensor, option: Any = "default") -> Tensor:
        assert option == given and type(option) is type(given)
        return x + 1

    model = model_of(forward)
    assert list(rfgraph.analyze(model, [(1, 2, 5), value(given)]).inputs) == ["x"]
    assert rfgraph.verify(model, {"x": (1, 2, 5), "option": value(given)})


def test_a_tensor_that_is_a_value_is_a_constant() -> None:
    weights = torch.tensor([0.0, 1.0, 2.0])
    model = model_of(lambda self, x, weights: x * weights)
    report = rfgraph.analyze(model, {"x": (1, 2, 3), "weights": value(weights)})
    assert list(report.inputs) == ["x"]
    assert torch.equal(report.fx(torch.ones(1, 2, 3)), weights.expand(1, 2, 3))


def test_what_forward_does_to_a_value_is_done_to_a_copy() -> None:
    class Cache:
        def __init__(self) -> None:
            self.seen: list[Any] = []

    def forward(self: Any, x: Tensor, cache: Cache, options: dict[str, Any]) -> Tensor:
        assert not cache.seen and options.pop("wide")
        cache.seen.append(x)
        return x + 1

    cache, options = Cache(), {"wide": True}
    assert rfgraph.verify(
        model_of(forward), {"x": (1, 2, 5), "cache": value(cache), "options": value(options)}
    )
    assert cache.seen == [] and options == {"wide": True}


def test_values_stand_within_lists_and_dicts() -> None:
    def forward(self: Any, batch: dict[str, Any], more: list[Any]) -> Tensor:
        assert batch["name"] == "b" and more[1] == (2, 3)
        return window(batch["image"], 3) + more[0]

    inputs = [{"image": (1, 2, 8), "name": value("b")}, [(1, 2, 6), value((2, 3))]]
    assert sizes(model_of(forward), inputs) == {"batch.image": 3, "more.0": 1}


# --- lists, dicts, classes --------------------------------------------------------------------------


def test_the_tensors_of_a_list_and_of_a_dict_are_inputs() -> None:
    def forward(self: Any, feats: list[Tensor], batch: dict[str, Tensor]) -> Tensor:
        assert type(feats) is list and type(batch) is dict
        left, right = (each.mean((1, 2), keepdim=True) for each in feats)
        return window(batch["image"], 3)[..., :4] * batch["mask"][..., :4] + left + right

    inputs = {
        "batch": {"image": (1, 3, 32, 6), "mask": (1, 1, 32, 6)},
        "feats": [(1, 8, 16, 4), torch.rand(1, 16, 8, 4)],
    }
    model = model_of(forward)
    report = rfgraph.analyze(model, inputs)
    assert list(report.inputs) == ["feats.0", "feats.1", "batch.image", "batch.mask"]
    assert report.inputs["feats.1"].shape == (1, 16, 8, 4)
    assert {n: rf.size[-1] for n, rf in report.output.rfs.items()} == {
        "feats.0": 1,
        "feats.1": 1,
        "batch.image": 3,
        "batch.mask": 1,
    }
    assert report.output.region((0, 2), "batch.image") == ((0, 0), (2, 4))
    assert "input feats.0: (1, 8, 16, 4); tracked dims 2, 3" in report.heading
    one = rfgraph.analyze(model, inputs, axes={"batch.image": (3,), "feats.0": (0,)})
    assert [(axis.input, axis.dim) for axis in one.axes][:2] == [("feats.0", 0), ("feats.1", 2)]
    check = rfgraph.verify(model, inputs)
    assert check and check.faithful and {row.node for row in check.rows} >= set(report.inputs)
    assert rfgraph.effective(model, inputs, input="batch.image").input == "batch.image"


def test_what_was_captured_takes_the_tensors_in_order() -> None:
    def forward(self: Any, feats: list[Tensor], feats_0: Tensor, *, flag: bool) -> Tensor:
        return feats[0] - 2 * feats[1] + (4 if flag else 8) * feats_0

    shapes: dict[str, Any] = {"flag": value(True), "feats_0": (1, 2, 5)}
    report = rfgraph.analyze(model_of(forward), {**shapes, "feats": [(1, 2, 5)] * 2})
    assert list(report.inputs) == ["feats.0", "feats.1", "feats_0"]
    a, b, c = torch.rand(3, 1, 2, 5)
    assert torch.allclose(report.fx(a, b, c), a - 2 * b + 4 * c)


def test_names_that_are_no_identifiers_are_made_so_in_code() -> None:
    model = model_of(lambda self, **more: more["class"] - 2 * more["1x"] + 4 * more["a b"])
    report = rfgraph.analyze(model, dict.fromkeys(["class", "1x", "a b"], (1, 2, 5)))
    assert list(report.inputs) == ["class", "1x", "a b"]
    a, b, c = torch.rand(3, 1, 2, 5)
    assert torch.allclose(report.fx(a, b, c), a - 2 * b + 4 * c)


def test_a_list_of_integers_is_a_shape_and_a_list_of_these_a_list() -> None:
    def forward(self: Any, x: Tensor, others: Any) -> Tensor:
        assert type(others) is list and len(others) == 2
        return x + others[0] + others[1]

    report = rfgraph.analyze(model_of(forward), [[1, 2, 7], [[1, 2, 7], (1, 2, 1)]])
    assert {name: node.shape for name, node in report.inputs.items()} == {
        "x": (1, 2, 7),
        "others.0": (1, 2, 7),
        "others.1": (1, 2, 1),
    }


CONTAINERS: dict[str, Any] = {
    "a tuple": ((1, 2, 8), (1, 2, 8)),
    "an ordered dict": OrderedDict(b=(1, 2, 8), a=(1, 2, 8)),
    "a named tuple": Named((1, 2, 8), (1, 2, 8)),
    "a named tuple with a default": Named((1, 2, 8)),
    "a dataclass": Batch((1, 2, 8), (1, 2, 8)),
    "a dataclass with defaults": Batch((1, 2, 8)),
    "a frozen dataclass": Frozen((1, 2, 8)),
    "a registered class": Pair((1, 2, 8), value(3)),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_stays_what_it_is(name: str) -> None:
    passed = CONTAINERS[name]

    def forward(self: Any, batch: Any) -> Tensor:
        assert type(batch) is type(passed)
        if isinstance(batch, Batch):
            assert batch.rank == 3 and batch.notes == []
        if isinstance(batch, Pair):
            return batch.first + batch.second  # type: ignore[no-any-return]
        parts = list(batch.values()) if isinstance(batch, dict) else batch
        parts = list(vars(parts).values())[:2] if not isinstance(parts, list | tuple) else parts
        return sum(part * 2.0 for part in parts if part is not None)  # type: ignore[return-value]

    before = copy.deepcopy(passed)
    check = rfgraph.verify(model_of(forward), {"batch": passed})
    assert check and check.exact
    if not isinstance(passed, Pair):
        assert passed == before


def test_one_container_alone_is_the_first_argument() -> None:
    model = model_of(lambda self, batch: batch.image + 1)
    assert list(rfgraph.analyze(model, Named((1, 2, 8))).inputs) == ["batch.image"]
    assert list(rfgraph.analyze(model, Batch((1, 2, 8))).inputs) == ["batch.image"]


# --- how an argument is passed ----------------------------------------------------------------------


def test_each_argument_goes_the_way_that_its_kind_asks_for() -> None:
    def forward(
        self: Any, a: Tensor, b: Any = 7, /, c: Any = 8, *rest: Any, d: Any, **more: Any
    ) -> Tensor:
        assert (b, c) == (7, 8) and len(rest) == 2 and rest[1] == "r" and list(more) == ["e"]
        return a + 2 * rest[0] + 3 * d + 4 * more["e"]

    inputs = {
        "e": (1, 2, 6),
        "d": (1, 2, 6),
        "rest": [(1, 2, 6), value("r")],
        "a": (1, 2, 6),
    }
    report = rfgraph.analyze(model_of(forward), inputs)
    assert list(report.inputs) == ["a", "rest.0", "d", "e"]
    assert rfgraph.verify(model_of(forward), inputs)


def test_a_positional_only_argument_after_one_that_was_left_out() -> None:
    model = model_of(lambda self, x, a="default", b=None, /: (x + b) if a == "default" else x)
    assert list(rfgraph.analyze(model, {"b": (1, 2, 5), "x": (1, 2, 5)}).output.rfs) == ["x", "b"]


def test_more_inputs_than_arguments_are_for_the_rest() -> None:
    model = model_of(lambda self, x, *rest: x + rest[0] * rest[1])
    assert list(rfgraph.analyze(model, [(1, 2, 5)] * 3).inputs) == ["x", "rest.0", "rest.1"]
    alone = model_of(lambda self, *rest, **more: rest[0] + 1)
    assert list(rfgraph.analyze(alone, (1, 2, 5)).inputs) == ["rest.0"]
    assert list(
        rfgraph.analyze(model_of(lambda self, **m: m["y"] + 1), {"y": (1, 2, 5)}).inputs
    ) == ["y"]


def test_a_default_stays_the_models_own() -> None:
    marker = object()
    model = model_of(lambda self, x, a=marker, *rest: x + 1 if a is marker else x[..., :1])
    for rest in ({}, {"rest": [(1, 2, 5)]}):
        assert rfgraph.analyze(model, {"x": (1, 2, 5), **rest}).output.shape == (1, 2, 5)


# --- what is refused --------------------------------------------------------------------------------


def two(self: Any, x: Tensor, feats: Any = None) -> Tensor:
    return x


X = (1, 2, 5)
MUST = "must be a tensor or a shape of positive integers"
REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a bare None": (two, {"x": X, "feats": None}, rf"input 'feats' {MUST} .*, got None; a Python value is passed as rfgraph.value\(...\)"),
    "a bare flag": (two, {"x": X, "feats": True}, "input 'feats' must be .*, got True; a Python value"),
    "a bare number": (two, {"x": X, "feats": 3}, "input 'feats' must be .*, got 3; a Python value"),
    "a bare text": (two, {"x": X, "feats": "text"}, "input 'feats' must be .*, got 'text'; a Python value"),
    "a flag within a list": (two, {"x": X, "feats": [X, True]}, rf"inputs\['feats'\]\[1\] {MUST} .*, got True"),
    "a shape with a flag": (two, {"x": X, "feats": (1, True)}, r"input 'feats' must be .*, got \(1, True\);"),
    "a shape with a fraction": (two, (1, 3, 4.0), r"input 'x' must be .*, got \(1, 3, 4.0\);"),
    "a text within dicts": (two, {"x": X, "feats": {"a": [{"b": "s"}]}}, r"inputs\['feats'\]\['a'\]\[0\]\['b'\] must be"),
    "an attribute": (two, {"x": X, "feats": Batch(X, 3)}, r"inputs\['feats'\].mask must be .*, got 3"),
    "a size of 0 within": (two, {"x": X, "feats": [X, (1, 0, 5)]}, r"inputs\['feats'\]\[1\] must be .*, got \(1, 0, 5\)"),
    "an empty list": (two, {"x": X, "feats": []}, r"input 'feats' must be .*, got \[\]"),
    "a long one": (two, {"x": X, "feats": "a\n" * 99}, r"got 'a\\na\\n.{,56}\.\.\.; a Python value"),
    "values alone": (two, {"x": value(X)}, "none of the inputs is a tensor or a shape, so there is nothing to analyse"),
    "an object": (two, {"x": X, "feats": threading}, "input 'feats' must be .*, got <module 'threading'"),
    "the same name twice": (two, {"x": X, "feats": {"a": {"b": X}, "a.b": X}}, "two inputs are named 'feats.a.b'"),
    "no copy": (two, {"x": X, "feats": value(threading.Lock())}, r"inputs\['feats'\] cannot be copied, .*TypeError"),
    "a missing value": (lambda self, x, flag: x, {"x": X}, r"forward also needs 'flag': .*; a Python value is passed as rfgraph.value\(...\)"),
    "too many": (two, [X, X, X], "got 3 inputs, but forward takes 2"),
    "an argument of none": (lambda self: torch.ones(1), X, "got 1 inputs, but forward takes 0"),
    "the name of the rest": (lambda self, x, **more: x, {"x": X, "more": {"a": X}}, r"forward takes \*\*more: pass each of them by its own name"),
    "a shape for *rest": (lambda self, *rest: rest[0], {"rest": X}, r"forward takes \*rest: pass a list of inputs under that name"),
    "a misspelt name": (two, {"xs": X}, "forward has no argument 'xs'; the nearest are 'x'"),
    "a number for a name": (lambda self, x, **more: x, {0: X}, "forward has no argument 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_argument_is_refused_in_one_sentence(name: str) -> None:
    forward, inputs, text = REFUSED[name]
    for asked in (rfgraph.analyze, rfgraph.verify):
        with pytest.raises(rfgraph.InputError, match=text) as caught:
            asked(model_of(forward), inputs)
        assert "\n" not in str(caught.value)


def test_a_class_that_takes_no_tensors_is_refused() -> None:
    @dataclass
    class Sized:
        image: Any

        def __post_init__(self) -> None:
            assert not isinstance(self.image, Tensor), "shapes alone"

    with pytest.raises(
        rfgraph.InputError,
        match=r"inputs\['feats'\]: no other Sized can be made of tensors: AssertionError: shapes alone",
    ):
        rfgraph.analyze(model_of(two), {"x": X, "feats": Sized(X)})


# --- worked out -------------------------------------------------------------------------------------


class Sized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor, size: tuple[int, int], flag: bool = True) -> Tensor:
        return self.conv(x)[..., : size[0], : size[1]]  # type: ignore[no-any-return]


class Unsaid(Sized):
    def forward(self, x, size):  # type: ignore[no-untyped-def, override]
        return self.conv(x)[..., : size[0], : size[1]]


def test_nothing_is_worked_out_for_what_is_no_tensor() -> None:
    with pytest.raises(
        rfgraph.InputError,
        match=r"no input can be worked out for 'size', which is said to be tuple\[int, int\]: pass inputs, with rfgraph.value",
    ):
        rfgraph.analyze(Sized())
    with pytest.raises(RfgraphError):
        rfgraph.analyze(Unsaid())
    inputs = {"x": (1, 3, 12, 10), "size": value((4, 5))}
    assert rfgraph.analyze(Sized(), inputs).output.shape == (1, 4, 4, 5)


# --- strips keep what is no tensor --------------------------------------------------------------------


class Deep(nn.Module):
    """A field wider than its input, so that it is held on strips."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(1, 1, 5, padding=2) for _ in range(6))

    def forward(self, batch: dict[str, Any], *, double: bool) -> Tensor:
        x = batch["x"]
        for conv in self.convs:
            x = conv(x)
        return x * 2 if double else x.mean()


def test_a_field_wider_than_the_input_is_held_with_the_same_arguments() -> None:
    check = rfgraph.verify(Deep(), {"batch": {"x": (1, 1, 12)}, "double": value(True)})
    assert check and check.checked.strips > 0


# --- beside torch.export ------------------------------------------------------------------------------


class Hidden(nn.Module):
    """A part of it is out of the tracer's sight, so that torch.export is asked."""

    def forward(self, feats: list[Tensor], *, flag: bool) -> Tensor:
        with torch._C.DisableTorchFunction():
            doubled = feats[0] * 2
        return window(doubled, 3) + feats[1] if flag else doubled


def test_inputs_within_a_list_keep_their_names_where_torch_export_captures() -> None:
    inputs = {"feats": [(1, 2, 7), (1, 2, 5)], "flag": value(True)}
    assert "captured by torch.export" in rfgraph.analyze(Hidden(), inputs).heading
    assert sizes(Hidden(), inputs) == {"feats.0": 3, "feats.1": 1}
    assert rfgraph.verify(Hidden(), inputs).faithful
