"""Ways to write one model twice: the report of its outputs is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import rfgraph
from rfgraph.report import NodeReport, Report
from rfgraph.report.field import ReceptiveField
from rfgraph.testing import strategies
from rfgraph.testing.describe import (
    Cat,
    Conv,
    Description,
    Layer,
    PixelShuffle,
    Pointwise,
    Pool,
    Residual,
)

SMALL: dict[str, Any] = {"max_sizes": {1: 14, 2: 7, 3: 4}, "max_layers": 4, "max_channels": 2}
MODELS = strategies.models(**SMALL, gates=True, misaligned=True)
VIEWS = (
    *("size", "size_range", "stride", "offset", "dilation", "holes", "density", "reach", "halo"),
    *("lookahead", "period", "advance", "phases", "whole", "closed_form", "relations"),
)
COMMUTE = ("add", "torch.add", "mul", "maximum")


def told(report: Report) -> dict[str, Any]:
    """All that a report says of the outputs, but for the names of nodes."""
    return {path: _node(node) for path, node in report.outputs.items()}


def _node(node: NodeReport) -> dict[str, Any]:
    fields = {name: _field(node, field) for name, field in node.rfs.items()}
    return {"shape": node.shape, "dims": node.dims, "fields": fields}


def _field(node: NodeReport, field: ReceptiveField) -> dict[str, Any]:
    views = {view: getattr(field, view) for view in VIEWS}
    kinds = sorted({(cause.kind, cause.axes) for cause in field.causes})
    local = None
    if field.local is not None:
        local = {view: getattr(field.local, view) for view in VIEWS}
    return {**views, "kinds": kinds, "local": local, "sets": list(_sets(node, field))}


def _sets(node: NodeReport, field: ReceptiveField) -> list[list[int]]:
    """What each position along each dim reads of each axis, united over the other dims."""
    return [
        reads.members({dim: place}).tolist()
        for reads in field
        for dim in node.dims
        for place in range(node.shape[dim])
    ]


def analysed(description: Description) -> Report:
    return rfgraph.analyze(description.build(), description.input_shapes)


def same(one: Description, other: Description) -> None:
    assert told(analysed(one)) == told(analysed(other))


def mapped(layers: tuple[Layer, ...], change: Callable[[Any], Any]) -> tuple[Layer, ...]:
    """Every layer changed, those inside others first."""
    return tuple(change(_within(layer, change)) for layer in layers)


def _within(layer: Any, change: Callable[[Any], Any]) -> Any:
    changed = {}
    for field in fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, tuple) and any(isinstance(v, Layer) for v in value):
            changed[field.name] = mapped(value, change)
        elif field.name in ("branches", "parts"):
            changed[field.name] = tuple(mapped(chain, change) for chain in value)
    return replace(layer, **changed)


@given(MODELS, st.data())
def test_identities_change_nothing(description: Description, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(description.layers)))
    kind = data.draw(st.sampled_from(["identity", "relu", "dropout"]))
    layers = description.layers
    more = (*layers[:place], Pointwise(kind=kind), *layers[place:])
    same(description, replace(description, layers=more))


def swapped(layer: Any) -> Any:
    if isinstance(layer, Residual) and layer.how in COMMUTE:
        return replace(layer, body=layer.shortcut, shortcut=layer.body)
    if isinstance(layer, Cat):
        return replace(layer, branches=layer.branches[::-1])
    return layer


@given(strategies.models(**SMALL, gates=True, misaligned=True, resampling=False))
def test_the_order_of_branches_changes_nothing(description: Description) -> None:
    """But where a pixel shuffle makes positions of channels, as it does of those that `Cat` orders."""
    assert not any(isinstance(layer, PixelShuffle) for layer in description.walk())
    same(description, replace(description, layers=mapped(description.layers, swapped)))


class Both(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


@given(MODELS, st.data())
def test_a_chain_may_be_split_into_modules(description: Description, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(description.layers)))
    first = replace(description, layers=description.layers[:cut])
    second = Description(shape=first.output_shape, layers=description.layers[cut:])
    split = rfgraph.analyze(Both(first.build(), second.build()), description.shape)
    assert told(split) == told(analysed(description))


def other_form(layer: Any) -> Any:
    """The function in place of the module, and the other way round."""
    if not hasattr(layer, "functional"):
        return layer
    if isinstance(layer, Conv) and layer.padding_mode != "zeros":
        return layer  # only the module folds its borders
    return replace(layer, functional=not layer.functional)


@given(strategies.models(**SMALL, gates=True, misaligned=True, several_inputs=True))
def test_a_module_and_its_function_are_one_operator(description: Description) -> None:
    same(description, replace(description, layers=mapped(description.layers, other_form)))


# --- the comparison can fail --------------------------------------------------------------------

PLAIN = Description(shape=(1, 1, 12), layers=(Conv(kernel_size=(3,)), Pool(kernel_size=(2,))))


@pytest.mark.parametrize(
    "layers",
    [
        (Conv(kernel_size=(2,)), Pool(kernel_size=(2,))),
        (Conv(kernel_size=(3,)), Pool(kernel_size=(2,), stride=(1,))),
        (Conv(kernel_size=(3,), padding=(1,)), Pool(kernel_size=(2,))),
        (Conv(kernel_size=(3,), padding_mode="circular", padding=(1,)), Pool(kernel_size=(2,))),
    ],
)
def test_another_model_has_another_report(layers: tuple[Layer, ...]) -> None:
    assert told(analysed(replace(PLAIN, layers=layers))) != told(analysed(PLAIN))


def test_layers_inside_of_others_are_changed() -> None:
    inner = Conv(kernel_size=(3,), padding=(1,))
    layers = (Cat(branches=((inner,), ())), Residual(body=(inner,), how="cat"))
    cat, residual = mapped(layers, other_form)
    assert cat.branches[0][0].functional and residual.body[0].functional  # type: ignore[attr-defined]
