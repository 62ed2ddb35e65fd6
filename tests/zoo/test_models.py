"""Models of torchvision, one of each family, analysed as they come.

The list is short and the inputs are small; `benchmarks/zoo` analyses all of them. What is held here
are guarantees, not figures: those are in `tests/published/`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

import rfgraph
from tests.properties.other_sizes import GRIDS, held_at_other_sizes, other_reports
from tests.zoo.torchvision_shim import torchvision

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

# Sides differ, so that mixing up the axes shows; classifiers of tokens take the side they were built for.
IMAGE = (1, 3, 96, 128)
MODELS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            *("alexnet", "vgg11_bn", "squeezenet1_0", "googlenet", "densenet121"),
            *("resnet18", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_small"),
            *("efficientnet_b0", "efficientnet_v2_s", "shufflenet_v2_x1_5", "mnasnet0_5"),
            *("regnet_y_400mf", "convnext_tiny", "swin_t", "swin_v2_t"),
            *("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"),
        ),
        IMAGE,
    ),
    "inception_v3": (1, 3, 299, 331),
    "vit_b_32": (1, 3, 224, 224),
}


def build(name: str) -> nn.Module:
    """The model without its weights, on the meta device where it can be built there."""
    builder = torchvision.models.get_model_builder(name)
    unset: dict[str, Any] = {"weights": None, "weights_backbone": None, "init_weights": False}
    accepted = inspect.signature(builder).parameters
    options = {option: value for option, value in unset.items() if option in accepted}
    if name in (
        "googlenet",
        "inception_v3",
    ):  # it is one of their **kwargs, and initialising is slow
        options["init_weights"] = False
    try:
        with torch.device("meta"):
            return builder(**options)
    except NotImplementedError:  # RegNet works its widths out with tensors
        return builder(**options)


def assert_answers(node: rfgraph.NodeReport) -> None:
    """Along each axis: the whole axis, or a size that a person can read; and a reason for what is amiss."""
    for field in node.rfs.values():
        for size, whole in zip(field.size, field.whole, strict=True):
            assert (size == inf) == whole
            assert size is None or size >= 0
        assert bool(field.causes) == any(field.whole)
        assert bool(field.limits) == (not all(field.closed_form))
        unanswered = None in field.size
        assert not unanswered, f"{node.name}: {field}"


@pytest.mark.parametrize("name", MODELS)
def test_every_node_has_an_answer_and_every_way_out_works(name: str) -> None:
    report = rfgraph.analyze(build(name), MODELS[name])  # raises on an operator without a rule
    for node in report.nodes:
        assert_answers(node)
    assert len(str(report).splitlines()) > len(report)
    plain = json.loads(json.dumps(report.to_dict()))
    assert [node["name"] for node in plain["nodes"]] == [node.name for node in report.nodes]


@pytest.mark.parametrize("name", MODELS)
def test_closed_forms_hold_at_two_other_sizes(name: str) -> None:
    model = build(name)
    report = rfgraph.analyze(model, MODELS[name])
    others = other_reports(report, lambda shapes: rfgraph.analyze(model, shapes), GRIDS)
    assert bool(others) == (name != "vit_b_32")
    assert (held_at_other_sizes(report, others, inside=False) > 0) == bool(others)


@pytest.mark.parametrize("name", ["resnet18", "swin_t"])
def test_a_model_on_the_meta_device_is_like_one_that_holds_values(name: str) -> None:
    builder = torchvision.models.get_model_builder(name)
    real, meta = rfgraph.analyze(builder(weights=None), IMAGE), rfgraph.analyze(build(name), IMAGE)
    assert len(real) == len(meta)
    for one, other in zip(real.nodes, meta.nodes, strict=True):
        assert (one.name, one.op, one.shape) == (other.name, other.op, other.shape)
        for fields in zip(one.rfs.values(), other.rfs.values(), strict=True):
            assert len({(field.whole, field.closed_form, field.causes) for field in fields}) == 1


FLOW = (1, 3, 128, 136)
RUN: dict[str, list[tuple[int, ...]]] = {
    **{name: [shape] for name, shape in MODELS.items()},
    "inception_v3": [(1, 3, 96, 112)],
    "maxvit_t": [(1, 3, 224, 224)],
    "mvit_v2_s": [(1, 3, 16, 224, 224)],
    "r3d_18": [(1, 3, 8, 40, 48)],
    "swin3d_t": [(1, 3, 8, 40, 48)],
    "raft_small": [FLOW, FLOW],
}
"""Inputs of models that are run, which costs more than an analysis."""


@pytest.mark.parametrize("name", RUN)
def test_the_captured_graph_computes_what_the_model_computes(name: str) -> None:
    builder = torchvision.models.get_model_builder(name)
    accepted = inspect.signature(builder).parameters
    model = builder(**{o: None for o in ("weights", "weights_backbone") if o in accepted}).eval()
    tensors = [torch.randn(shape) for shape in RUN[name]]
    captured = rfgraph.analyze(model, tensors).fx
    with torch.no_grad():
        expected = pytree.tree_leaves(model(*(tensor.clone() for tensor in tensors)))
        for run in (captured, fx.Interpreter(captured).run):
            found = pytree.tree_leaves(run(*(tensor.clone() for tensor in tensors)))
            assert len(found) == len(expected)
            assert all(map(torch.equal, found, expected))


# --- the script ---------------------------------------------------------------------------------


class Untaught(nn.Module):
    """One convolution, and an operator that rfgraph has no rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, (3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(self.conv(x), x[:, :2, :5, 1:-2])


class Failing(Untaught):
    """A forward that no input fits."""

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("the forward failed")


class Branching(Untaught):
    """A forward that decides by data, which `torch.fx` does not trace."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.shape[2] > 4 else x


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`benchmarks/zoo`, imported as it is when it runs as a script."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import zoo

    return zoo


def test_the_zoo_prints_a_row_and_passes(zoo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo.main(["--model", "alexnet"]) == 0
    told = capsys.readouterr().out
    assert "195" in told
    assert "1 of 1 classification and segmentation models traced and analysed" in told


@pytest.mark.parametrize(
    ("model", "told"),
    [(Untaught, "cdist x1"), (Failing, "CaptureError"), (Branching, "0 of 1")],
)
def test_the_zoo_fails_on_a_model_that_is_not_analysed_whole(
    zoo: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: type[nn.Module],
    told: str,
    untaught: Callable[..., None],
) -> None:
    untaught("cdist")
    monkeypatch.setattr(zoo, "build", lambda _: model())
    assert zoo.main(["--model", "alexnet"]) == 1
    assert told in capsys.readouterr().out


def test_the_zoo_fails_where_no_model_has_the_name(zoo: Any) -> None:
    assert zoo.main(["--model", "alexnett"]) == 1
