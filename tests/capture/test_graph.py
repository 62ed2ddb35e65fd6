"""The captured graph: names, operands, sources, shapes, inputs and outputs."""

from collections import namedtuple
from dataclasses import dataclass

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rfgraph
from rfgraph.capture import capture
from rfgraph.gallery import UNet
from rfgraph.graph import Graph, Node
from rfgraph.rules import VOCABULARY


def graph_of(model, inputs=None):
    return capture(model, inputs, VOCABULARY).graph


def names(model, inputs=None):
    return [node.name for node in graph_of(model, inputs)]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x):
        y = self.act(self.conv(x))
        y = self.act(y + x)
        return y + 1 + x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.blocks = nn.Sequential(Block(), Block())
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, image):
        return F.relu(self.blocks(self.stem(image))).flatten(1)


def test_names_are_module_paths_functional_nodes_carry_their_module_and_repeats_are_numbered():
    assert names(Net()) == [
        "image",
        "stem",
        *(
            f"blocks.{i}.{part}"
            for i in (0, 1)
            for part in ("conv", "act", "add", "act_1", "add_1", "add_2")
        ),
        "relu",
        "flatten",
    ]


def test_a_name_that_the_model_uses_itself_is_not_given_twice():
    class Clash(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_1 = nn.Conv1d(2, 2, 1)

        def forward(self, add):
            return self.add_1(add + 1 + 1) + 1

    found = names(Clash(), (1, 2, 5))
    assert len(set(found)) == len(found) == 5
    assert "add_1" in found and graph_of(Clash(), (1, 2, 5))["add_1"].op in ("add", "conv1d")


def test_a_node_has_every_operand_and_one_edge_where_an_operand_repeats():
    class Twice(nn.Module):
        def forward(self, x):
            return x + x

    graph = graph_of(Twice(), (1, 2, 7))
    assert graph["add"].operands == ("x", "x")
    assert list(graph.networkx.edges) == [("x", "add")]


def test_a_shared_module_is_one_node_a_call():
    conv = nn.Conv2d(3, 3, 3)
    model = nn.Sequential(conv, nn.ReLU(), conv)
    report = rfgraph.analyze(model, (1, 3, 11, 9))
    assert [node.name for node in report.nodes] == ["input", "0", "1", "0_1"]
    assert report["0_1"].rf.size == (5, 5)


def test_sources_name_the_line_of_the_users_code():
    node = graph_of(Net())["blocks.1.add"]
    assert node.source.startswith("test_graph.py:")
    line = int(node.source.partition(":")[2])
    with open(__file__, encoding="utf-8") as file:
        assert "self.act(y + x)" in file.readlines()[line - 1]


class Asks(nn.Module):
    """A forward that asks for sizes in every way, and would fail on symbols."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, x):
        b, c, h, w = x.shape
        assert x.ndim == 4 and x.dim() == 4 and len(x) == b and c == x.size(1)
        if h % 4 or x.size(-1) % 2:
            x = F.pad(x, (0, w % 2, 0, (4 - h % 4) % 4))
        assert isinstance(x, torch.Tensor) and torch.is_tensor(x) and x.is_floating_point()
        assert x.numel() == b * c * x.shape[2] * x.shape[3] and x.dtype == torch.float32
        assert x.device == next(self.parameters()).device and not x.requires_grad
        y = self.conv(x)
        y = y.view(b, 2, -1, *y.shape[2:]).sum(1)
        rows = list(y[:, :, : x.shape[2] // 2 * 2 : x.shape[2] // 2].unbind(2))
        assert len(rows) == 2 and tuple(rows[0].shape) == (b, 3, x.shape[3])
        return y[:, :, :h, :w] * torch.arange(w, device=x.device) + torch.ones(
            x.size()[:2] + (1, 1)
        )


def test_sizes_are_real_numbers_while_the_forward_runs():
    report = rfgraph.analyze(Asks(), (2, 3, 10, 7))
    assert report.output.shape == (2, 3, 10, 7)
    assert report.output.rf.size == (3, 3)
    assert report["pad"].shape == (2, 3, 12, 8)


def test_captured_shapes_are_those_of_a_real_run():
    model = Asks().eval()
    inputs = torch.randn(2, 3, 10, 7)
    seen = {}
    model.conv.register_forward_hook(lambda m, args, out: seen.update(conv=tuple(out.shape)))
    out = model(inputs)
    model.conv._forward_hooks.clear()
    graph = graph_of(model, inputs)
    assert graph["conv"].shape == seen["conv"]
    assert graph[graph.outputs["output"]].shape == tuple(out.shape)


Pair = namedtuple("Pair", "left right")


@dataclass
class Result:
    mask: torch.Tensor
    loss: object = None


RETURNS = {
    "tensor": (lambda x: x + 1, ["output"]),
    "tuple": (lambda x: (x + 1, x * 2), ["0", "1"]),
    "dict": (
        lambda x: {"out": x + 1, "aux": None, "deep": [x * 2, {"er": x}]},
        ["out", "deep.0", "deep.1.er"],
    ),
    "namedtuple": (lambda x: Pair(x + 1, x), ["left", "right"]),
    "dataclass": (lambda x: Result(x + 1), ["mask"]),
}


@pytest.mark.parametrize("kind", RETURNS)
def test_outputs_are_named_by_their_path_in_what_the_model_returns(kind):
    function, paths = RETURNS[kind]

    class Returns(nn.Module):
        def forward(self, x):
            return function(x)

    report = rfgraph.analyze(Returns(), (1, 2, 5))
    assert list(report.outputs) == paths
    if len(paths) == 1:
        assert report.output.name == "add"
    else:
        with pytest.raises(rfgraph.InputError, match=r"has \d outputs .*use report.outputs"):
            _ = report.output


def test_several_inputs_are_told_apart_and_a_default_is_not_an_input():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3)

        def forward(self, signal, mask, *, scale=None, bias=None):
            assert bias is None
            y = self.conv(signal) * mask[..., 1:-1]
            return y if scale is None else y * scale

    report = rfgraph.analyze(Masked(), {"signal": (1, 2, 9), "mask": torch.ones(1, 1, 9)})
    assert list(report.inputs) == ["signal", "mask"]
    assert report.output.rfs["signal"].size == (3,)
    assert report.output.rfs["mask"].size == (1,) and report.output.rfs["mask"].offset == (1,)
    assert list(report["conv"].rfs) == ["signal"]
    with pytest.raises(
        rfgraph.InputError, match=r"reads the inputs \['mask', 'signal'\]: use .rfs"
    ):
        _ = report.output.rf
    assert "of mask" in str(report)
    with_scale = rfgraph.analyze(Masked(), [(1, 2, 9), (1, 1, 9)])
    assert with_scale.output.name == report.output.name
    keyword = rfgraph.analyze(
        Masked(), {"signal": (1, 2, 9), "mask": (1, 1, 9), "scale": (1, 1, 7)}
    )
    assert keyword.output.rfs["scale"].size == (1,)


def test_parameters_and_buffers_in_the_forward_are_constants():
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.randn(1, 4, 5))
            self.register_buffer("scale", torch.randn(4, 1))

        def forward(self, x):
            return (x + self.position) * self.scale.exp() + self.position.mean()

    report = rfgraph.analyze(Learned(), (1, 4, 5))
    assert [node.op for node in report.nodes] == ["input", "add", "mul", "add"]
    assert report.output.rf.size == (1,)


def test_in_place_calls_change_what_the_name_means():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3, padding=1)

        def forward(self, x):
            y = x.clone()
            kept = y
            y += self.conv(x)
            y.mul_(2)
            nn.ReLU(inplace=True)(y)
            return kept

    report = rfgraph.analyze(InPlace(), (1, 2, 9))
    assert report.output.rf.size == (3,), "every reference to a tensor sees what was added to it"
    assert report.output.op == "relu"


def test_hooks_that_change_the_output_are_seen():
    model = nn.Sequential(nn.Conv1d(2, 2, 3))
    model[0].register_forward_hook(lambda module, args, out: out[..., 2:] + out[..., :-2])
    assert rfgraph.analyze(model, (1, 2, 9)).output.rf.size == (5,)


def test_a_subclass_that_overrides_forward_is_looked_into_and_one_that_does_not_is_its_base():
    class Causal(nn.Conv1d):
        def forward(self, x):
            return super().forward(F.pad(x, (self.dilation[0] * (self.kernel_size[0] - 1), 0)))

    class Renamed(nn.Conv1d):
        pass

    causal = rfgraph.analyze(Causal(2, 2, 3, dilation=2), (1, 2, 9))
    assert causal.output.rf.offset == (-4,) and causal.output.rf.reach == ((4, 0),)
    renamed = rfgraph.analyze(nn.Sequential(Renamed(2, 2, 3, dilation=2)), (1, 2, 9))
    assert [node.op for node in renamed.nodes] == ["input", "conv1d"]
    assert renamed.output.rf.offset == (0,)


def test_a_custom_autograd_function_is_followed():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, same):
            return x if same else F.avg_pool1d(x, 3)

        @staticmethod
        def backward(ctx, gradient):
            return gradient, None

    class Model(nn.Module):
        def __init__(self, same):
            super().__init__()
            self.same = same
            self.conv = nn.Conv1d(2, 2, 3)

        def forward(self, x):
            return self.conv(Double.apply(self.conv(x), self.same))

    assert rfgraph.analyze(Model(False), (1, 2, 27)).output.rf.size == (11,)
    assert rfgraph.analyze(Model(True), (1, 2, 27)).output.rf.size == (5,)


def test_a_graph_module_is_a_module():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
    report = rfgraph.analyze(torch.fx.symbolic_trace(model), (1, 3, 9, 8))
    assert report.output.rf.size == (3, 3) and report.output.rf.stride == (2, 2)


def test_eval_and_train_mode_choose_the_branch_and_the_statistics():
    class Modes(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.aux = nn.Conv2d(3, 3, 5)

        def forward(self, x):
            y = self.norm(x)
            return (y, self.aux(y)) if self.training else y

    model = Modes().train()
    evaluated = rfgraph.analyze(model, (4, 3, 9, 8))
    assert evaluated.output.rf.size == (1, 1) and not any(evaluated.output.rf.whole)
    trained = rfgraph.analyze(model, (4, 3, 9, 8), mode="train")
    field = trained["norm"].rf
    assert field.whole == (True, True) and field.local.size == (1, 1)
    assert [(c.node, c.kind, c.axes) for c in field.causes] == [("norm", "statistics", (0, 1))]
    batch = rfgraph.analyze(model, (4, 3, 9, 8), mode="train", axes=(0, 3))["norm"].rf
    assert batch.whole == (True, True), "training batch norm mixes the samples of a batch"
    assert rfgraph.analyze(model, (4, 3, 9, 8), axes=(0,))["norm"].rf.whole == (False,)


WORKED_OUT = {
    "2-d": (nn.Conv2d(5, 2, 3), (1, 5, 224, 224)),
    "1-d": (nn.Conv1d(5, 2, 3), (1, 5, 1024)),
    "3-d": (nn.Conv3d(5, 2, 3), (1, 5, 64, 64, 64)),
    "long": (nn.Conv1d(1, 1, 5000), (1, 1, 16000)),
    "a classifier for 28 x 28": (
        nn.Sequential(nn.Conv2d(1, 2, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 10)),
        (1, 1, 28, 28),
    ),
}


@pytest.mark.parametrize("name", WORKED_OUT)
def test_without_inputs_a_shape_that_the_model_accepts_is_worked_out_and_told(name):
    model, shape = WORKED_OUT[name]
    report = rfgraph.analyze(model)
    assert report.inputs["input"].shape == shape
    assert report.worked_out and "worked out from the model" in str(report)
    given = rfgraph.analyze(model, shape)
    assert not given.worked_out and "worked out" not in str(given)


# --- graph modules and exported programs ------------------------------------------------------------


def test_a_graph_module_is_read_as_the_model_that_it_was_traced_from():
    model = UNet(2)
    traced = rfgraph.analyze(torch.fx.symbolic_trace(model), (1, 1, 32, 24))
    direct = rfgraph.analyze(model, (1, 1, 32, 24))
    assert [node.op for node in traced.nodes] == [node.op for node in direct.nodes]
    assert traced.output.rf.relations == direct.output.rf.relations


def test_the_module_of_an_exported_program_arrives_at_the_same_operators():
    program = torch.export.export(UNet(2).eval(), (torch.randn(1, 1, 32, 24),))
    exported = rfgraph.analyze(program.module(), (1, 1, 32, 24))
    direct = rfgraph.analyze(UNet(2), (1, 1, 32, 24))
    assert [node.op for node in exported.nodes] == [node.op for node in direct.nodes]
    assert exported.output.rf.relations == direct.output.rf.relations


def test_arguments_that_are_positional_only_are_passed_by_position():
    class Positional(nn.Module):
        def forward(self, x, /, y, *, z):
            return x + y + z

    shapes = {"x": (1, 2, 5), "y": (1, 2, 5), "z": (1, 2, 5)}
    assert set(rfgraph.analyze(Positional(), shapes).output.rfs) == {"x", "y", "z"}


def test_a_graph_is_iterated_over_in_topological_order_with_ties_in_the_order_of_capture():
    class Branches(nn.Module):
        def forward(self, a, b):
            late = b * 2
            return (a + 1) + late, late.neg()

    for model, shapes in ((Branches(), [(1, 2, 3)] * 2), (UNet(), (1, 1, 32, 48))):
        graph = graph_of(model, shapes)
        captured = [node.name for node in graph]
        walk = nx.lexicographical_topological_sort(graph.networkx, key=captured.index)
        assert captured == list(walk)


def test_a_node_that_comes_before_what_it_reads_is_refused():
    graph = Graph()
    graph.add(Node("x", "input"))
    with pytest.raises(ValueError, match="'y' reads 'z', which does not come before it"):
        graph.add(Node("y", "add", ("x", "z")))
    with pytest.raises(ValueError, match="'y' reads 'y', which does not come before it"):
        graph.add(Node("y", "add", ("x", "y")))
    with pytest.raises(ValueError, match="two nodes named 'x'"):
        graph.add(Node("x", "input"))
    assert [node.name for node in graph] == ["x"]


def test_the_networkx_graph_of_a_report_cannot_be_changed():
    graph = rfgraph.analyze(Net()).graph
    assert nx.ancestors(graph, "blocks.0.act") == {"image", "stem", "blocks.0.conv"}
    with pytest.raises(nx.NetworkXError, match="Frozen graph can't be modified"):
        graph.add_edge("image", "flatten")
    assert graph.copy().remove_node("flatten") is None
