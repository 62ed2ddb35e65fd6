"""Descriptions written by hand: the code they print, the module they build, what they refuse."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pytest
import torch

import rfgraph
from rfgraph.testing.describe import (
    Cat,
    ChannelsLast,
    Conv,
    Dense,
    Description,
    Feed,
    Pad,
    Pointwise,
    Pool,
    Repeat,
    Residual,
    Slice,
    SqueezeExcite,
    Swapped,
    Tap,
)

MODEL = Description(
    shape=(1, 2, 8, 9),
    layers=(
        Conv(kernel_size=(1, 2), stride=(2, 1), out_channels=2),
        Tap(),
        Residual(
            body=(
                Conv(kernel_size=(3, 3), padding="same", out_channels=2, functional=True),
                Pointwise(),
            )
        ),
        Repeat(body=(Pool(kernel_size=(2, 1), stride=(1, 1)),)),
        Feed(shape=(1, 2, 8), how="cat"),
        Swapped(body=(Slice(slices=((1, None, 2), (None, -1, None))),)),
    ),
    returns="dict",
    seed=3,
)
CODE = """\
import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 2, (1, 2), stride=(2, 1))
        self.weight1 = nn.Parameter(torch.randn(2, 2, 3, 3))
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d((2, 1), stride=1)

    def forward(self, x, side1):
        x = self.conv1(x)  # (1, 2, 4, 8)
        out1 = x
        y1 = F.conv2d(x, self.weight1, padding='same')  # (1, 2, 4, 8)
        y1 = self.relu1(y1)  # (1, 2, 4, 8)
        x = y1 + x  # (1, 2, 4, 8)
        x = self.pool1(x)  # (1, 2, 3, 8)
        x = self.pool1(x)  # (1, 2, 2, 8)
        x = torch.cat([x, side1], dim=1)  # (1, 3, 2, 8)
        y2 = x.transpose(2, 3)  # (1, 3, 8, 2)
        y2 = y2[:, :, 1::2, :-1]  # (1, 3, 4, 1)
        x = y2.transpose(2, 3)  # (1, 3, 1, 4)
        return {'out1': out1, 'last': x}


torch.manual_seed(3)
model = Model().eval()
input_shapes = {'x': (1, 2, 8, 9), 'side1': (1, 1, 2, 8)}
"""


def test_a_description_prints_as_code() -> None:
    assert MODEL.code() == repr(MODEL) == CODE
    assert MODEL.input_shapes == {"x": (1, 2, 8, 9), "side1": (1, 1, 2, 8)}
    assert MODEL.shapes == (
        (1, 2, 8, 9),
        (1, 2, 4, 8),
        (1, 2, 4, 8),
        (1, 2, 4, 8),
        (1, 2, 2, 8),
        (1, 3, 2, 8),
        (1, 3, 1, 4),
    )
    assert MODEL.count == 10


def test_the_code_stands_alone() -> None:
    code = f"{CODE}print(model.weight1[0, 0, 0].tolist())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    weight = MODEL.build().weight1
    assert ran.stdout.strip() == str(weight[0, 0, 0].tolist())


def test_building_leaves_the_random_state_as_it_was() -> None:
    before = torch.get_rng_state()
    built = MODEL.build()
    assert torch.equal(torch.get_rng_state(), before)
    assert not built.training
    other = Description(shape=MODEL.shape, layers=MODEL.layers, seed=4).build()
    assert not torch.equal(built.weight1, other.weight1)


def test_a_traceback_shows_the_line_of_the_code() -> None:
    model = MODEL.build()
    with pytest.raises(RuntimeError, match="expected input") as caught:
        model(torch.zeros(1, 3, 8, 9), torch.zeros(1, 1, 2, 8))
    shown = "".join(traceback.format_tb(caught.value.__traceback__))
    assert "x = self.conv1(x)  # (1, 2, 4, 8)" in shown


def test_each_layer_is_one_node() -> None:
    report = rfgraph.analyze(MODEL.build(), MODEL.input_shapes)
    assert [node.name for node in report.nodes] == [
        *("x", "side1", "conv1", "conv2d", "relu1", "add", "pool1", "pool1_1", "cat"),
        *("transpose", "getitem", "transpose_1"),
    ]
    assert list(report.outputs) == ["out1", "last"]


def test_layers_print_what_they_are_told() -> None:
    conv = Conv(kernel_size=(3,), stride=(1,))
    assert repr(conv) == "Conv(kernel_size=(3,), stride=(1,))"
    assert repr(Residual(body=(conv,), how="mul")) == f"Residual(body=({conv!r},), how='mul')"
    assert repr(SqueezeExcite()) == "SqueezeExcite()"


def test_a_repetition_of_a_repetition_uses_the_same_modules() -> None:
    inner = Repeat(body=(Conv(kernel_size=(2,)), Pointwise()))
    model = Description(
        shape=(1, 1, 9), layers=(Repeat(body=(inner, Conv(kernel_size=(1,)))), Pointwise())
    )
    built = model.build()
    assert [name for name, _ in built.named_children()] == ["conv1", "relu1", "conv2", "relu2"]
    calls = [
        line.split("self.")[1].split("(")[0] for line in model.code().splitlines() if "(x)" in line
    ]
    once = ["conv1", "relu1", "conv1", "relu1", "conv2"]
    assert calls == [*once, *once, "relu2"]
    assert built(torch.zeros(1, 1, 9)).shape == model.output_shape == (1, 1, 5)


def test_a_dense_block_reads_all_that_came_before() -> None:
    part = (Conv(kernel_size=(1,)),)
    code = Description(shape=(1, 2, 5), layers=(Dense(parts=(part, part)),)).code()
    assert "x = torch.cat([x, y1, y2], dim=1)  # (1, 4, 5)" in code
    assert "y2 = torch.cat([x, y1], dim=1)  # (1, 3, 5)" in code


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((Conv(kernel_size=(7,)),), r"leaves nothing of its input: .* would be \(1, -1\)"),
        ((Pad(pads=((-3, -2),)),), r"F.pad\(x, \(-3, -2\)\) leaves nothing"),
        (
            (Residual(body=(Conv(kernel_size=(2,)),)),),
            r"add of branches of shapes \(1, 4\) and \(1, 5\)",
        ),
        (
            (Residual(body=(Conv(kernel_size=(1,), out_channels=3),), how="mul"),),
            r"mul of branches of shapes \(3, 5\) and \(1, 5\)",
        ),
        (
            (Cat(branches=((), (Slice(slices=((None, None, 2),)),))),),
            r"cat of branches of sizes \(3,\), \(5,\)",
        ),
        (
            (Repeat(body=(Conv(kernel_size=(1,), out_channels=2),)),),
            r"cannot use nn.Conv1d\(1, 2, 1\) again where nn.Conv1d\(2, 2, 1\) is needed",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Description(shape=(1, 1, 5), layers=layers).build()


def test_channels_last_and_back() -> None:
    model = Description(shape=(1, 2, 3, 4, 5), layers=(ChannelsLast(out_channels=3),))
    built = model.build()
    x = torch.randn(1, 2, 3, 4, 5)
    expected = torch.einsum("ncdhw,oc->nodhw", x, built.linear1.weight)
    expected += built.linear1.bias.reshape(1, 3, 1, 1, 1)
    torch.testing.assert_close(built(x), expected)
