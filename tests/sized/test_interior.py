"""The interior: from which position to which a closed form is what the model reads, held against the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.algebra.relation import Relation
from rfgraph.gallery import UNet
from rfgraph.propagation.lattice import Lattice
from rfgraph.propagation.sets import AtSize, longest_run, sets_of
from tests.sized.poison import Apply, rows_reaching, with_windows

Function = Callable[..., Tensor]
LENGTHS = (24, 30)

# How many positions at either end are no interior: by hand.
MODELS: dict[str, tuple[Function, tuple[int, int]]] = {
    "one window": (lambda self, x: self.three(x), (0, 0)),
    "windows behind each other": (lambda self, x: self.five(self.three(x)), (0, 0)),
    "padding that is seen alone": (lambda self, x: self.padded(self.three(x)), (2, 2)),
    "a branch without padding": (lambda self, x: F.pad(self.valid(x), (2, 0)) + x, (2, 0)),
    "of another branch": (lambda self, x: F.pad(self.valid(x), (0, 2)) + self.five(x), (0, 0)),
    "a crop that is padded again": (lambda self, x: F.pad(x[..., 3:-1], (3, 1)) + self.three(x), (0, 0)),
    "crops alone": (lambda self, x: F.pad(x[..., 3:-1], (3, 1)) + F.pad(x[..., 1:], (0, 1)), (3, 1)),
    "a hole": (lambda self, x: self.holes(x[..., 1:]), (1, 0)),
    "branches of a rate": (lambda self, x: F.pad(self.pairs(x)[..., 2:], (2, 0)) + F.max_pool1d(x, 2), (0, 0)),
    "up again": (lambda self, x: self.again(F.pad(self.pairs(x)[..., 1:], (1, 0))), (2, 0)),
    "a middle": (lambda self, x: F.pad(x[..., 4:-5], (4, 5)), (4, 5)),
}  # fmt: skip


def built(function: Function) -> nn.Module:
    return with_windows(
        function,
        valid=nn.Conv1d(2, 2, 3),
        padded=nn.Conv1d(2, 2, 1, padding=2),
        holes=nn.Conv1d(2, 2, 2, padding=1, dilation=2),
        pairs=nn.Conv1d(2, 2, 2, stride=2),
        again=nn.ConvTranspose1d(2, 2, 2, stride=2),
    ).double()


def clipped(law: Relation, output: int, length: int) -> list[int]:
    return [i for i in law.at(output) if 0 <= i < length]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", MODELS)
def test_within_the_interior_the_model_reads_what_the_closed_form_says(
    name: str, length: int
) -> None:
    function, (left, right) = MODELS[name]
    shape = (1, 2, length)
    report = rfgraph.analyze(built(function), torch.zeros(shape, dtype=torch.float64))
    (reads,) = report.output.rf
    assert reads.closed_form and reads.relation is not None
    rows = rows_reaching(built(function), shape, 2)[0].any(axis=0)
    count = len(rows)
    assert reads.interior == (left, count - 1 - right)
    agree = [
        rows[o].nonzero()[0].tolist() == clipped(reads.relation, o, length) for o in range(count)
    ]
    assert all(agree[left : count - right])
    assert not any(agree[max(left - 1, 0) : left] + agree[count - right :][:1])


def test_the_interior_of_every_node_of_a_unet() -> None:
    report = rfgraph.analyze(UNet(1), (1, 1, 24, 16))
    for node in report:
        for axis, reads in zip(report.axes, node.rf, strict=True):
            assert reads.closed_form and reads.interior is not None and reads.relation is not None
            length = report.inputs[axis.input].shape[axis.dim]
            first, last = reads.interior
            for output in range(first, last + 1):
                found = reads.members({axis.dim: output}).tolist()
                assert found == clipped(reads.relation, output, length)


def test_where_there_is_none() -> None:
    def of(function: Function) -> rfgraph.AxisReads:
        (reads,) = rfgraph.analyze(Apply(function), (1, 2, 12)).output.rf
        return reads

    assert of(lambda self, x: x.mean(-1)).interior is None  # no relation
    assert of(lambda self, x: x[..., ::2] + x[..., :6]).interior is None  # branches of two rates
    assert of(lambda self, x: F.pad(x[..., 9:], (9, 0))[..., :9]).interior is None  # padding alone
    assert of(lambda self, x: x[..., 3]).interior == (0, 0)
    assert of(lambda self, x: F.pad(x[..., 2:], (2, 0))[..., 1]).interior == (0, 0)  # nothing
    whole = of(lambda self, x: F.pad(x.softmax(-1)[..., 2:], (2, 0)))
    assert whole.interior is None and whole.local is not None and whole.local.interior == (2, 11)


def test_there_is_none_where_a_stride_passes_over_the_row_that_reads_more() -> None:
    """Row 1 of a map is written: along its other dim, it alone reads nine positions."""

    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(1, 1, (1, 5), padding="same", dilation=(1, 2))
            self.next = nn.Conv2d(1, 1, (1, 3), stride=(2, 1), padding=(0, 1))

        def forward(self, x: Tensor) -> Tensor:
            made = x.clone()
            made[:, :, 1] = self.wide(x)[:, :, 2]
            every: Tensor = self.next(made)
            return every

    last = rfgraph.analyze(Written(), (1, 1, 6, 30)).output.at(rfgraph.Axis("x", 3))
    assert (last.size, last.interior) == (11, None)
    assert last.members({2: 0, 3: 12}).tolist() == [11, 12, 13]


def test_by_hulls_where_sets_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfgraph.propagation.sets.AtSize._walked", _in_hulls)
    (reads,) = rfgraph.analyze(
        Apply(lambda self, x: F.pad(x[..., 3:], (3, 0))), (1, 2, 12)
    ).output.rf
    assert reads.interior == (3, 11)


def _in_hulls(self: Any, name: str | None, axis: rfgraph.Axis, told: bool, exact: bool) -> object:
    return _WALKED(self, name, axis, told, False)


_WALKED = AtSize._walked


def test_sets_of_a_law_are_what_it_reads() -> None:
    for exact in (True, False):
        lattice = Lattice(70, exact)
        for law in (
            Relation.window(3, 2, 4, 5),
            Relation.spread(3),
            Relation.constant([-1, 4, 69]),
        ):
            sets = sets_of(lattice, law, 11)
            for output in range(11):
                reads = clipped(law, output, 70)
                hull = [*range(reads[0], reads[-1] + 1)] if reads else []
                assert lattice.members(sets[output]).tolist() == (reads if exact else hull)


def test_the_longest_run() -> None:
    marks = [[0, 1, 1, 0, 1, 1, 1], [0, 0, 0], [1], [1, 0, 1]]
    found = [longest_run(torch.tensor(each, dtype=torch.bool).numpy()) for each in marks]
    assert found == [(4, 6), None, (0, 0), (0, 0)]


def test_a_margin_that_is_off_by_one_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(marks: object) -> tuple[int, int] | None:
        run = longest_run(marks)  # type: ignore[arg-type]
        return None if run is None else (max(run[0] - 1, 0), run[1])

    monkeypatch.setattr("rfgraph.propagation.sets.longest_run", off)
    with pytest.raises(AssertionError, match=r"\(3, 18\) == \(4, 18\)"):
        test_within_the_interior_the_model_reads_what_the_closed_form_says("a middle", 24)
