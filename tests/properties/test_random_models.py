"""Random models: the two probes, the sized sets, the hulls and the closed form say the same of every node."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

import rfgraph
from rfgraph import Relation
from rfgraph.propagation.periodic import PeriodicDomain
from rfgraph.report import Report
from rfgraph.testing import strategies
from rfgraph.testing.describe import (
    AdaptivePool,
    Conv,
    Description,
    Pool,
    Residual,
    Resize,
    Slice,
)
from tests.properties.agreement import held_as_hulls, held_at_size, held_inside, verified
from tests.properties.kinds import ASKED, SMALL

KINDS: dict[str, dict[str, Any]] = {
    "1-d": {"spatial_dims": (1,)},
    "2-d": {"spatial_dims": (2,)},
    "3-d": {"spatial_dims": (3,)},
    "gates": {"gates": True},
    "misaligned": {"misaligned": True},
    "several inputs": {"several_inputs": True},
    "writes": dict.fromkeys(("branches", "moves", "resampling", "shared"), False),
    "long": {"max_layers": 8, "max_sizes": {1: 24, 2: 9, 3: 5}},
    "everything": {"gates": True, "misaligned": True, "several_inputs": True},
}
FEWEST = 500


def analysed(description: Description) -> Report:
    return rfgraph.analyze(description.build(), description.input_shapes)


@pytest.mark.parametrize("kind", ASKED)
def test_both_probes_agree_where_such_layers_are_drawn(kind: str) -> None:
    fewer = 10 if kind in ("loops", "recurrent") else 5  # their nodes take long to probe

    @settings(max_examples=settings.default.max_examples // fewer)  # type: ignore[union-attr]
    @given(strategies.models(**{**SMALL, **ASKED[kind]}))
    def agree(description: Description) -> None:
        verified(description)

    agree()


@pytest.mark.parametrize("kind", KINDS)
def test_both_probes_agree_at_every_node(kind: str) -> None:
    @settings(max_examples=settings.default.max_examples // 2)  # type: ignore[union-attr]
    @given(strategies.models(**{**SMALL, **KINDS[kind]}))
    def agree(description: Description) -> None:
        found = verified(description)
        assert found.checked.nodes == len(found.rows) > 0
        assert found.checked.poison_positions > 0

    agree()


def test_the_ci_profile_draws_enough_models() -> None:
    assert settings.get_profile("ci").max_examples // 2 * len(KINDS) >= FEWEST


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_sized_sets_are_those_of_the_gradient_at_every_position(dims: int) -> None:
    options = {**SMALL, "max_sizes": {1: 12, 2: 5, 3: 3}, "misaligned": True, "gates": True}

    @given(strategies.models(**options, spatial_dims=(dims,)))
    def agree(description: Description) -> None:
        report = analysed(description)
        held_at_size(report, [node.name for node in report.nodes if node.rfs])

    agree()


LARGER = {"max_sizes": {1: 40, 2: 16, 3: 7}, "max_channels": 2, "several_inputs": True}


@given(strategies.models(**LARGER, misaligned=True))
def test_the_closed_form_is_the_sized_answer_in_the_interior(description: Description) -> None:
    held_inside(analysed(description))


def test_the_interior_is_found() -> None:
    """A convolution after a crop, padded by 1: all but its two borders; of a pool with stride 2, inside of it."""
    layers = (
        Slice(slices=((3, None, None),)),
        Conv(kernel_size=(3,), padding=(1,)),
        Pool(kernel_size=(2,)),
    )
    report = analysed(Description(shape=(1, 1, 15), layers=layers))
    assert held_inside(report) == 15 + 12 + 10 + (6 - 2)


@given(strategies.models(**SMALL, gates=True, misaligned=True, several_inputs=True))
def test_hulls_are_the_hulls_of_the_sets(description: Description) -> None:
    assert held_as_hulls(analysed(description)) > 0


# --- models that were found to be wrong -----------------------------------------------------------

FOUND = {
    "a strip of which nothing is left to pool": Description(
        shape=(1, 2, 4, 6),
        layers=(
            Conv(kernel_size=(4, 3), padding="same", dilation=(1, 3), out_channels=2),
            Slice(slices=((2, None, None), (None, None, None))),
            AdaptivePool(output_size=(None, 6), functional=True),
            AdaptivePool(output_size=(2, 3), kind="max"),
        ),
    ),
    "a strip of which nothing is left to resample": Description(
        shape=(1, 2, 6, 5),
        layers=(
            Conv(kernel_size=(1, 5), padding="same", dilation=(1, 2), out_channels=2),
            Resize(mode="area", scale_factor=(0.5, 1.0)),
        ),
    ),
    "a strip on which a map on the way is cropped": Description(
        shape=(1, 1, 6, 5),
        layers=(
            Slice(slices=((3, None, 2), (None, 2, None))),
            Conv(kernel_size=(3, 1), padding="same", padding_mode="reflect"),
            Conv(kernel_size=(5, 1), padding=(2, 0), padding_mode="circular"),
        ),
    ),
    "a strip too narrow for its padding": Description(
        shape=(1, 1, 4, 3, 4),
        layers=(
            Conv(
                kernel_size=(1, 3, 1),
                padding=(0, 2, 0),
                dilation=(1, 2, 1),
                padding_mode="circular",
            ),
            Conv(kernel_size=(5, 1, 1), padding=(4, 0, 0), dilation=(2, 1, 1)),
        ),
    ),
    "a strip too narrow to read anything across": Description(
        shape=(1, 1, 4, 4, 3),
        layers=(Conv(kernel_size=(4, 4, 2), padding="same", dilation=(2, 3, 3), functional=True),)
        * 2,
    ),
    "one axis whole, the other local": Description(
        shape=(1, 1, 5, 6), layers=(AdaptivePool(output_size=(1, 6)),)
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_is_mended(name: str) -> None:
    found = rfgraph.verify(FOUND[name].build(), FOUND[name].shape, rows="all")
    assert found.agrees, str(found)


# --- the checks can fail ------------------------------------------------------------------------

BRANCHES = Description(
    shape=(1, 1, 12), layers=(Residual(body=(Conv(kernel_size=(3,), padding=(1,)),)),)
)


def test_a_closed_form_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeriodicDomain, "join", lambda self, values, node: values[-1])
    with pytest.raises(
        AssertionError, match=r"'add' along \('x', 2\) at 1: sized \[0, 1, 2\], closed form \[1\]"
    ):
        held_inside(analysed(BRANCHES))


def test_sized_sets_that_are_wrong_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Relation.window
    monkeypatch.setattr(Relation, "window", lambda k, s=1, d=1, p=0: plain(k, s, d, p + 1))
    with pytest.raises(AssertionError, match=r"axis 0 of 'x': \[0\] != \[0, 1\]"):
        held_at_size(analysed(BRANCHES), ["add"])


def test_hulls_that_are_wrong_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from rfgraph.propagation.lattice import Lattice

    plain = Lattice.hull

    def off(self: Lattice, sets: Any) -> Any:
        lo, hi = plain(self, sets)
        return (lo, hi) if self.exact else (lo, hi + 1)

    monkeypatch.setattr(Lattice, "hull", off)
    with pytest.raises(AssertionError, match="'x': hi"):
        held_as_hulls(analysed(BRANCHES))
