"""Faults that tools of this field have had, each planted once: random models find it, and shrink it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, settings

from rfgraph import Relation
from rfgraph.capture import memory
from rfgraph.graph import Axis, Node
from rfgraph.language.reads import Place, Read, Reads, along, table
from rfgraph.language.vocabulary import Operator, Params, Vocabulary
from rfgraph.propagation.lattice import Array, Lattice
from rfgraph.propagation.periodic import Periodic, PeriodicDomain
from rfgraph.propagation.sets import AtSize
from rfgraph.propagation.sized import Sized, SizedDomain
from rfgraph.propagation.walk import propagate
from rfgraph.rules import VOCABULARY, assign
from rfgraph.testing import strategies
from rfgraph.testing.describe import Conv, Description, Pool, TransposedConv, Written
from tests.properties.agreement import contradiction

Plant = Callable[[pytest.MonkeyPatch], None]
MOST_LAYERS = 3


def vocabulary_with(prefix: str, change: Callable[[Operator], Operator]) -> Vocabulary:
    """A vocabulary in which the operators of one family are changed, in every spelling."""
    vocabulary = VOCABULARY.copy()
    for dims in (1, 2, 3):
        name = f"{prefix}{dims}d"
        vocabulary.operators[name] = changed = change(vocabulary.operators[name])
        for spellings in (vocabulary.functions, vocabulary.methods, vocabulary.modules):
            spellings.update(
                {k: (changed, own) for k, (o, own) in spellings.items() if o.name == name}
            )
    return vocabulary


def teach(monkeypatch: pytest.MonkeyPatch, prefix: str, **changes: Any) -> None:
    vocabulary = vocabulary_with(prefix, lambda operator: replace(operator, **changes))
    monkeypatch.setattr("rfgraph.analysis.VOCABULARY", vocabulary)


# --- rules --------------------------------------------------------------------------------------


def slid(
    plain: Callable[[Node], Reads], node: Node, change: Callable[[int, Relation], Relation]
) -> Reads:
    """The reads of a convolution, with the relation along each spatial dim changed."""
    first, *rest = plain(node)
    lead = len(node.shape) - len(node.params["kernel_size"])
    dims = tuple(
        along(read.dims[0], change(dim - lead, read.law.relation))
        if dim >= lead and read.law is not None
        else read
        for dim, read in enumerate(first.dims)
    )
    return (Read(first.operand, dims), *rest)


def offset_ignores_dilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window is centred where it would be without dilation."""
    plain = VOCABULARY.operators["conv1d"].rule

    def wrong(node: Node) -> Reads:
        def centred(dim: int, law: Relation) -> Relation:
            kernel, dilation = (node.params[name][dim] for name in ("kernel_size", "dilation"))
            return law.shift(-((dilation - 1) * (kernel - 1) // 2))

        return slid(plain, node, centred)

    teach(monkeypatch, "conv", rule=wrong)


def transposed_stride_without_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every output of a stride reads what the first of them reads."""
    plain = VOCABULARY.operators["conv_transpose1d"].rule

    def wrong(node: Node) -> Reads:
        def phaseless(dim: int, law: Relation) -> Relation:
            return Relation(law.period, law.advance, law.sets[:1] * law.period)

        return slid(plain, node, phaseless)

    teach(monkeypatch, "conv_transpose", rule=wrong)


def same_split_the_wrong_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The odd one of `same` goes to the left."""
    plain = VOCABULARY.operators["conv1d"].normalize
    assert plain is not None

    def wrong(params: Params, shapes: Any) -> Params:
        asked = params["padding"]
        found = plain(params, shapes)
        if asked == "same":
            found["padding"] = tuple((right, left) for left, right in found["padding"])
        return found

    teach(monkeypatch, "conv", normalize=wrong)


def ceil_mode_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output that hangs over the border reads nothing."""
    plain = VOCABULARY.operators["max_pool1d"].rule

    def wrong(node: Node) -> Reads:
        (read,) = plain(node)
        sizes = node.operand_shapes[0]
        windows = zip(
            *(node.params[n] for n in ("kernel_size", "dilation", "padding")), strict=True
        )
        lead = len(sizes) - len(node.params["kernel_size"])
        ends = [sizes[lead + i] + p - d * (k - 1) for i, (k, d, p) in enumerate(windows)]
        dims = (*read.dims[:lead], *map(fitting, read.dims[lead:], ends))
        return (Read(0, dims),)

    teach(monkeypatch, "max_pool", rule=wrong)


def fitting(place: Any, end: int) -> Any:
    """Windows that start before `end`; later ones read nothing."""

    def at(output: int) -> list[int]:
        asked = list(place.law.relation.at(output))
        return asked if asked[0] < end else []

    return table(place.dims[0], at, place.law.relation)


# --- domains ------------------------------------------------------------------------------------


def larger_branch_at_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where branches meet, the one with the larger sets stands for both."""

    def size(value: Sized) -> int:
        return 0 if value.local is None else int(np.unpackbits(value.local.view(np.uint8)).sum())

    def wrong(self: SizedDomain, values: list[Sized], node: Node) -> Sized | None:
        return max(values, key=size) if values else None

    monkeypatch.setattr(SizedDomain, "join", wrong)


def larger_branch_in_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the closed form alone."""

    def size(value: Periodic) -> float:
        laws = [scan.relation for scan in value.local if scan.relation is not None]
        return max((law.size for law in laws), default=0)

    def wrong(self: PeriodicDomain, values: list[Periodic], node: Node) -> Periodic | None:
        return max(values, key=size) if values else None

    monkeypatch.setattr(PeriodicDomain, "join", wrong)


def clipped_only_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a position reads is the closed form, cut off at the ends of the input."""
    plain = AtSize.sets

    def wrong(
        self: AtSize, name: str, axis: Axis, local: bool = False, dims: Any = None
    ) -> tuple[Lattice, Array] | None:
        values = propagate(self._readings, [axis], PeriodicDomain())
        value = values[name].get(axis)
        found = plain(self, name, axis, local, dims)
        if value is None or found is None or len(value.local) != 1:
            return found
        (scan,) = value.local
        if scan.relation is None or value.whole or len(scan.digits) != 1:
            return found
        lattice, dim, shape = found[0], scan.digits[0].dim, self._readings.graph[name].shape
        singles = lattice.singletons()
        sets = lattice.empty(shape[dim])
        for output in range(shape[dim]):
            for read in scan.relation.at(output):
                if 0 <= read < lattice.length:
                    sets[output] |= singles[read]
        ones = [1] * len(shape)
        ones[dim] = shape[dim]
        return lattice, sets.reshape(*ones, lattice.width)

    monkeypatch.setattr(AtSize, "sets", wrong)


# --- writes -------------------------------------------------------------------------------------


def written_views_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write through a view is seen by the view alone."""

    def wrong(target: memory.Traced, value: memory.Traced, record: memory.Record) -> None:
        target.node, target.masked = value.node, value.masked

    monkeypatch.setattr(memory, "written", wrong)


def views_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that was made before a write holds what it held."""
    monkeypatch.setattr(memory.Traced, "refreshed", lambda self: self)


def parts_put_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of `narrow`, `chunk` or `split` is put back at the start of its axis."""
    plain = memory._index

    def wrong(step: memory.Step, view: Any, whole: Any) -> Any:
        index = plain(step, view, whole)
        if index is None or step.op == "getitem" or not isinstance(index[-1], slice):
            return index
        return (*index[:-1], slice(0, index[-1].stop - index[-1].start))

    monkeypatch.setattr(memory, "_index", wrong)


def elsewhere_along_one_dim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a tensor of which a box is assigned to, what lies beside the box along its first dim alone is read."""
    plain = assign._elsewhere
    monkeypatch.setattr(assign, "_elsewhere", lambda *args: plain(*args)[:1])


def assigned_one_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the value that is assigned, the next position is read."""
    plain = assign._placed

    def wrong(target: int | None, *args: Any) -> Place:
        place = plain(target, *args)
        if place.at is None or target is None:
            return place
        return table(target, lambda o: [i + 1 for i in place.at((o,))], None)  # type: ignore[misc]

    monkeypatch.setattr(assign, "_placed", wrong)


# --- found, and shrunk --------------------------------------------------------------------------


def even_same(layer: Any) -> bool:
    return (
        isinstance(layer, Conv)
        and layer.padding == "same"
        and any(
            (k - 1) * d % 2 for k, d in zip(layer.kernel_size, layer.dilation or (), strict=False)
        )
    )


PLAIN = {
    "max_sizes": {1: 12, 2: 6, 3: 4},
    "max_layers": 3,
    "max_channels": 2,
    **dict.fromkeys(("branches", "moves", "resampling", "shared", "writes"), False),
}
BRANCHED = {"misaligned": True, "max_layers": 1, "max_channels": 1}
WRITTEN = {"writes": True, "max_layers": 1, "spatial_dims": (1, 2)}
PLANTED: dict[str, tuple[Plant, Callable[[Any], Any], dict[str, Any]]] = {
    "offset ignores dilation": (
        offset_ignores_dilation,
        lambda layer: isinstance(layer, Conv) and max(layer.dilation or (1,)) > 1,
        {},
    ),
    "the larger of two branches, at a size": (
        larger_branch_at_size,
        lambda layer: layer.within(),
        BRANCHED,
    ),
    "the larger of two branches, in closed form": (
        larger_branch_in_closed_form,
        lambda layer: layer.within(),
        BRANCHED,
    ),
    "a transposed stride without phases": (
        transposed_stride_without_phases,
        lambda layer: isinstance(layer, TransposedConv) and max(layer.stride or (1,)) > 1,
        {"resampling": True},
    ),
    "`same` split the wrong way": (same_split_the_wrong_way, even_same, {}),
    "ceil_mode ignored": (
        ceil_mode_ignored,
        lambda layer: isinstance(layer, Pool) and layer.ceil_mode,
        {},
    ),
    "zero padding clipped at the end": (
        clipped_only_at_the_end,
        lambda layer: isinstance(layer, Conv | Pool),
        {},
    ),
}
WRITES: dict[str, Plant] = {
    "a write through a view is lost": written_views_forgotten,
    "a view is not read again after a write": views_left_as_they_were,
    "a part is put in another place": parts_put_at_the_start,
    "an assigned box is read beside it along one dim": elsewhere_along_one_dim,
    "an assigned value is read one too far": assigned_one_too_far,
}

SEARCH = settings(
    max_examples=2000,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def shrunk(options: dict[str, Any]) -> Description:
    """The simplest model on which numbers contradict the analysis."""
    models = strategies.models(**{**PLAIN, **options})
    return find(models, lambda model: bool(contradiction(model)), settings=SEARCH)


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_and_shrunk(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, is_cause, options = PLANTED[fault]
    plant(monkeypatch)
    model = shrunk(options)
    assert model.count <= MOST_LAYERS, model.code()
    assert any(is_cause(layer) for layer in model.walk()), model.code()
    monkeypatch.undo()
    assert contradiction(model) == ""


@pytest.mark.parametrize("fault", WRITES)
def test_a_planted_fault_of_writes_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITES[fault](monkeypatch)
    model = find(
        strategies.models(**{**PLAIN, **WRITTEN}),
        lambda model: bool(contradiction(model)),
        settings=settings(SEARCH, phases=[Phase.generate]),
    )
    assert any(isinstance(layer, Written) for layer in model.walk()), model.code()
    monkeypatch.undo()
    assert contradiction(model) == ""
