"""Every row that claims a closed form is right at two other sizes: of random models, of the gallery, of published ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor, nn

import rfgraph
from rfgraph import gallery
from rfgraph.algebra import digits
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node
from rfgraph.language.reads import Read, Reads, along
from rfgraph.propagation.periodic import PeriodicDomain
from rfgraph.report import Report
from rfgraph.testing import strategies
from rfgraph.testing.describe import Conv, Description, Flip, Layer, Patches, Pool, Residual
from tests.properties.kinds import ASKED, EVERY, SMALL, Kind
from tests.properties.other_sizes import Shapes, held_at_other_sizes, other_reports, unclaimed
from tests.published.test_oracles import LAYOUTS, WRITTEN_OUT
from tests.sized.poison import Apply
from tests.verify.mutants import taught

KINDS: dict[str, Kind] = {
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
    assert counts["none"] < 0.75 * counts["models"] + 3  # of a few models, luck decides
    assert counts["rows"] > 5 * counts["models"]


@pytest.mark.parametrize("kind", [*ASKED, "every"])
def test_so_do_those_where_such_layers_are_drawn(kind: str) -> None:
    fewer = 50 if kind in ("loops", "recurrent") else 12  # of these, each position is a node
    rows = 0

    @settings(max_examples=settings.default.max_examples // fewer)  # type: ignore[union-attr]
    @given(strategies.models(**{**SMALL, **{**ASKED, "every": EVERY}[kind]}))
    def hold(description: Description) -> None:
        nonlocal rows
        rows += held(description.build(), description.input_shapes)

    hold()
    assert rows > 0


@pytest.mark.parametrize("size", range(5, 14))
def test_patches_of_patches_are_the_same_whatever_is_left_over(size: int) -> None:
    """What two windows of two leave over is cut off: 7 positions without the last are 3 windows, and 1 of these."""

    def patched(self: nn.Module, x: Tensor) -> Tensor:
        x = x[..., :-1]
        for _ in range(2):
            x = x.unfold(2, 2, 2).transpose(2, 3).flatten(1, 2)
        return x

    (row,) = rfgraph.analyze(Apply(patched), (1, 1, size)).output.rf
    assert (row.closed_form, row.dims, row.size, row.stride, row.halo) == (True, (2,), 4, 4, (0, 0))
    assert held(Apply(patched), {"x": (1, 1, size)})


@pytest.mark.parametrize("how", ["slices", "reshape", "unflatten", "unfold"])
@pytest.mark.parametrize(
    ("factors", "size"), [((3,), 3), ((3,), 9), ((2, 2), 4), ((2, 2), 8), ((3, 2), 6)]
)
def test_one_window_is_what_several_are(how: Any, factors: tuple[int, ...], size: int) -> None:
    """Where there is room for one alone, its place moves by a window all the same."""
    layers = tuple(Patches(factor=factor, how=how) for factor in factors)
    description = Description(shape=(1, 2, size), layers=layers)
    whole = prod(factors)
    row = rfgraph.analyze(description.build(), description.shape).output.at(("x", 2))
    assert (row.dims, row.size, row.stride, row.offset) == ((2,), whole, whole, 0)
    assert row.closed_form
    assert held(description.build(), description.input_shapes) > 0


def test_one_window_of_columns_varies_along_both_dims() -> None:
    for size in (3, 9):
        description = Description(shape=(1, 2, size), layers=(Patches(factor=3, how="F.unfold"),))
        row = rfgraph.analyze(description.build(), description.shape).output.at(("x", 2))
        assert (row.dims, row.size, row.closed_form) == ((1, 2), 1, False)


def test_one_position_of_what_is_resampled_to_a_size_holds_at_this_size() -> None:
    """The first of two reads the first of any number; that it does is of two sizes, and no law."""

    def first(self: nn.Module, x: Tensor) -> Tensor:
        return F.interpolate(x, size=2, mode="nearest")[..., :1, :]

    row = rfgraph.analyze(Apply(first), (1, 1, 4, 4)).output.at(("x", 2))
    assert not row.closed_form and row.members({}).tolist() == [0]
    assert rfgraph.verify(Apply(first), (1, 1, 4, 4)).exact


def test_a_part_of_one_position_may_be_of_more_at_another_size() -> None:
    class Rows(nn.Module):
        """At 3 rows, one is written; at more, it is written into several."""

        def forward(self, x: Tensor) -> Tensor:
            y = x.clone()
            y[:, :, 1:-1] = x[:, :, :1]
            return y

    row = rfgraph.analyze(Rows(), (1, 1, 3, 4)).output.at(("x", 2))
    assert not row.closed_form and "in different ways" in row.limits[0].reason
    assert held(Rows(), (1, 1, 3, 4)) > 0 and held(Rows(), (1, 1, 5, 4)) > 0


@pytest.mark.parametrize("shape", [(1, 1, 4, 1), (1, 1, 1, 4), (1, 1, 4, 5)])
def test_adaptive_pooling_to_none_keeps_the_position(shape: Any) -> None:
    report = rfgraph.analyze(nn.AdaptiveMaxPool2d((None, 1)), shape)
    row, other = (report.output.at(axis) for axis in report.axes)
    assert (row.size, row.whole, row.closed_form, row.limits) == (1, False, True, ())
    assert other.whole
    report = rfgraph.analyze(nn.AdaptiveAvgPool2d((None, None)), shape)
    assert all(report.output.at(axis).size == 1 for axis in report.axes)


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


def test_a_window_that_is_lost_where_there_is_one_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = digits.stretch

    def lost(digit: Any, number: Any, weight: int, extent: int, shape: Any) -> Any:
        parts = plain(digit, number, weight, extent, shape) or ()
        return [part for part in parts if shape[part.dim] > 1]

    monkeypatch.setattr("rfgraph.propagation.composition.stretch", lost)
    one = Description(shape=(1, 1, 4), layers=(Patches(factor=4, how="unflatten"),))
    with pytest.raises(AssertionError, match=r"'unflatten' along .* dims is"):
        held(one.build(), one.shape)


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
