"""Kinds of random models, by the keywords of `rfgraph.testing.strategies.models`."""

from __future__ import annotations

from typing import Any

Kind = dict[str, Any]

SIZES = {1: 14, 2: 7, 3: 4}
SMALL: Kind = {"max_sizes": SIZES, "max_layers": 4, "max_channels": 2}
OFF: Kind = dict.fromkeys(("branches", "moves", "resampling", "shared", "writes"), False)
_SEQUENCE: Kind = {**OFF, "spatial_dims": (1,), "max_sizes": {1: 9}, "max_layers": 3}
_OVER_SEQUENCES = ("attention", "loops", "patches", "recurrent")
_ANYWHERE = ("cumulative", "masks", "sizes")

ASKED: dict[str, Kind] = {
    **{kind: {**_SEQUENCE, kind: True} for kind in _OVER_SEQUENCES},
    **{kind: {**OFF, "max_layers": 3, kind: True} for kind in _ANYWHERE},
}
"""By the option that draws such layers where it is asked for: beside plain ones alone."""

EVERY: Kind = {
    **dict.fromkeys((*_OVER_SEQUENCES, *_ANYWHERE), True),
    "spatial_dims": (1, 2),
    "max_sizes": {1: 9, 2: 5},
    "max_layers": 3,
}
"""Such layers of all options, beside branches, moves, resampling, writes."""
