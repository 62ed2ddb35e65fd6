"""What was captured is a `torch.fx` graph: it says where each node came from, and computes what the model computes."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

import rfgraph
from rfgraph.gallery import MODELS, UNet


class Writing(nn.Module):
    """Writes in place, through views, into buffers and fresh tensors, and reads its own weight beside its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 3, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.lstm = nn.LSTM(8, 5, batch_first=True)
        self.register_buffer("cache", torch.zeros(1, 3, 8))

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.act(self.conv(x))
        y[:, :1].add_(x[:, 1:2])
        y.transpose(1, 2)[:, 0] = 3.0
        self.cache[..., 2:5] = y[..., :3]
        out = torch.zeros_like(y)
        for row, other in zip(out.unbind(1), y.unbind(1), strict=True):
            row.copy_(other.flip(-1))
        values, indices = F.max_pool1d(out, 2, return_indices=True)
        state = self.lstm(y)
        parts = [values * self.cache[..., :4], {"weight": y.sum() * self.conv.weight}]
        return {"parts": parts, "indices": indices, "state": state, "none": None}


def assert_equal(found: Any, expected: Any) -> None:
    ours, theirs = pytree.tree_leaves(found), pytree.tree_leaves(expected)
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


def assert_computes(model: nn.Module, x: Tensor) -> None:
    """The captured graph gives the model's own result, by a plain call and by a plain interpreter."""
    captured = rfgraph.analyze(model, x, on_unknown="whole").fx
    with torch.no_grad():
        expected = model(x.clone())
        assert_equal(captured(x.clone()), expected)
        assert_equal(fx.Interpreter(captured).run(x.clone()), expected)


@pytest.mark.parametrize("name", MODELS)
def test_the_captured_graph_computes_what_a_model_of_the_gallery_computes(name: str) -> None:
    model = MODELS[name]().eval()
    shape = next(iter(rfgraph.analyze(model).inputs.values())).shape
    assert_computes(model, torch.randn(shape))


def test_writes_buffers_and_structures_come_out_as_they_are() -> None:
    assert_computes(Writing().eval(), torch.randn(1, 3, 8))


def test_running_what_was_captured_leaves_the_model_as_it_was() -> None:
    model = Writing().eval()
    captured = rfgraph.analyze(model, (1, 3, 8)).fx
    with torch.no_grad():  # as the model itself: parts of unbind may not be written with gradients
        captured(torch.randn(1, 3, 8))
    assert torch.equal(model.cache, torch.zeros(1, 3, 8))


def test_a_copy_is_given_so_that_changing_it_changes_no_report() -> None:
    report = rfgraph.analyze(UNet(1), (1, 1, 12, 10))
    changed = report.fx
    for node in list(changed.graph.nodes)[::-1]:
        if node.op != "placeholder":
            changed.graph.erase_node(node)
    assert len(report.fx.graph.nodes) > 2


def test_nodes_say_what_they_are_of() -> None:
    report = rfgraph.analyze(UNet(2), (1, 1, 32, 24))
    by_target = {str(node.target): node for node in report.fx.graph.nodes}
    conv = by_target["down.1.0"]
    assert (
        tuple(conv.meta["val"].shape) == (1, 8, 16, 12) and conv.meta["val"].dtype is torch.float32
    )
    assert list(conv.meta["nn_module_stack"]) == ["", "down.1", "down.1.0"]
    assert conv.meta["nn_module_stack"]["down.1.0"] == ("down.1.0", nn.Conv2d)
    cat = next(node for node in report.fx.graph.nodes if node.target is torch.cat)
    assert cat.meta["source"].startswith("gallery.py:")


def test_several_outputs_are_items_of_one_call() -> None:
    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a, b = x.chunk(2, -1)
            return a + b

    nodes = rfgraph.analyze(Halves(), (1, 2, 6)).fx.graph.nodes
    assert [node.target for node in nodes if node.op == "call_function"][:2] == [
        operator.getitem
    ] * 2


def test_a_graph_put_together_by_hand_has_nothing_to_run() -> None:
    from rfgraph.graph import Graph

    with pytest.raises(rfgraph.InputError, match="was not captured, so there is nothing to run"):
        Graph().module()
