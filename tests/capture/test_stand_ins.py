"""A stand-in never lies: its shape, dtype, strides, device and memory are those of the tensor that it stands for.

Held on every example of the registry against the operator itself, run on real tensors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph.capture import capture
from rfgraph.gallery import MODELS
from rfgraph.rules import VOCABULARY
from tests.rules import EXAMPLES
from tests.rules.dependence import drawn, model_of
from tests.rules.examples import Example

pytestmark = pytest.mark.filterwarnings("ignore")


LAID_OUT_OTHERWISE = {"rfftn": "torch's own meta kernel says so"}


def tensors_of(result: Any) -> Iterator[Tensor]:
    for each in result if isinstance(result, tuple | list) else [result]:
        if isinstance(each, Tensor):
            yield each


class Writing(nn.Module):
    """Writes into what an operator returned, and returns its first operand."""

    def __init__(self, build: Callable[..., Any]) -> None:
        super().__init__()
        self.build = build

    def forward(self, a: Tensor, b: Any = None, c: Any = None, d: Any = None) -> Tensor:
        given = [each for each in (a, b, c, d) if each is not None]
        next(tensors_of(self.build(*given))).mul_(2)
        return a * 1


def shares_memory(example: Example) -> bool | None:
    """Whether the operator returns memory of its first operand; None where nothing can be written to show it."""
    operands = drawn(example, 0)
    result = next(tensors_of(model_of(example)(*operands)))
    try:
        Writing(example.build).train(example.training)(*(each.clone() for each in operands))
    except RuntimeError:  # elements that overlap, integers that become floats
        return None
    return result.untyped_storage().data_ptr() == operands[0].untyped_storage().data_ptr()


@pytest.mark.parametrize("op", sorted(EXAMPLES))
def test_what_shares_memory_is_known(op: str) -> None:
    for example in EXAMPLES[op]:
        if example.reference is not None or not drawn(example, 0)[0].is_floating_point():
            continue
        expected = shares_memory(example)
        if expected is not None:
            model = Writing(example.build).train(example.training)
            result = next(tensors_of(model_of(example)(*drawn(example, 0))))
            if expected and result.dtype != drawn(example, 0)[0].dtype:
                with pytest.raises(rfgraph.CaptureError, match="through a view of another dtype"):
                    capture(model, drawn(example, 0), VOCABULARY)
                continue
            graph = capture(model, drawn(example, 0), VOCABULARY, example.training).graph
            before = nx.ancestors(graph.networkx, graph.outputs["output"])
            assert any(graph[name].op == "mul" for name in before) == expected, example.shapes


@pytest.mark.parametrize("op", sorted(EXAMPLES))
def test_dtypes_and_strides_are_those_of_torch(op: str) -> None:
    for example in EXAMPLES[op]:
        if example.reference is not None:
            continue
        operands = drawn(example, 0)
        real = list(tensors_of(model_of(example)(*(each.clone() for each in operands))))
        graph = capture(model_of(example), operands, VOCABULARY, example.training).graph
        values = {name: node for node, name in graph.names.items()}
        for name, expected in zip(graph.outputs.values(), real, strict=False):
            val = values[name].meta["val"]
            assert (val.shape, val.dtype) == (expected.shape, expected.dtype), example.shapes
            if expected.is_contiguous() and op not in LAID_OUT_OTHERWISE:
                assert val.is_contiguous(), (example.shapes, val.stride(), expected.stride())


class Told(nn.Module):
    """Takes a branch by all that a tensor says of itself."""

    def forward(self, x: Tensor) -> Tensor:
        assert type(x) is torch.Tensor and x.device == torch.device("cpu") and x.is_cpu
        assert not x.is_meta and not x.is_cuda and x.get_device() == -1 and not x.requires_grad
        assert (x > 0).dtype is torch.bool and (x > 0).sum().dtype is torch.int64
        assert x.transpose(1, 2).stride() == (6, 1, 3) and not x.transpose(1, 2).is_contiguous()
        assert x.long().dtype is torch.int64 and (x.long() / 2).dtype is torch.float32
        assert x.argmax(-1).dtype is torch.int64 and x.layout is torch.strided
        assert x.cpu().device.type == "cpu" and x[:, 1].storage_offset() == 3
        return x.roll(1, -1)


def test_a_tensor_says_of_itself_what_it_would_say() -> None:
    assert rfgraph.analyze(Told(), (1, 2, 3)).output.op == "roll"


# --- out of sight -------------------------------------------------------------------------------


@torch.jit.script
def scripted_write(x: Tensor) -> int:
    x.add_(x.flip(-1))
    return 0


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x + x.flip(-1)


class OutOfSight(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        made = self.function(y)
        return made if isinstance(made, Tensor) else y


def test_what_is_written_in_compiled_code_is_refused() -> None:
    with pytest.raises(
        rfgraph.CaptureError, match=r"'mul' is written in compiled code.*@rfgraph.rule"
    ):
        rfgraph.analyze(OutOfSight(scripted_write), (1, 2, 6), capture="fx")


def test_what_is_written_in_compiled_code_is_followed_by_export() -> None:
    report = rfgraph.analyze(OutOfSight(scripted_write), (1, 2, 6))
    assert report.notes[1].startswith("captured by torch.export, since torch.fx is refused: 'mul'")
    assert report.output.reads(0, 1).tolist() == [1, 4]


def test_what_is_computed_in_compiled_code_is_refused() -> None:
    with pytest.raises(rfgraph.UnsupportedOperatorError, match=r"'rev'.*@rfgraph.rule"):
        rfgraph.analyze(OutOfSight(scripted), (1, 2, 6))


class Failing(nn.Module):
    """Writes into what it is given, and then decides by data."""

    def forward(self, x: Tensor) -> Tensor:
        x, cache = x.clone(), torch.zeros(3)
        x[..., 1:] += x[..., :-1].clone()
        cache[0] = x.sum()
        return x.cumsum(-1) if bool((x == 7).any()) else x


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.failing = Failing()

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        view = y[..., 1:]
        y += 1
        made = self.failing(view)  # where the view is read out of y again
        return view + made


def test_what_a_module_recorded_before_it_is_measured_as_one_node_is_forgotten() -> None:
    report = rfgraph.analyze(Around(), (1, 2, 6), on_unknown="measure")
    assert "failing" in [node.name for node in report.nodes]
    assert "setitem" not in {node.op for node in report.nodes}
    assert np.array_equal(report.output.reads(0, (0, 0, 2)), [2, 3])


# --- threads ------------------------------------------------------------------------------------


def test_captures_in_several_threads_are_right_and_leave_other_threads_alone() -> None:
    original = nn.Module.__call__
    names = ["alexnet", "unet"] if {"alexnet", "unet"} <= set(MODELS) else sorted(MODELS)[:3]
    expected = {name: str(rfgraph.analyze(MODELS[name]())) for name in names}
    running = nn.Sequential(nn.Conv1d(2, 2, 3), nn.ReLU(), nn.BatchNorm1d(2)).eval()
    x = torch.randn(1, 2, 9)
    result = running(x)
    wrong: list[str] = []
    done = threading.Event()

    def analyse(name: str) -> None:
        for _ in range(8):
            if str(rfgraph.analyze(MODELS[name]())) != expected[name]:
                wrong.append(name)

    def run() -> None:
        while not done.is_set():
            if not torch.equal(running(x), result):
                wrong.append("another thread's model")

    threads = [threading.Thread(target=analyse, args=(name,)) for name in names]
    other = threading.Thread(target=run)
    for thread in (other, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    other.join()
    assert wrong == []
    assert nn.Module.__call__ is original
