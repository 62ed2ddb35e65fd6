"""`check_rule` and `assert_verified`: right rules pass, wrong ones are shown where they first go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph import Read, Relation, Whole, along
from rfgraph.graph import Node
from rfgraph.language.reads import Reads
from rfgraph.rules import VOCABULARY
from rfgraph.testing import assert_verified, check_rule


class Blur(nn.Module):
    """A running mean over the last dim."""

    def __init__(self, size: int, stride: int = 1) -> None:
        super().__init__()
        self.size, self.stride = size, stride

    def forward(self, x: Tensor) -> Tensor:
        return x.unfold(-1, self.size, self.stride).mean(-1)


class Pair(nn.Module):
    """Two operands, and two outputs."""

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a + b.flip(-1), b * 2


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Undo what a test teaches."""
    tables: tuple[dict[Any, Any], ...] = (
        VOCABULARY.operators,
        VOCABULARY.functions,
        VOCABULARY.methods,
        VOCABULARY.modules,
    )
    before = [dict(table) for table in tables]
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)


def teach(size: int = 0, shift: int = 0, whole: bool = False) -> None:
    @rfgraph.rule(Blur)
    def blur(node: Node) -> Reads:
        last = len(node.shape) - 1
        window = Relation.window(node.params["size"] + size, node.params["stride"]).shift(shift)
        lead = (along(dim) for dim in range(last))
        return (Read(0, (*lead, Whole("linear") if whole else along(last, window))),)


@pytest.mark.parametrize("shape", [(1, 1, 9), (2, 1, 3, 7), (6,)])
def test_a_right_rule_passes(shape: tuple[int, ...]) -> None:
    teach()
    check_rule(Blur(3, 2), shape)


def test_the_default_shapes_are_those_the_operator_takes() -> None:
    teach()
    check_rule(Blur(3))
    with pytest.raises(rfgraph.InputError, match=r"Blur\(\) takes none of \(\(1, 2, 9\), .*: pass"):
        check_rule(Blur(30))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"size": -1},
            r"^the rule of 'Blur' for Blur\(\) on \(1, 1, 6\) misses 4 of 24 pairs, the first at "
            r"output \(0, 0, 0\), position \(0, 0, 2\) of operand 0: along dim 2 it says \{0-1\} and "
            r"the operator depends on \{0-2\}$",
        ),
        (
            {"size": 1},
            r"has too much 3 of 24 pairs, the first at output \(0, 0, 0\), position \(0, 0, 3\) of "
            r"operand 0: along dim 2 it says \{0-3\} and the operator depends on \{0-2\}$",
        ),
        ({"shift": 1}, r"misses 4 of 24 .* it says \{1-3\} and the operator depends on \{0-2\}$"),
        ({"whole": True}, r"has too much 12 of 24 .* it says \{0-5\} and .* depends on \{0-2\}$"),
    ],
)
def test_a_wrong_rule_is_shown_where_it_goes_wrong(wrong: dict[str, Any], message: str) -> None:
    teach(**wrong)
    with pytest.raises(AssertionError, match=message):
        check_rule(Blur(3), (1, 1, 6))


def test_a_conservative_rule_may_say_too_much_and_no_less() -> None:
    teach(size=1)
    check_rule(Blur(3), (1, 1, 6), conservative=True)


def test_a_conservative_rule_may_not_miss_anything() -> None:
    teach(size=-1)
    with pytest.raises(AssertionError, match="misses 4 of 24 pairs"):
        check_rule(Blur(3), (1, 1, 6), conservative=True)


def test_a_class_decorates_a_test_that_returns_arguments() -> None:
    teach()

    @check_rule(Blur, (1, 1, 8))
    def blurs() -> list[dict[str, int]]:
        """Blurs."""
        return [{"size": 2}, {"size": 3, "stride": 2}]

    assert (blurs.__name__, blurs.__doc__) == ("blurs", "Blurs.")
    blurs()

    @check_rule(Blur, (1, 1, 8))
    def none() -> list[dict[str, int]]:
        return []

    with pytest.raises(rfgraph.InputError, match="none returns no arguments to build Blur with"):
        none()


def test_a_decorated_test_fails_where_the_rule_is_wrong() -> None:
    teach(shift=-1)

    @check_rule(Blur, (1, 1, 8))
    def blurs() -> list[dict[str, int]]:
        return [{"size": 2}]

    with pytest.raises(AssertionError, match="misses 7 of 56 pairs"):
        blurs()


def test_several_operands_and_outputs() -> None:
    @rfgraph.rule(Pair)
    def pair(node: Node) -> Reads:
        if node.output == 1:
            return (Read(1, (along(0), along(1))),)
        return (Read(0, (along(0), along(1))), Read(1, (along(0), along(1))))

    with pytest.raises(AssertionError, match=r"at output \(0, 0\), position \(0, 3\) of operand 1"):
        check_rule(Pair(), [(1, 4), (1, 4)])


def test_a_function_is_an_operator_too() -> None:
    check_rule(lambda x: F.max_pool1d(x, 3, 2, 1), (1, 2, 7))
    check_rule(lambda a, b: torch.cat([a, b], -1), [(2, 3), (2, 2)])


def test_the_operator_is_left_as_it_was() -> None:
    conv = nn.Conv1d(1, 1, 3).train()
    nn.init.zeros_(conv.weight)
    check_rule(conv, (1, 1, 5))
    assert conv.training
    assert conv.weight.dtype is torch.float32
    assert conv.weight.requires_grad
    assert not conv.weight.any()


def test_what_cannot_be_checked_is_refused(untaught: Callable[..., None]) -> None:
    untaught("bessel_j0")
    with pytest.raises(
        rfgraph.InputError, match=r"Sequential.* has no rule of its own: .* 3 nodes"
    ):
        check_rule(nn.Sequential(nn.ReLU(), nn.ReLU()), (1, 4))
    with pytest.raises(rfgraph.UnsupportedOperatorError, match="bessel_j0"):
        check_rule(torch.special.bessel_j0, (1, 4))
    with pytest.raises(rfgraph.InputError, match="takes 1 to 3 operands, got 4 shapes"):
        check_rule(torch.add, [(1,)] * 4)
    with pytest.raises(rfgraph.InputError, match="are too large to change one element at a time"):
        check_rule(nn.ReLU(), (1, 1, 1 << 13))


# --- assert_verified ----------------------------------------------------------------------------


def test_a_model_that_agrees_passes() -> None:
    assert_verified(nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU()), (1, 1, 8), rows="all")


def test_a_model_that_does_not_is_told_with_the_node_to_blame() -> None:
    teach(shift=1)
    model = nn.Sequential(nn.Conv1d(1, 1, 3), Blur(2), nn.ReLU())
    with pytest.raises(
        rfgraph.VerificationError, match="the first node to differ is '1'"
    ) as caught:
        assert_verified(model, (1, 1, 9))
    assert isinstance(caught.value, AssertionError)
    caught.match("print\\(rfgraph.verify\\(")
