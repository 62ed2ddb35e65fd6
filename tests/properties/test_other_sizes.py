"""Every row that claims a closed form is right at two other sizes: of random models, of the gallery, of published ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from torch import nn

import rfgraph
from rfgraph import gallery
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node
from rfgraph.language.reads import Read, Reads, along
from rfgraph.propagation.periodic import PeriodicDomain
from rfgraph.report import Report
from rfgraph.testing import strategies
from rfgraph.testing.describe import Conv, Description, Flip, Layer, Pool, Residual
from tests.properties.other_sizes import Shapes, held_at_other_sizes, other_reports, unclaimed
from tests.published.test_oracles import LAYOUTS, WRITTEN_OUT
from tests.verify.mutants import taught

SMALL: dict[str, Any] = {"max_sizes": {1: 14, 2: 7, 3: 4}, "max_layers": 4, "max_channels": 2}
KINDS: dict[str, dict[str, Any]] = {
    "gates": {"gates": True},
    "two inputs, misaligned": {"several_inputs": True, "misaligned": True},
    "writes": dict.fromkeys(("branches", "moves", "resampling", "shared"), False),
}


def held(model: nn.Module, shapes: Any, inside: bool = True) -> int:
    """How many rows were held at two other sizes."""

    def analyse(at: Shapes | None) -> Report:
        return rfgraph.analyze(model, at or shapes)

    report = analyse(None)
    return held_at_other_sizes(report, other_reports(report, analyse), inside)


@pytest.mark.parametrize("kind", KINDS)
def test_closed_forms_hold_at_two_other_sizes(kind: str) -> None:
    counts = Counter[str]()

    @settings(max_examples=settings.default.max_examples // 3)  # type: ignore[union-attr]
    @given(strategies.models(**{**SMALL, **KINDS[kind]}))
    def hold(description: Description) -> None:
        rows = held(description.build(), description.input_shapes)
        counts.update(models=1, rows=rows, none=rows == 0)

    hold()
    assert counts["none"] < counts["models"] / 2
    assert counts["rows"] > 5 * counts["models"]


GALLERY = {
    name: getattr(gallery, name)
    for name in ("unet", "unet_bilinear", "tcn", "se_net", "wave_encoder")
}


@pytest.mark.parametrize("name", GALLERY)
def test_closed_forms_of_the_gallery_hold_at_two_other_sizes(name: str) -> None:
    assert held(GALLERY[name](), None, inside=False) > 0


PUBLISHED = {**WRITTEN_OUT, **LAYOUTS}


@pytest.mark.parametrize("name", PUBLISHED)
def test_closed_forms_of_published_models_hold_at_two_other_sizes(name: str) -> None:
    model = PUBLISHED[name]()
    assert held(model, None, inside=False) >= 2 * len(rfgraph.analyze(model))


# --- the property can fail ------------------------------------------------------------------------

PADDED = Description(shape=(1, 1, 12), layers=(Conv(kernel_size=(3,), padding=(1,)),))


def as_wide_as_a_quarter(node: Node) -> Reads:
    """A window that is taken from the size at hand, and claimed at any."""
    law = Relation.window(node.operand_shapes[0][2] // 4)
    return (Read(0, (along(0), along(1), along(2, law))),)


def test_a_rule_that_claims_its_size_for_all_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    taught_it = taught("conv1d", as_wide_as_a_quarter)
    monkeypatch.setattr("rfgraph.analysis.VOCABULARY", taught_it)
    with pytest.raises(
        AssertionError, match=r"'conv1' along .*: size is 3, and \d at another size"
    ):
        held(PADDED.build(), PADDED.shape, inside=False)


def test_a_law_that_is_not_that_of_the_sets_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same wrong law at each size: what each position reads there tells."""
    monkeypatch.setattr(PeriodicDomain, "join", lambda self, values, node: values[-1])
    layers = (Residual(body=(Conv(kernel_size=(3,), padding=(1,)),)),)
    merged = replace(PADDED, layers=layers)
    assert held(merged.build(), merged.shape, inside=False) > 0
    with pytest.raises(AssertionError, match=r"'add' along .* closed form"):
        held(merged.build(), merged.shape)


def test_a_node_that_is_there_at_one_size_alone_is_seen() -> None:
    one = rfgraph.analyze(nn.Tanh(), (1, 1, 12))
    other = rfgraph.analyze(nn.Sequential(nn.Tanh()), (1, 1, 13))
    with pytest.raises(AssertionError, match="there is no such node at another size"):
        held_at_other_sizes(one, [other])


@pytest.mark.parametrize(
    ("layers", "reasons"),
    [
        ((Flip(axes=(0,)), Flip(axes=(0,))), {"flip counts from the end": 1}),
        ((Flip(axes=(0,)),), {}),
        ((Pool(kernel_size=(2,)),), {}),
    ],
)
def test_rows_that_could_claim_a_closed_form_are_counted(
    layers: tuple[Layer, ...], reasons: dict[str, int]
) -> None:
    description = replace(PADDED, layers=layers)
    model = description.build()

    def analyse(shapes: Any) -> Report:
        return rfgraph.analyze(model, shapes)

    report = analyse(description.shape)
    counts = unclaimed(report, other_reports(report, analyse))
    assert {reason: n for reason, n in counts.items() if "flip" in reason} == reasons
