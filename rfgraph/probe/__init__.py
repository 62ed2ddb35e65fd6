"""Probes: what a model depends on, by numbers alone. Nothing here knows the rules of the analysis.

In: a captured graph, which keeps the calls of the model. Out: masks over inputs and nodes.
"""

from rfgraph.probe.effective import Effective, effective
from rfgraph.probe.gradient import GradientProbe
from rfgraph.probe.poison import PoisonProbe

__all__ = ["Effective", "GradientProbe", "PoisonProbe", "effective"]
