"""What a person reads: figures of every node, as frozen plain data, and tables of them."""

from rfgraph.report.node import NodeReport
from rfgraph.report.report import Report

__all__ = ["NodeReport", "Report"]
