"""The report: what every node of a model reads of its inputs, as frozen plain data.

In: a graph and the abstract values of its nodes. Out: `Report`, `NodeReport`. Definitions: `docs/theory.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import networkx as nx

from rfgraph.errors import InputError, nearest_names
from rfgraph.graph import Axis, Carry, Graph, Marks
from rfgraph.propagation.periodic import Periodic
from rfgraph.propagation.sets import AtSize
from rfgraph.report import table
from rfgraph.report.axis import AxisReads, figures
from rfgraph.report.figures import PlainData
from rfgraph.report.node import NodeReport
from rfgraph.report.origins import Interned

if TYPE_CHECKING:
    import pandas
    from torch.fx import GraphModule


class Report:
    """What every node of a model reads of its inputs. `report["layer4.2.conv2"]` is one node's answer."""

    def __init__(
        self,
        model: str,
        graph: Graph,
        axes: Sequence[Axis],
        values: Mapping[str, Mapping[Axis, Periodic]],
        at_size: AtSize,
        worked_out: bool,
    ) -> None:
        self.model = model
        self.axes = tuple(axes)
        self.worked_out = worked_out
        self._graph = graph
        self._values = values
        self._at_size = at_size
        self._unions = at_size.unions(values)
        self._nodes: dict[str, NodeReport] = {}

    def __iter__(self) -> Iterator[NodeReport]:
        """The reports of `nodes`, in their order."""
        return iter(self.nodes)

    def __getitem__(self, name: str) -> NodeReport:
        """The report of one node. Raises `InputError`, with the nearest names, for an unknown one."""
        found = self._nodes.get(name)
        if found is None:
            if name not in self._graph:
                near = nearest_names(name, (node.name for node in self._graph))
                raise InputError(f"{self.model} has no node named {name!r}{near}")
            found = self._nodes[name] = NodeReport(self._graph[name], self._along(name))
        return found

    def _along(self, name: str) -> dict[Axis, AxisReads]:
        values = self._values[name]
        return {
            axis: AxisReads(
                name, axis, values.get(axis, _NOTHING), axis in values, self._at_size, self._unions
            )
            for axis in self.axes
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
    def captured(self) -> Graph:
        """The graph that was analysed, with the model's own calls: what a probe runs again."""
        return self._graph

    @property
    def fx(self) -> GraphModule:
        """What was captured, as a `torch.fx.GraphModule` that computes what the model computes.

        It takes the tensors of `inputs`, one by one, in that order: those within a list or dict, too. What
        was passed as `rfgraph.value` is a part of it. It returns what the model returns: the same tuples,
        dicts and classes.

        Made anew each time: it can be printed (`.graph.print_tabular()`, `.code`), run, and changed. Its
        nodes have the shape and dtype of their tensor in `meta["val"]`, the modules they ran in in
        `meta["nn_module_stack"]`, and their line in `meta["source"]`.
        """
        return self._graph.module()

    def reached(
        self, name: str, axis: Axis, rows: Sequence[int], dims: Sequence[int] | None = None
    ) -> tuple[Marks, bool]:
        """Which positions of a node, over `dims`, read each of these rows of an input.

        Args:
            axis: a tracked axis, one of `axes`.
            dims: of the node; None: its own `dims`. What any element of the others reads counts.

        Returns:
            An array of the shape (row, *dims; 1 where it does not vary), and False where it was worked
            out from hulls alone.
        """
        return self._at_size.reached(name, axis, rows, self[name].dims if dims is None else dims)

    def carries(self, axis: Axis) -> dict[str, tuple[Carry, ...]]:
        """How every node reads the parts of its operands along an axis (`docs/theory.md`, parts)."""
        return self._at_size.carries(axis)

    @property
    def graph(self) -> nx.DiGraph:
        """The model as a `networkx.DiGraph`: node names, each with its `rfgraph.graph.Node` as `node`.

        A view, in which nothing can be changed; `report.graph.copy()` can.
        """
        return self._graph.networkx.copy(as_view=True)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before reading the numbers: the inputs, whether they were worked out, and how."""
        told = []
        for name, node in self._graph.inputs.items():
            dims = [axis.dim for axis in self.axes if axis.input == name]
            tracked = f"tracked dims {', '.join(map(str, dims))}" if dims else "not tracked"
            origin = ", a shape worked out from the model" if self.worked_out else ""
            told.append(f"input {name}: {tuple(node.shape)}{origin}; {tracked}")
        return (*told, self._graph.note) if self._graph.note else tuple(told)

    @property
    def heading(self) -> str:
        """The model and the notes, as printed above the table."""
        return "\n".join((self.model, *self.notes))

    def rows(self, nodes: Sequence[NodeReport] | None = None) -> list[table.Row]:
        """The report as text cells, one row a node and input: `table.header()` names the columns."""
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

    def to_dict(self, nodes: Sequence[NodeReport] | None = None) -> PlainData:
        """Everything as plain data; of some nodes only, where they are given.

        Causes, limits and marks are in `"origins"`, once for all rows: a row has a number for each axis,
        `null` where it has none. `origins[3]`, `{"node": "gate", "text": "pooling", "after": [1]}`, is this
        node and all that `origins[1]` is. `report["conv"].to_dict()` has them written out.
        """
        interned = Interned()
        rows = [node.to_dict(interned) for node in (self.nodes if nodes is None else nodes)]
        return {
            "model": self.model,
            "inputs": {name: list(node.shape) for name, node in self._graph.inputs.items()},
            "worked_out": self.worked_out,
            "axes": [axis._asdict() for axis in self.axes],
            "outputs": dict(self._graph.outputs),
            "origins": interned.entries,
            "nodes": rows,
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """`to_dict` as JSON text, also written to `path` where one is given."""
        text = json.dumps(self.to_dict(), indent=2)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def to_dataframe(self) -> pandas.DataFrame:
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


_NOTHING = Periodic(())


def _records(node: NodeReport) -> list[dict[str, object]]:
    return [
        {
            "name": node.name,
            "op": node.op,
            "input": name,
            "axis": number,
            **{figure: getattr(reads, figure) for figure in figures("frame")},
        }
        for name, field in node.rfs.items()
        for number, reads in enumerate(field)
    ]
