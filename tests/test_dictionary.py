"""The vocabulary as people read it: what an entry says is what its rule says, and every spelling arrives there."""

from __future__ import annotations

import operator
import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.dictionary import Entry, markdown, operators_named
from rfgraph.errors import InputError
from rfgraph.rules import VOCABULARY
from rfgraph.rules.registry import rule
from tests.test_registry import documentation, fields

ENTRIES = {entry.name: entry for entry in rfgraph.operators()}
WRITTEN = {"nn": nn, "F": F, "torch": torch, "Tensor": Tensor, "operator": operator, "abs": abs}


def arrives_at(spelling: str) -> str:
    """The operator that a spelling stands for, looked up by what Python says that it is."""
    if spelling.startswith("torch.ops."):
        library, name = spelling.split(".")[2:]
        return VOCABULARY.functions[f"{library}::{name}"][0].name
    target: Any = eval(spelling, dict(WRITTEN))
    if isinstance(target, type):
        bases = (base for base in target.__mro__ if base in VOCABULARY.modules)
        return VOCABULARY.modules[next(bases)][0].name
    if target in VOCABULARY.functions:
        return VOCABULARY.functions[target][0].name
    return VOCABULARY.methods[spelling.removeprefix("Tensor.")][0].name


# --- entries --------------------------------------------------------------------------------------


def test_there_is_an_entry_for_every_operator_by_family_and_name() -> None:
    assert sorted(ENTRIES) == sorted(VOCABULARY.operators)
    order = [(entry.family, entry.name) for entry in rfgraph.operators()]
    assert order == sorted(order)
    assert ENTRIES["conv2d"].family == "conv" and ENTRIES["instance_norm2d"].family == "normalize"


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_an_entry_says_what_the_rule_says(name: str) -> None:
    said = {field: getattr(ENTRIES[name], field.lower()) for field in fields(documentation(name))}
    assert said == fields(documentation(name))
    assert ENTRIES[name].summary == documentation(name).splitlines()[0]


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_every_spelling_arrives_at_its_operator(name: str) -> None:
    spellings = ENTRIES[name].spellings
    assert spellings and len(set(spellings)) == len(spellings)
    assert {spelling: arrives_at(spelling) for spelling in spellings} == dict.fromkeys(
        spellings, name
    )


def test_every_target_has_a_spelling() -> None:
    spelled = [spelling for entry in ENTRIES.values() for spelling in entry.spellings]
    objects = [
        eval(spelling, dict(WRITTEN)) for spelling in spelled if "torch.ops." not in spelling
    ]
    targets = [target for target in VOCABULARY.functions if not isinstance(target, str)]
    assert [t for t in (*targets, *VOCABULARY.modules) if not any(t is o for o in objects)] == []
    assert {f"Tensor.{method}" for method in VOCABULARY.methods} <= set(spelled)


def test_a_few_are_as_a_person_would_write_them() -> None:
    assert ENTRIES["conv2d"].spellings[-2:] == ("F.conv2d", "torch.conv2d")
    assert "nn.Conv2d" in ENTRIES["conv2d"].spellings
    assert ENTRIES["im2col"].spellings == ("nn.Unfold", "F.unfold")
    assert ENTRIES["deform_conv2d"].spellings == ("torch.ops.torchvision.deform_conv2d",)


def test_an_entry_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'name'"):
        ENTRIES["conv2d"].name = "conv3d"  # type: ignore[misc]


class Blur(nn.Module):
    """A module of a user."""


def sharpen(x: Tensor) -> Tensor:
    """A function of a user."""
    return x


def test_an_operator_of_ones_own_is_among_them(taught: None) -> None:
    @rule(Blur, sharpen, "blurred", "my_library::blur", name="blur")
    def blur(node: Any) -> Any:
        """Blurs.

        Reads:    the window
                  around it.
        Example:  three: two.
        """

    @rule("bare")
    def bare(node: Any) -> Any: ...

    own, blank = (
        next(entry for entry in rfgraph.operators() if entry.name == name)
        for name in ("blur", "bare")
    )
    assert own.spellings == (
        *("tests.test_dictionary.sharpen", "torch.ops.my_library.blur"),
        *("tests.test_dictionary.Blur", "Tensor.blurred"),
    )
    assert own.family == "tests.test_dictionary"
    assert (own.summary, own.reads, own.formula) == ("Blurs.", "the window around it.", "")
    assert own.example == "three: two." and own.precision == own.documented == ""
    assert blank == Entry("bare", own.family, ("Tensor.bare",), *[""] * 6)
    assert operators_named("my_library::blur") == operators_named("Blur") == (own,)
    assert re.findall("^### (.*)", markdown([own, blank]), re.M) == ["Blurs", "bare"]


# --- names ----------------------------------------------------------------------------------------

NAMES = {
    "conv2d": "conv2d",
    "nn.Conv2d": "conv2d",
    "torch.nn.Conv2d": "conv2d",
    "Conv2d": "conv2d",
    "F.conv2d": "conv2d",
    "torch.nn.functional.conv2d": "conv2d",
    "nn.functional.conv2d": "conv2d",
    "torch.conv2d": "conv2d",
    "aten.conv2d": "conv2d",
    "aten::conv2d": "conv2d",
    "torch.ops.aten.conv2d.default": "conv2d",
    "aten.add_.Tensor": "add",
    "aten.view": "view",
    "add_": "add",
    "Tensor.add_": "add",
    "torch.Tensor.add": "add",
    "bernoulli_": "bernoulli_",
    "unfold": "unfold",
    "F.unfold": "im2col",
    "nn.Unfold": "im2col",
    "fold": "col2im",
    "T": "T",
    "t": "t",
    "nn.UpsamplingNearest2d": "interpolate",
    "torchvision::deform_conv2d": "deform_conv2d",
    "conv_transpose?d": "conv_transpose1d conv_transpose2d conv_transpose3d",
    "nn.Lazy*Transpose[12]d": "conv_transpose1d conv_transpose2d",
    "torch.nn.LP*": "lp_pool1d lp_pool2d lp_pool3d",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_means(name: str) -> None:
    assert [entry.name for entry in operators_named(name)] == NAMES[name].split()


REFUSED = {
    "nn.Conv4d": "there is no operator 'nn.Conv4d'; the nearest are 'nn.Conv3d', 'nn.Conv2d', 'nn.Conv1d'",
    "conv": "there is no operator 'conv'; the nearest are 'cov', 'conv3d', 'conv2d'",
    "zzz*": "there is no operator 'zzz*'",
    "": "there is no operator ''",
    "nn.Sequential": "there is no operator 'nn.Sequential'; the nearest are",
    "aten.no_such_thing": "there is no operator 'aten.no_such_thing'",
    "aten.convolution": "'aten.convolution' is no operator of its own: its calls are read as those of",
    "aten::slice": "'aten::slice' is no operator of its own",
    "aten.lstm.input": "'aten.lstm.input' is no operator of its own",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(REFUSED[name])}"):
        operators_named(name)


# --- the page -------------------------------------------------------------------------------------


def test_the_page_has_every_operator_once_and_every_rule_once() -> None:
    lines = markdown(rfgraph.operators()).splitlines()
    rows = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    assert sorted(name for name in rows if name != "operator") == sorted(ENTRIES)
    said = {(entry.family, entry.summary, entry.reads) for entry in ENTRIES.values()}
    assert sum(line.startswith("### ") for line in lines) == len(said)
    assert (
        f"{len(ENTRIES)} operators in {len({e.family for e in ENTRIES.values()})} families"
        in lines[2]
    )


def test_a_product_is_no_emphasis() -> None:
    entry = Entry("a", "b", (), "", "`x * 2` and x * 2 < 3", "", "", "", "")
    assert "- Reads: `x * 2` and x \\* 2 \\< 3" in markdown([entry]).splitlines()
