"""One axis of one node: its figures, its sets, and the nodes from which on it holds at this size only."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from torch import Tensor, nn

import rfgraph
from rfgraph.algebra.relation import Relation
from rfgraph.gallery import MODELS, SqueezeExciteNet, UNet
from rfgraph.report.axis import AxisReads, Figures, figure, figures
from tests.sized.test_rows import SAID

THEORY = (Path(__file__).parents[2] / "docs" / "theory.md").read_text(encoding="utf-8")


class Forward(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


# --- one axis, and the field of all -------------------------------------------------------------


def test_a_field_is_the_tuple_of_the_reads_along_its_axes() -> None:
    # rows 2o - 1 .. 2o + 1, columns {o, o + 4}
    conv = nn.Conv2d(3, 4, (3, 2), stride=(2, 1), dilation=(1, 4), padding=(1, 0))
    report = rfgraph.analyze(conv, (1, 3, 9, 8))
    rows, columns = report.output.rf
    assert (rows.axis, columns.axis) == report.axes == (("input", 2), ("input", 3))
    assert (rows.size, columns.size) == (3, 5) and (rows.dilation, columns.dilation) == (1, 4)
    assert columns.phases == ((0, 4),) and columns.dims == (3,) and columns.center(1) == 3
    assert rows.relation == Relation.window(3, 2, 1, 1)
    assert rows.members({2: 0}).tolist() == [0, 1] and rows.hull({2: 0, 3: 2}) == (0, 1)
    assert columns.members({3: 2}).tolist() == [2, 6]
    assert report.output.at(report.axes[1]) is columns


def test_a_position_that_leaves_a_dim_out_is_any_along_it() -> None:
    column = rfgraph.analyze(nn.Conv2d(1, 1, (1, 3)), (1, 1, 4, 7)).output.rf[1]
    assert column.members({}).tolist() == list(range(7))
    assert column.members({2: 3}).tolist() == list(range(7))
    assert column.members({2: 3, 3: 4}).tolist() == [4, 5, 6]


class TwoInputs(nn.Module):
    def forward(self, image: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        return image[..., 1:] + guide[..., :3], guide * 2


def test_an_axis_of_an_input_that_is_not_read_reads_nothing() -> None:
    report = rfgraph.analyze(TwoInputs(), {"image": (1, 2, 4), "guide": (1, 2, 5)})
    image, guide = report.axes
    doubled = report["mul"]
    assert list(doubled.rfs) == ["guide"] and doubled.at(guide).is_connected
    nothing = doubled.at(image)
    assert (
        not nothing.is_connected and nothing.dims == () and nothing.causes == nothing.limits == ()
    )
    assert nothing.relation is Relation.nothing() and nothing.local is None and nothing.closed_form
    assert nothing.members({2: 1}).tolist() == [] and nothing.hull({2: 1}) is None
    assert report["add"].at(image).members({2: 1}).tolist() == [2]
    reached, exact = report.reached("mul", image, [0, 3])
    assert not reached.any() and exact


def test_an_axis_that_is_not_tracked_is_refused() -> None:
    node = rfgraph.analyze(nn.Conv1d(2, 3, 3), (1, 2, 9)).output
    with pytest.raises(
        rfgraph.InputError, match=r"dim=1\) is not tracked: .* are dim 2 of 'input'"
    ):
        node.at(rfgraph.Axis("input", 1))


def test_a_whole_read_has_causes_and_what_is_left_without_them() -> None:
    reads = rfgraph.analyze(SqueezeExciteNet(1)).output.rf[0]
    assert reads.whole and reads.size == inf and reads.relation is None
    assert reads.causes == (("blocks.0.squeeze", "pooling"),)
    assert reads.local is not None and reads.local.size == 15 and not reads.local.whole
    assert reads.local.local is reads.local


# --- since when an answer holds at this size only -----------------------------------------------

SINCE: dict[str, tuple[Callable[[Tensor], Any], list[list[str]]]] = {
    "a reshape, and what follows": (
        lambda x: x.flatten(2).relu().transpose(1, 2).sigmoid(),
        [["flatten"], ["flatten"], ["flatten"], ["flatten"]],
    ),
    "undone, and done again": (
        lambda x: x.flatten(2).relu().reshape(1, 2, 6, 6).tanh().flatten(2),
        [["flatten"], ["flatten"], [], [], ["flatten_1"]],
    ),
    "branches that meet, and what follows": (
        lambda x: (x + x.transpose(2, 3)).relu(),
        [[], ["add"], ["add"]],
    ),
    "the same branches met twice": (
        lambda x: (lambda y: (x + y, x * y))(x.transpose(2, 3)),
        [[], ["add"], ["mul"]],
    ),
    "one branch is left": (
        lambda x: (x + x.transpose(2, 3)).mean(3).relu(),
        [[], ["add"], [], []],
    ),
    "one branch is left, and then a limit": (
        lambda x: (x + x.transpose(2, 3)).mean(3).flip(2),
        [[], ["add"], [], ["flip"]],
    ),
    "two reshapes meet": (
        lambda x: x.flatten(2) + x.relu().reshape(1, 2, 36),
        [["flatten"], [], ["reshape"], ["flatten", "reshape"]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SINCE)
def test_limits_name_the_node_where_they_began(name: str) -> None:
    function, since = SINCE[name]
    report = rfgraph.analyze(Forward(function), (1, 2, 6, 6))
    rows = [node.at(report.axes[0]) for node in report.nodes[1:]]
    assert [[limit.node for limit in reads.limits] for reads in rows] == since
    assert [reads.closed_form for reads in rows] == [not nodes for nodes in since]


@pytest.mark.parametrize("name", SAID)
def test_limits_are_in_the_order_of_the_model_at_or_before_their_row(name: str) -> None:
    report = rfgraph.analyze(*SAID[name])
    place = {node.name: number for number, node in enumerate(report)}
    for node in report:
        before = {node.name, *nx.ancestors(report.graph, node.name)}
        for axis in report.axes:
            places = [place[limit.node] for limit in node.at(axis).limits]
            assert places == sorted(places)
            assert {limit.node for limit in node.at(axis).limits} <= before


# --- a figure is defined once -------------------------------------------------------------------


def test_a_new_figure_is_a_view_of_the_relation_and_one_of_the_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is then in every form: no list of figures stands anywhere else."""

    def of_law(law: Relation) -> int:
        return max(phase.cardinality for phase in law.sets)

    def taps(reads: AxisReads) -> int | None:
        """Positions that one output reads; the most over the phases."""
        return reads.view(lambda law: law.taps)  # type: ignore[attr-defined]

    monkeypatch.setattr(Relation, "taps", property(of_law), raising=False)
    monkeypatch.setattr(Figures, "taps", figure("table")(taps), raising=False)
    report = rfgraph.analyze(nn.Conv2d(1, 1, (3, 2), dilation=(1, 4)), (1, 1, 9, 8))
    field: Any = report.output.rf
    assert field.taps == (3, 2) and field[1].taps == 2
    assert report.to_dict()["nodes"][-1]["rfs"]["input"]["taps"] == [3, 2]
    header, *_, line = report.to_csv().splitlines()
    assert dict(zip(header.split(","), line.split(","), strict=True))["taps"] == "3 x 2"
    assert report.to_dataframe().taps.tolist() == [1, 1, 3, 2]
    for text in (str(report), report.to_markdown(), report._repr_html_()):
        assert "taps" in text and "3 x 2" in text


def test_forms_list_the_figures_that_they_have_always_listed() -> None:
    table = ("size", "stride", "dilation", "offset")
    frame = (*table, "holes", "density", "lookahead", "whole", "unbounded", "united", "closed_form")
    assert figures("table") == table and figures("frame") == frame
    more = {"size_range", "period", "advance", "reach", "halo"}
    assert set(figures("json")) == {*frame, *more}


@pytest.mark.parametrize("name", figures("attribute"))
def test_every_figure_is_defined_in_the_theory(name: str) -> None:
    assert re.search(rf"\*\*{name}\*\*|`{name}`", THEORY)


@pytest.mark.parametrize("owner", [rfgraph.AxisReads, rfgraph.ReceptiveField])
def test_help_tells_what_each_figure_is(owner: type) -> None:
    text = pydoc.plain(pydoc.render_doc(owner))
    for name in figures("attribute"):
        first = inspect.getsource(getattr(owner, name).of).split('"""')[1].splitlines()[0]
        assert f" |  {name}\n |      {first}" in text


@pytest.mark.parametrize("name", MODELS)
def test_a_field_says_of_each_axis_what_the_axis_says(name: str) -> None:
    report = rfgraph.analyze(MODELS[name]())
    for node in report:
        for field in node.rfs.values():
            for view in figures("attribute"):
                assert getattr(field, view) == tuple(getattr(reads, view) for reads in field)


def test_a_table_shows_the_local_part_of_what_a_whole_read_hides() -> None:
    report = rfgraph.analyze(SqueezeExciteNet(1))
    assert dict(zip(("size", "stride"), report.rows()[-1][2:4], strict=True)) == {
        "size": "whole",
        "stride": "2",
    }
    assert rfgraph.analyze(UNet(1)).rows()[0][2:] == ("1", "1", "1", "0", "")
