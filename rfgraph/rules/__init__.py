"""The rules: what one output position of each operator reads.

In: nodes of the graph. Out: reads. One module per family; importing this package teaches all of them.
"""

from rfgraph.rules import (  # noqa: F401  (imported to register)
    assign,
    attention,
    choose,
    conv,
    fill,
    layout,
    lookup,
    losses,
    matrices,
    merge,
    moves,
    normalize,
    order,
    pointwise,
    pool,
    products,
    recurrent,
    reduce,
    resample,
    reshape,
    scatter,
    select,
    spectral,
    unfold,
)
from rfgraph.rules.registry import VOCABULARY, rule

__all__ = ["VOCABULARY", "rule"]
