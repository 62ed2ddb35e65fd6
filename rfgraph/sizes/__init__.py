"""A closed form claims every size: what of a model is another thing at a second size.

In: what was found at one size, and how to look at others. Out: the same, in which what differs there is
said to hold at its own size only.
"""

from rfgraph.sizes.choice import by_grids, by_half, fit, grid_of, in_proportion, resized
from rfgraph.sizes.compare import sites, twins, view
from rfgraph.sizes.look import Look, look
from rfgraph.sizes.settle import settled

__all__ = [
    "Look",
    "by_grids",
    "by_half",
    "fit",
    "grid_of",
    "in_proportion",
    "look",
    "resized",
    "settled",
    "sites",
    "twins",
    "view",
]
