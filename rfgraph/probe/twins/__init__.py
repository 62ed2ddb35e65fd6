"""The positive linear twin: what each operator of torch is where it is linear, with weights above 0.

Importing the package teaches every twin.
"""

from rfgraph.probe.twins import (
    arithmetic,
    losses,
    matrices,
    places,
    products,
    recurrent,
    spectral,
    values,
)

__all__ = [
    "arithmetic",
    "losses",
    "matrices",
    "places",
    "products",
    "recurrent",
    "spectral",
    "values",
]
