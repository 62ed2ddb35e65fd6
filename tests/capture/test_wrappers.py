"""Models that are wrapped, scripted, lazy, quantised or without numbers: a right answer, or one sentence."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

import rfgraph
from tests.capture import deep

SHAPE = (1, 3, 9, 9)
ASKED = [rfgraph.analyze, rfgraph.verify]


def stack() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 3))


def fields(report: Any) -> list[str]:
    return [str(node.rf) for node in report.nodes if node.rfs]


# --- torch.compile and DataParallel: the model inside --------------------------------------------

WRAPPERS = {
    "compile": torch.compile,
    "data parallel": nn.DataParallel,
    "both": lambda model: torch.compile(nn.DataParallel(model)),
}


@pytest.mark.parametrize("shape", [SHAPE, None])
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_wrapped_model_gives_the_report_of_the_model_inside(wrap: str, shape: Any) -> None:
    model = stack()
    report = rfgraph.analyze(WRAPPERS[wrap](model), shape)
    assert str(report) == str(rfgraph.analyze(model, shape))
    assert report.model == "Sequential" and [node.name for node in report.nodes] == [
        "input",
        "0",
        "1",
        "2",
    ]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_wrapped_child_is_named_as_it_would_be_without(wrap: str) -> None:
    child = stack()
    model = nn.Sequential(nn.Conv2d(3, 3, 1), WRAPPERS[wrap](child))
    before = deep.picture(model[0], dict(model[1]._modules), child)
    expected = rfgraph.analyze(nn.Sequential(model[0], child), SHAPE)
    wrapped = model[1]
    assert str(rfgraph.analyze(model, SHAPE)) == str(expected)
    assert model[1] is wrapped
    before.pop("1"), before.pop("1.order", None)
    after = deep.picture(model[0], dict(model[1]._modules), child)
    after.pop("1"), after.pop("1.order", None)
    deep.assert_same(before, after)


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_wrapped_model_is_verified_as_the_model_inside(wrap: str) -> None:
    model = stack()
    check = rfgraph.verify(WRAPPERS[wrap](model), SHAPE)
    assert check.agrees and str(check) == str(rfgraph.verify(model, SHAPE))
    assert rfgraph.verify(nn.Sequential(WRAPPERS[wrap](stack()), nn.ReLU()), SHAPE).agrees


def test_effective_looks_inside_as_well() -> None:
    model = stack()
    assert str(rfgraph.effective(torch.compile(model), SHAPE)) == str(
        rfgraph.effective(model, SHAPE)
    )


def test_a_module_that_was_compiled_in_place_runs_as_it_is_written() -> None:
    def backend(graph: Any, inputs: Any) -> Any:
        raise AssertionError("nothing is compiled")

    model = stack()
    expected = str(rfgraph.analyze(model, SHAPE))
    model.compile(backend=backend)
    model[0].compile(backend=backend)
    called = model._compiled_call_impl
    assert str(rfgraph.analyze(model, SHAPE)) == expected
    assert rfgraph.verify(model, SHAPE).agrees
    assert model._compiled_call_impl is called and called is not None


def test_hooks_on_a_wrapper_are_seen() -> None:
    """They may change what it computes, so it is not passed by."""
    wrapped = nn.DataParallel(stack())
    wrapped.register_forward_hook(lambda module, args, out: out[:, :, 1:])
    assert rfgraph.analyze(nn.Sequential(wrapped), SHAPE).output.shape == (1, 4, 1, 2)
    assert rfgraph.analyze(wrapped, SHAPE).output.shape == (1, 4, 1, 2)


@pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this build of torch has no torch.distributed"
)
def test_a_distributed_model_gives_the_report_of_the_model_inside(tmp_path: Path) -> None:
    model = stack()
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        inside = nn.Sequential(nn.Conv2d(3, 3, 1), wrapped)
        before = deep.picture(inside)
        assert str(rfgraph.analyze(wrapped, SHAPE)) == str(rfgraph.analyze(model, SHAPE))
        assert [node.name for node in rfgraph.analyze(inside, SHAPE)][-1] == "1.2"
        assert rfgraph.verify(wrapped, SHAPE)
        assert deep.picture(inside) == before
    finally:
        torch.distributed.destroy_process_group()


# --- TorchScript ---------------------------------------------------------------------------------


def scripted(model: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(model)


def traced(model: nn.Module) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(model, torch.ones(SHAPE))


@pytest.mark.parametrize("shape", [SHAPE, None])
@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("make", [scripted, traced])
def test_torchscript_is_refused_before_anything_runs(make: Any, ask: Any, shape: Any) -> None:
    whole = make(stack())
    with pytest.raises(
        rfgraph.InputError,
        match=r"^the model is a TorchScript module, whose code cannot be followed: pass",
    ):
        ask(whole, shape)
    assert whole.training
    ran: list[int] = []
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.ReLU(), make(stack())))
    model.register_forward_pre_hook(lambda module, args: ran.append(1))
    with pytest.raises(
        rfgraph.InputError,
        match=r"^'1\.1' is a TorchScript module, whose code cannot be followed: pass",
    ):
        ask(model, shape)
    assert model.training and model[1][1].training and ran == []


# --- lazy modules --------------------------------------------------------------------------------


def lazy() -> nn.Sequential:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(
            nn.Conv2d(3, 3, 1),
            nn.LazyConv2d(4, 3),
            nn.LazyBatchNorm2d(),
            nn.Flatten(),
            nn.LazyLinear(2),
        )


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_lazy_modules_are_analysed_at_a_shape_and_stay_lazy(mode: Any) -> None:
    model = lazy()
    before = deep.picture(model)
    report = rfgraph.analyze(model, SHAPE, mode=mode)
    deep.assert_same(before, deep.picture(model))
    assert report.output.shape == (1, 2)
    assert isinstance(model[1], nn.LazyConv2d) and type(model[1].weight) is UninitializedParameter
    assert type(model[2].running_mean) is UninitializedBuffer
    assert rfgraph.analyze(model, (1, 3, 7, 7)).output.shape == (1, 2)  # at any other shape, too
    model(torch.ones(SHAPE)[:1].repeat(2, 1, 1, 1))
    assert type(model[1]) is nn.Conv2d and model[1].weight.shape == (4, 3, 3, 3)
    assert (
        fields(report) == fields(rfgraph.analyze(model, SHAPE, mode=mode))
        and len(fields(report)) == 6
    )


def test_lazy_modules_without_a_shape_are_refused() -> None:
    model = lazy()
    before = deep.picture(model)
    with pytest.raises(
        rfgraph.InputError,
        match=r"^'1' is a lazy module without weights yet, so no input shape can be worked out: pass one",
    ):
        rfgraph.analyze(model)
    for ask in (rfgraph.verify, rfgraph.effective):
        with pytest.raises(
            rfgraph.InputError,
            match=r"^'1' is a lazy module without weights yet, .*run the model once on an input first$",
        ):
            ask(model, SHAPE)
    deep.assert_same(before, deep.picture(model))


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_lazy_modules_stay_lazy_where_the_forward_stops(error: BaseException) -> None:
    model = lazy()

    def stop(module: nn.Module, args: Any) -> None:
        raise error

    model[4].register_forward_pre_hook(stop, prepend=True)
    before = deep.picture(model)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else rfgraph.CaptureError
    with pytest.raises(expected, match="stop"):
        rfgraph.analyze(model, SHAPE)
    deep.assert_same(before, deep.picture(model))


# --- quantised -----------------------------------------------------------------------------------


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = (
            torch.ao.quantization.QuantStub(),
            torch.ao.quantization.DeQuantStub(),
        )
        self.conv, self.relu, self.fc = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2)
        self.plus = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.conv(self.quant(x)))
        return self.fc(self.dequant(self.plus.add(y, y)).mean((2, 3)))


def quantised(dynamic: bool) -> nn.Module:
    model = Classifier().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamic:
            return torch.ao.quantization.quantize_dynamic(model, {nn.Linear})  # type: ignore[no-any-return]
        engine = next(e for e in torch.backends.quantized.supported_engines if e != "none")
        model.qconfig = torch.ao.quantization.get_default_qconfig(engine)  # type: ignore[assignment]
        prepared = torch.ao.quantization.prepare(model)
        prepared(torch.ones(SHAPE))
        return torch.ao.quantization.convert(prepared)  # type: ignore[no-any-return]


@pytest.mark.parametrize("unknown", ["raise", "whole", "measure"])
@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize(("dynamic", "path"), [(True, "fc"), (False, "quant")])
def test_quantised_modules_are_refused_by_name(
    dynamic: bool, path: str, ask: Any, unknown: Any
) -> None:
    model = quantised(dynamic)
    with pytest.raises(
        rfgraph.CaptureError,
        match=f"^'{path}' is a quantised module, whose operators have no rules: analyse the model as it was",
    ):
        ask(model, SHAPE, on_unknown=unknown)


def test_a_model_that_is_only_ready_to_be_quantised_is_analysed() -> None:
    report = rfgraph.analyze(Classifier(), SHAPE)
    assert str(report["conv"].rf) == "ReceptiveField(size=3, stride=1)"


# --- no numbers ----------------------------------------------------------------------------------


def test_a_model_on_the_meta_device_is_analysed_but_not_verified() -> None:
    model, expected = stack().to("meta"), str(rfgraph.analyze(stack(), SHAPE))
    before = deep.picture(model)
    assert str(rfgraph.analyze(model, SHAPE)) == expected
    for ask in (rfgraph.verify, rfgraph.effective):
        with pytest.raises(
            rfgraph.InputError,
            match=r"^'0' is on the meta device, which holds no numbers to compute with: move",
        ):
            ask(model, SHAPE)
    deep.assert_same(before, deep.picture(model))
