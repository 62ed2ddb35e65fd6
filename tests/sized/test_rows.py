"""Nothing is left unsaid: a row without a closed form says from which node on, and why."""

from __future__ import annotations

import pytest
from torch import nn

import rfgraph
from rfgraph.gallery import MODELS
from tests.sized.poison import Apply
from tests.sized.test_borders import OffGridUNet
from tests.sized.test_moved_axes import MOVES, SPACE, CausalTransformer, grid, swin

SAID = {
    **{name: (build(), None) for name, build in MODELS.items()},
    "swin": (Apply(swin, embed=nn.Conv2d(1, 2, 4, stride=4)), (1, 1, 64, 32)),
    "grid": (Apply(grid), (1, 2, 12, 9)),
    "causal": (CausalTransformer("masked_fill"), (1, 2, 18)),
    "off grid": (OffGridUNet(crop=False), (1, 1, 11, 14)),
    **{
        name: (
            Apply(
                function,
                conv=nn.Conv2d(4 if name in SPACE else 1, 4 if name in SPACE else 1, 3, padding=1),
            ),
            (1, 1, 8, 6),
        )
        for name, function in {**MOVES, **SPACE}.items()
    },
}


@pytest.mark.parametrize("name", SAID)
def test_every_row_without_a_closed_form_says_why(name: str) -> None:
    model, shape = SAID[name]
    report = rfgraph.analyze(model, shape)
    lines = {line.split()[0]: line for line in str(report).splitlines() if line.strip()}
    for node in report.nodes:
        for field in node.rfs.values():
            assert all(field.closed_form) == (not field.limits), node.name
            assert all(limit.reason and limit.node in report for limit in field.limits)
            if field.limits:
                assert "this size only: " + field.limits[0].reason in lines[node.name]
            if None in field.size:  # nothing is read along that axis, by anything
                assert node.region(tuple(0 for _ in node.dims)) is None
            if any(field.whole):
                assert field.causes and "whole: " in lines[node.name]
