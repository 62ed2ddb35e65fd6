"""What is whole and what is local is decided part by part: in the sets, and in the probes alike.

Attention that is written out carries an axis along its queries and along its keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rfgraph
from rfgraph.graph import Node
from rfgraph.propagation.parts import Part
from rfgraph.propagation.sized import Sized, SizedDomain
from tests import attention_models as models
from tests.recurrent_models import Chunks, ConvLSTM

TOKENS, MAP = (1, 5, 4), (1, 4, 4, 6)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...] | None]] = {
    "self product": (models.SelfProduct, (1, 3, 5), (2,)),
    "attention": (models.Attention, TOKENS, (1,)),
    "ALiBi": (models.Alibi, TOKENS, (1,)),
    "ViT": (models.UnfusedViT, (1, 3, 8, 9), None),
    "UNETR": (models.Unetr, (1, 3, 8, 9), None),
    "axial": (models.Axial, MAP, None),
    "SegFormer": (models.ReducedKeys, MAP, None),
    "LeViT": (models.Levit, MAP, None),
    "Hiera": (models.Hiera, (1, 4, 12), None),
    "conformer": (models.Conformer, TOKENS, (1,)),
    "windows": (models.Windows, MAP, None),
    "shifted windows": (lambda: nn.Sequential(models.Windows(), models.Windows((1, 2))), MAP, None),
    "masked windows": (
        lambda: nn.Sequential(models.Windows(), models.Windows((1, 2), masked=True)),
        MAP,
        None,
    ),
    "channels": (models.ChannelAttention, (1, 3, 4, 5), None),
    "linear": (models.LinearAttention, TOKENS, (1,)),
}


RECURRENT = {
    "GRU over chunks": ("gru", lambda: Chunks(nn.GRU), (1, 10, 2), (1,)),
    "ConvLSTM": ("mul", ConvLSTM, (1, 3, 1, 4, 5), (1, 3, 4)),
}


@pytest.mark.parametrize("name", MODELS)
def test_attention_that_is_written_out_agrees_at_every_node(name: str) -> None:
    build, shape, axes = MODELS[name]
    check = rfgraph.verify(build(), shape, axes=axes)
    assert check.exact and check.unread == (), str(check)


@pytest.mark.parametrize("name", [*MODELS, *RECURRENT])
def test_a_fault_is_caught_and_blamed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets of one node lose their first position, and are held to all probes.

    It is the last product of matrices, or of a recurrent model the last step.
    """
    op, build, shape, axes = RECURRENT[name] if name in RECURRENT else ("matmul", *MODELS[name])
    model = build()
    graph = rfgraph.analyze(model, shape, axes=axes).captured
    last = [node.name for node in graph if node.op == op and not node.output][-1]
    join = SizedDomain.join

    def faulty(self: SizedDomain, values: list[Sized], node: Node) -> Sized | None:
        value = join(self, values, node)
        if node.name != last or value is None:
            return value
        one = self.lattice.singletons()[0] if self.lattice.length else 0
        parts = tuple(replace(part, sets=part.sets & ~one) for part in value.parts)
        added = None if value.added is None else value.added & ~one
        return replace(value, parts=parts, added=added)

    monkeypatch.setattr(SizedDomain, "join", faulty)
    check = rfgraph.verify(model, shape, axes=axes)
    assert check.blame is not None and check.blame.node == last, str(check)
    assert check.mismatches[0].kind == "understated"


def local(model: nn.Module, shape: tuple[int, ...], dim: int, name: str, *at: int) -> list[int]:
    report = rfgraph.analyze(model, shape, axes=(dim,))
    reads = report[name].at(report.axes[0])
    assert reads.whole and reads.local is not None
    return reads.local.members(dict(zip(reads.local.dims, at, strict=True))).tolist()


def test_a_softmax_over_keys_keeps_the_query_and_the_entrys_own_key() -> None:
    attention = models.SelfProduct()
    assert local(attention, (1, 3, 5), 2, "softmax", 3, 1) == [1, 3]
    assert local(attention, (1, 3, 5), 2, "matmul_1", 3) == [3]


def test_the_field_of_a_query_is_that_of_its_token_through_two_blocks() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv1d(3, 4, 3, stride=2, padding=1)
            self.blocks = nn.Sequential(models.Attention(), models.Attention())

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.blocks(self.embed(x).transpose(1, 2))
            return out

    report = rfgraph.analyze(Embedded(), (1, 3, 12))
    field = report.output.rf.local
    assert field is not None and (field.size, field.stride, field.offset) == ((3,), (2,), (-1,))
    assert local(Embedded(), (1, 3, 12), 2, report.output.name, 4) == [7, 8, 9]


def differing(model: nn.Module, shape: tuple[int, ...], axes: tuple[int, ...] | None) -> list[str]:
    """The nodes whose local closed form is not their local set, at the centre, clipped to the input.

    Where the closed form goes on outside of the input there, which a roll brings back in on the other side, the
    first position is held where it does not.
    """
    report = rfgraph.analyze(model, shape, axes=axes)
    found = []
    for node in report:
        for axis in report.axes:
            reads = node.at(axis).local
            if (
                reads is None
                or not reads.closed_form
                or len(reads.dims) > 1
                or reads.relation is None
            ):
                continue
            length = report.inputs[axis.input].shape[axis.dim]
            size = node.shape[reads.dims[0]] if reads.dims else 1
            inside = (
                o
                for o in (size // 2, *range(size))
                if set(reads.relation.at(o)) <= {*range(length)}
            )
            output = next(inside, size // 2)
            place, claimed = dict.fromkeys(reads.dims, output), reads.relation.at(output)
            if reads.members(place).tolist() != [i for i in claimed if 0 <= i < length]:
                found.append(node.name)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_local_closed_form_is_the_local_set(name: str) -> None:
    build, shape, axes = MODELS[name]
    assert differing(build(), shape, axes) == []


def test_parts_that_are_taken_for_one_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what is left of attention is every key, of the sets; not of the closed form."""
    join = SizedDomain.join

    def united(self: SizedDomain, values: list[Sized], node: Node) -> Sized | None:
        value = join(self, values, node)
        sets = None if value is None else value.local(self.lattice)
        if value is None or sets is None:
            return value
        dims = frozenset().union(*(part.dims for part in value.parts))
        return replace(value, parts=(Part(dims, dims, sets),))

    monkeypatch.setattr(SizedDomain, "join", united)
    assert "matmul_1" in differing(models.Attention(), TOKENS, (1,))


class PoolsAll(nn.Module):
    """A pool of all of a tensor that has been asked for its size: one that is cropped, beside one that is not."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        resized = F.interpolate(x.cummax(3).values, size=2)
        joined = torch.cat([x[:, :, 3:, :2], resized], 1)
        return F.interpolate(self.pool(joined), size=joined.shape[2:])


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: F.max_pool2d(x, 2),
    "max, with indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "average": lambda x: F.avg_pool2d(x, 2),
    "power": lambda x: F.lp_pool2d(x, 2.0, 2),
    "adaptive": lambda x: F.adaptive_max_pool2d(x, 1),
}


@pytest.mark.parametrize("name", POOLS)
def test_a_pool_of_all_is_whole_to_the_probe_too(name: str) -> None:
    check = rfgraph.verify(PoolsAll(POOLS[name]), (1, 2, 5, 4))
    assert check.agrees, str(check)
