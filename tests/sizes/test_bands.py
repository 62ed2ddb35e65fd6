"""Constant masks that are one law at two sizes: triangles, windows, chunks; at any size then, and not before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import rfgraph
from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.rules.bands import band_of
from rfgraph.sizes.compare import COMPUTED
from tests.zeros import models
from tests.zeros.changes import changed

MaskOf: TypeAlias = Callable[[int], Tensor]


MASK = "a constant mask holds at this size"


def ahead(n: int) -> Tensor:
    """(query, key): how far the key is ahead of the query."""
    return torch.arange(n) - torch.arange(n)[:, None]


def chunk(n: int) -> tuple[Tensor, Tensor]:
    """The chunks of three that queries and keys are in."""
    return torch.arange(n)[:, None] // 3, torch.arange(n) // 3


LAWS: dict[str, tuple[MaskOf, tuple[float, float]]] = {
    "tril": (lambda n: torch.ones(n, n, dtype=torch.bool).tril(), (inf, 0)),
    "some ahead": (lambda n: ahead(n) <= 2, (inf, 2)),
    "added": (lambda n: torch.zeros(n, n).masked_fill(ahead(n) > 0, -1e9), (inf, 0)),
    "window": (lambda n: ahead(n).abs() <= 2, (2, 2)),
    "causal window": (lambda n: (ahead(n) <= 0) & (ahead(n) > -3), (2, 0)),
    "dilated": (lambda n: (ahead(n) % 2 == 0) & (ahead(n).abs() <= 3), (2, 2)),
    "chunks": (lambda n: torch.eq(*chunk(n)), (2, 2)),
    "chunks before": (lambda n: torch.ge(*chunk(n)), (inf, 2)),
}
NONE: dict[str, MaskOf] = {
    "as wide as the size says": lambda n: ahead(n).abs() <= n // 4,
    "what comes": lambda n: ahead(n) >= 0,
    "some for all": lambda n: (torch.arange(n) < 2) | (ahead(n).abs() <= 1),
    "all for the first": lambda n: (ahead(n) <= -1) | (torch.arange(n)[:, None] == 0),
    "at random": lambda n: torch.rand(n, n, generator=torch.Generator().manual_seed(n)) < 0.5,
    "a window as wide as the first size": lambda n: ahead(n).abs() <= 10,
}


class Attends(nn.Module):
    """One head over (batch, tokens, channels), by torch's own function."""

    def __init__(self, mask: MaskOf) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, attn_mask=self.mask(x.shape[1]))


def analysed(mask: MaskOf, size: int = 11) -> rfgraph.NodeReport:
    return rfgraph.analyze(Attends(mask), (1, size, 4), axes=(1,)).output


@pytest.mark.parametrize("name", LAWS)
def test_a_mask_that_is_one_law_at_two_sizes_has_a_closed_form(name: str) -> None:
    mask, reach = LAWS[name]
    output = analysed(mask)
    field = output.rf
    assert field.closed_form == (True,) and field.limits == ()
    assert field.reach == (reach,) and field.lookahead == (max(reach[1], 0),)
    for size in (7, 16):  # sizes that it was never looked at
        there = analysed(mask, size)
        visible = mask(size) == (0 if name == "added" else 1)
        for o in range(size):
            seen = np.flatnonzero(visible[o]).tolist()
            assert there.reads(0, o).tolist() == seen
            assert o - seen[0] <= reach[0] and seen[-1] - o <= reach[1]
            if relation := field.relations[0]:
                assert [i for i in relation.at(o) if 0 <= i < size] == seen
        assert (field.relations[0] is None) == (reach[0] == inf)


@pytest.mark.parametrize("name", NONE)
def test_another_mask_holds_at_this_size(name: str) -> None:
    output = analysed(NONE[name])
    assert output.rf.closed_form == (False,)
    reason = COMPUTED if name == "a window as wide as the first size" else MASK
    assert reason in {limit.reason for limit in output.rf.limits}


@pytest.mark.parametrize("name", [*LAWS, *NONE])
def test_the_probes_agree(name: str) -> None:
    check = rfgraph.verify(Attends(mask_called(name)), (1, 11, 4), axes=(1,))
    assert check.exact, str(check)


def test_an_encoder_layer_under_a_causal_mask_looks_at_nothing_ahead_at_any_size() -> None:
    class Causal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            out: Tensor = self.layer(x, src_mask=mask)
            return out

    field = rfgraph.analyze(Causal(), (1, 7, 4), axes=(1,)).output.rf
    assert field.closed_form == (True,) and field.lookahead == (0,) and field.stride == (1,)


def test_a_buffer_that_is_not_cut_to_size_holds_at_its_own() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.ones(5, 5, dtype=torch.bool).tril())

        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, x, x, attn_mask=self.mask)

    field = rfgraph.analyze(Fixed(), (1, 5, 4), axes=(1,)).output.rf
    assert field.closed_form == (False,)
    assert [limit.reason for limit in field.limits] == [MASK]


# --- written out ------------------------------------------------------------------------------------


class Written(models.Attention):
    """Scores and masks as people write them, for the size that there is."""

    def __init__(self, spelling: str, mask: MaskOf) -> None:
        super().__init__(spelling)
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        made = self.weights(self.q(x) @ self.k(x).transpose(1, 2))
        return made @ self.v(x)

    def weights(self, scores: Tensor) -> Tensor:
        self.n = scores.shape[-1]
        mask = self.mask(self.n)
        write = getattr(self, f"_{self.spelling.replace(' ', '_')}")
        made = write(scores, mask if mask.dtype is torch.bool else mask == 0)
        assert isinstance(made, Tensor)
        return made


SPELLINGS = [each for each in models.BY_MASK if each != "scaled-dot-product"]
CAUSAL = [
    each
    for each in models.CAUSAL
    if each not in ("retention by einsum", "cut and joined", "twice", "mlstm", "mamba 2")
]
WRITTEN = [
    *((spelling, "causal window") for spelling in SPELLINGS),
    *((spelling, "tril") for spelling in [*SPELLINGS, *CAUSAL]),
    *(("boolean", name) for name in [*LAWS, *NONE]),
]


def mask_called(name: str) -> MaskOf:
    return LAWS[name][0] if name in LAWS else NONE[name]


def written(spelling: str, name: str) -> Written:
    torch.manual_seed(0)
    return Written(spelling, mask_called(name))


def rows_of(spelling: str, name: str, size: int) -> rfgraph.NodeReport:
    return rfgraph.analyze(written(spelling, name), (1, size, 3), axes=(1,)).output


@pytest.mark.parametrize(("spelling", "name"), WRITTEN)
def test_attention_that_is_written_out_is_that_of_torch(spelling: str, name: str) -> None:
    own, field = rows_of(spelling, name, 11).rf, analysed(mask_called(name)).rf
    for figure in ("closed_form", "reach", "halo", "stride", "lookahead", "whole", "unbounded"):
        assert getattr(own, figure) == getattr(field, figure), figure
    assert own.relations == field.relations
    assert (own.local is None) == (field.local is None)
    if own.local is not None and field.local is not None:
        assert own.local.relations == field.local.relations


@pytest.mark.parametrize(("spelling", "name"), [each for each in WRITTEN if each[1] in LAWS])
def test_its_closed_form_is_what_is_read_at_other_sizes(spelling: str, name: str) -> None:
    (reads,) = rows_of(spelling, name, 11).rf
    assert reads.closed_form
    for size in (7, 16):
        there = rows_of(spelling, name, size)
        rows = changed(lambda: written(spelling, name), (1, size, 3), 1)[0].any(axis=1)
        for o in range(size):
            seen = np.flatnonzero(rows[o]).tolist()
            assert there.reads(0, o).tolist() == seen
            if reads.unbounded:
                assert reads.end is not None
                assert seen == [*range(min(reads.end.at(o)[-1] + 1, size))]
            else:
                assert reads.relation is not None
                assert seen == [i for i in reads.relation.at(o) if 0 <= i < size]


@pytest.mark.parametrize(("spelling", "name"), WRITTEN)
def test_the_probes_agree_where_it_is_written_out(spelling: str, name: str) -> None:
    check = rfgraph.verify(written(spelling, name), (1, 11, 3), axes=(1,))
    assert check.exact, str(check)


def test_a_mask_behind_a_softmax_leaves_its_sum() -> None:
    """Every weight is one of all keys; what is left of them takes the values that the mask shows."""

    class After(Written):
        def weights(self, scores: Tensor) -> Tensor:
            return scores.softmax(-1) * self.mask(scores.shape[-1])

    model = After("", LAWS["window"][0])
    (reads,) = rfgraph.analyze(model, (1, 11, 3), axes=(1,)).output.rf
    assert (
        reads.whole and reads.closed_form and [cause.text for cause in reads.causes] == ["softmax"]
    )
    assert reads.local is not None and reads.local.reach == (2, 2) and reads.local.closed_form
    assert rfgraph.verify(model, (1, 11, 3), axes=(1,)).exact


class Wider(Written):
    """A second mask that lets more through: it is hidden where both masks hide."""

    def weights(self, scores: Tensor) -> Tensor:
        far = ahead(scores.shape[-1])
        return scores * (far.abs() <= 1) + scores.transpose(1, 2) * (far <= 0)


class Pooled(Written):
    """Windows of keys, some of them hidden, then all of these."""

    def forward(self, x: Tensor) -> Tensor:
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        masked = scores * self.mask(x.shape[1])
        return F.max_pool1d(masked, 3, stride=1, padding=1).amax(-1, keepdim=True)


def test_what_reads_more_than_a_mask_leaves_holds_at_this_size() -> None:
    for model in (Wider("", LAWS["tril"][0]), Pooled("", LAWS["tril"][0])):
        (reads,) = rfgraph.analyze(model, (1, 11, 3), axes=(1,)).output.rf
        assert not reads.closed_form and not reads.whole
        check = rfgraph.verify(model, (1, 11, 3), axes=(1,))
        assert check.exact, str(check)


def leaving_out(monkeypatch: pytest.MonkeyPatch, always: bool) -> None:
    for domain in ("periodic", "sized"):
        monkeypatch.setattr(f"rfgraph.propagation.{domain}.leaves_out", lambda *given: always)


def test_a_mask_that_is_taken_to_hide_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    leaving_out(monkeypatch, True)
    with pytest.raises(AssertionError, match="closed_form"):
        test_what_reads_more_than_a_mask_leaves_holds_at_this_size()


def test_a_law_that_is_lost_with_the_mask_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    leaving_out(monkeypatch, False)
    with pytest.raises(AssertionError, match="closed_form"):
        test_attention_that_is_written_out_is_that_of_torch("boolean", "tril")


# --- what a matrix is --------------------------------------------------------------------------------


def matrix(queries: int, keys: int, reads: Callable[[int], Iterable[int]]) -> npt.NDArray[np.bool_]:
    allowed = np.zeros((queries, keys), bool)
    for o in range(queries):
        allowed[o, [key for key in reads(o) if 0 <= key < keys]] = True
    return allowed


QUERIES, KEYS = st.integers(12, 15), st.integers(9, 16)


@given(st.lists(st.sets(st.integers(-3, 3)), min_size=1, max_size=3), QUERIES, KEYS)
def test_a_window_is_found_again_in_its_matrix(
    phases: list[set[int]], queries: int, keys: int
) -> None:
    law = Relation(len(phases), len(phases), tuple(map(Positions.of, map(sorted, phases))))
    allowed = matrix(queries, keys, law.at)
    found = band_of(allowed)
    assert found is not None
    if not found.past:  # as one that ends before the first key may be
        assert np.array_equal(matrix(queries, keys, found.relation.at), allowed)


@given(st.integers(-3, 3), QUERIES, KEYS)
def test_a_triangle_is_found_again_in_its_matrix(ahead: int, queries: int, keys: int) -> None:
    found = band_of(matrix(queries, keys, lambda o: range(o + ahead + 1)))
    assert found is not None and found.past
    assert found.relation is Relation(1, 1, [Positions.of([ahead])])
