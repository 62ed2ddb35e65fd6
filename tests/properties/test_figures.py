"""Every figure of a closed form, recomputed by its definition from sets that are found by changing the input."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from rfgraph.algebra.relation import Relation
from rfgraph.report.axis import AxisReads, Figures
from rfgraph.testing import strategies
from rfgraph.testing.describe import Conv, Description, Pool, Residual, Resize, TransposedConv
from tests.properties.figures import Law, figures, held_by_definition, law_of

SMALL: dict[str, Any] = {"max_sizes": {1: 14, 2: 7, 3: 4}, "max_layers": 4, "max_channels": 2}
KINDS: dict[str, dict[str, Any]] = {
    "one input": {"gates": True},
    "two inputs, misaligned": {"several_inputs": True, "misaligned": True},
    "writes": dict.fromkeys(("branches", "moves", "resampling", "shared"), False),
}


# The same models each time, as they are drawn: of a few in ten thousand some change never shows, and of smaller
# ones more often.
@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_of_closed_forms_are_those_of_their_definitions(kind: str) -> None:
    counts: Counter[str] = Counter()

    @settings(
        max_examples=settings.default.max_examples // 8, derandomize=True, phases=[Phase.generate]
    )  # type: ignore[union-attr]
    @given(strategies.models(**{**SMALL, **KINDS[kind]}))
    def hold(description: Description) -> None:
        counts.update(held_by_definition(description))

    hold()
    assert counts["held"] > (counts.total() - counts["whole"]) / 2  # gates make many rows whole


# --- the definitions themselves, by hand ----------------------------------------------------------


def test_the_figures_of_a_window_are_those_worked_out_by_hand() -> None:
    """kernel 3, stride 2, padding 1: output o reads 2 o - 1 .. 2 o + 1."""
    law = law_of({o: frozenset(range(2 * o - 1, 2 * o + 2)) for o in range(3, 9)})
    assert law == Law(1, 2, (frozenset({-1, 0, 1}),))
    assert figures(law) == {
        "stride": 2,
        "size": 3,
        "offset": -1,
        "halo": (1, 0),
        "reach": (1, 1),
        "lookahead": 0,
        "center": [Fraction(0)],
    }


def test_the_figures_of_phases_are_those_worked_out_by_hand() -> None:
    """Of three outputs a position, the last reads the next one as well, and the first reads nothing."""
    reads = (frozenset(), frozenset({0}), frozenset({0, 1}))
    law = law_of({o: frozenset(i + o // 3 for i in reads[o % 3]) for o in range(4, 13)})
    assert law == Law(3, 1, reads)
    assert figures(law) == {
        "stride": Fraction(1, 3),
        "size": 2,
        "halo": (0, 1),
        "reach": (0, 1),
        "lookahead": 1,
        "center": [None, Fraction(0), Fraction(1, 2)],
    }


def test_what_does_not_repeat_itself_has_no_law() -> None:
    assert law_of({o: frozenset({o * o}) for o in range(6)}) is None


# --- the property can fail ------------------------------------------------------------------------

ODD = Description(
    shape=(1, 1, 9, 8),
    layers=(
        Residual(body=(Conv(kernel_size=(3, 1), padding=(1, 0)),), how="cat"),
        Pool(kernel_size=(2, 1)),
        TransposedConv(kernel_size=(3, 1), stride=(2, 1)),
        Resize(mode="linear", scale_factor=(1.0, 2.0)),
    ),
)


def test_a_model_of_every_sort_is_held() -> None:
    assert held_by_definition(ODD)["held"] == 12


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("stride", lambda row: Fraction(row.relation.advance, row.relation.period + 1)),
        ("size", lambda row: row.relation.size + 1),
        ("offset", lambda row: row.relation.offset + 1),
        ("halo", lambda row: row.relation.halo[::-1]),
        ("reach", lambda row: (row.relation.reach[0], row.relation.reach[1] + 1)),
        ("lookahead", lambda row: row.relation.reach[1]),
    ],
)
def test_a_figure_that_is_another_is_seen(
    name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Figures, name, property(wrong))
    with pytest.raises(AssertionError, match=f"by definition.*{name}"):
        held_by_definition(ODD)


def test_a_centre_that_is_another_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = AxisReads.center
    monkeypatch.setattr(AxisReads, "center", lambda row, output: plain(row, output + 1))
    with pytest.raises(AssertionError, match=r"by definition.*center"):
        held_by_definition(ODD)


def test_dims_that_are_others_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AxisReads, "dims", property(lambda row: (5 - row.axis.dim,)))
    with pytest.raises(AssertionError, match="'x' along"):
        held_by_definition(ODD)


def test_a_law_that_is_another_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Relation.window
    monkeypatch.setattr(Relation, "window", lambda k, s=1, d=1, p=0: plain(k, s, d, p + 1))
    with pytest.raises(AssertionError, match="more is read"):
        held_by_definition(ODD)
