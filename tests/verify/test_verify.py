"""`rfgraph.verify`: numbers agree with the analysis at every node, and name the node where they do not."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph.capture import capture
from rfgraph.gallery import CausalTCN, SqueezeExciteNet, UNet, VisionTransformer, WaveEncoder
from rfgraph.graph import Node
from rfgraph.language.reads import Reads
from rfgraph.probe import GradientProbe
from rfgraph.rules import VOCABULARY
from tests import models
from tests.capture.test_untouched import assert_same, snapshot
from tests.probe.support import axis_set
from tests.verify.mutants import taught

GALLERY: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "unet": (lambda: UNet(2), (1, 1, 28, 36)),
    "unet bilinear": (lambda: UNet(2, bilinear=True), (1, 1, 36, 28)),
    "tcn": (CausalTCN, (1, 4, 150)),
    "squeeze-excite": (SqueezeExciteNet, (1, 3, 33, 26)),
    "wave encoder": (WaveEncoder, (1, 1, 900)),
    "vit": (VisionTransformer, (1, 3, 224, 224)),
}
LAYOUTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "nine convolutions": (models.nine_convolutions, (1, 1, 40, 44)),
    "dilated with holes": (lambda: models.dilated(2, 2, 2), (1, 1, 40, 36)),
    "patchgan": (models.patchgan, (1, 3, 70, 75)),
    "wave encoder": (models.WaveEncoder, (1, 1, 1000)),
    "squeeze-excite resnet": (models.se_resnet, (1, 3, 64, 33)),
    "lopsided resnet": (models.lopsided_resnet, (1, 1, 40, 64)),
    "mobilenet v2": (models.mobilenet_v2, (1, 3, 64, 32)),
    "chain": (lambda: models.chain((1, 7), (7, 1), (3, 3), stride=2), (1, 2, 60, 71)),
}


@pytest.mark.parametrize("name", GALLERY)
def test_gallery_models_are_equal_at_every_node(name: str) -> None:
    build, shape = GALLERY[name]
    check = rfgraph.verify(build(), shape, rows=24)
    assert check and check.exact, str(check)
    assert check.checked.nodes == len(rfgraph.analyze(build(), shape))


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_layouts_are_equal_at_every_node(name: str) -> None:
    build, shape = LAYOUTS[name]
    check = rfgraph.verify(build(), shape, rows=12)
    assert check.exact, str(check)


@pytest.mark.parametrize(
    ("counts", "size", "offset"), [((3, 4, 6, 3), 427, -213), ((3, 8, 36, 3), 1451, -725)]
)
@pytest.mark.parametrize("axis", [2, 3])
def test_the_gradient_itself_shows_the_field_of_a_resnet_on_a_strip(
    counts: tuple[int, ...], size: int, offset: int, axis: int
) -> None:
    # resnet50 and resnet152: 32 pixels a step, so output 24 reads from 768 - 725 = 43 on.
    model = models.resnet(models.bottleneck, *counts)
    output = -(offset // 32)
    shape = [1, 3, 32, 32]
    shape[axis] = 32 * (output + (size + offset) // 32 + 2)
    graph = capture(model, tuple(shape), VOCABULARY).graph
    (name,) = graph.outputs.values()
    place = {axis: output, 5 - axis: 0}
    found = axis_set(GradientProbe(graph), name, place, next(iter(graph.inputs)), axis)
    assert found[0] == 32 * output + offset
    assert found[-1] - found[0] + 1 == size


def test_a_field_larger_than_the_input_is_checked_on_strips() -> None:
    model = nn.Sequential(*(nn.Conv2d(1, 1, (7, 3), padding=(3, 1)) for _ in range(3)))
    check = rfgraph.verify(model, (1, 1, 8, 30))
    assert check.exact and check.checked.strips > 0  # 19 rows


def test_a_strip_on_which_the_model_takes_other_steps_shows_nothing() -> None:
    """On a strip of one row, the row that is written is the whole, and no assignment is left."""

    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, (1, 9), padding=(0, 4))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            y.narrow(2, 0, 1).add_(1)
            return y

    check = rfgraph.verify(Written(), (1, 1, 3, 4), rows="all")
    assert check.exact and check.checked.strips > 0


# --- a wrong rule -------------------------------------------------------------------------------


def shifted(node: Node) -> Reads:
    """The rule of a convolution that forgets one pixel of its padding."""
    right = VOCABULARY.operators["conv2d"].rule(node)
    if node.name != "down.1.2":
        return right
    dims = [
        rfgraph.along(d.dims[0], d.law.relation.compose(rfgraph.Relation.window(1, left_padding=1)))
        if i > 1
        else d
        for i, d in enumerate(right[0].dims)
    ]
    return (rfgraph.Read(0, tuple(dims)), *right[1:])


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> rfgraph.Verification:
    monkeypatch.setattr("rfgraph.analysis.VOCABULARY", taught("conv2d", shifted))
    return rfgraph.verify(UNet(2), (1, 1, 16, 20), rows="all")


def test_a_wrong_rule_is_blamed_on_its_node(check: rfgraph.Verification) -> None:
    assert not check and not check.exact
    assert check.blame is not None
    assert (check.blame.node, check.blame.op) == ("down.1.2", "conv2d")
    assert check.blame.params["kernel_size"] == (3, 3)
    assert check.mismatches[0].node == "down.1.2" and check.mismatches[0].kind == "understated"
    assert "the first node to differ is 'down.1.2' (conv2d, gallery.py:" in str(check)


def test_nodes_after_the_fault_follow_and_are_not_blamed(check: rfgraph.Verification) -> None:
    rows = {row.node: row for row in check.rows}
    assert rows["down.1.0"].poison == "equal"
    assert "down.1.3" not in [mismatch.node for mismatch in check.mismatches]
    assert rows["down.1.3"].poison == "outside" and rows["down.1.3"].gradient == "follows"
    assert "follows" in {row.gradient for row in check.rows}


def test_the_repro_is_code_that_runs(check: rfgraph.Verification) -> None:
    assert check.blame is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(check.blame.repro, "repro", "exec"), {})
    assert "Conv2d" in printed.getvalue()


def test_the_json_says_what_the_text_says(check: rfgraph.Verification) -> None:
    data = json.loads(json.dumps(check.to_dict()))
    assert data["agrees"] is False and data["blame"]["node"] == "down.1.2"
    assert data["mismatches"][0]["analytic"] != data["mismatches"][0]["numeric"]
    assert len(data["rows"]) == data["checked"]["nodes"]


def test_it_is_raised_with_everything_that_is_known(check: rfgraph.Verification) -> None:
    with pytest.raises(
        rfgraph.VerificationError, match=r"(?s)'down.1.2' at .* understated.*import rfgraph"
    ):
        check.require()


# --- what is not shown is not claimed --------------------------------------------------------------


class Hidden(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.matrix_exp(x.nan_to_num())


def test_what_no_probe_can_read_is_told(untaught: Callable[..., None]) -> None:
    untaught("matrix_exp")
    check = rfgraph.verify(Hidden(), (1, 1, 4, 4), on_unknown="whole")
    assert not check.exact
    assert [row.node for row in check.unread] == ["linalg_matrix_exp"]
    assert "not read by any probe" in str(check)


def test_the_sizes_of_a_sample_of_rows_are_checked() -> None:
    with pytest.raises(
        rfgraph.InputError, match="rows must be 'auto', 'all' or a positive number, got 0"
    ):
        rfgraph.verify(UNet(1), (1, 1, 8, 8), rows=0)


# --- untouched ----------------------------------------------------------------------------------


class Interrupted(nn.Module):
    """Fails when it is run on real tensors, in one way or another."""

    def __init__(self, error: type[BaseException] | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.error = error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.error is not None and type(x) is torch.Tensor:
            raise self.error("now")
        return self.norm(self.conv(x))


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_the_model_is_untouched(error: type[BaseException] | None) -> None:
    model = Interrupted(error).train()
    model.norm(model.conv(torch.randn(2, 1, 5, 5)))  # statistics of its own
    before = snapshot(model)
    expected = (
        contextlib.nullcontext()
        if error is None
        else pytest.raises((rfgraph.RfgraphError, KeyboardInterrupt), match="now")
    )
    with expected:
        assert rfgraph.verify(model, (1, 1, 9, 8))
    assert_same(before, snapshot(model))


def test_effective_fields_come_with_their_protocol() -> None:
    model = nn.Sequential(*(nn.Conv2d(1 if i == 0 else 4, 4, 5) for i in range(4)))  # 17 pixels
    found = rfgraph.effective(model, (1, 1, 41, 43))
    assert np.isclose(found.map.sum(), 1)
    sides = [share.side for share in found.shares]
    assert sides == sorted(sides) and sides[0] < sides[-1] <= 17
    assert found.samples == 8 and found.magnitude == "absolute"
