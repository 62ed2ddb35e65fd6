"""The poison probe: every node at once, what stops a NaN, and rows side by side in a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rfgraph import gallery
from rfgraph.errors import InputError
from rfgraph.graph import Graph
from rfgraph.probe import GradientProbe, PoisonProbe
from tests import models
from tests.probe.support import Function, axis_set, graph_of, output_of, row, span

# --- hand-computed figures ------------------------------------------------------------------------


def test_one_row_reaches_the_windows_that_hold_it() -> None:
    graph = graph_of(nn.Conv2d(1, 2, (3, 2), stride=(2, 1), padding=(1, 0)), (1, 1, 9, 6))
    found = row(PoisonProbe(graph), "input", 2, 4)[output_of(graph)]
    assert found.shape == (1, 2, 5, 5)
    assert found.any(axis=(0, 1, 3)).tolist() == [False, False, True, False, False]
    assert found[0, 0, 2].all()
    odd = row(PoisonProbe(graph), "input", 2, 5)[output_of(graph)]
    assert odd.any(axis=(0, 1, 3)).tolist() == [False, False, True, True, False]


def test_sets_are_the_rows_that_reach_each_position() -> None:
    graph = graph_of(gallery.CausalTCN(), (1, 4, 300))
    output = output_of(graph)
    sets = PoisonProbe(graph).rows("signal", 2, keep={output: (2,)})[output].T
    assert sets.shape == (300, 300)
    assert span(np.flatnonzero(sets[200])) == (200 - 126, 200, 127)
    assert span(np.flatnonzero(sets[3])) == (0, 3, 4)


def test_the_phases_of_a_unet() -> None:
    graph = graph_of(gallery.UNet(2), (1, 1, 96, 8))
    sets = PoisonProbe(graph).rows("image", 2, keep={output_of(graph): (2,)})[output_of(graph)].T
    assert {int(rows.sum()) for rows in sets[40:56]} == {44}


BUILDS = [
    (lambda: gallery.UNet(2), (1, 1, 32, 40)),
    (lambda: gallery.UNet(2, bilinear=True), (1, 1, 24, 32)),
    (gallery.CausalTCN, (1, 4, 90)),
    (gallery.SqueezeExciteNet, (1, 3, 36, 30)),
    (gallery.WaveEncoder, (1, 1, 1100)),
    (gallery.VisionTransformer, (1, 3, 32, 48)),
    (models.lopsided_resnet, (1, 1, 40, 50)),
    (models.se_resnet, (1, 3, 40, 33)),
]


@pytest.mark.parametrize(("build", "shape"), BUILDS)
def test_both_probes_agree_at_every_node(build: object, shape: tuple[int, ...]) -> None:
    graph = graph_of(build(), shape)  # type: ignore[operator]
    poison, gradient = PoisonProbe(graph), GradientProbe(graph)
    assert poison.unreadable == {} == gradient.unreadable
    (name,) = graph.inputs
    dim = len(shape) - 1
    found = poison.rows(name, dim)
    for node in graph:
        for position in {tuple(int(p * (n - 1)) for n in node.shape) for p in (0, 0.4, 1)}:
            mask = found[node.name][(slice(None), *position)]
            expected = axis_set(gradient, node.name, position, name, dim)
            if node.name in poison.overcounts:  # a border clamps: the tap outside has a weight of 0
                assert set(expected) <= set(np.flatnonzero(mask)), (node.name, position)
            else:
                assert np.flatnonzero(mask).tolist() == expected.tolist(), (node.name, position)


@pytest.mark.parametrize("how", ["zero_", "fill_", "normal_", "copy_"])
def test_what_is_written_over_is_read_no_more(how: str) -> None:
    given = {"fill_": (0.5,), "copy_": (torch.ones(3),)}.get(how, ())

    def written(x: Tensor) -> Tensor:
        y = x * 2
        getattr(y[..., 1:4], how)(*given)
        return y + 1

    graph = graph_of(Function(written), (1, 1, 6))
    probe = PoisonProbe(graph)
    sets = probe.rows("x", 2, keep={output_of(graph): (2,)})[output_of(graph)].T
    assert probe.unreadable == {}
    assert sets.tolist() == (np.eye(6, dtype=bool) & ~np.isin(np.arange(6), [1, 2, 3])).tolist()


# --- traps ----------------------------------------------------------------------------------------


def test_poison_passes_max_pooling_dead_relus_zero_weights_and_saturated_gates() -> None:
    conv = nn.Conv1d(1, 1, 3)
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, -1e6)  # type: ignore[arg-type]
    model = nn.Sequential(conv, nn.ReLU(), nn.Sigmoid(), nn.MaxPool1d(2))
    graph = graph_of(model, (1, 1, 12))
    probe = PoisonProbe(graph)
    assert probe.unreadable == {}
    sets = probe.rows("input", 2, keep={output_of(graph): (2,)})[output_of(graph)].T
    assert np.flatnonzero(sets[2]).tolist() == [4, 5, 6, 7]


BLOCKERS = {
    "nan_to_num": lambda x: torch.nan_to_num(x),
    "comparison": lambda x: (x > 0).float(),
    "cast": lambda x: x.to(torch.int64).float(),
    "where": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "fmax": lambda x: torch.fmax(x, x.roll(1, 2)),
    "nanmean": lambda x: torch.nanmean(x, 2, keepdim=True).expand(-1, -1, 8),
    "sort": lambda x: x.sort(dim=2)[0],
    "argmax": lambda x: x.argmax(2, keepdim=True) * 1.0,
}


@pytest.mark.parametrize("kind", BLOCKERS)
def test_what_stops_a_nan_is_unreadable_not_agreement(kind: str) -> None:
    conv = nn.Conv1d(1, 1, 3, padding=1)
    graph = graph_of(Function(lambda x, c: BLOCKERS[kind](c(x)) * 2, conv), (1, 1, 8))
    probe = PoisonProbe(graph)
    assert output_of(graph) in probe.unreadable
    assert output_of(graph) not in row(probe, "x", 2, 3)
    first = next(node.name for node in graph if node.op != "input")
    assert first not in probe.unreadable  # the convolution before it can be read
    assert first in row(probe, "x", 2, 3)


def test_zeros_that_padding_and_constants_add_block_nothing() -> None:
    def shape_only(x: Tensor) -> Tensor:
        padded = F.pad(x, (3, 0))
        out = torch.zeros_like(padded)
        out[:, :, 1:] = padded[:, :, :-1]
        return out.view_as(padded) + padded.new_ones(1)

    graph = graph_of(Function(shape_only), (1, 1, 5))
    probe = PoisonProbe(graph)
    assert probe.unreadable == {}
    assert np.flatnonzero(row(probe, "x", 2, 0)[output_of(graph)][0, 0]).tolist() == [4]


def test_a_mask_that_the_model_builds_from_zeros_blocks_nothing() -> None:
    def masked(x: Tensor) -> Tensor:
        groups = x.new_zeros(5)
        groups[2:] = 1
        return x + torch.zeros_like(groups).masked_fill(groups != 0, -100.0)

    graph = graph_of(Function(masked), (1, 1, 5))
    probe = PoisonProbe(graph)
    assert probe.unreadable == {}
    assert np.flatnonzero(row(probe, "x", 2, 3)[output_of(graph)][0, 0]).tolist() == [3]


@pytest.mark.filterwarnings("ignore")
def test_a_node_that_is_nan_without_poison_is_told() -> None:
    graph = graph_of(Function(lambda x: torch.log(-x.abs() - 1)), (1, 1, 5))
    assert "is NaN without any poison" in PoisonProbe(graph).unreadable[output_of(graph)]


def test_roots_are_probed_on_positive_inputs() -> None:
    assert PoisonProbe(graph_of(Function(torch.sqrt), (1, 1, 5))).unreadable == {}


def test_interpolation_at_an_integer_position_may_count_too_much() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=3, mode="linear"), nn.Conv1d(1, 1, 1))
    graph = graph_of(model, (1, 1, 7))
    probe = PoisonProbe(graph)
    assert set(probe.overcounts) == {"0", "1"}
    sets = probe.rows("input", 2, keep={"0": (2,)})["0"].T
    read = axis_set(GradientProbe(graph), "0", (10,), "input", 2).tolist()
    assert read == [3]
    assert set(read) < set(np.flatnonzero(sets[10]).tolist())


@pytest.mark.parametrize("style", ["is_causal", "mask", "softmax"])
def test_masked_attention_may_count_too_much(style: str) -> None:
    past = torch.ones(5, 5, dtype=torch.bool).tril()

    def attend(x: Tensor) -> Tensor:
        if style == "softmax":
            scores = (x @ x.transpose(1, 2)).masked_fill(~past, float("-inf"))
            return torch.softmax(scores, -1) @ x
        mask = past if style == "mask" else None
        return F.scaled_dot_product_attention(x, x, x, mask, is_causal=mask is None)

    graph = graph_of(Function(attend), (1, 5, 4))
    assert output_of(graph) in PoisonProbe(graph).overcounts


# --- batches --------------------------------------------------------------------------------------


def one_by_one(graph: Graph, name: str, dim: int) -> dict[str, np.ndarray]:
    return PoisonProbe(graph, batch=1).rows(name, dim)


def test_rows_in_one_batch_are_those_alone() -> None:
    graph = graph_of(gallery.UNet(2), (2, 1, 16, 12))
    together = PoisonProbe(graph, batch=5).rows("image", 3)
    alone = one_by_one(graph, "image", 3)
    assert together.keys() == alone.keys()
    assert all((together[node] == alone[node]).all() for node in alone)


@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: x.view(1, 2, -1),  # the size of the batch is written into the model
        lambda x: x + x.mean(0, keepdim=True),  # samples mix
        lambda x: x.flatten(0, 1).unsqueeze(0),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: x + x.roll(1, 0),  # shapes alone do not tell
    ],
)
def test_a_model_that_mixes_a_batch_is_probed_row_by_row(mixing: object) -> None:
    graph = graph_of(Function(mixing), (1, 2, 6))  # type: ignore[arg-type]
    together, alone = PoisonProbe(graph).rows("x", 2), one_by_one(graph, "x", 2)
    assert all((together[node] == alone[node]).all() for node in alone)


def test_samples_of_a_batch_can_be_rows() -> None:
    graph = graph_of(nn.Conv1d(1, 1, 3), (3, 1, 6))
    found = row(PoisonProbe(graph), "input", 0, 1)[output_of(graph)]
    assert found.any(axis=(1, 2)).tolist() == [False, True, False]


# --- refusals -------------------------------------------------------------------------------------


def test_rows_that_do_not_exist_are_refused() -> None:
    probe = PoisonProbe(graph_of(nn.Conv1d(1, 1, 3), (1, 1, 8)))
    with pytest.raises(InputError, match="no input named 'image'; it has input"):
        row(probe, "image", 2, 0)
    with pytest.raises(InputError, match="has no dim 3"):
        row(probe, "input", 3, 0)
    with pytest.raises(InputError, match="has rows 0 to 7"):
        row(probe, "input", 2, 8)


def test_integers_cannot_be_poisoned() -> None:
    graph = graph_of(nn.Embedding(5, 3), {"input": torch.zeros(1, 4, dtype=torch.long)})
    probe = PoisonProbe(graph)
    assert "int64 values hold no NaN" in probe.unreadable[output_of(graph)]
    with pytest.raises(InputError, match="holds integers"):
        row(probe, "input", 1, 0)
    gradient = GradientProbe(graph)
    assert axis_set(gradient, output_of(graph), {1: 2}, "input", 1).tolist() == [2]
