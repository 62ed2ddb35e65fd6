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
    View,
    Write,
    Written,
    Zeros,
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


FULL = (None, None, None)
WRITTEN = Description(
    shape=(1, 2, 4, 6),
    layers=(
        Written(
            writes=(
                Write(
                    how="add_",
                    path=(View("index", ((None, 1, None), FULL, FULL)),),
                    pick=(View("narrow", (1, 1, 1)),),
                ),
                Write(
                    how="+=",
                    path=(View("chunk", (2, 3, 1)),),
                    value=(Pointwise(kind="tanh", functional=True),),
                    pick=(View("index", (FULL, FULL, (1, 4, None))),),
                    own=True,
                ),
                Write(how="masked_fill_ by place", path=(View("view"),), named=True),
            ),
            earlier=(Pointwise(),),
        ),
        Written(
            made=(Conv(kernel_size=(1, 1), out_channels=2),),
            writes=(
                Write(how="=", path=(View("select", (1, 0)), View("transpose", (1, 2))), value=0.5),
                Write(how="nn.ReLU", path=(View("index", (1, FULL, (None, None, 2))),)),
            ),
            shown=(View("split", (2, 3, 1)),),
        ),
        Written(
            made=(Zeros(factors=(2, 1), margins=(0, 3)),),
            writes=(
                Write(how="=", path=(View("index", (FULL, (1, None, 2), (1, -2, None))),)),
                Write(
                    how="copy_",
                    path=(View("index", (FULL, (4, None, None), (-2, None, None))),),
                    named=True,
                ),
            ),
        ),
    ),
)
WRITTEN_FORWARD = """\
    def forward(self, x):
        y1 = x.clone(memory_format=torch.contiguous_format)  # (1, 2, 4, 6)
        y2 = self.relu1(y1)  # (1, 2, 4, 6)
        y1[:, :1].add_(x.narrow(1, 1, 1))
        y3 = torch.tanh(y1)  # (1, 2, 4, 6)
        v1 = y1.chunk(2, 3)[1]  # (1, 2, 4, 3)
        v1 += y3[..., 1:4].clone()
        v2 = y1.view(*y1.shape[:2], -1)  # (1, 2, 24)
        v2.masked_fill_(torch.arange(v2.shape[-1]) % 2 == 0, 0.0)
        x = y1 + y2  # (1, 2, 4, 6)
        y4 = self.conv1(x)  # (1, 2, 4, 6)
        v3 = y4.split(2, 3)[1]  # (1, 2, 4, 2)
        y4.select(1, 0).transpose(1, 2)[:] = 0.5
        self.relu2(y4[:, 1, :, ::2])
        y5 = torch.zeros(v3.shape[0], v3.shape[1], 2 * v3.shape[2], v3.shape[3] + 3)  # (1, 2, 8, 5)
        y5[..., 1::2, 1:-2] = v3
        v4 = y5[..., 4:, -2:]  # (1, 2, 4, 2)
        v4.copy_(v3)
        return y5
"""


def test_writes_print_as_the_statements_that_they_are() -> None:
    source = WRITTEN.source()
    assert source[source.index("    def forward") :] == WRITTEN_FORWARD


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
        (
            (Written(writes=(Write(how="add_", path=(View("narrow", (2, 0, 3)),)),)),),
            r"add_ puts shape \(1, 5\) into \(1, 3\)",
        ),
        (
            (Written(earlier=(Conv(kernel_size=(2,)),)),),
            r"add of shapes \(1, 4\) and \(1, 5\)",
        ),
        (
            (Zeros(margins=(2,), how="zeros_like"),),
            r"zeros_like of another shape than \(1, 5\)",
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
