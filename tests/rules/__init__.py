"""Examples for every rule of the registry: canonical operator -> examples.

In: the families' tables. Out: `EXAMPLES`.
"""

from __future__ import annotations

from tests.rules import (
    examples_attention,
    examples_conv,
    examples_layout,
    examples_losses,
    examples_moves,
    examples_normalize,
    examples_order,
    examples_pointwise,
    examples_pool,
    examples_products,
    examples_reduce,
    examples_resample,
    examples_select,
)
from tests.rules.examples import Example

_FAMILIES = (
    examples_attention,
    examples_conv,
    examples_layout,
    examples_losses,
    examples_moves,
    examples_normalize,
    examples_order,
    examples_pointwise,
    examples_pool,
    examples_products,
    examples_reduce,
    examples_resample,
    examples_select,
)

EXAMPLES: dict[str, list[Example]] = {}
for _family in _FAMILIES:
    for _name, _examples in _family.EXAMPLES.items():
        EXAMPLES.setdefault(_name, []).extend(_examples)
