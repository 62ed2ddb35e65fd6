"""Examples of losses.

In: tables of names. Out: `EXAMPLES`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tests.rules.examples import Example, ex, w

_CLASSES = torch.tensor([2, 0])
_OF_TARGET = "the target's class alone is read"
_DRAWN = {"binary_cross_entropy": "unit", "kl_div": ("normal", "unit")}


def _pairs() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for name in (
        "l1_loss mse_loss soft_margin_loss smooth_l1_loss huber_loss kl_div binary_cross_entropy "
        "binary_cross_entropy_with_logits"
    ).split():
        function = getattr(F, name)
        draw = _DRAWN.get(name, "normal")
        found[name] = [
            ex(lambda x, y, f=function: f(x, y, reduction="none"), (2, 3), (2, 3), draw=draw),
            ex(lambda x, y, f=function: f(x, y), (3, 2), (3, 2), draw=draw),
            ex(
                lambda x, f=function: f(x, w(2, 1).sigmoid().expand(2, 2), reduction="sum"),
                (2, 2),
                draw=draw if isinstance(draw, str) else draw[0],
            ),
        ]
    found["l1_loss"] += [
        ex(nn.L1Loss(reduction="none"), (2, 3), (2, 3)),
        ex(lambda x, y: F.l1_loss(x, y, reduce=False), (2, 3), (2, 3)),
        ex(nn.L1Loss(reduction="sum"), (2, 3), (2, 3)),
    ]
    return found


def _classes() -> dict[str, list[Example]]:
    return {
        "cross_entropy": [
            ex(lambda x: F.cross_entropy(x, _CLASSES, reduction="none"), (2, 3)),
            ex(lambda x: F.cross_entropy(x, _CLASSES), (2, 3)),
            ex(
                lambda x, y: F.cross_entropy(x, y, reduction="none"),
                (2, 3, 2),
                (2, 3, 2),
                draw="unit",
            ),
            ex(nn.CrossEntropyLoss(reduction="sum"), (2, 3), (2, 3), draw="unit"),
            ex(
                lambda x, v: F.cross_entropy(x, _CLASSES, v, reduction="none"),
                *((2, 3), (3,)),
                draw="unit",
                conservative="the weight of the target's class alone is read",
            ),
        ],
        "nll_loss": [
            ex(
                lambda x: F.nll_loss(x, _CLASSES, reduction="none"),
                (2, 3),
                conservative=_OF_TARGET,
            ),
            ex(lambda x: F.nll_loss(x, _CLASSES), (2, 3), conservative=_OF_TARGET),
        ],
    }


EXAMPLES: dict[str, list[Example]] = {**_pairs(), **_classes()}
