"""What torch's kernels say of a call is asked once a process, and remembered by all that it depends on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph.capture import answers, capture, formulas, shapes
from rfgraph.rules import VOCABULARY


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_ANSWERS", {})
    monkeypatch.setattr(formulas, "_HELD", {})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that are made on meta tensors."""
    names: list[str] = []
    on_meta = shapes.on_meta

    def counted(target: Any, args: Any, kwargs: Any) -> Any:
        names.append(target if isinstance(target, str) else getattr(target, "__name__", "module"))
        return on_meta(target, args, kwargs)

    monkeypatch.setattr(shapes, "on_meta", counted)
    return names


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def stand_in(function: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """The stand-in for what a function returns of `x`."""
    graph = capture(Applied(function), x, VOCABULARY).graph
    node = graph[graph.outputs["output"]].fx
    assert node is not None
    return node.meta["val"]  # type: ignore[no-any-return]


def test_an_answer_is_asked_for_once_in_a_process(asked: list[str]) -> None:
    for _ in range(2):
        found = stand_in(lambda x: (x == 1) & (x == 1), torch.zeros(2, 3, dtype=torch.long))
        assert found.dtype is torch.bool and tuple(found.shape) == (2, 3)
    assert asked == ["__eq__", "__and__"]


@pytest.mark.parametrize(
    ("function", "one", "other"),
    [
        (lambda x: x == 1, torch.zeros(2, 3, dtype=torch.long), torch.zeros(3, 2, dtype=torch.long)),
        (lambda x: x == 1, torch.zeros(2, 3, dtype=torch.long), torch.zeros(3, 2, dtype=torch.long).t()),
        (lambda x: x * 2, torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.int8)),
    ],
)  # fmt: skip
def test_an_answer_depends_on_shape_strides_and_dtype(
    function: Callable[[Tensor], Tensor], one: Tensor, other: Tensor
) -> None:
    for x in (one, other):
        found, real = (
            stand_in(function, x.contiguous().as_strided(x.shape, x.stride())),
            function(x),
        )
        assert (found.dtype, tuple(found.shape)) == (real.dtype, tuple(real.shape))
    transposed = stand_in(lambda x: x.t() == 1, one)
    assert transposed.stride() == (one.t() == 1).stride()


def test_an_answer_depends_on_the_class_of_a_number() -> None:
    x = torch.zeros(2, 3, dtype=torch.long)
    found = [
        stand_in(function, x).dtype
        for function in (lambda x: x * 1, lambda x: x * 1.0, lambda x: x * True)
    ]
    assert found == [torch.long, torch.float32, torch.long]


def test_an_answer_depends_on_the_default_dtype() -> None:
    x = torch.zeros(2, 3, dtype=torch.long)
    assert stand_in(lambda x: x / 2, x).dtype is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert stand_in(lambda x: x / 2, x).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


class Tables(nn.Module):
    """Tables of other widths and dtypes, at the same indices."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Embedding(10, 4)
        self.wide = nn.Embedding(10, 8)
        self.longer = nn.Embedding(10, 8, dtype=torch.float64)

    def forward(self, x: Tensor, index: Tensor) -> Any:
        return x, self.narrow(index), self.wide(index), self.longer(index)


def test_tables_of_other_widths_at_equal_indices_are_told_apart() -> None:
    index = torch.zeros(2, 9, dtype=torch.long)
    graph = capture(Tables(), {"x": (1, 2), "index": index}, VOCABULARY).graph
    found = {name: graph[name].fx for name in ("narrow", "wide", "longer")}
    told = {
        name: (tuple(n.meta["val"].shape), n.meta["val"].dtype) for name, n in found.items() if n
    }
    assert told == {
        "narrow": ((2, 9, 4), torch.float32),
        "wide": ((2, 9, 8), torch.float32),
        "longer": ((2, 9, 8), torch.float64),
    }


def test_a_module_that_was_held_says_nothing_of_one_with_other_weights() -> None:
    sound, odd = nn.Sequential(nn.Conv1d(2, 4, 3)), nn.Sequential(nn.Conv1d(2, 4, 3))
    odd[0].weight = nn.Parameter(torch.zeros(6, 2, 3))
    odd[0].bias = nn.Parameter(torch.zeros(6))
    rfgraph.analyze(sound, (1, 2, 9))
    with pytest.raises(
        rfgraph.CaptureError, match=r"torch returns \(\(1, 6, 7\), .* says \(\(1, 4, 7\)"
    ):
        rfgraph.analyze(odd, (1, 2, 9))


def test_views_are_views_at_every_capture() -> None:
    def written(x: Tensor) -> Tensor:
        y = x * 1
        y.t().reshape(3, 2).add_(1)  # a view: the reshape leaves it as it is
        return y

    for _ in range(2):
        names = [node.op for node in capture(Applied(written), (2, 3), VOCABULARY).graph]
        assert names[-1] == "permute"  # the write is put back into y


def test_what_shares_memory_with_an_argument_or_another_part_is_told() -> None:
    x, y = torch.empty(2, 4), torch.empty(3)
    assert shapes._shares(x.t(), ((x,), {}))
    assert shapes._shares((y, x.t()), ((), {"x": [x]}))
    assert shapes._shares(x.chunk(2), ((y,), {}))
    assert not shapes._shares((x, y), ((torch.empty(3),), {}))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for entry in value:
            yield from _leaves(entry)
    else:
        yield value


def _is_without_tensors(value: Any) -> bool:
    return not any(isinstance(leaf, Tensor | nn.Module) for leaf in _leaves(value))


def test_no_tensor_and_no_module_is_kept() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.zeros(3, dtype=torch.long))
            self.norm = nn.LayerNorm(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x.transpose(1, 2)) * self.mask + torch.where(x > 0, x, 0).transpose(
                1, 2
            )

    rfgraph.analyze(Mixed(), (1, 3, 5))
    assert answers._ANSWERS
    for key, layout in answers._ANSWERS.items():
        assert _is_without_tensors(key) and _is_without_tensors(layout)


class Keeping(int):
    """A number that holds a tensor."""

    held = torch.zeros(3)


def test_what_may_hold_anything_is_no_key() -> None:
    stand_in(lambda x: x == Keeping(1), torch.zeros(2, 3, dtype=torch.long))
    assert not answers._ANSWERS


def test_threads_are_given_the_same_answers() -> None:
    found: list[Any] = []

    def analyse() -> None:
        found.append(stand_in(lambda x: (x == 1).sum(1), torch.zeros(2, 3)).dtype)

    threads = [threading.Thread(target=analyse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [torch.long] * 4


class Turned(nn.Module):
    """Calls its child on a tensor whose order in memory is another, of which no formula speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x.transpose(1, 2))  # type: ignore[no-any-return]


def test_torch_is_asked_once_of_a_module_that_an_analysis_calls(asked: list[str]) -> None:
    """Also while a capture has given it a call of its own."""
    model = Turned()
    rfgraph.analyze(model, (3, 5, 7))
    first = list(asked)
    assert "module" in first
    rfgraph.analyze(model, (3, 5, 7))
    assert asked == first
