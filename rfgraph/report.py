"""The report: what every node of a model reads of its inputs, as frozen plain data.

In: a graph and the abstract values of its nodes. Out: `Report`, `NodeReport`, `ReceptiveField`.
Callers: the public functions make reports; everyone reads them. Definitions: `docs/theory.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx

from rfgraph import table
from rfgraph.domains.periodic import Periodic
from rfgraph.errors import InputError, nearest_names
from rfgraph.field import ReceptiveField, plain_data
from rfgraph.graph import Graph, Node
from rfgraph.propagate import Axis


@dataclass(frozen=True, eq=False)
class NodeReport:
    """One node of the model: what it is, and what it reads of each input (`rfs`)."""

    _node: Node
    rfs: Mapping[str, ReceptiveField]

    name = property(lambda self: self._node.name, doc="Dotted module path; see `Node.name`.")
    op = property(lambda self: self._node.op, doc="Canonical operator, e.g. `conv2d`.")
    module = property(lambda self: self._node.module, doc="Class name of its module.")
    shape = property(lambda self: self._node.shape, doc="Shape of the tensor, as analysed.")
    operands = property(lambda self: self._node.operands, doc="Names of the nodes it reads.")
    source = property(lambda self: self._node.source, doc="`file:line` in the model's code.")

    @property
    def rf(self) -> ReceptiveField:
        """The field in the model's only input.

        Raises:
            InputError: the model has several inputs (use `rfs[name]`), or the node reads none.
        """
        if len(self.rfs) != 1:
            told = (
                f"the inputs {sorted(self.rfs)}: use .rfs[name]" if self.rfs else "no tracked input"
            )
            raise InputError(f"node {self.name!r} reads {told}")
        return next(iter(self.rfs.values()))

    @property
    def dims(self) -> tuple[int, ...]:
        """The node's own dims that index space; where everything is read whole, its dims from 2 on."""
        found = {dim for field in self.rfs.values() for dim in field.dims}
        return tuple(sorted(found)) or tuple(range(2, len(self.shape)))

    def __repr__(self) -> str:
        return f"NodeReport({self.name!r}, {self.op}, {dict(self.rfs)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        names = ("name", "op", "module", "shape", "operands", "source", "dims")
        fields = {name: field.to_dict() for name, field in self.rfs.items()}
        return {**{name: plain_data(getattr(self, name)) for name in names}, "rfs": fields}


class Report:
    """What every node of a model reads of its inputs. `report["layer4.2.conv2"]` is one node's answer."""

    def __init__(
        self,
        model: str,
        graph: Graph,
        axes: Sequence[Axis],
        values: Mapping[str, tuple[Periodic | None, ...]],
        worked_out: bool,
    ) -> None:
        self.model = model
        self.axes = tuple(axes)
        self.worked_out = worked_out
        self._graph = graph
        self._values = values
        self._nodes: dict[str, NodeReport] = {}

    def __getitem__(self, name: str) -> NodeReport:
        """The report of one node. Raises `InputError`, with the nearest names, for an unknown one."""
        found = self._nodes.get(name)
        if found is None:
            if name not in self._graph:
                near = nearest_names(name, (node.name for node in self._graph))
                raise InputError(f"{self.model} has no node named {name!r}{near}")
            found = self._nodes[name] = NodeReport(self._graph[name], self._fields(name))
        return found

    def _fields(self, name: str) -> dict[str, ReceptiveField]:
        by_input: dict[str, list[Periodic]] = {}
        for axis, value in zip(self.axes, self._values[name], strict=True):
            if value is not None:
                by_input.setdefault(axis.input, []).append(value)
        return {
            input_name: ReceptiveField(name, tuple(values))
            for input_name, values in by_input.items()
        }

    def __contains__(self, name: object) -> bool:
        return name in self._graph

    def __len__(self) -> int:
        return len(self._graph)

    @property
    def nodes(self) -> tuple[NodeReport, ...]:
        """Every node, operands before the nodes that read them."""
        return tuple(self[node.name] for node in self._graph)

    @property
    def inputs(self) -> dict[str, NodeReport]:
        """The model's inputs by name."""
        return {name: self[name] for name in self._graph.inputs}

    @property
    def outputs(self) -> dict[str, NodeReport]:
        """The model's outputs by their path in what it returns: `"output"`, `"0"`, `"out"`, ..."""
        return {path: self[name] for path, name in self._graph.outputs.items()}

    @property
    def output(self) -> NodeReport:
        """The model's only output.

        Raises:
            InputError: it has several (use `outputs`), or none.
        """
        if len(self._graph.outputs) != 1:
            raise InputError(
                f"{self.model} has {len(self._graph.outputs)} outputs "
                f"({', '.join(self._graph.outputs) or 'no tensor'}): use report.outputs"
            )
        return next(iter(self.outputs.values()))

    @property
    def graph(self) -> nx.DiGraph:
        """The model as a `networkx.DiGraph`: node names, each with its `rfgraph.graph.Node` as `node`."""
        return self._graph.networkx

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before reading the numbers: the inputs, and whether they were worked out."""
        told = []
        for name, node in self._graph.inputs.items():
            dims = [axis.dim for axis in self.axes if axis.input == name]
            tracked = f"tracked dims {', '.join(map(str, dims))}" if dims else "not tracked"
            origin = ", a shape worked out from the model" if self.worked_out else ""
            told.append(f"input {name}: {tuple(node.shape)}{origin}; {tracked}")
        return tuple(told)

    @property
    def heading(self) -> str:
        """The model and the notes, as printed above the table."""
        return "\n".join((self.model, *self.notes))

    def rows(self, nodes: Sequence[NodeReport] | None = None) -> list[table.Row]:
        """The report as text cells, one row a node and input: `table.HEADER` names the columns."""
        several = len(self._graph.inputs) > 1
        return [row for node in nodes or self.nodes for row in table.rows_of(node, several)]

    def __str__(self) -> str:
        return table.text(self.heading, self.rows())

    def _repr_html_(self) -> str:
        return table.html(self.rows())

    def to_markdown(self) -> str:
        """The table in Markdown."""
        return table.markdown(self.rows())

    def to_csv(self) -> str:
        """The table as comma-separated values."""
        return table.csv_text(self.rows())

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "model": self.model,
            "inputs": {name: list(node.shape) for name, node in self._graph.inputs.items()},
            "worked_out": self.worked_out,
            "axes": [axis._asdict() for axis in self.axes],
            "outputs": dict(self._graph.outputs),
            "nodes": [node.to_dict() for node in self.nodes],
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """`to_dict` as JSON text, also written to `path` where one is given."""
        text = json.dumps(self.to_dict(), indent=2)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def to_dataframe(self) -> Any:
        """A pandas DataFrame with one row for each node, input and axis.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise InputError("to_dataframe needs pandas: pip install pandas") from None
        records = [record for node in self.nodes for record in _records(node)]
        return pandas.DataFrame.from_records(records)


_COLUMNS = ("size", "stride", "offset", "dilation", "holes", "density", "whole", "closed_form")


def _records(node: NodeReport) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "op": node.op,
            "input": name,
            "axis": axis,
            **{column: getattr(field, column)[axis] for column in _COLUMNS},
        }
        for name, field in node.rfs.items()
        for axis in range(len(field.size))
    ]
