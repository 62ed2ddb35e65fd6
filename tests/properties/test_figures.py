"""Every figure of a closed form, recomputed by its definition from sets that are found by changing the input."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import inf
from typing import Any

import pytest
from hypothesis import Phase, given, settings

import rfgraph
from rfgraph.algebra.relation import Relation
from rfgraph.report.axis import AxisReads, Figures
from rfgraph.testing import strategies
from rfgraph.testing.describe import (
    Attention,
    Conv,
    Cumulative,
    Description,
    Layer,
    Pool,
    Recurrent,
    Residual,
    Resize,
    TransposedConv,
)
from tests.properties.figures import Law, figures, held_by_definition, law_of
from tests.properties.kinds import ASKED, EVERY, SMALL, Kind
from tests.properties.past import past_differs

FEWEST = 200  # models, by fewer of which no past read may be met
KINDS: dict[str, Kind] = {
    "one input": {"gates": True},
    "two inputs, misaligned": {"several_inputs": True, "misaligned": True},
    "writes": dict.fromkeys(("branches", "moves", "resampling", "shared"), False),
}


def counted(kind: Kind, fewer: int) -> Counter[str]:
    """Rows by outcome.

    The same models each time, as they are drawn: of a few in ten thousand some change never shows, and of smaller
    ones more often.
    """
    counts: Counter[str] = Counter()

    @settings(
        max_examples=max(settings.default.max_examples, FEWEST) // fewer,  # type: ignore[union-attr]
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(strategies.models(**{**SMALL, **kind}))
    def hold(description: Description) -> None:
        counts.update(held_by_definition(description))

    hold()
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_of_closed_forms_are_those_of_their_definitions(kind: str) -> None:
    counts = counted(KINDS[kind], 8)
    assert counts["held"] > (counts.total() - counts["whole"]) / 2  # gates make many rows whole


@pytest.mark.parametrize("kind", [*ASKED, "every"])
def test_so_are_those_where_such_layers_are_drawn(kind: str) -> None:
    counts = counted({**ASKED, "every": EVERY}[kind], 10)
    assert counts["held"] > counts.total() / 3
    assert counts["past"] > 0 or kind not in ("cumulative", "recurrent", "every")


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


def test_an_interior_that_is_denied_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AxisReads, "interior", None)
    with pytest.raises(AssertionError, match=r"all is read at \[.*\], and there is no interior"):
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


# --- past reads -----------------------------------------------------------------------------------


def behind(layer: Layer) -> Description:
    """Between two convolutions, by which each position reads two later ones, in steps of 2."""
    layers = (
        Conv(kernel_size=(3,), stride=(2,), padding=(1,)),
        layer,
        Conv(kernel_size=(2,)),
    )
    return Description(shape=(1, 1, 12), layers=layers)


PAST: dict[str, Layer] = {
    "a sum": Cumulative(kind="cumsum"),
    "a maximum": Cumulative(kind="cummax"),
    "of exponentials": Cumulative(kind="logcumsumexp"),
    "an LSTM": Recurrent(kind="LSTM"),
    "a GRU": Recurrent(kind="GRU"),
    "an RNN": Recurrent(kind="RNN"),
    "causal attention": Attention(pairs="causal", masking="sdpa"),
}


@pytest.mark.parametrize("name", PAST)
def test_past_reads_are_held(name: str) -> None:
    counts = held_by_definition(behind(PAST[name]))
    assert counts["past"] >= 2 and counts["local"] == 1


def test_the_figures_of_a_past_read_are_those_worked_out_by_hand() -> None:
    """Output o reads 0 .. 2 o + 3."""
    row = rfgraph.analyze(behind(PAST["a sum"]).build(), (1, 1, 12)).output.at(("x", 2))
    found = {o: frozenset(range(2 * o + 4)) for o in range(2, 5)}
    assert past_differs(row, found) == ""
    figures = (row.stride, row.reach, row.halo, row.lookahead, row.size)
    assert figures == (2, (inf, 3), (inf, 2), 2, inf)
    assert past_differs(row, dict(list(found.items())[:1])) is None
    one_less = {o: read - {0} if o == 3 else read for o, read in found.items()}
    assert "does not read all that" in str(past_differs(row, one_less))
    slower = {o: frozenset(range(o + 4)) for o in found}
    assert "the ends do not move by 2" in str(past_differs(row, slower))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("stride", lambda row: row.end.stride + 1 if row.end else row.relation.stride),
        ("reach", lambda row: (inf, 1) if row.end else row.relation.reach),
        ("halo", lambda row: (inf, 3) if row.end else row.relation.halo),
        ("lookahead", lambda row: 3 if row.end else row.relation.lookahead),
        ("size", lambda row: 12 if row.end else row.relation.size),
    ],
)
def test_a_figure_of_a_past_read_that_is_another_is_seen(
    name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Figures, name, property(wrong))
    with pytest.raises(AssertionError, match=f"by definition.*{name}"):
        held_by_definition(behind(PAST["a sum"]))


def test_what_is_left_without_past_reads_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = AxisReads.bounded.func  # type: ignore[attr-defined]

    def wider(row: AxisReads) -> AxisReads:
        found: AxisReads = plain(row)
        scan = found.value.local[0]
        assert scan.relation is not None
        wide = replace(scan, relation=Relation.window(2).compose(scan.relation))
        return replace(found, value=replace(found.value, local=(wide,)))

    monkeypatch.setattr(AxisReads, "bounded", property(wider))
    with pytest.raises(AssertionError, match="locally"):
        held_by_definition(behind(PAST["a GRU"]))
