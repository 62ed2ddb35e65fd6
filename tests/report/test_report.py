"""The report and its forms. Expected figures are computed by hand in the comments beside them."""

import json
from fractions import Fraction
from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rfgraph
from rfgraph.gallery import SqueezeExciteNet, UNet, VisionTransformer


class Forward(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def field_of(function, shape=(1, 2, 12, 10), **options):
    return rfgraph.analyze(Forward(function), shape, **options).output.rf


def test_every_view_is_a_tuple_over_the_axes():
    # kernel (3, 2), stride (2, 1), dilation (1, 4), padding (1, 0): rows 2o - 1 .. 2o + 1, columns {o, o + 4}
    conv = nn.Conv2d(3, 4, (3, 2), stride=(2, 1), dilation=(1, 4), padding=(1, 0))
    field = rfgraph.analyze(conv, (1, 3, 9, 8)).output.rf
    assert field.size == (3, 5)
    assert field.size_range == ((3, 3), (5, 5))
    assert field.stride == (2, 1) and all(isinstance(s, Fraction) for s in field.stride)
    assert field.offset == (-1, 0)
    assert field.dilation == (1, 4)
    assert field.holes == (0, 3) and field.density == (1.0, 0.4)
    assert field.period == (1, 1) and field.advance == (2, 1)
    assert field.phases == (((-1, 0, 1),), ((0, 4),))
    assert field.reach == ((1, 1), (0, 4))
    assert field.halo == ((1, 0), (0, 4))
    assert field.center(3) == (6, 5)
    assert (
        field.whole == (False, False) and field.causes == () and field.closed_form == (True, True)
    )
    assert field.local is field
    assert [relation.at(3) for relation in field.relations] == [(5, 6, 7), (3, 7)]


def test_one_dim_gives_tuples_too():
    assert rfgraph.analyze(nn.Conv1d(3, 4, 5), (1, 3, 9)).output.rf.size == (5,)


def test_a_whole_read_is_infinite_has_no_position_and_leaves_the_local_field():
    field = rfgraph.analyze(SqueezeExciteNet(1)).output.rf
    assert field.size == (inf, inf) and field.reach == ((inf, inf),) * 2
    assert field.stride == field.offset == field.relations == (None, None)
    assert field.local.size == (15, 15) and field.local.stride == (2, 2)  # 7 + 2 * (2 + 2)
    assert field.closed_form == (True, True)
    pooled = rfgraph.analyze(SqueezeExciteNet(1))["blocks.0.squeeze"].rf
    assert pooled.local is None and pooled.whole == (True, True)


def test_one_axis_can_be_whole_and_the_other_not():
    field = field_of(lambda x: x + x.mean(2, keepdim=True))
    assert field.whole == (True, False) and field.size == (inf, 1)
    assert [(c.node, c.kind, c.axes) for c in field.causes] == [("mean", "pooling", (0,))]
    assert field.local.size == (1, 1)


LIMITED = {
    "adaptive pooling to cells that divide": (lambda x: F.adaptive_avg_pool2d(x, (6, 5)), (2, 2), "adaptive pooling to 6 holds at this size"),
    "adaptive pooling to cells that do not": (lambda x: F.adaptive_avg_pool2d(x, (5, 3)), (4, 4), "adaptive pooling to 5"),
    "cat along space": (lambda x: torch.cat([x, x], 2), (1, 1), "concatenation along dim 2"),
    "align_corners": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True), (2, 2), "align_corners=True"),
    "no integer ratio": (lambda x: F.interpolate(x, size=(15, 20)), (1, 1), "resampling 12 to 15 is no integer ratio"),
    "branches of two rates": (
        lambda x: F.avg_pool2d(x, 2) + x[:, :, :6, :5],
        (7, 6),  # row 5 reads rows 10, 11 and 5; column 4 reads 8, 9 and 4
        "rate mismatch: branches of effective strides 2 and 1 meet",
    ),
    "a reshape": (lambda x: x.flatten(2), (1, 1), "a reshape regroups the positions"),
    "windows of a reshape read whole": (
        lambda x: x.reshape(1, 2, 3, 4, 10).sum(2),
        (9, 1),
        "reads a group of positions whole",
    ),
    "a transposed copy": (lambda x: x[..., :10, :] + x[..., :10, :].mT, (10, 10), "in different ways"),
    "a slice from the end": (lambda x: x[..., -4:], (1, 1), "counts from the end"),
    "a flip": (lambda x: x.flip(2), (1, 1), "flip counts from the end"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITED)
def test_what_holds_at_this_size_only_says_so_and_why(name):
    function, size, reason = LIMITED[name]
    report = rfgraph.analyze(Forward(function), (1, 2, 12, 10))
    field = report.output.rf
    assert field.size == size
    assert not all(field.closed_form)
    assert any(reason in limit.reason for limit in field.limits)
    assert "this size only" in str(report) and reason in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


CLOSED = {
    "a reshape undone": lambda x: x.flatten(2).transpose(1, 2).transpose(1, 2).reshape(x.shape),
    "an integer ratio by size": lambda x: F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:]),
    "a ratio by scale_factor": lambda x: F.interpolate(x, scale_factor=1.5),
    "a crop of fixed width": lambda x: x[..., 2:-3, 1:],
    "a roll": lambda x: x.roll((1, 2), (2, 3)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_what_holds_at_any_size_is_not_marked(name):
    assert field_of(CLOSED[name]).closed_form == (True, True)
    assert field_of(CLOSED[name]).limits == ()


def test_tokens_of_a_vision_transformer_have_the_patch_then_the_image():
    report = rfgraph.analyze(VisionTransformer())
    for name in ("patches", "flatten", "transpose", "cat"):
        assert report[name].rf.size == (16, 16) and report[name].rf.stride == (16, 16)
        assert not any(report[name].rf.whole)
    assert report["cat"].dims == (1,) and report["patches"].dims == (2, 3)
    attention = report["encoder.self_attn"].rf
    assert attention.whole == (True, True) and attention.local.size == (16, 16)
    assert {c.kind for c in attention.causes} == {"attention"}
    assert report.output.rf.local is None, "the class token sees the image by attention alone"


def test_written_out_attention_is_whole_and_its_own_query_is_local():
    def attention(x):
        tokens = x.flatten(2).transpose(1, 2)
        weights = (tokens @ tokens.transpose(1, 2)).softmax(-1)
        return weights @ tokens

    field = field_of(attention)
    assert field.whole == (True, True) and field.local.size == (1, 1)
    assert {c.kind for c in field.causes} == {"softmax", "attention"}


def test_dims_index_space_in_any_layout():
    report = rfgraph.analyze(Forward(lambda x: x.permute(0, 2, 3, 1).mean((1, 2))), (1, 2, 12, 10))
    assert report["permute"].dims == (1, 2)
    assert report["mean"].dims == ()
    pooled = rfgraph.analyze(nn.AdaptiveAvgPool2d(1), (1, 2, 12, 10)).output
    assert pooled.dims == (2, 3), "where everything is read whole: the dims from 2 on"


def test_unknown_operators_are_whole_in_every_row_they_reach(untaught):
    untaught("msort")
    report = rfgraph.analyze(
        Forward(lambda x: F.relu(x.msort()) + x), (1, 2, 12, 10), on_unknown="whole"
    )
    for name in ("msort", "relu", "add"):
        assert report[name].rf.whole == (True, True)
        assert [(c.node, c.kind) for c in report[name].rf.causes] == [("msort", "unknown")]
    assert report.output.rf.local.size == (1, 1)
    rows = [line for line in str(report).splitlines() if "msort (unknown)" in line]
    assert len(rows) == 3


def test_a_node_that_reads_no_input_says_so():
    report = rfgraph.analyze(Forward(lambda x: torch.zeros_like(x) + x), (1, 2, 12, 10))
    assert report["zeros_like"].rfs == {} and "reads no tracked input" in str(report)
    with pytest.raises(rfgraph.InputError, match="node 'zeros_like' reads no tracked input"):
        _ = report["zeros_like"].rf


def test_any_dim_can_be_tracked():
    linear = rfgraph.analyze(nn.Linear(5, 3), (4, 7, 5), axes=(0, 1, -1)).output.rf
    assert linear.whole == (False, False, True) and linear.local is not None
    grouped = rfgraph.analyze(nn.Conv1d(6, 4, 1, groups=2), (1, 6, 9), axes=(1,)).output.rf
    assert grouped.phases == (((0, 1, 2), (0, 1, 2)),) and grouped.stride == (Fraction(3, 2),)
    tokens = rfgraph.analyze(nn.Embedding(10, 4), torch.zeros(2, 9, dtype=torch.long), axes=(1,))
    assert tokens.output.rf.size == (1,) and tokens.output.dims == (1,)


def test_the_graph_is_networkx():
    graph = rfgraph.analyze(UNet(1)).graph
    assert set(graph.predecessors("cat")) == {"down.0.3", "up.0"}
    assert graph.nodes["cat"]["node"].op == "cat"


def test_json_is_plain_and_whole_on_disk(tmp_path):
    report = rfgraph.analyze(UNet(2))
    text = report.to_json(tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text())
    assert data == json.loads(text) == json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["model"] == "UNet" and data["outputs"] == {"output": "head"}
    up = next(node for node in data["nodes"] if node["name"] == "up.1")
    assert up["op"] == "conv_transpose2d" and up["operands"] == ["merge.0.3"]
    assert up["rfs"]["image"]["stride"] == [1, 1] and up["dims"] == [2, 3]
    half = rfgraph.analyze(nn.Upsample(scale_factor=2), (1, 2, 5)).to_dict()["nodes"][-1]
    assert half["rfs"]["input"]["stride"] == ["1/2"]
    pooled = rfgraph.analyze(nn.AdaptiveAvgPool1d(1), (1, 2, 5)).to_dict()["nodes"][-1]["rfs"][
        "input"
    ]
    assert pooled["size"] == [None] and pooled["whole"] == [True]
    assert pooled["causes"] == [0]


def _gated(count):
    return nn.Sequential(*(Gated() for _ in range(count)), nn.Upsample(size=(7, 5)))


class Gated(nn.Module):
    """A convolution times its own mean, along height alone: the axes have other causes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, (3, 2), padding=1)

    def forward(self, x):
        return self.conv(x) * x.mean(2, keepdim=True)[..., :1]


def _origins(table, number):
    """What an entry of a report's origins stands for."""
    if number is None:
        return set()
    entry = table[number]
    own = {(entry["node"], entry["text"])} if "node" in entry else set()
    return own.union(*(_origins(table, after) for after in entry["after"]))


def test_causes_limits_and_marks_are_written_once_for_all_rows():
    report = rfgraph.analyze(_gated(4), (1, 1, 9, 8))
    data = report.to_dict()
    for node, row in zip(report.nodes, data["nodes"], strict=True):
        for field, told in zip(node.rfs.values(), row["rfs"].values(), strict=True):
            for number, reads in enumerate(field):
                assert _origins(data["origins"], told["causes"][number]) == set(reads.causes)
                assert _origins(data["origins"], told["limits"][number]) == set(reads.limits)
                assert told["marks"][number] is None and not reads.marks
    assert [len(reads.causes) for reads in report.output.rf] == [4, 0]
    assert all(reads.limits for reads in report.output.rf)


def test_json_grows_with_the_rows_and_not_with_their_causes():
    lengths = [
        len(rfgraph.analyze(_gated(count), (1, 1, 99, 98)).to_json()) for count in (20, 40, 80)
    ]
    assert lengths[2] - lengths[1] < 2.1 * (lengths[1] - lengths[0])


def test_json_of_some_rows_has_the_origins_of_these():
    report = rfgraph.analyze(_gated(3), (1, 1, 9, 8))
    (row,) = report.to_dict([report["0.conv"]])["nodes"]
    assert row["name"] == "0.conv" and report.to_dict([report["0.conv"]])["origins"] == []


def test_a_dataframe_has_a_row_for_each_node_input_and_axis():
    frame = rfgraph.analyze(UNet(1), (1, 1, 12, 10)).to_dataframe()
    row = frame[(frame.name == "bottom.2") & (frame.axis == 1)].iloc[0]
    assert (row.op, row.input, row["size"], row.stride) == (
        "conv2d",
        "image",
        14,
        2,
    )  # 5 + 1 + 2 * (2 + 2)
    assert len(frame) == 2 * len(rfgraph.analyze(UNet(1)))


def test_markdown_and_html_escape_and_agree_with_the_rows():
    report = rfgraph.analyze(UNet(1))
    assert report.to_markdown().count("\n") == len(report) + 2
    html = report._repr_html_()
    assert html.count("<tr>") == len(report) + 1 and "<td>down.0.0</td>" in html
    assert report.to_csv().splitlines()[1].startswith("image,input,1,1,1,0")


def test_many_causes_are_counted_not_listed():
    text = str(rfgraph.analyze(SqueezeExciteNet(5)))
    assert "blocks.2.squeeze (pooling) and 2 more" in text


def test_a_report_is_iterated_over_node_by_node():
    report = rfgraph.analyze(UNet(1))
    assert [node.name for node in report] == [node.name for node in report.nodes]
