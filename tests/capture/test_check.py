"""`check=True`: the captured graph is run beside the model, and faults that are planted in a capture are told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph import gallery
from rfgraph.capture import formulas, memory, shapes
from rfgraph.graph import Node

GALLERY = {
    "unet": (1, 1, 32, 48),
    "unet_bilinear": (1, 1, 32, 48),
    "tcn": (1, 4, 90),
    "se_net": (1, 3, 32, 40),
    "wave_encoder": (1, 1, 600),
    "vit": (1, 3, 32, 32),
}


class Writes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("seen", torch.zeros(2, 4, 7))

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.norm(self.conv(x))
        y[:, :2] += y[:, 2:]
        self.seen += y.detach()
        return {"y": self.drop(y), "rest": (self.seen * 2, None)}


@pytest.mark.parametrize("name", GALLERY)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_every_gallery_model_passes(name: str, mode: Any) -> None:
    rfgraph.analyze(getattr(gallery, name)(), GALLERY[name], mode=mode, check=True)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("capture", ["fx", "export"])
def test_writes_random_numbers_and_nested_results_pass(capture: Any, mode: Any) -> None:
    model = Writes()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rfgraph.analyze(model, (2, 2, 7), capture=capture, mode=mode, check=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_program_passes_and_the_callers_tensors_are_used() -> None:
    class Asserting(nn.Module):
        def forward(self, x: Tensor, index: Tensor) -> Tensor:
            return x[:, index]

    model, given = Asserting(), {"x": (2, 5), "index": torch.tensor([4, 0])}
    rfgraph.analyze(model, given, axes={"x": (1,)}, check=True)
    program = torch.export.export(model, (torch.randn(2, 5), given["index"]))
    rfgraph.analyze(program, axes={"x": (1,)}, check=True)
    given["index"] = torch.tensor([4, 7])  # out of bounds: they are the ones that are used
    with pytest.raises(IndexError, match="index 7 is out of bounds"):
        rfgraph.analyze(model, given, axes={"x": (1,)}, check=True)


def test_a_lost_write_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "written", lambda target, value, record: None)
    assert rfgraph.analyze(Writes(), (2, 2, 7))
    with pytest.raises(
        rfgraph.CaptureError,
        match=r"the captured graph of Writes does not compute what the model does: '(y|rest\.0)' differs from "
        r"the model's by up to .*; look at report\.fx",
    ):
        rfgraph.analyze(Writes(), (2, 2, 7), check=True)


def _one_longer(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A model of a conv1d, whose formula says 8 positions where it returns 7."""
    hold = formulas.hold

    def longer(infer: Any, dtype: Any, target: Any, bound: Any, ask: Any) -> Any:
        wrong = infer if bound.op != "conv1d" else lambda *_: (2, 4, 8)
        return hold(wrong, dtype, target, bound, ask)

    monkeypatch.setattr(formulas, "hold", longer)
    return nn.Sequential(nn.Conv1d(2, 4, 3, padding=1, dilation=1, bias=False), nn.ReLU())


def test_a_wrong_formula_is_noticed_by_every_analysis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "_HELD", {})
    model = _one_longer(monkeypatch)
    for _ in range(2):  # what was wrong once is asked again
        with pytest.raises(
            rfgraph.CaptureError,
            match=r"conv1d failed on .* in '0': torch returns \(\(2, 4, 7\), torch.float32\), and rfgraph's formula "
            r"says \(\(2, 4, 8\), torch.float32\); please report this",
        ):
            rfgraph.analyze(model, (2, 2, 7))


def test_torch_is_asked_once_for_equal_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "_HELD", {})
    asked: list[str] = []
    apart = shapes.Shapes.apart

    def counted(self: Any, target: Any, *given: Any) -> Any:
        asked.append(type(target).__name__)
        return apart(self, target, *given)

    monkeypatch.setattr(shapes.Shapes, "apart", counted)
    model = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, 3, padding=1), nn.Tanh())
    rfgraph.analyze(model, (1, 2, 7))
    rfgraph.analyze(model, (1, 2, 7))
    assert asked == ["Conv1d", "Tanh"]
    rfgraph.analyze(model, (1, 2, 8))
    assert asked == ["Conv1d", "Tanh"] * 2


@pytest.mark.parametrize(
    ("refused", "shape", "message"),
    [
        (nn.ReflectionPad1d(4), (1, 2, 4), r"Padding size should be less than .* dimension"),
        (nn.AvgPool3d((1, 5, 1), padding=(0, 2, 0)), (1, 2, 3, 1, 3), r"smaller than kernel size"),
        (nn.PReLU(3), (1, 4, 5), r"parameter numbers = 3 and channel size = 4"),
        (nn.InstanceNorm1d(3, affine=True), (1, 4, 5), r"to match num_features \(3\), but got: 4"),
        (
            nn.GroupNorm(2, 4),
            (1, 6, 5),
            r"Expected weight to be a vector of size equal to the number",
        ),
    ],
    ids=["reflect", "avg_pool3d", "prelu", "instance_norm", "group_norm"],
)
def test_what_torch_refuses_is_refused(refused: nn.Module, shape: Any, message: str) -> None:
    with pytest.raises(rfgraph.CaptureError, match=message):
        rfgraph.analyze(nn.Sequential(nn.ReLU(), refused), shape)


def test_a_hook_is_not_run_to_ask_for_a_shape() -> None:
    seen: list[torch.device] = []
    conv = nn.Conv1d(2, 2, 3)
    conv.register_forward_hook(lambda module, args, result: seen.append(result.device))
    rfgraph.analyze(conv, (1, 2, 11))
    assert torch.device("meta") not in seen


def test_a_wrong_shape_is_told_at_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "_HELD", {})
    monkeypatch.setattr(formulas, "_is_confirmed", lambda *given: True)
    model = _one_longer(monkeypatch)
    with pytest.raises(
        rfgraph.CaptureError,
        match=r"'0' \(conv1d.*\) has shape \(2, 4, 7\), not \(2, 4, 8\) as it was captured",
    ):
        rfgraph.analyze(model, (2, 2, 7), check=True)


def test_a_model_without_numbers_is_refused() -> None:
    with torch.device("meta"):
        model = nn.Conv1d(2, 4, 3)
    assert rfgraph.analyze(model, (1, 2, 9))
    with pytest.raises(rfgraph.InputError, match="on the meta device, which holds no numbers"):
        rfgraph.analyze(model, (1, 2, 9), check=True)


def test_shapes_are_looked_at_on_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    shape = rfgraph.faithful._shape

    def look(node: Node, value: Any) -> list[str]:
        looked.append(node.name)
        return shape(node, value)

    monkeypatch.setattr(rfgraph.faithful, "_shape", look)
    report = rfgraph.analyze(Writes(), (2, 2, 7), check=True)
    assert looked == [node.name for node in report.nodes]
