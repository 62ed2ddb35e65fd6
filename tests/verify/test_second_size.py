"""Closed forms are held at a second size: what differs there is told, and blamed on the first node that has it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph import gallery
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node
from rfgraph.language.reads import Read, Reads, along
from rfgraph.verification import Mismatch
from tests.verify.mutants import taught

Forward = Callable[[nn.Module, Tensor], Tensor]


class Model(nn.Module):
    """A convolution, and what becomes of it."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3, padding=1)
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self.conv, x)


def by_size(conv: nn.Module, x: Tensor) -> Tensor:
    return F.avg_pool1d(conv(x), x.shape[-1])


def from_a_quarter(conv: nn.Module, x: Tensor) -> Tensor:
    return torch.tanh(conv(x)[..., x.shape[-1] // 4 :])


def to_a_multiple(conv: nn.Module, x: Tensor) -> Tensor:
    return conv(F.pad(x, (-x.shape[-1] % 8, 0)))


def to_a_fixed_size(conv: nn.Module, x: Tensor) -> Tensor:
    return F.interpolate(conv(x), size=4)


def one_by_one(conv: nn.Module, x: Tensor) -> Tensor:
    y, total = conv(x), torch.zeros(x.shape[:-1])
    for position in range(x.shape[-1]):
        total = total + y[..., position]
    return torch.tanh(total)


ASKING: dict[str, tuple[Forward, int]] = {
    # and the first size
    "pooling by the size": (by_size, 12),
    "a slice from a quarter on": (from_a_quarter, 12),
    "resampling to a fixed size": (to_a_fixed_size, 12),
    "padding to a multiple": (to_a_multiple, 12),
    "a loop over positions": (one_by_one, 5),
}
"""Forwards that ask for their size, or give one."""


@pytest.mark.parametrize("name", ASKING)
def test_what_depends_on_the_size_is_no_closed_form_and_agrees(name: str) -> None:
    forward, size = ASKING[name]
    check = rfgraph.verify(Model(forward), (1, 2, size))
    assert check.exact, str(check)


@pytest.mark.parametrize("name", ASKING)
def test_verify_sees_what_an_analysis_does_not_ask(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look of its own, at another size."""
    forward, size = ASKING[name]
    monkeypatch.setattr("rfgraph.analysis.settled", lambda first, at: (first, ""))
    check = rfgraph.verify(Model(forward), (1, 2, size))
    assert {mismatch.kind for mismatch in check.mismatches} == {"size-dependent"}
    assert "are size-dependent: {" in str(check) and "at a second one" in str(check)


def test_a_mismatch_between_sizes_tells_the_positions_at_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rfgraph.analysis.settled", lambda first, at: (first, ""))
    check = rfgraph.verify(Model(from_a_quarter), (1, 2, 12))
    (mismatch,) = check.mismatches
    sides = (2, 3, 4), (4, 5, 6)
    axis = rfgraph.graph.Axis("x", 2)
    kind = "size-dependent"
    assert mismatch == Mismatch("getitem", "second size", kind, axis, {2: 0}, *sides)
    assert not check and check.blame is not None and check.blame.node == "getitem"
    assert check.second_size == {"x": (1, 2, 21)}
    assert check.to_dict()["second_size"] == {"x": [1, 2, 21]}
    assert check.blame.repro.startswith("# alone, the operator agrees")


def test_a_model_that_takes_another_size_is_held_there() -> None:
    check = rfgraph.verify(gallery.UNet(2), (1, 1, 16, 20))
    assert check.exact and check.notes == ()
    (shape,) = check.second_size.values()
    for first, second in zip((16, 20), shape[2:], strict=True):
        assert second > first and second % first and (second - first) % 4 == 0


def test_a_model_that_takes_no_other_size_says_so() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(14, 3))
    check = rfgraph.verify(model, (1, 1, 9))
    told = "closed forms were not held at a second size: the model takes none"
    assert check.exact and check.second_size == {} and check.notes == (told,)
    assert told in str(check)


def rounded(node: Node) -> Reads:
    """A pool to 4 positions that takes its window from the size at hand, and claims that at any size."""
    size = node.operand_shapes[0][2] // 4
    law = Relation.window(size, size)
    return (Read(0, (along(0), along(1), along(2, law))),)


def test_a_rule_that_claims_its_size_for_all_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfgraph.analysis.VOCABULARY", taught("adaptive_avg_pool1d", rounded))
    model = nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.AdaptiveAvgPool1d(4), nn.Tanh())
    check = rfgraph.verify(model, (1, 1, 16))
    assert [m.node for m in check.mismatches] == ["1"]  # what reads it follows
    assert check.blame is not None and check.blame.module == "AdaptiveAvgPool1d"
    assert check.mismatches[0].kind == "size-dependent"
    assert check.blame.repro.startswith("import torch")  # alone, it shows the fault


def test_two_inputs_keep_their_proportions() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, half: Tensor) -> Tensor:
            return x + F.interpolate(half, scale_factor=2)

    check = rfgraph.verify(Two(), {"x": (1, 1, 12), "half": (1, 1, 6)})
    assert check.exact and check.second_size == {"x": (1, 1, 18), "half": (1, 1, 9)}


def test_an_axis_of_one_position_stays_one() -> None:
    check = rfgraph.verify(nn.Conv2d(1, 1, (1, 3), padding=(0, 1)), (1, 1, 1, 8))
    assert check.exact and check.second_size == {"input": (1, 1, 1, 15)}


class Strided(nn.Module):
    """A strided convolution of one input, and a pooling of another, of one position each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 2, stride=3)

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        return self.conv(x) + F.avg_pool1d(side, 2)


def test_a_size_at_which_a_position_is_repeated_is_no_second_size() -> None:
    """At (1, 1, 11) and (1, 1, 3) the one position of the side would be repeated along those of x."""
    check = rfgraph.verify(Strided(), {"x": (1, 1, 4), "side": (1, 1, 2)})
    assert check.agrees, str(check)


def test_a_size_at_which_a_part_is_repeated_is_no_second_size() -> None:
    """At 3 rows the row that is taken away is as many as are written; at more it would be repeated."""

    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.clone()
            y[..., 1:-1, :].sub_(x[..., 1:2, :1])
            return y

    check = rfgraph.verify(Inner(), (1, 2, 3, 4), rows="all")
    assert check.agrees, str(check)


def test_nodes_behind_a_loop_are_found_by_their_place_in_the_code() -> None:
    """Sums count on from those of the loop: `add_6` is another one where there are more positions."""

    class Running(nn.Module):
        def forward(self, x: Tensor, side: Tensor) -> Tensor:
            state, made = torch.zeros_like(x[..., :1]), []
            for t in range(x.shape[2]):
                state = state + x[..., t : t + 1]
                made.append(state)
            return torch.cat(made, dim=2) + side

    check = rfgraph.verify(Running(), {"x": (1, 1, 6), "side": (1, 1, 6)})
    assert check.exact and check.second_size, str(check)


def test_a_second_size_lies_some_grids_of_local_reads_away() -> None:
    """Behind a softmax, too, where a pool and a resampling back have a rate of their own at odd sizes."""

    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = F.max_pool1d(x.softmax(-1), 2, ceil_mode=True)
            return F.interpolate(y, size=x.shape[2:])

    check = rfgraph.verify(Pooled(), (1, 1, 6))
    assert check.exact and check.second_size["x"][2] % 2 == 0, str(check)
