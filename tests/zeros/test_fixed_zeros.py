"""What the model fixes to 0 is not read; what only happens to be 0 is: in every spelling, at every position."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rfgraph
from tests.zeros.changes import changed
from tests.zeros.models import CASES, SEQUENCE, TOKENS, Attention, Kernels, Matrix, PixelCNN


@pytest.mark.parametrize("name", CASES)
def test_sets_are_those_that_changes_show(name: str) -> None:
    build, shape = CASES[name]
    node = rfgraph.analyze(build(), shape).output
    others = tuple(dim for dim in range(len(node.shape)) if dim not in node.dims)
    for axis, dim in enumerate(range(2, len(shape))):
        expected = changed(build, shape, dim).any(axis=others)
        for position in np.ndindex(*(node.shape[d] for d in node.dims)):
            seen = np.flatnonzero(expected[position]).tolist()
            assert node.reads(axis, position).tolist() == seen, f"axis {axis}, {position}"


@pytest.mark.parametrize("name", CASES)
def test_both_probes_agree_at_every_node(name: str) -> None:
    build, shape = CASES[name]
    torch.manual_seed(0)
    check = rfgraph.verify(build(), shape)
    assert check.exact and check.unread == (), str(check)


# --- figures, by hand -------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["multiplied", "where", "masked_fill", "data", "parametrize"])
@pytest.mark.parametrize("kind", ["A", "B"])
def test_a_pixelcnn_reads_nothing_below(kind: str, spelling: str) -> None:
    # Each kernel reads rows -1, 0 of its own, and no row below: along the width all four columns.
    field = rfgraph.analyze(PixelCNN(kind, spelling), (1, 2, 9, 11)).output.rf
    assert field.size == (3, 7) and field.offset == (-2, -4) and field.closed_form == (True, True)
    assert field.reach[0] == (2, 0)


def test_the_first_pixel_of_a_pixelcnn_of_kind_a_reads_nothing() -> None:
    node = rfgraph.analyze(PixelCNN("A", "multiplied"), (1, 2, 5, 6)).output
    assert node.region((0, 0)) is None
    assert node.reads(1, (0, 3)).tolist() == [0, 1, 2]  # on the first row: what is left of it


def test_fixed_taps_leave_holes_at_any_size() -> None:
    field = rfgraph.analyze(Kernels("blur"), (1, 3, 40)).output.rf
    assert (field.size, field.dilation, field.density) == ((5,), (2,), (0.6,))
    assert field.stride == (2,) and field.closed_form == (True,)


def test_taps_of_channels_that_stay_apart_stay_apart() -> None:
    # Channel 0 reads one to the left, twice; channel 2 to the right: nobody reads its own place and both.
    node = rfgraph.analyze(Kernels("shift twice"), (1, 3, 9)).output
    read = [node.reads(0, (0, channel, 4)).tolist() for channel in range(3)]
    assert read == [[2], [4], [6]]


@pytest.mark.parametrize("kind", ["tril", "toeplitz", "softmax", "decay", "buffer"])
def test_a_triangular_matrix_reads_the_past_at_this_size(kind: str) -> None:
    field = rfgraph.analyze(Matrix(kind), SEQUENCE).output.rf
    assert field.whole == (False,) and field.closed_form == (False,)
    assert field.reach == ((TOKENS - 1, 0),) and field.size_range == ((1, TOKENS),)


@pytest.mark.parametrize("spelling", ["retention", "learned retention", "mlstm", "mamba 2"])
def test_a_decayed_product_has_no_look_ahead(spelling: str) -> None:
    node = rfgraph.analyze(Attention(spelling), SEQUENCE).output
    assert [node.reads(0, (t,)).tolist() for t in range(TOKENS)] == [
        list(range(t + 1)) for t in range(TOKENS)
    ]
    assert node.rf.whole == (False,) and node.rf.reach == ((TOKENS - 1, 0),)


# --- parameters that are 0 ----------------------------------------------------------------------------


class Scaled(nn.Module):
    """A parameter of zeros, in the spellings in which it is no `nn.Parameter` any more."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.scale = nn.Parameter(torch.zeros(TOKENS))
        self.scores = nn.Parameter(torch.arange(TOKENS * 1.0))
        self.viewed = self.scale.detach().view(1, 1, -1)

    def forward(self, x: Tensor) -> Tensor:
        scale = {
            "itself": lambda: self.scale,
            "a view": lambda: self.scale.view(1, 1, -1),
            "a view made before": lambda: self.viewed,
            "a half of it": lambda: torch.cat([self.scale[:3], self.scale[:4] + 1]),
            "a softmax of it": lambda: torch.softmax(self.scale, 0) - 1 / TOKENS,
            "a rectified difference": lambda: torch.relu(self.scale[:1] - self.scores),
            "the largest of it": lambda: self.scores * (self.scores >= self.scores.topk(2)[0][-1]),
            "copied": lambda: torch.zeros(TOKENS).to(x).copy_(self.scale),
        }[self.how]()
        return x * scale


ZERO = (
    *("itself", "a view", "a view made before", "a half of it", "a softmax of it"),
    *("a rectified difference", "the largest of it", "copied"),
)


@pytest.mark.parametrize("how", ZERO)
def test_what_parameters_decide_is_read(how: str) -> None:
    model = Scaled(how)
    node = rfgraph.analyze(model, SEQUENCE).output
    assert [node.reads(0, (t,)).tolist() for t in range(TOKENS)] == [[t] for t in range(TOKENS)]
    assert node.rf.closed_form == (True,)


@pytest.mark.parametrize("how", ZERO)
def test_the_probes_read_what_parameters_decide(how: str) -> None:
    check = rfgraph.verify(Scaled(how), SEQUENCE)
    assert check.exact, str(check)


def test_weights_that_were_masked_before_are_weights() -> None:
    # A mask that is applied once, when the model is built, is lost when its weights are loaded or trained.
    conv = nn.Conv1d(2, 2, 3, padding=1)
    with torch.no_grad():
        conv.weight[:, :, 2] = 0
    assert rfgraph.analyze(conv, (1, 2, 9)).output.rf.size == (3,)


def test_a_buffer_that_is_0_everywhere_is_yet_to_be_filled() -> None:
    class Faded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("alpha", torch.zeros(()))
            self.conv = nn.Conv1d(2, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.alpha * self.conv(x)

    assert rfgraph.analyze(Faded(), (1, 2, 9)).output.rf.size == (3,)


# --- closed forms -------------------------------------------------------------------------------------


class Rotated(nn.Module):
    """Rotary positions: the sines at position 0 are 0."""

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[-1])[:, None].to(x) * torch.tensor([1.0, 0.1, 1.0, 0.1]).to(x)
        x = x.transpose(1, 2)
        turned = torch.cat([-x[..., 2:], x[..., :2]], -1)
        return x * angles.cos() + turned * angles.sin()


def test_zeros_at_the_border_leave_a_closed_form() -> None:
    node = rfgraph.analyze(Rotated(), (1, 4, 9)).output
    assert node.rf.closed_form == (True,) and node.rf.size == (1,)
    check = rfgraph.verify(Rotated(), (1, 4, 9))
    assert check.exact, str(check)


def test_channels_of_a_scale_that_are_0_leave_a_closed_form() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.tensor([0.5, 0.0, 2.0, 1.5]).view(1, -1, 1, 1))
            self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x) * self.scale)

    check = rfgraph.verify(Frozen(), (1, 3, 9, 10))
    assert check.exact, str(check)
    field = rfgraph.analyze(Frozen(), (1, 3, 9, 10)).output.rf
    assert field.size == (5, 5) and field.closed_form == (True, True)


# --- zeros that are no mask's -------------------------------------------------------------------------

PADDED: dict[str, nn.Module] = {
    "a padded convolution": nn.Conv1d(1, 1, 1, padding=2, bias=False),
    "a transposed one that leaves places out": nn.ConvTranspose1d(1, 1, 1, stride=2, bias=False),
    "padding": nn.ConstantPad1d((2, 1), 0.0),
}


@pytest.mark.parametrize("name", PADDED)
def test_a_product_with_zeros_of_padding_reads_its_other_factor(name: str) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = PADDED[name]

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * x.mean(2, keepdim=True)

    assert rfgraph.analyze(Gated(), (1, 1, 6)).output.reads(0, 0).tolist() == [0, 1, 2, 3, 4, 5]
    check = rfgraph.verify(Gated(), (1, 1, 6))
    assert check.agrees, str(check)
