"""A captured model as a graph, what may run it again, and what keeps the model as it was."""

from rfgraph.graph.graph import (
    LOW,
    Axis,
    Carry,
    Graph,
    Indices,
    Marks,
    Masked,
    Node,
    Operand,
    Position,
    Shape,
)

__all__ = [
    "LOW",
    "Axis",
    "Carry",
    "Graph",
    "Indices",
    "Marks",
    "Masked",
    "Node",
    "Operand",
    "Position",
    "Shape",
]
