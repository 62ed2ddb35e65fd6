"""The figures of `oracles.json`, and how a field is held against them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rfgraph import ReceptiveField

ORACLES = json.loads(Path(__file__).with_name("oracles.json").read_text(encoding="utf-8"))
PUBLISHED = {entry["model"]: entry for entry in ORACLES["published_closed_form"]}
MEASURED: dict[str, dict[str, int]] = ORACLES["measured_torchvision"]
TRANSPOSED, BILINEAR = ORACLES["measured_unet"].values()


VIEWS = ("size", "stride", "offset", "dilation", "holes", "whole")
BESIDE = frozenset(("model", "source", "endpoints"))


def assert_figures(field: ReceptiveField, figures: dict[str, Any]) -> None:
    """Every figure of an oracle that is a view of the field, along every axis."""
    stated = {view: figure for view, figure in figures.items() if view not in BESIDE}
    assert stated
    assert stated.keys() <= set(VIEWS), "a figure that nothing is held against"
    for view, figure in stated.items():
        assert set(getattr(field, view)) == {figure}, view
