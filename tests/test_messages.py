"""Error text is contract: what, at which node and line, what was expected, what to do next."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import rfgraph
from rfgraph import Relation
from rfgraph.cli.app import app
from rfgraph.cli.console import worded
from rfgraph.gallery import UNet


class MaskedLSTM(nn.Module):
    """A recurrent layer whose weight its own forward masks."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x):
        self.lstm.weight_hh_l0.data.mul_(torch.ones(16, 4).tril())
        return self.lstm(x)[0]


class Forward(nn.Module):
    """A module whose forward is a function of itself and `x`."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def forward(function):
    return Forward(function)


SHAPE = (1, 3, 9, 8)

CASES = {
    "a class": (nn.Conv2d, SHAPE, rfgraph.InputError, r"expected a torch.nn.Module, got Conv2d \(a class: call it first\)"),
    "no module": (torch.relu, SHAPE, rfgraph.InputError, "expected a torch.nn.Module, got builtin_function_or_method"),
    "a rank of 3": (
        forward(lambda m, x: m.conv(x.flatten(2).flatten(1))),
        SHAPE,
        rfgraph.CaptureError,
        r"conv2d failed on a tensor of shape \(1, 216\), in 'conv', at test_messages.py:\d+: expected a tensor of 4 dims, got 2",
    ),
    "channels": (
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(5, 6, 1)),
        SHAPE,
        rfgraph.CaptureError,
        r"conv2d failed on a tensor of shape \(1, 4, 9, 8\), in '1'.*: expected 5 channels, got 4",
    ),
    "norm channels": (
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(5)),
        SHAPE,
        rfgraph.CaptureError,
        "batch_norm failed .* in '1'.*: expected 5 channels, got 4",
    ),
    "features": (
        nn.Linear(5, 2), (1, 3, 9), rfgraph.CaptureError, "linear failed .*: expected 5 features in the last dim, got 9"
    ),
    "a kernel too large": (
        nn.Conv2d(3, 4, (3, 5), dilation=(1, 2), padding=(0, 0)),
        SHAPE,
        rfgraph.CaptureError,
        "kernel_size 5 with dilation 2 does not fit into a padded size of 8",
    ),
    "a pool too large": (nn.MaxPool2d(10), SHAPE, rfgraph.CaptureError, "max_pool2d failed .*kernel_size 10 does not fit into a padded size of 9"),
    "sizes that differ": (
        forward(lambda m, x: torch.cat([x, x[:, :, 1:]], 1)),
        SHAPE,
        rfgraph.CaptureError,
        r"cat failed .*: Sizes of tensors must match except in dimension 1",
    ),
    "broadcast": (forward(lambda m, x: x + m.conv(x)), SHAPE, rfgraph.CaptureError, "add failed on a tensor of shape .* and .*, at test_messages.py"),
    "a branch on data": (
        forward(lambda m, x: x if x.sum() > 0 else -x),
        SHAPE,
        rfgraph.CaptureError,
        r"needs the values of 'gt' \(a branch or assertion, at test_messages.py:\d+\), so its graph depends on the data",
    ),
    "a value": (forward(lambda m, x: x * x.max().item()), SHAPE, rfgraph.CaptureError, r"needs the values of 'max' \(item\(\)"),
    "a count": (forward(lambda m, x: range(int(x.sum()))), SHAPE, rfgraph.CaptureError, r"needs the values of 'sum' \(int\(\)"),
    "an array": (forward(lambda m, x: x.detach().cpu().numpy()), SHAPE, rfgraph.CaptureError, r"needs the values of 'cpu' \(numpy\(\)"),
    "classes": (forward(lambda m, x: torch.nn.functional.one_hot(x.long())), SHAPE, rfgraph.CaptureError, r"one_hot asks for values that are computed from an input, at test_messages.py:\d+, .* such as num_classes"),
    "repeats": (forward(lambda m, x: x.repeat_interleave(x[0, 0, 0].long(), 3)), SHAPE, rfgraph.CaptureError, "repeat_interleave asks for values .* or output_size"),
    "a mask": (forward(lambda m, x: x[x > 0]), SHAPE, rfgraph.CaptureError, "the shape of what getitem returns depends on the data"),
    "a write where elements share memory": (
        forward(lambda m, x: x[:, :1].expand(1, 3, 9, 8).add_(1)),
        SHAPE,
        rfgraph.CaptureError,
        r"'expand' is written, at test_messages.py:\d+ where several of its elements are one in memory.*clone\(\) it first",
    ),
    "a resize in place": (forward(lambda m, x: x.clone().resize_(2, 3)), SHAPE, rfgraph.CaptureError, "'clone' changes its shape in place"),
    "an error of the model's own": (
        forward(lambda m, x: m.missing(x)),
        SHAPE,
        rfgraph.CaptureError,
        r"Forward could not be captured \(at test_messages.py:\d+\): AttributeError: .*missing",
    ),
    "unsupported operators": (
        forward(lambda m, x: m.conv(x).msort().renorm(2, 0, 1.0).polygamma(1)),
        SHAPE,
        rfgraph.UnsupportedOperatorError,
        r"3 nodes use operators without a rule: 'msort' \(msort, test_messages.py:\d+\); 'renorm' \(renorm.*\); 'polygamma' "
        r".*@rfgraph.rule.*on_unknown='measure' .* or 'whole'",
    ),
    "a misspelt input": (UNet(1), {"imgae": SHAPE}, rfgraph.InputError, "forward has no argument 'imgae'; the nearest are 'image'"),
    "a missing input": (nn.Bilinear(2, 3, 4), {"input1": (1, 2)}, rfgraph.InputError, "forward also needs 'input2'"),
    "too many inputs": (UNet(1), [SHAPE, SHAPE], rfgraph.InputError, "got 2 inputs, but forward takes 1"),
    "no shape": (UNet(1), "224", rfgraph.InputError, "input 'image' must be a tensor or a shape of positive integers"),
    "a size of 0": (UNet(1), (1, 0, 8, 8), rfgraph.InputError, r"input 'image' must be .* got \(1, 0, 8, 8\)"),
    "no axis": (nn.Linear(5, 2), (3, 5), rfgraph.InputError, r"no axis to track: .* input \(3, 5\); name the dims with axes="),
    "a recurrent weight that is written": (
        MaskedLSTM(),
        (2, 6, 3),
        rfgraph.CaptureError,
        r"the weights of the LSTM are written or made by the forward itself, in 'lstm.*', at test_messages.py:\d+, which cannot "
        "be followed; give it others by torch.nn.utils.parametrize",
    ),
    "a recurrent layer made in the forward": (
        forward(lambda m, x: nn.GRU(8, 4)(x[0])),
        SHAPE,
        rfgraph.CaptureError,
        r"the weights of the GRU are written or made by the forward itself, .*, or make it in __init__",
    ),
    "nothing to work a shape out from": (nn.ReLU(), None, rfgraph.InputError, "cannot work out an input shape for ReLU: pass one"),
    "no shape fits": (
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)),
        None,
        rfgraph.CaptureError,
        r"no input shape that was tried fits the model; pass one. With input: \(1, 3, 224, 224\), conv2d failed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_message_says_what_where_and_what_to_do(name, untaught):
    untaught("msort", "renorm", "polygamma")
    model, inputs, error, text = CASES[name]
    with pytest.raises(error, match=text) as caught:
        rfgraph.analyze(model, inputs)
    assert isinstance(caught.value, rfgraph.RfgraphError)
    assert "\n" not in str(caught.value)


OPTIONS = {
    "mode": ("test", "mode must be 'eval' or 'train', got 'test'"),
    "capture": ("jit", "capture must be 'auto' or 'fx' or 'export', got 'jit'"),
    "on_unknown": ("ignore", "on_unknown must be 'raise' or 'whole' or 'measure', got 'ignore'"),
    "axes": ((2, 7), "axes: input 'image' has 4 dims and no dim 7"),
}
AXES = {
    "one dim": (
        2,
        "axes must be a sequence of dims, as in axes=.*, or a dict of these by input, got 2",
    ),
    "a name": ("height", "axes must be a sequence of dims, .*, got 'height'"),
    "one dim, by input": ({"image": 2}, "axes must be a sequence of dims, .*, got 2"),
    "half a dim": ((2.5,), "axes: input 'image' has 4 dims and no dim 2.5"),
    "a truth": ((True,), "axes: input 'image' has 4 dims and no dim True"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_that_do_not_exist_are_refused(option):
    value, text = OPTIONS[option]
    with pytest.raises(rfgraph.InputError, match=text):
        rfgraph.analyze(UNet(1), **{option: value})


@pytest.mark.parametrize("name", AXES)
def test_axes_are_dims(name):
    value, text = AXES[name]
    with pytest.raises(rfgraph.InputError, match=text):
        rfgraph.analyze(UNet(1), axes=value)


@pytest.mark.parametrize("axes", [np.array([2, -1]), {2, 3}, (np.int64(2), 3), range(2, 4)])
def test_axes_may_be_numbers_of_numpy_and_any_sequence(axes):
    report = rfgraph.analyze(UNet(1), axes=axes)
    assert [(axis.dim, type(axis.dim)) for axis in report.axes] == [(2, int), (3, int)]


def test_axes_of_an_unknown_input_are_refused():
    with pytest.raises(
        rfgraph.InputError,
        match="axes names 'imag', which is no input of the model; the nearest are 'image'",
    ):
        rfgraph.analyze(UNet(1), axes={"imag": (2,)})


def test_a_misspelt_node_name_is_answered_with_the_nearest():
    report = rfgraph.analyze(UNet(1))
    with pytest.raises(
        rfgraph.InputError, match=r"UNet has no node named 'down.0.9'; the nearest are 'down.0.\d'"
    ):
        report["down.0.9"]
    assert "down.0.9" not in report and "down.0.0" in report


def test_relations_of_different_rates_do_not_join():
    with pytest.raises(
        rfgraph.RateMismatchError, match="effective strides 2 and 1/3: their union is not periodic"
    ):
        Relation.window(3, stride=2).join(Relation.spread(3))


def test_a_rule_whose_reads_do_not_fit_is_told_with_its_node():
    class Odd(nn.Module):
        def forward(self, x):
            return x * 2

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.odd = Odd()

        def forward(self, x):
            return self.odd(x)

    from rfgraph.rules import VOCABULARY

    wrong = [
        ([rfgraph.Read(1, ())], "reads operand 1 of 1"),
        ([rfgraph.Read(0, (rfgraph.along(0),))], "says 1 dims of operand 0, which has 4"),
        (
            [rfgraph.Read(0, tuple(map(rfgraph.along, (0, 1, 2, 4))))],
            "reads along output dim 4 of an output with 4 dims",
        ),
    ]
    for reads, text in wrong:
        rfgraph.rule(Odd)(lambda node, reads=reads: reads)
        try:
            with pytest.raises(
                rfgraph.RfgraphError, match=rf"the rule of 'Odd' {text}, at node 'odd' \(Odd, "
            ):
                rfgraph.analyze(Model(), SHAPE)
        finally:
            del VOCABULARY.operators["Odd"], VOCABULARY.modules[Odd]


class ResizesAndCounts(nn.Module):
    """What neither way of capture can follow: a resize in place, and as many classes as the data say."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.clone().resize_(2, 4)
        return nn.functional.one_hot((x * 3).long().clamp(None, 9))


def test_an_export_that_fails_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        rfgraph.CaptureError, match="'clone' changes its shape in place, at test_messages"
    ):
        rfgraph.analyze(ResizesAndCounts(), (1, 2, 4))
    assert capfd.readouterr() == ("", "")


class Twice(nn.Module):
    """Its convolutions do not fit each other."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, (3, 2)), nn.Conv2d(5, 6, 1))

    def forward(self, x):
        return self.body(x)


def test_a_line_of_the_models_own_code_or_none():
    with pytest.raises(
        rfgraph.CaptureError, match=r"in 'body\.1', at test_messages\.py:\d+: expected"
    ):
        rfgraph.analyze(Twice(), SHAPE)
    with pytest.raises(rfgraph.CaptureError, match=r"in '1': expected 5 channels"):
        rfgraph.analyze(Twice().body, SHAPE)  # whoever calls analyze has written none of it
    assert {node.source for node in rfgraph.analyze(Twice().body[:1], SHAPE)} == {""}


def test_a_foreign_error_is_told_with_the_module_it_came_from():
    broken = nn.Sequential(nn.Conv2d(3, 4, 1), forward(lambda m, x: {}["depth"]))
    text = (
        r"^Sequential could not be captured \(in '1', at test_messages\.py:\d+\): KeyError: 'depth'"
    )
    with pytest.raises(rfgraph.CaptureError, match=text):
        rfgraph.analyze(broken, SHAPE)


@pytest.mark.parametrize("count", [0, 1])
def test_quantised_operators_do_not_depend_on_the_data(count):
    def call(m, x):
        return torch.fake_quantize_per_tensor_affine(x, 0.1, count, 0, 255)

    text = r"fake_quantize_per_tensor_affine is a quantised operator, at .*:\d+, which has no rule: analyse .* before"
    with pytest.raises(rfgraph.CaptureError, match=text):
        rfgraph.analyze(forward(call), SHAPE)


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8])
def test_integers_of_numpy_are_integers(integer):
    shape = tuple(map(integer, (1, 3, 9, 8)))
    report = rfgraph.analyze(nn.Conv2d(3, 4, (3, 2)), shape)
    assert report.output.shape == (1, 4, 7, 7) and type(report.output.shape[0]) is int
    assert report.output.region((integer(4), integer(2))) == ((4, 6), (2, 3))
    assert report.output.reads(0, integer(4)).tolist() == [4, 5, 6]


NO_MODULES = {
    "a function": (lambda x: x, "got function: put it in a module whose forward calls it"),
    "weights": (
        {"weight": torch.zeros(3)},
        "got dict: weights alone are no model; build the module",
    ),
    "a list": ([nn.ReLU()], r"got list: put modules .* in a torch\.nn\.Sequential"),
    "nothing": (None, "got NoneType$"),
}


@pytest.mark.parametrize("name", NO_MODULES)
def test_what_is_no_module_is_told_what_to_do_instead(name):
    model, text = NO_MODULES[name]
    with pytest.raises(rfgraph.InputError, match=r"^expected a torch\.nn\.Module, " + text):
        rfgraph.analyze(model, SHAPE)


@pytest.mark.parametrize("position", [3.0, "3", None, (1.5, 2)])
def test_a_position_is_integers(position):
    node = rfgraph.analyze(nn.Conv2d(3, 4, (3, 2)), SHAPE).output
    for ask in (node.region, lambda where: node.reads(0, where)):
        with pytest.raises(
            rfgraph.InputError, match="a position is an integer or a tuple of integers, got"
        ):
            ask(position)


WORDED = {
    "cannot work out an input shape for ReLU: pass one, as in analyze(model, (1, 3, 224, 224))": "pass one, as in --input 1,3,224,224",
    "forward also needs 'y': pass a shape for every input, as a dict from name to shape; a Python value is passed as rfgraph.value(...)": (
        "for every input, as in --input NAME=1,3,224,224; a value is passed as --input NAME:=VALUE"
    ),
    "measure the module that holds it with on_unknown='measure'": "holds it with --on-unknown measure",
    "name the dims with axes=, as in axes=(1,)": "name the dims with --axes, as in --axes 1",
    "axes: input 'x' has 4 dims and no dim 7": "--axes: input 'x' has 4 dims",
    "capture must be 'auto'": "--capture must be 'auto'",
}  # fmt: skip


@pytest.mark.parametrize("message", WORDED)
def test_the_command_line_is_told_in_its_own_words(message):
    assert WORDED[message] in worded(message)


def test_a_command_that_is_refused_speaks_no_python(tmp_path):
    (tmp_path / "net.py").write_text("import torch\nnet = torch.nn.ReLU()\n")
    told = CliRunner().invoke(app, ["analyze", f"{tmp_path / 'net.py'}:net"])
    assert told.exit_code == 2 and "as in --input 1,3,224,224" in told.stderr


@torch.compile(backend="inductor")
def compiled(x):
    return torch.relu(x) * 2


def test_what_a_forward_compiles_is_not_compiled_and_warns_of_nothing(recwarn, capfd):
    report = rfgraph.analyze(forward(lambda m, x: compiled(m.conv(x))), SHAPE, check=True)
    assert [node.op for node in report.nodes] == ["input", "conv2d", "relu", "mul"]
    made = rfgraph.analyze(forward(lambda m, x: torch.compile(torch.tanh)(x)), SHAPE)
    assert [node.op for node in made.nodes] == ["input", "tanh"]
    assert not recwarn.list and capfd.readouterr() == ("", "")


_COMPILES = """
import sys, threading, torch, rfgraph
from torch import nn

class Compiles(nn.Module):
    def forward(self, x):
        return torch.compile(torch.tanh)(x)

compile_ = torch.compile
check = lambda: rfgraph.analyze(nn.Conv1d(1, 1, 3), (1, 1, 9), check=True)
threads = [threading.Thread(target=check) for _ in range(3)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
assert torch.compile is compile_ and "torch._dynamo" not in sys.modules
assert rfgraph.analyze(Compiles(), (1, 1, 9)).output.rf.size == (1,)
assert torch.compile is compile_
"""


def test_a_process_that_has_not_compiled_yet_is_as_it_was():
    """The compiler takes seconds to load: it is not, but where the forward itself asks for it."""
    done = subprocess.run([sys.executable, "-c", _COMPILES], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
