"""The command line: what it prints, where, and with which exit code."""

import csv
import io
import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import rfgraph
from rfgraph.cli.app import app
from rfgraph.cli.targets import inputs_of
from rfgraph.gallery import UNet

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, channels=3, name="a"):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, (3, 5), stride=(2, 1))
        self.name = name

    def forward(self, image):
        return self.conv(image)

class Two(nn.Module):
    def forward(self, image, mask):
        return image[..., 1:] * mask[..., :-1]

class Sorted(nn.Module):
    def forward(self, x):
        return x.msort()

class Many(nn.Module):
    def forward(self, feats, batch, *, flag, name="a", size=None):
        assert type(feats) is list and (name, size) == ("b=c", (8, [9]))
        left = batch["image"][..., 1:] if flag else batch["image"][..., :1]
        return feats[0] + 2 * feats[1] + left

class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.three, self.mixed = nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(4, 1, 1)

    def forward(self, x):
        return self.mixed(torch.cat([x, self.three(x)], 1))

ready = Net()
not_a_model = 3

def broken():
    raise RuntimeError("no weights here")
"""


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "my_models.py"
    path.write_text(MODEL)
    return str(path)


def run(*arguments):
    return CliRunner().invoke(app, ["analyze", *arguments])


def test_the_table_is_on_standard_output_with_the_inputs_above(target):
    result = run(f"{target}:Net", "--input", "1,3,20,30")
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.splitlines()[:2] == [
        "Net",
        "input image: (1, 3, 20, 30); tracked dims 2, 3",
    ]
    row = next(line for line in result.stdout.splitlines() if line.strip().startswith("conv "))
    assert row.split() == ["conv", "conv2d", "3", "x", "5", "2", "x", "1", "1", "0"]


def test_without_an_input_the_shape_is_worked_out_and_told(target):
    assert "a shape worked out from the model" in run(f"{target}:Net").stdout


@pytest.mark.parametrize("name", ["ready", "Net"])
def test_a_target_is_a_module_or_a_callable_that_returns_one(target, name):
    assert run(f"{target}:{name}", "--input", "1,3,20,30").exit_code == 0


def test_arg_passes_literals_and_strings(target):
    result = run(f"{target}:Net", "--arg", "channels=7", "--arg", "name=b", "--input", "1,7,9,9")
    assert result.exit_code == 0


def test_json_is_the_reports_own_dict():
    result = run("rfgraph.gallery:UNet", "--arg", "depth=2", "--format", "json")
    assert json.loads(result.stdout) == json.loads(rfgraph.analyze(UNet(2)).to_json())


def test_a_row_that_unites_channels_is_told_to_be_a_bound(target):
    asked = (f"{target}:Joined", "--input", "1,2,9", "--format")
    lines = [line for line in run(*asked, "csv").stdout.splitlines() if "a bound:" in line]
    assert [line.split(",")[0] for line in lines] == ["cat"]
    assert "a bound: of channels that read differently" in run(*asked, "table").stdout
    nodes = json.loads(run(*asked, "json").stdout)["nodes"]
    united = {node["name"]: node["rfs"]["x"]["united"] for node in nodes}
    assert united == {"x": [False], "three": [False], "cat": [True], "mixed": [False]}


def test_csv_and_markdown_have_a_line_for_every_node(target):
    rows = list(csv.reader(io.StringIO(run(f"{target}:Net", "--format", "csv").stdout)))
    assert rows[0][:3] == ["node", "op", "size"] and [row[0] for row in rows[1:]] == [
        "image",
        "conv",
    ]
    lines = run(f"{target}:Net", "--format", "markdown").stdout.splitlines()
    assert len(lines) == 4 and lines[3].startswith("| conv | conv2d | 3 x 5 | 2 x 1 |")


def test_node_selects_rows_by_pattern():
    result = run("rfgraph.gallery:unet", "--node", "merge.3.*", "--format", "csv")
    assert [line.split(",")[0] for line in result.stdout.splitlines()[1:]] == [
        f"merge.3.{i}" for i in range(4)
    ]


def test_several_inputs_are_given_by_name(target):
    result = run(
        f"{target}:Two", "--input", "image=1,2,9", "--input", "mask=1,1,9", "--format", "csv"
    )
    assert result.exit_code == 0
    assert [
        line.rpartition(",")[2] for line in result.stdout.splitlines() if line.startswith("mul")
    ] == ["of image", "of mask"]


MANY = [f"--input={text}" for text in (
    "flag:=True", "feats.1=1,2,1", "feats.0=1,2,8", "batch.image=1,2,9", "name:='b=c'", "size:=(8, [9])"
)]  # fmt: skip


def test_lists_dicts_and_values_are_given_by_dotted_names_and_literals(target):
    result = run(f"{target}:Many", *MANY, "--format", "json")
    assert result.exit_code == 0, result.stderr
    inputs = json.loads(result.stdout)["inputs"]
    assert inputs == {"feats.0": [1, 2, 8], "feats.1": [1, 2, 1], "batch.image": [1, 2, 9]}
    result = run(f"{target}:Many", *MANY[1:], "--input", "flag:=False", "--format", "json")
    output = json.loads(result.stdout)["nodes"][-1]
    assert output["shape"] == [1, 2, 8] and result.exit_code == 0
    assert run_verify(f"{target}:Many", *MANY).exit_code == 0


def test_ten_parts_of_a_list_are_in_the_order_of_their_numbers():
    texts = [f"xs.{number}=1,{number + 1}" for number in reversed(range(11))]
    assert inputs_of(texts) == {"xs": [(1, number + 1) for number in range(11)]}
    assert inputs_of(["a.b.c=1,2", "a.b.d=3", "a.e.0=4"]) == {
        "a": {"b": {"c": (1, 2), "d": (3,)}, "e": [(4,)]}
    }


def test_axes_and_train_reach_the_analysis():
    result = run("rfgraph.gallery:tcn", "--axes", "0,-1", "--format", "json")
    assert [axis["dim"] for axis in json.loads(result.stdout)["axes"]] == [0, 2]
    assert run("rfgraph.gallery:tcn", "--train").exit_code == 0


REFUSED = {
    "no colon": (["rfgraph.gallery"], "TARGET is package.module:callable, path/to/file.py:callable or the path of a .pt2 file"),
    "no package": (["rfgraph.galery:unet"], "cannot import rfgraph.galery: ModuleNotFoundError"),
    "no name": (["rfgraph.gallery:unets"], "rfgraph.gallery has no 'unets'; the nearest are 'unet'"),
    "no file": (["missing.py:net"], "there is no file missing.py"),
    "no exported program": (["missing.pt2"], "there is no file missing.pt2"),
    "arguments for an exported program": (["missing.pt2", "--arg", "a=1"], "is an exported program already: it takes no --arg"),
    "weights": (["model.pt"], "TARGET is package.module:callable"),
    "no model": (["{target}:not_a_model"], "neither a module nor a callable"),
    "a callable that fails": (["{target}:broken"], "broken() failed: RuntimeError: no weights here"),
    "a callable that returns something else": (["json:dumps", "--arg", "obj=3"], "expected a torch.nn.Module, got str"),
    "arguments for a module": (["{target}:ready", "--arg", "a=1"], "is a module already: it takes no --arg"),
    "an argument without a value": (["{target}:Net", "--arg", "channels"], "--arg takes key=value, got 'channels'"),
    "a shape of words": (["{target}:Net", "--input", "1,3,big"], "--input takes integers joined by commas, got '1,3,big'"),
    "inputs without names": (["{target}:Two", "--input", "1,2,9", "--input", "1,1,9"], "several --input need names"),
    "a word for a value": (["{target}:Many", "--input", "name:=b"], "--input name:= takes a Python literal, as in name:=True or name:=\"'text'\", got 'b'"),
    "a call for a value": (["{target}:Many", "--input", "name:=print(1)"], "--input name:= takes a Python literal, as in name:=True or"),
    "a value as a shape": (["{target}:Many", "--input", "flag=True"], "--input takes integers joined by commas, got 'True'"),
    "a name twice": (["{target}:Two", "--input", "image=1,2,9", "--input", "image=1,1,9"], "--input gives 'image' twice"),
    "a name and a part": (["{target}:Many", "--input", "feats=1,2,9", "--input", "feats.0=1,2,9"], "--input gives 'feats' itself, and 'feats.0' within it"),
    "a part and a name": (["{target}:Many", "--input", "feats.0=1,2,9", "--input", "feats=1,2,9"], "--input gives 'feats' and what is within it"),
    "a gap in a list": (["{target}:Many", "--input", "feats.0=1,2,9", "--input", "feats.2=1,2,9"], "--input gives parts of 'feats' by number, and no feats.1"),
    "no value": (["{target}:Two", "--input", "image=1,2,9", "--input", "mask:=None"], "'NoneType'"),
    "a missing value": (["{target}:Many", *MANY[1:]], "forward also needs 'flag': pass a shape"),
    "a misspelt node": (["rfgraph.gallery:unet", "--node", "merge.9*"], "no node of UNet matches 'merge.9*'; the nearest are 'merge."),
    "channels": (["{target}:Net", "--input", "1,4,9,9"], "in 'conv', at my_models.py:12: expected 3 channels, got 4"),
    "an unsupported operator": (["{target}:Sorted", "--input", "1,4,9"], "'msort' (msort, my_models.py:20)"),
    "an option's value": (["{target}:Net", "--on-unknown", "guess"], "--on-unknown must be 'raise' or 'whole' or 'measure', got 'guess'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_answered_is_one_paragraph_on_standard_error_and_exit_2(
    name, target, untaught
):
    untaught("msort")
    arguments, text = REFUSED[name]
    result = run(*(argument.replace("{target}", target) for argument in arguments))
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("rfgraph: ") and text in result.stderr
    assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) == 1


def test_whole_reads_of_unknown_operators_are_marked(target, untaught):
    untaught("msort")
    result = run(f"{target}:Sorted", "--input", "1,4,9", "--on-unknown", "whole")
    assert result.exit_code == 0 and "whole: msort (unknown)" in result.stdout


def test_debug_shows_the_traceback(target):
    result = run(f"{target}:Net", "--input", "1,4,9,9", "--debug")
    assert isinstance(result.exception, rfgraph.CaptureError)


def test_the_installed_command_and_its_version():
    done = subprocess.run(
        [sys.executable, "-m", "rfgraph", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"rfgraph {rfgraph.__version__}\n")


def test_a_model_in_the_working_directory_is_found(tmp_path):
    (tmp_path / "here.py").write_text(MODEL)
    command = [sys.executable, "-m", "rfgraph", "analyze", "here:Net", "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.splitlines()[2].startswith("conv,conv2d,3 x 5")


# --- operators ------------------------------------------------------------------------------------


def run_operators(*arguments, width=80):
    return CliRunner().invoke(app, ["operators", *arguments], env={"COLUMNS": str(width)})


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_vocabulary_fits_the_terminal(width):
    result = run_operators(width=width)
    assert result.exit_code == 0 and result.stderr == ""
    lines = result.stdout.splitlines()
    assert width - 2 <= max(map(len, lines)) <= width
    names = {entry.name for entry in rfgraph.operators()}
    assert f"{len(names)} operators in " in lines[0]
    assert names <= set(re.findall(r"\w+", result.stdout))  # none is folded


@pytest.mark.parametrize("width", [60, 80, 120])
def test_an_operator_is_told_in_full(width):
    result = run_operators("nn.MaxPool2d", width=width)
    assert result.exit_code == 0 and max(map(len, result.stdout.splitlines())) <= width
    told = " ".join(result.stdout.split())
    entry = next(entry for entry in rfgraph.operators() if entry.name == "max_pool2d")
    assert f"spellings {', '.join(entry.spellings)}" in told
    assert f"formula {entry.formula} example {entry.example} precision {entry.precision}" in told


def test_several_operators_of_a_pattern_are_a_table():
    result = run_operators("conv_transpose*")
    assert result.stdout.startswith("3 operators in 1 family;") and "pool" not in result.stdout


def test_operators_as_json_are_the_entries():
    told = json.loads(run_operators("nn.Conv2d", "--format", "json").stdout)
    assert [entry["name"] for entry in told] == ["conv2d"]
    assert {**told[0], "spellings": tuple(told[0]["spellings"])} in map(vars, rfgraph.operators())
    assert len(json.loads(run_operators("--format", "json").stdout)) == len(rfgraph.operators())


def test_an_operator_as_markdown_has_a_line_for_each_operator():
    lines = run_operators("nn.Conv?d", "--format", "markdown", width=60).stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| conv")] == [
        f"| conv{n}d" for n in (1, 2, 3)
    ]


def test_an_unknown_operator_is_one_sentence_on_standard_error_and_exit_2():
    result = run_operators("nn.Conv4d", width=60)
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr == (
        "rfgraph: there is no operator 'nn.Conv4d'; the nearest are 'nn.Conv3d', 'nn.Conv2d', 'nn.Conv1d'\n"
    )
    assert isinstance(run_operators("nn.Conv4d", "--debug").exception, rfgraph.InputError)


# --- verify ---------------------------------------------------------------------------------------


def run_verify(*arguments):
    return CliRunner().invoke(app, ["verify", *arguments])


def test_verify_prints_what_was_checked_by_which_probe_and_a_summary(target):
    result = run_verify(f"{target}:Net", "--input", "1,3,9,11")
    assert result.exit_code == 0 and result.stderr == ""  # no bar where there is no terminal
    row = next(line for line in result.stdout.splitlines() if line.strip().startswith("conv "))
    assert row.split() == ["conv", "conv2d", "equal", "560", "equal", "10"]
    assert "equal everywhere" in result.stdout.splitlines()[-1]


def test_verify_passes_its_options_on(target):
    arguments = ("--arg", "channels=2", "--input", "1,2,9,11", "--axes", "3", "--rows", "4")
    result = run_verify(f"{target}:Net", *arguments, "--format", "json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["agrees"] and told["checked"]["rows"] == 4


def test_verify_exits_1_on_a_mismatch_with_the_node_to_blame(target, monkeypatch):
    from rfgraph.language.reads import same
    from tests.verify.mutants import taught

    wrong = taught("conv2d", lambda node: (same(4),))
    monkeypatch.setattr("rfgraph.analysis.VOCABULARY", wrong)
    result = run_verify(f"{target}:Net", "--input", "1,3,9,11")
    assert result.exit_code == 1
    assert "the first node to differ is 'conv' (conv2d, my_models.py:12)" in result.stdout
    assert "print(rfgraph.verify(model, (1, 3, 9, 11)))" in result.stdout


VERIFY_REFUSED = {
    "rows": (["{target}:Net", "--rows", "many"], "--rows takes auto, all or a positive number, got 'many'"),
    "channels": (["{target}:Net", "--input", "1,4,9,9"], "in 'conv', at my_models.py:12: expected 3 channels, got 4"),
    "no name": (["rfgraph.gallery:unets"], "rfgraph.gallery has no 'unets'; the nearest are 'unet'"),
}  # fmt: skip


@pytest.mark.parametrize("name", VERIFY_REFUSED)
def test_verify_exits_2_where_it_cannot_answer(name, target):
    arguments, text = VERIFY_REFUSED[name]
    result = run_verify(*(argument.replace("{target}", target) for argument in arguments))
    assert result.exit_code == 2 and result.stdout == "" and text in result.stderr
    assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) == 1


def test_verify_exits_2_where_nothing_could_be_compared(target, tmp_path):
    path = tmp_path / "bits.py"
    path.write_text(MODEL + "\nclass Bits(nn.Module):\n    def forward(self, x):\n"
                    "        return x.view(torch.int32)\n")  # fmt: skip
    result = run_verify(f"{path}:Bits", "--input", "1,1,6")
    assert result.exit_code == 2 and "nothing could be compared" in result.stdout


def test_verify_debug_shows_the_traceback(target):
    result = run_verify(f"{target}:Net", "--input", "1,4,9,9", "--debug")
    assert isinstance(result.exception, rfgraph.CaptureError)


def test_the_way_of_capture_and_a_check_can_be_asked_for(target):
    plain = run(f"{target}:Net", "--input", "1,3,20,30", "--format", "csv")
    for options in (["--check"], ["--capture", "export"], ["--capture", "fx", "--check"]):
        result = run(f"{target}:Net", "--input", "1,3,20,30", "--format", "csv", *options)
        assert (result.exit_code, result.stdout) == (0, plain.stdout)
    result = run(f"{target}:Net", "--capture", "fast")
    assert result.exit_code == 2
    assert "capture must be 'auto' or 'fx' or 'export', got 'fast'" in result.stderr


def test_a_check_that_fails_is_told(target, monkeypatch):
    differs = rfgraph.faithful.Fidelity("'output' differs")
    monkeypatch.setattr("rfgraph.analysis.fidelity", lambda *arguments: differs)
    result = run(f"{target}:Net", "--input", "1,3,20,30", "--check")
    assert result.exit_code == 2
    assert "does not compute what the model does: 'output' differs" in " ".join(
        result.stderr.split()
    )
