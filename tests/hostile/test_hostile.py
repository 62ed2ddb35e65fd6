"""Calls of every operator and random graphs of them: nothing is understated, nothing but `RfgraphError` is raised.

A failure prints the program that shows it, cut down, as code that runs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from torch import nn

import rfgraph
from rfgraph import Relation
from rfgraph.language.reads import along
from rfgraph.rules import VOCABULARY
from tests.float64 import in_float64
from tests.hostile.campaign import Tally, call, graph
from tests.hostile.names import names
from tests.hostile.oracle import Found, held
from tests.hostile.program import Program, Statement
from tests.hostile.shrink import shrunk

CHUNKS = 12
CALLS, GRAPHS = 2, 120
"""Of each operator; of all."""
NOT_DRAWN = {
    "cuda": "there is no such device where tests run",
    "deform_conv2d": "it is torchvision's",
}


def _shown(tally: Tally) -> str:
    return "\n".join(map(str, tally.faults[:3]))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_calls_of_every_operator_are_not_understated(chunk: int) -> None:
    tally, own = Tally(), names()[chunk::CHUNKS]
    for name in own:
        for seed in range(CALLS):
            tally.add(call(name, seed))
    assert not tally.faults, _shown(tally)
    never = [name for name in own if not tally.drawn[name] and name not in NOT_DRAWN]
    assert not never, f"no call of {never} is drawn that torch accepts"
    assert tally.counts["positions"] > 200 and tally.counts["laws"] > 50
    assert tally.counts["refused"] < 0.1 * tally.counts["calls"], tally.refused


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_graphs_are_not_understated(chunk: int) -> None:
    tally, own = Tally(), names()
    for seed in range(chunk, GRAPHS, CHUNKS):
        tally.add(graph(seed, own))
    assert not tally.faults, _shown(tally)
    assert tally.counts["positions"] > 200
    # How many may be refused is held of 1,000 graphs, by `benchmarks/hostile.py`: of ten, luck decides.


def test_the_reasons_name_operators() -> None:
    assert NOT_DRAWN.keys() <= set(names())


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_what_torch_reads_wrong_is_no_fault(mode: str) -> None:
    """An antialiased map of one column, and what is behind it; the column beside it is held."""
    resized = "F.interpolate(x, size=({}), mode='{}', antialias=True)"
    found = _held(_program(resized.format("2, 1", mode), "v0 * 2", shape=(1, 1, 7, 4)))
    assert not found.faults and not found.counts["positions"]
    found = _held(_program(resized.format("2, 2", mode), "v0 * 2", shape=(1, 1, 7, 4)))
    assert not found.faults and found.counts["positions"]


def test_a_weight_that_is_rounding_is_no_read() -> None:
    """Where an antialiased kernel ends, its weight is 0, and 1e-17 as torch works it out; 1e-8 in float32."""
    resized = "F.interpolate(x, size=(4, 5), mode='bicubic', align_corners=True, antialias=True)"
    found = _held(_program(resized, "v0 + 1e-9 * x.sum()", shape=(1, 2, 6, 2)))
    assert not found.faults and not found.overstated
    resized = "F.interpolate(v0, mode='linear', scale_factor=3, recompute_scale_factor=True)"
    lines = "x[0].float()", resized, "v0[..., 1:]"
    found = _held(_program(*lines, shape=(1, 2, 3, 2)))
    assert not found.faults and found.counts["positions"]


def test_what_has_not_grown_is_held_in_the_interior_it_had() -> None:
    """Three columns at any size: the last but one of the padded map goes round, as it does here."""
    found = _held(
        _program("x[..., :3]", "F.pad(v0, (2, 2, 0, 0), mode='circular')", shape=(1, 2, 4, 3))
    )
    assert not found.faults and found.counts["laws"]


# --- the generator can fail -------------------------------------------------------------------------


def _program(*lines: str, shape: tuple[int, ...] = (1, 2, 7, 8), **members: str) -> Program:
    statements = [Statement(f"v{i}", (f"v{i} = {line}",), "") for i, line in enumerate(lines)]
    return Program(shape, tuple(statements), tuple(members.items()))


def _held(program: Program) -> Found:
    with in_float64():
        return held(program, random.Random(0), positions=20)


@pytest.fixture
def planted(taught: None) -> Iterator[None]:
    """Rules that are wrong: a flip off by one, a stride of one, a window one short."""

    def off_by_one(node: rfgraph.Node) -> rfgraph.language.reads.Reads:
        (read,) = flip(node)
        dims = list(read.dims)
        dim = next(d for d, place in enumerate(dims) if place.at is not None)
        own = dims[dim].at
        dims[dim] = replace(dims[dim], at=lambda index: [max(i - 1, 0) for i in own(index)])
        return (replace(read, dims=tuple(dims)),)

    def short(node: rfgraph.Node) -> rfgraph.language.reads.Reads:
        first, *others = conv(node)
        window = along(2, Relation.window(node.params["kernel_size"][0] - 1, 1))
        return replace(first, dims=(*first.dims[:2], window, first.dims[3])), *others

    flip, conv = (VOCABULARY.operators[name].rule for name in ("flip", "conv2d"))
    for name, rule in {"flip": off_by_one, "conv2d": short}.items():
        _replace(name, rule)
    yield


def _replace(name: str, rule: object) -> None:
    wrong = replace(VOCABULARY.operators[name], rule=rule)
    VOCABULARY.operators[name] = wrong
    for table in (VOCABULARY.functions, VOCABULARY.methods, VOCABULARY.modules):
        for target, (known, signature) in list(table.items()):
            if known.name == name:
                table[target] = wrong, signature


@pytest.mark.parametrize(
    "program",
    [
        _program("x.flip(2)"),
        _program("self.m0(x)", m0="nn.Conv2d(2, 3, (4, 2))"),
        _program("x.relu()", "v0.flip(-1)", "v1 + v0"),
    ],
)
def test_a_planted_fault_is_seen(program: Program, planted: None) -> None:
    assert {fault.kind for fault in _held(program).faults} == {"understated"}


def test_a_planted_fault_is_found_by_drawing_and_cut_down(planted: None) -> None:
    tally = Tally()
    for seed in range(8):
        tally.add(call("conv2d", seed))
        tally.add(call("flip", seed))
    seen = [fault.program for fault in tally.faults if fault.kind == "understated"]
    assert {program.statements[-1].operator for program in seen} == {"conv2d", "flip"}
    assert min(len(program.statements) for program in seen) == 1


def test_a_closed_form_of_another_stride_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets are right at the analysed size, so that a larger one has to tell."""
    right = rfgraph.AxisReads.relation.fget
    assert right is not None

    def wrong(reads: rfgraph.AxisReads) -> Relation | None:
        law = right(reads)
        return None if law is None else Relation(law.period, law.advance + 1, law.sets)

    program = _program("self.m0(x)", m0="nn.Conv2d(2, 3, (4, 2), stride=2)")
    assert not _held(program).faults
    monkeypatch.setattr(rfgraph.AxisReads, "relation", property(wrong))
    assert {fault.kind for fault in _held(program).faults} == {"closed form"}


def test_a_crash_and_a_wrong_shape_are_seen(taught: None) -> None:
    def broken(node: rfgraph.Node) -> rfgraph.language.reads.Reads:
        raise ZeroDivisionError("planted")

    _replace("flip", broken)
    (fault,) = _held(_program("x.flip(2)")).faults
    assert fault.kind == "crash" and "planted" in fault.told


def test_what_is_printed_runs_and_shows_the_fault(
    planted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    long = _program("x.relu()", "x * 2", "v1.flip(2)", "v2.sum()", "v0 + v2", "v4.tanh()")
    fault = shrunk(_held(long).faults[0], 0)
    assert len(fault.program.statements) == 1
    with in_float64():
        exec(compile(str(fault), "<fault>", "exec"), {})
    assert capsys.readouterr().out.startswith("[")


def test_a_refusal_is_counted_by_its_reason() -> None:
    found = _held(_program("x.resize_(2, 7)"))
    assert found.counts["refused"] == 1 and not found.faults


def test_a_model_in_eval_mode_draws_the_same_each_time() -> None:
    program = _program("self.m0(x)", "v0 * torch.rand(2, 1, 1)", m0="nn.Dropout(0.5)")
    assert isinstance(program.build(), nn.Module)
    assert not _held(program).faults
