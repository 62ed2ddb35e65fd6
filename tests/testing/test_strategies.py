"""The strategies: they find what they promise, they shrink, and every example builds, runs and prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import lcm
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, example, find, given, seed, settings
from hypothesis import strategies as st

import rfgraph
from rfgraph.errors import InputError
from rfgraph.testing import strategies
from rfgraph.testing.describe import (
    BatchNorm,
    Cat,
    Conv,
    Dense,
    Description,
    GroupNorm,
    Pointwise,
    Pool,
    Repeat,
    Residual,
    Resize,
    Slice,
    Written,
)
from tests.testing.features import FEATURES, SPECIAL, WRITES, has

EVERYTHING = {"gates": True, "misaligned": True, "several_inputs": True}
PLAIN = dict.fromkeys(("branches", "moves", "resampling", "shared"), False)
KINDS: dict[str, dict[str, Any]] = {"everything": EVERYTHING, "plain": {}, "writes": PLAIN}
OPTIONS = ("attention", "cumulative", "loops", "masks", "patches", "recurrent", "sizes")
NOTHING: dict[str, Any] = {**PLAIN, "writes": False, "spatial_dims": (1,), "max_layers": 3}
KINDS["special"] = {**NOTHING, "max_layers": 6, **dict.fromkeys(OPTIONS, True)}
ASSIGNED = re.compile(r"^( +)(\w+) = .*  # (\(.*\))$")


@cache
def corpus(kind: str = "everything", examples: int = 150) -> tuple[Description, ...]:
    """The same examples each time, in ten draws: one draw keeps to what it has come upon."""
    drawn: list[Description] = []

    def collect(description: Description) -> None:
        drawn.append(description)

    once = settings(max_examples=examples, phases=[Phase.generate], database=None)
    for number in range(10):
        seed(number)(once(given(strategies.models(**KINDS[kind]))(collect)))()
    return tuple(drawn)


def shrunk(predicate: Callable[[Description], bool], **options: Any) -> Description:
    """The simplest model of which the predicate is true."""
    found = settings(
        max_examples=3000,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return find(strategies.models(**options), predicate, settings=found)


# --- what can be found --------------------------------------------------------------------------


@pytest.mark.parametrize("feature", FEATURES)
def test_the_feature_can_be_found(feature: str) -> None:
    assert any(map(FEATURES[feature], corpus()))


@pytest.mark.parametrize("feature", WRITES)
def test_the_write_can_be_found(feature: str) -> None:
    assert any(map(WRITES[feature], corpus("writes")))


@pytest.mark.parametrize("feature", SPECIAL)
def test_the_special_layer_can_be_found(feature: str) -> None:
    assert any(map(SPECIAL[feature], corpus("special", 80)))


# --- every example ------------------------------------------------------------------------------


def checked(code: str) -> str:
    """The code, with an assertion of each shape that it states."""
    return "\n".join(line for written in code.splitlines() for line in _checked(written))


def _checked(line: str) -> Iterator[str]:
    yield line
    found = ASSIGNED.match(line)
    if found:
        indent, name, shape = found.groups()
        yield f"{indent}stages.append(tuple({name}.shape))"
        yield f"{indent}assert stages[-1] == {shape}, ({line.strip()!r}, stages[-1])"


def run(model: torch.nn.Module, description: Description) -> Any:
    generator = torch.Generator().manual_seed(1)
    given = {n: torch.randn(s, generator=generator) for n, s in description.input_shapes.items()}
    with torch.no_grad():
        returned = model(**given)
    again = torch.Generator().manual_seed(1)
    assert all(torch.equal(t, torch.randn(t.shape, generator=again)) for t in given.values())
    return returned


def flat(outputs: Any) -> list[torch.Tensor]:
    found = outputs.values() if isinstance(outputs, dict) else outputs
    return [outputs] if isinstance(outputs, torch.Tensor) else list(found)


def check(description: Description) -> None:
    """It builds, runs, has the shapes that it states, and its code builds the same module."""
    model = description.build()
    outputs = flat(run(model, description))
    names: dict[str, Any] = {"stages": []}
    exec(checked(description.code()), names)
    again = flat(run(names["model"], description))
    assert names["input_shapes"] == description.input_shapes
    assert len(names["stages"]) == len(re.findall(r"  # \(", description.code()))
    assert tuple(outputs[-1].shape) == description.output_shape == description.shapes[-1]
    assert len(outputs) == len(again)
    assert all(map(torch.equal, outputs, again))
    assert all(bool(output.isfinite().all()) for output in outputs)


@given(strategies.models())
def test_a_model_builds_and_runs(description: Description) -> None:
    check(description)


@given(strategies.models(**EVERYTHING))
def test_a_model_of_everything_builds_and_runs(description: Description) -> None:
    check(description)


@given(strategies.models(**PLAIN))
def test_a_model_that_writes_builds_and_runs_and_leaves_its_input(description: Description) -> None:
    check(description)


@given(strategies.models(**KINDS["special"]))
def test_a_model_of_special_layers_builds_and_runs(description: Description) -> None:
    check(description)


@given(strategies.models(spatial_dims=(2,), several_inputs=True, gates=True))
def test_the_analysis_takes_every_model(description: Description) -> None:
    model = description.build()
    report = rfgraph.analyze(model, description.input_shapes)
    assert [node.shape for node in report.outputs.values()] == [
        tuple(output.shape) for output in flat(run(model, description))
    ]


def test_the_analysis_takes_the_whole_corpus() -> None:
    for description in corpus()[::5]:
        report = rfgraph.analyze(description.build(), description.input_shapes)
        assert list(report.outputs.values())[-1].shape == description.output_shape


@given(strategies.chains(), st.integers(0, 3))
def test_the_layers_up_to_any_one_are_a_model_as_well(description: Description, cut: int) -> None:
    shorter = replace(description, layers=description.layers[:cut])
    assert shorter.shapes == description.shapes[: cut + 1]
    assert tuple(flat(run(shorter.build(), shorter))[0].shape) == shorter.output_shape


# --- what the options say -----------------------------------------------------------------------


@given(strategies.chains())
def test_a_chain_is_plain(description: Description) -> None:
    assert {type(layer) for layer in description.walk()} <= {Conv, Pool, Pointwise, BatchNorm}


@given(strategies.models(**PLAIN, writes=False))
def test_what_is_switched_off_is_not_drawn(description: Description) -> None:
    assert {type(layer) for layer in description.walk()} <= {Conv, Pool, Pointwise, BatchNorm}


@given(
    strategies.models(
        spatial_dims=(2,), max_sizes={2: 7}, max_layers=2, batch=3, max_channels=2, moves=False
    )
)
def test_the_limits_hold(description: Description) -> None:
    assert description.shape[0] == 3
    assert len(description.shape) == 4
    assert max(description.shape[2:]) <= 7
    assert len(description.layers) <= 2
    widest = [layer.out_channels for layer in description.layers if isinstance(layer, Conv)]
    assert max(widest, default=0) <= 4


def test_sizes_by_another_number_of_dims_are_refused() -> None:
    with pytest.raises(InputError, match=r"max_sizes maps 1, 2 or 3 spatial dims .* got \{4: 3\}"):
        strategies.models(max_sizes={4: 3})
    with pytest.raises(InputError, match=r"max_sizes .* got \{1: 0\}"):
        strategies.models(max_sizes={1: 0})


@given(st.data())
def test_layers_fit_the_shape_they_are_drawn_for(data: st.DataObject) -> None:
    shape = data.draw(strategies.input_shapes(max_channels=6))
    drawn = data.draw(strategies.layers(shape=shape[1:], branches=True, gates=True, shared=True))
    check(Description(shape=shape, layers=drawn))


# --- alignment ----------------------------------------------------------------------------------


def merges(description: Description) -> Iterator[list[rfgraph.ReceptiveField]]:
    """What the branches of each merge read of the tensor that they share.

    Not of the model's input: where that tensor has phases, as behind a U-Net, a convolution that strides reads some
    of them and a wider one beside it all, and the middles of those differ though the branches are aligned.
    """
    for layer, shape in zip(description.layers, description.shapes, strict=False):
        if layer.within():
            alone = Description(shape=shape, layers=(layer,))
            report = rfgraph.analyze(alone.build(), shape)
            for node in report.nodes:
                if node.op in ("add", "mul", "maximum", "cat"):
                    yield [report[name].rf for name in node.operands]


def middle(field: rfgraph.ReceptiveField, period: int) -> list[Fraction]:
    """The centre of what is read, axis by axis, averaged over a period of outputs."""
    centers = [field.center(output) for output in range(period)]
    return [
        sum(c for c in axis if c is not None) / Fraction(period)
        for axis in zip(*centers, strict=True)
    ]


def period(fields: list[rfgraph.ReceptiveField]) -> int:
    return lcm(*(p for field in fields for p in field.period if p is not None))


def aligned(fields: list[rfgraph.ReceptiveField]) -> bool:
    if len({field.stride for field in fields}) > 1:
        return False
    return all(middle(f, period(fields)) == middle(fields[0], period(fields)) for f in fields)


BEHIND_A_UNET = Description(
    shape=(1, 1, 5),
    layers=(
        Residual(
            body=(
                Pool(kernel_size=(2,), ceil_mode=True),
                Resize(scale_factor=(2.0,)),
                Slice(slices=((None, -1, None),)),
            ),
            how="cat",
        ),
        Cat(
            branches=(
                (Conv(kernel_size=(1,), stride=(2,)),),
                (
                    Pool(kernel_size=(3,), stride=(1,), padding=(1,)),
                    Conv(kernel_size=(1,), stride=(2,)),
                ),
            )
        ),
    ),
)


@example(BEHIND_A_UNET)
@given(strategies.models(moves=False, resampling=False, writes=False))
def test_branches_are_aligned(description: Description) -> None:
    assert all(map(aligned, merges(description)))


@pytest.mark.parametrize("rates", [True, False])
def test_misaligned_branches_can_be_asked_for(rates: bool) -> None:
    def off(fields: list[rfgraph.ReceptiveField]) -> bool:
        differ = len({field.stride for field in fields}) > 1
        return differ if rates else not differ and not aligned(fields)

    others = dict.fromkeys(("moves", "resampling", "branches", "writes"), False)
    options: dict[str, Any] = {**others, "misaligned": True}
    model = shrunk(lambda description: any(map(off, merges(description))), **options)
    assert len(model.layers) == 1
    assert model.count <= 6


# --- shrinking ----------------------------------------------------------------------------------

SHRINK = {
    "anything": (lambda model: True, {}),
    "stride 2": (has(Conv, lambda conv: 2 in (conv.stride or ())), {}),
    "even same": (FEATURES["same, even kernel, dilated"], {}),
    "output padding": (FEATURES["output padding"], {}),
    "a window that hangs over": (FEATURES["a window that hangs over"], {}),
    "negative padding": (FEATURES["negative padding"], {}),
    "swapped": (FEATURES["swapped around a window"], {}),
    "shared": (has(Repeat), {}),
    "dense": (has(Dense), {}),
    "group norm": (has(GroupNorm), {"gates": True}),
    "a write": (has(Written, lambda layer: layer.writes[0].how == "add_"), {}),
    "attention": (SPECIAL["masked by -inf"], {**NOTHING, "attention": True}),
    "a loop": (SPECIAL["a loop of +=, state=True"], {**NOTHING, "loops": True}),
    "two inputs": (lambda model: len(model.input_shapes) > 1, {"several_inputs": True}),
}


@pytest.mark.parametrize("name", SHRINK)
def test_examples_shrink_to_one_layer(name: str) -> None:
    predicate, options = SHRINK[name]
    assert len(shrunk(predicate, **options).layers) == 1


def test_examples_shrink_to_small_parameters() -> None:
    model = shrunk(has(Conv, lambda conv: 3 in conv.kernel_size), spatial_dims=(1,))
    (conv,) = model.layers
    assert model.shape == (1, 1, 5)
    assert conv.out((1, 5)) in ((1, 3), (1, 5))
    assert (conv.out_channels, conv.groups, conv.padding_mode) == (1, 1, "zeros")
    assert (conv.stride, conv.dilation) == ((1,), (1,))


def test_a_failing_example_is_printed_as_its_code() -> None:
    @settings(database=None, derandomize=True, phases=[Phase.generate])
    @given(strategies.models())
    def fails(description: Description) -> None:
        raise AssertionError("on purpose")

    with pytest.raises(AssertionError, match="on purpose") as caught:
        fails()
    printed = "\n".join(caught.value.__notes__)
    assert "class Model(nn.Module):" in printed
    assert "model = Model().eval()\ninput_shapes = {'x':" in printed


def test_the_examples_are_the_same_every_time() -> None:
    first = corpus("plain", 2)
    corpus.cache_clear()
    assert corpus("plain", 2) == first
