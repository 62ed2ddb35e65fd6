"""Graphs that exist already: read as they are, never traced again, and with the figures of the model they are of."""

from __future__ import annotations

import dataclasses
import operator
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.utils import _pytree as pytree
from typer.testing import CliRunner

import rfgraph
from rfgraph.capture import programs
from rfgraph.cli.app import app
from rfgraph.gallery import MODELS, CausalTCN, UNet
from tests.capture.same import assert_same

pytestmark = pytest.mark.filterwarnings("ignore")


def exported(model: nn.Module, *args: Any, **kwargs: Any) -> ExportedProgram:
    return export(model.eval(), args, kwargs, strict=False)


def modules_of(model: nn.Module) -> list[str]:
    return [path for path, _ in model.named_modules()]


def assert_computes(report: rfgraph.Report, model: Callable[..., Any], *inputs: Tensor) -> None:
    with torch.no_grad():
        found = pytree.tree_leaves(report.fx(*(x.clone() for x in inputs)))
        expected = pytree.tree_leaves(model(*(x.clone() for x in inputs)))
    for one, other in zip(found, expected, strict=True):
        assert (one is None and other is None) or torch.allclose(one, other, atol=1e-5)


# --- the same figures by every way -------------------------------------------------------------------


@pytest.fixture(scope="module", params=MODELS)
def gallery(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A model of the gallery, its report, and the program of it, also as a file."""
    model = MODELS[request.param]().eval()
    report = rfgraph.analyze(model)
    program = exported(
        model, **{name: torch.randn(node.shape) for name, node in report.inputs.items()}
    )
    path = tmp_path_factory.mktemp("programs") / f"{request.param}.pt2"
    torch.export.save(program, path)
    return model, report, program, path


@pytest.mark.parametrize("way", ["program", "pt2", "decomposed", "module", "traced", "capture"])
def test_every_way_in_gives_the_names_and_figures_of_the_eager_model(
    gallery: Any, way: str
) -> None:
    model, report, program, path = gallery
    shape = next(iter(report.inputs.values())).shape
    other = {
        "program": lambda: rfgraph.analyze(program),
        "pt2": lambda: rfgraph.analyze(path),
        "decomposed": lambda: rfgraph.analyze(program.run_decompositions({}), shape),
        "module": lambda: rfgraph.analyze(program.module()),
        "traced": lambda: rfgraph.analyze(fx.symbolic_trace(model), shape),
        "capture": lambda: rfgraph.analyze(model, shape, capture="export"),
    }[way]()
    paths = set(modules_of(model))
    if way == "decomposed":  # torch 2.14 leaves out what does nothing
        idle = (path for path, module in model.named_modules() if isinstance(module, nn.Dropout))
        paths -= set(idle)
    assert_same(report, other, paths)
    assert other.model == report.model
    assert not other.worked_out


def test_names_operators_and_lines_are_those_of_the_eager_model() -> None:
    model = UNet(2).eval()
    eager = rfgraph.analyze(model, (1, 1, 32, 24))
    program = rfgraph.analyze(exported(model, torch.randn(1, 1, 32, 24)))
    told = [
        [(n.name, n.op, n.module, n.source, n.operands) for n in r.nodes] for r in (eager, program)
    ]
    assert told[0] == told[1]
    assert program["merge.0.0"].source.startswith("gallery.py:")


def test_a_program_computes_what_it_did() -> None:
    x = torch.randn(1, 1, 32, 24)
    program = exported(UNet(2), x)
    report = rfgraph.analyze(program)
    assert_computes(report, program.module(), x)
    conv = next(
        node for node in report.fx.graph.nodes if node.meta.get("where", ("",))[0] == "down.1.0"
    )
    assert conv.target is torch.conv2d
    assert conv.meta["nn_module_stack"]["down.1.0"][1] == "torch.nn.modules.conv.Conv2d"


@pytest.mark.parametrize("name", ["tcn", "se_net"])
def test_a_program_is_verified(name: str) -> None:
    shape = {"tcn": (1, 1, 150), "se_net": (1, 3, 32, 28)}[name]
    model = CausalTCN() if name == "tcn" else MODELS[name]()
    shape = (1, 4, 150) if name == "tcn" else shape
    program = exported(model, torch.randn(shape))
    for graph in (program, program.run_decompositions({})):
        check = rfgraph.verify(graph, rows=9)
        assert check.agrees and check.exact, str(check)


# --- nothing is traced again ---------------------------------------------------------------------------


class Once(nn.Module):
    """A forward that must not run again once it is captured, with writes, a buffer and a structure to return."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 3, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.register_buffer("seen", torch.zeros(1, 3, 4))
        self.scale = torch.tensor([[1.0], [2.0], [3.0]])
        self.is_over = False

    def forward(self, x: Tensor, mask: Tensor) -> dict[str, Any]:
        if self.is_over:
            raise AssertionError("the forward runs again")
        y = self.act(self.conv(x))
        y[:, :1].add_(mask)
        y.transpose(1, 2)[:, 0] = 3.0
        self.seen[..., 1:3] = y[..., :2]
        with torch.no_grad():
            gated = y * self.scale
        return {"y": y, "rest": [gated.flip(-1), None, (self.seen * 2,)]}


X, MASK = torch.randn(1, 2, 9), torch.randn(1, 1, 9)


def once() -> tuple[Once, rfgraph.Report, ExportedProgram]:
    model = Once().eval()
    eager = rfgraph.analyze(model, {"x": X.shape, "mask": MASK.shape})
    program = exported(model, X, MASK)
    model.is_over = True
    return model, eager, program


def test_writes_buffers_and_structures_of_a_program_are_followed() -> None:
    model, eager, program = once()
    for graph in (program, program.run_decompositions({})):
        report = rfgraph.analyze(graph)
        assert list(report.outputs) == ["y", "rest.0", "rest.2.0"] == list(eager.outputs)
        for path, node in report.outputs.items():
            for name, rf in node.rfs.items():
                for position in range(node.shape[-1]):
                    expected = eager.outputs[path].reads(0, (0, 1, position), input=name).tolist()
                    assert node.reads(0, (0, 1, position), input=name).tolist() == expected
                assert rf.whole == eager.outputs[path].rfs[name].whole
        model.is_over = False
        assert_computes(report, model, X, MASK)
        model.seen.zero_()
        model.is_over = True
        assert rfgraph.verify(graph).agrees
    assert torch.equal(model.seen, torch.zeros(1, 3, 4))
    assert torch.equal(program.state_dict["seen"], torch.zeros(1, 3, 4))


def test_a_traced_graph_does_not_run_the_forward() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3)
            self.is_over = False

        def forward(self, x: Tensor) -> Tensor:
            assert not self.is_over
            return F.relu(self.conv(x)) + x[..., 1:-1]

    model = Net()
    traced = fx.symbolic_trace(model)
    model.is_over = True
    traced.is_over = True
    report = rfgraph.analyze(traced, (1, 2, 9))
    assert report.output.rf.size == (3,)
    assert rfgraph.verify(traced, (1, 2, 9)).agrees


# --- graph modules -----------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x)) + x.abs()


class Twice(nn.Module):
    """A block that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.register_buffer("scale", torch.ones(2, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.block(self.block(x)) * self.scale
        return y, y.flip(-1)


NAMES = [
    *("x", "block.conv", "block.relu", "block.abs", "block.add"),
    *("block.conv_1", "block.relu_1", "block.abs_1", "block.add_1", "mul", "flip"),
]


class WholeBlocks(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Block)


@pytest.mark.parametrize(
    "how", ["eager", "symbolic_trace", "custom tracer", "program", "strict", "decomposed"]
)
def test_functions_go_by_the_modules_they_ran_in(how: str) -> None:
    model: Any = Twice().eval()
    if how == "symbolic_trace":
        model = fx.symbolic_trace(model)
    elif how == "custom tracer":  # its leaf is looked into
        model = fx.GraphModule(model, WholeBlocks().trace(model))
    elif how != "eager":
        model = export(model, (torch.zeros(1, 2, 9),), strict=how == "strict")
        model = model.run_decompositions({}) if how == "decomposed" else model
    report = rfgraph.analyze(model, (1, 2, 9))
    assert [node.name for node in report.nodes] == NAMES
    assert report.outputs["0"].rf.size == (5,)
    assert report["block.relu_1"].module == "Block"


def replaced(traced: fx.GraphModule) -> None:
    for node in list(traced.graph.nodes):
        if node.target is operator.mul:
            node.target = torch.add
        if node.target == "flip":
            with traced.graph.inserting_before(node):
                shifted = traced.graph.call_function(torch.roll, (node.args[0], 2, -1))
            node.replace_all_uses_with(shifted)
            traced.graph.erase_node(node)


def test_a_graph_that_the_user_changed_is_what_is_read() -> None:
    traced = fx.symbolic_trace(Twice().eval())
    replaced(traced)
    with pytest.raises(
        rfgraph.InputError, match=r"graph of Twice was changed after .* recompile\(\)"
    ):
        rfgraph.analyze(traced, (1, 2, 9))
    with pytest.raises(rfgraph.InputError, match=r"recompile\(\)"):
        rfgraph.verify(traced, (1, 2, 9))
    traced.recompile()
    report = rfgraph.analyze(traced, (1, 2, 9))
    assert [node.name for node in report.nodes][-2:] == ["add", "roll"]
    assert report.outputs["1"].reads(0, 5).tolist() == [1, 2, 3, 4, 5]
    assert rfgraph.verify(traced, (1, 2, 9)).agrees


def test_the_changed_module_of_a_program_is_refused_until_it_is_compiled() -> None:
    module = exported(Twice(), torch.zeros(1, 2, 9)).module()
    for node in module.graph.nodes:
        if node.target is torch.ops.aten.mul.Tensor:
            node.target = torch.ops.aten.sub.Tensor
    with pytest.raises(rfgraph.InputError, match=r"recompile\(\)"):
        rfgraph.analyze(module)
    module.recompile()
    assert "sub" in rfgraph.analyze(module)


def test_hooks_of_a_graph_module_are_run() -> None:
    traced = fx.symbolic_trace(Twice().eval())
    traced.register_forward_hook(lambda module, args, result: torch.roll(result[0], 4, -1))
    report = rfgraph.analyze(traced, (1, 2, 19))
    assert report.output.op == "roll"
    program = exported(Twice(), torch.zeros(1, 2, 9)).module()
    program.register_forward_hook(lambda module, args, result: result[0])
    assert list(rfgraph.analyze(program, (1, 2, 9)).outputs) == ["output"]


def test_a_traced_graph_without_inputs_is_analysed_at_what_it_says_or_at_worked_out_shapes() -> (
    None
):
    traced = fx.symbolic_trace(Block())
    assert rfgraph.analyze(traced).worked_out
    from torch.fx.passes.shape_prop import ShapeProp

    ShapeProp(traced).propagate(torch.zeros(1, 2, 13))
    report = rfgraph.analyze(traced)
    assert report.inputs["x"].shape == (1, 2, 13) and not report.worked_out


def test_writes_in_a_traced_graph_are_nodes() -> None:
    class Writing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            y[:, :1].add_(x.flip(-1)[:, :1])
            return y

    report = rfgraph.analyze(fx.symbolic_trace(Writing()), (1, 2, 5))
    assert report.output.reads(0, (0, 0, 1)).tolist() == [1, 3]
    assert report.output.reads(0, (0, 1, 1)).tolist() == [1]


def test_a_wrong_shape_is_refused_at_its_node() -> None:
    with pytest.raises(
        rfgraph.CaptureError, match=r"conv1d failed .*in 'block.conv'.*expected 2 channels, got 3"
    ):
        rfgraph.analyze(fx.symbolic_trace(Twice()), (1, 3, 9))


# --- inputs and outputs of programs ---------------------------------------------------------------------


@dataclasses.dataclass
class Pair:
    first: Tensor
    rest: list[Tensor]


torch.export.register_dataclass(Pair)


def test_several_inputs_of_any_kind_keep_their_names() -> None:
    class Kinds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(7, 4)

        def forward(
            self,
            ids: Tensor,
            parts: list[Tensor],
            flag: bool = True,
            *,
            scale: int,
            more: dict[str, Tensor],
        ) -> Any:
            y = self.table(ids) + parts[0] * scale if flag else parts[0]
            return Pair(y, [more["late"].flip(1) + parts[1]])

    first, second, late = torch.zeros(3, 1, 5, 4).unbind()
    ids = torch.zeros(1, 5, dtype=torch.long)
    program = exported(Kinds(), ids, [first, second], True, scale=3, more={"late": late})
    report = rfgraph.analyze(program, axes=(1,))
    assert list(report.inputs) == ["ids", "parts_0", "parts_1", "more_late"]
    assert list(report.outputs) == ["first", "rest.0"]
    assert set(report.outputs["rest.0"].rfs) == {"parts_1", "more_late"}
    assert report.outputs["rest.0"].reads(0, 1, input="more_late").tolist() == [3]
    assert rfgraph.verify(program, axes=(1,)).agrees
    with pytest.raises(
        rfgraph.InputError, match=r"no argument 'part_0'; the nearest are 'parts_0'"
    ):
        rfgraph.analyze(program, {"part_0": (1, 5, 4)})


def test_a_shape_that_the_program_does_not_take_is_refused() -> None:
    program = exported(Twice(), torch.zeros(1, 2, 9))
    text = r"the program takes 'x' of shape \(1, 2, 9\), got \(1, 2, 10\): export the model at that shape"
    for call in (rfgraph.analyze, rfgraph.verify):
        with pytest.raises(rfgraph.InputError, match=text):
            call(program, (1, 2, 10))
    module = program.module()
    if any(node.target == "_guards_fn" for node in module.graph.nodes):  # not in older torch
        with pytest.raises(rfgraph.CaptureError, match="Guard failed"):
            rfgraph.analyze(module, (1, 2, 10))


class Sized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        y = F.interpolate(self.conv(image), size=image.shape[2:])
        return y + other.view(image.shape[0], 2, image.shape[2], -1)


def test_dynamic_sizes_are_taken_within_their_bounds() -> None:
    height, half = Dim("height", min=8, max=40), Dim("half", min=4, max=50)
    sizes = {2: height, 3: 2 * half}
    args = torch.zeros(2, 3, 20, 16), torch.zeros(2, 2, 20, 16)
    program = export(Sized().eval(), args, dynamic_shapes=(sizes, sizes), strict=False)
    assert rfgraph.analyze(program).output.shape == (2, 2, 20, 16)
    shapes = {"image": (2, 3, 12, 26), "other": (2, 2, 12, 26)}
    report = rfgraph.analyze(program, shapes)
    eager = rfgraph.analyze(Sized(), shapes)
    assert report.output.rfs["image"].relations == eager.output.rfs["image"].relations
    for image, other, wrong in (
        ((2, 3, 12, 25), (2, 2, 12, 25), "image"),  # an odd width
        ((2, 3, 48, 26), (2, 2, 48, 26), "image"),  # too high
        ((1, 3, 12, 26), (2, 2, 12, 26), "image"),
        ((2, 3, 12, 26), (2, 2, 12, 28), "other"),  # of another width
        ((2, 3, 12), (2, 2, 12, 28), "image"),
    ):
        with pytest.raises(
            rfgraph.InputError, match=f"takes '{wrong}' of shape .* from 8 to 40, .* from 4 to 50"
        ):
            rfgraph.analyze(program, {"image": image, "other": other})
    assert rfgraph.verify(program, rows=5).agrees


@pytest.mark.parametrize(
    ("sizes", "told"), [({}, 1), ({2: Dim("height", min=8, max=40)}, 0)], ids=["one size", "sizes"]
)
def test_a_program_of_one_size_says_that_its_forward_may_have_asked_for_it(
    sizes: dict[int, Any], told: int
) -> None:
    args = torch.zeros(2, 3, 20, 16), torch.zeros(2, 2, 20, 16)
    program = export(Sized().eval(), args, dynamic_shapes=(sizes, sizes), strict=False)
    assert len([n for n in rfgraph.analyze(program).notes if n == programs.ONE_SIZE]) == told
    assert programs.ONE_SIZE not in rfgraph.analyze(Sized(), [arg.shape for arg in args]).notes


def test_an_end_that_a_program_has_as_a_number_may_have_been_computed_from_its_size() -> None:
    class Cropped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = F.pad(x, (0, -x.shape[-1] % 8))
            return y[..., : x.shape[-1]].mean(-1, keepdim=True)

    program = export(Cropped().eval(), (torch.zeros(1, 2, 12),), strict=False)
    for model in (Cropped(), program):
        assert rfgraph.analyze(model, (1, 2, 12)).output.rf.whole == (True,)


def test_shapes_have_the_dtype_that_the_program_was_made_with() -> None:
    program = exported(nn.Sequential(nn.Conv1d(2, 3, 3)).double(), torch.zeros(1, 2, 9).double())
    report = rfgraph.analyze(program, (1, 2, 9))
    assert next(iter(report.fx.graph.nodes)).meta["val"].dtype is torch.float64
    assert rfgraph.verify(program, (1, 2, 9)).agrees


# --- layers, modes, operators ----------------------------------------------------------------------------


class Layers(nn.Module):
    """Layers that a program holds as one call, as many, or by another name."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d((1, 2, 0, 1))
        self.norm = nn.InstanceNorm2d(4)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.layer_norm = nn.LayerNorm(3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.up(self.norm(self.pad(x))).flatten(2).transpose(1, 2)
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return self.layer_norm(self.lstm(attended)[0])


@pytest.mark.parametrize("decomposed", [False, True])
def test_layers_go_by_their_names_whatever_a_program_makes_of_them(decomposed: bool) -> None:
    model = Layers().eval()
    x = torch.randn(1, 4, 3, 4)
    program = exported(model, x)
    program = program.run_decompositions({}) if decomposed else program
    report, eager = rfgraph.analyze(program), rfgraph.analyze(model, x)
    assert_same(eager, report, modules_of(model))
    assert report["lstm"].op == "lstm" and report["lstm"].module == "LSTM"
    assert report["attention"].module == "MultiheadAttention"
    assert_computes(report, model, x)
    assert rfgraph.verify(program).agrees


def test_a_program_is_what_it_was_exported_to() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3)).train()
    program = export(model, (torch.randn(2, 2, 9),), strict=False)
    assert rfgraph.analyze(program).output.rf.whole == (True,)
    assert rfgraph.analyze(exported(model, torch.randn(2, 2, 9))).output.rf.whole == (False,)
    with pytest.raises(
        rfgraph.InputError, match="mode='train' cannot be asked of an exported program"
    ):
        rfgraph.analyze(program, mode="train")
    assert rfgraph.analyze(model, (2, 2, 9), mode="train", capture="export").output.rf.whole == (
        True,
    )
    assert model[1].num_batches_tracked == 0


@pytest.mark.parametrize("capture", ["fx", "export"])
def test_how_a_forward_is_captured_is_no_question_to_a_graph(capture: Any) -> None:
    for graph in (exported(Twice(), torch.zeros(1, 2, 9)), fx.symbolic_trace(Twice())):
        with pytest.raises(
            rfgraph.InputError,
            match="Twice is a graph already, which is read as it is: leave capture out",
        ):
            rfgraph.analyze(graph, (1, 2, 9), capture=capture)


@torch.library.custom_op("rfgraph_tests::smeared", mutates_args=())
def smeared(x: Tensor, width: int) -> Tensor:
    return F.avg_pool1d(x, width, 1, width // 2)


@smeared.register_fake
def _(x: Tensor, width: int) -> Tensor:
    return torch.empty_like(x)


smeared.register_autograd(
    lambda ctx, grad: (F.avg_pool1d(grad, ctx.width, 1, ctx.width // 2), None),
    setup_context=lambda ctx, inputs, output: setattr(ctx, "width", inputs[1]),
)


class Smearing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.rfgraph_tests.smeared(x, 3) + x


def test_operators_without_a_rule_are_named_counted_whole_or_measured() -> None:
    program = exported(Smearing(), torch.zeros(1, 2, 25))
    with pytest.raises(
        rfgraph.UnsupportedOperatorError, match=r"'smeared' \(smeared, test_existing.py:\d+\)"
    ):
        rfgraph.analyze(program)
    assert rfgraph.analyze(program, on_unknown="whole").output.rf.whole == (True,)
    measured = rfgraph.analyze(program, on_unknown="measure")
    assert measured["smeared"].rf.size == (3,)
    assert rfgraph.verify(program, on_unknown="measure").agrees


def test_a_part_of_a_program_that_runs_by_data_is_refused() -> None:
    class Deciding(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x.flip(-1), (x,))

    program = export(Deciding(), (torch.zeros(1, 2, 5),))
    with pytest.raises(rfgraph.CaptureError, match="cond asks for values"):
        rfgraph.analyze(program)


# --- capture="export", and the way back to it ---------------------------------------------------------------


@torch.jit.script
def scripted_write(x: Tensor) -> int:
    x.add_(x.flip(-1))
    return 0


class Scripted(nn.Module):
    """Writes in compiled code; counts its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.kept:
            raise AssertionError("what the first run kept is still there")
        y = x * 2
        self.kept.append(y)
        scripted_write(y)
        return y


@pytest.mark.skipif(
    torch.torch_version.TorchVersion(torch.__version__) < (2, 13),
    reason="export in older torch does not look into TorchScript",
)
def test_what_the_tracer_cannot_follow_is_exported() -> None:
    model = Scripted()
    with pytest.raises(rfgraph.CaptureError, match="written in compiled code"):
        rfgraph.analyze(model, (1, 2, 6), capture="fx")
    report = rfgraph.analyze(model, (1, 2, 6))
    assert report.output.reads(0, 1).tolist() == [1, 4]
    assert "captured by torch.export, since torch.fx is refused: 'mul' is written" in str(report)
    assert model.kept == []


def test_where_export_fails_too_the_first_error_is_raised() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            scripted_write(y)
            if isinstance(y, torch._subclasses.FakeTensor):
                raise ValueError("torch.export is of no use")
            return y + 1

    with pytest.raises(rfgraph.CaptureError, match="written in compiled code"):
        rfgraph.analyze(Both(), (1, 2, 6))
    with pytest.raises(
        rfgraph.CaptureError,
        match=r"Both could not be exported \(at test_existing.py:\d+\): ValueError: torch.export is of no use",
    ):
        rfgraph.analyze(Both(), (1, 2, 6), capture="export")


def test_what_the_forward_itself_refuses_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        torch.export, "export", lambda *args, **kwargs: pytest.fail("it is exported")
    )

    class Deciding(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else x + 1

    with pytest.raises(rfgraph.CaptureError, match="needs the values"):
        rfgraph.analyze(Deciding(), (1, 2, 6))
    with pytest.raises(rfgraph.CaptureError, match="expected 2 channels, got 3"):
        rfgraph.analyze(Twice(), (1, 3, 6))


# --- files --------------------------------------------------------------------------------------------


def test_a_file_is_read_by_path_by_name_and_by_the_commands(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(exported(Twice(), torch.zeros(1, 2, 9)), path)
    assert [node.name for node in rfgraph.analyze(path).nodes] == NAMES
    assert rfgraph.verify(str(path)).agrees
    run = CliRunner().invoke
    told = run(app, ["analyze", str(path), "--node", "block.add_1", "--format", "csv"])
    assert told.exit_code == 0 and told.stdout.splitlines()[1].startswith("block.add_1,add,5,")
    assert run(app, ["verify", str(path)]).exit_code == 0
    refused = run(app, ["analyze", str(path), "--input", "1,2,8"])
    assert refused.exit_code == 2 and "the program takes 'x' of shape" in refused.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing.pt2", "there is no file .*missing.pt2"),
        (
            "weights.pt",
            r"expected a torch.nn.Module, got str: .*weights.pt' holds weights or TorchScript; of files, the .pt2",
        ),
        ("weights.pth", "holds weights or TorchScript"),
        ("model", "'.*model' holds no model"),
        (
            "words.pt2",
            r"words.pt2 cannot be read as an exported program by torch .*it is no such file, damaged, or of another version of torch; export the model anew",
        ),
        ("weights.pt2", "weights.pt2 cannot be read as an exported program"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    (tmp_path / "words.pt2").write_text("no program")
    torch.save(Twice().state_dict(), tmp_path / "weights.pt2")
    with pytest.raises(rfgraph.InputError, match=text):
        rfgraph.analyze(tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    own, newer = tmp_path / "own.pt2", tmp_path / "newer.pt2"
    torch.export.save(exported(Twice(), torch.zeros(1, 2, 9)), own)
    changed = 0
    with zipfile.ZipFile(own) as read, zipfile.ZipFile(newer, "w") as written:
        for entry in read.infolist():
            data, count = re.subn(
                rb'("schema_version": .{0,3}"major": )', rb"\g<1>9", read.read(entry)
            )
            written.writestr(entry, data)
            changed += count
    assert changed, "the version stands elsewhere in the files of this torch"
    with pytest.raises(
        rfgraph.InputError, match=r"newer.pt2 cannot be read .* of another version of torch"
    ):
        rfgraph.analyze(newer)


# --- inside other models --------------------------------------------------------------------------------


def test_the_module_of_a_program_inside_a_model_is_followed() -> None:
    x = torch.zeros(1, 2, 9)
    inner = exported(Twice(), x).module()

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            y = self.inner(x.flip(-1))[0]
            return torch.ops.aten.slice.Tensor(y, dim=-1, start=2, end=7)

    report = rfgraph.analyze(Around(), (1, 2, 9))
    assert report.output.op == "getitem"
    assert report.output.reads(0, 0).tolist() == [4, 5, 6, 7, 8]
    assert rfgraph.verify(Around(), (1, 2, 9)).agrees


def test_numbers_are_those_of_the_program_at_the_callers_own_tensors() -> None:
    x = torch.randn(1, 2, 9)
    program = exported(Twice(), x)
    before = {name: tensor.clone() for name, tensor in program.state_dict.items()}
    assert rfgraph.verify(program, x).agrees
    assert rfgraph.verify(program, {"x": x}).agrees
    found = rfgraph.effective(program, x, "block.add_1")
    assert found.node == "block.add_1" and found.map.shape == (9,)
    for name, tensor in program.state_dict.items():
        assert torch.equal(tensor, before[name])
