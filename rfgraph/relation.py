"""`Relation`, by the name that it has in the public contract."""

from rfgraph.algebra.relation import Relation

__all__ = ["Relation"]
