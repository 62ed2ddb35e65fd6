"""The report: what every node of a model reads of its inputs, as frozen plain data.

In: a graph and the abstract values of its nodes. Out: `Report`, `NodeReport`. Definitions: `docs/theory.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import numpy.typing as npt

from rfgraph import table
from rfgraph.at_size import AtSize
from rfgraph.axis import AxisReads, figures
from rfgraph.domains.periodic import Periodic
from rfgraph.errors import InputError, nearest_names
from rfgraph.field import ReceptiveField, plain_data
from rfgraph.graph import Axis, Graph, Node, Position

if TYPE_CHECKING:
    from torch.fx import GraphModule


@dataclass(frozen=True, eq=False)
class NodeReport:
    """One node of the model: what it is, and what it reads of each input (`rfs`)."""

    _node: Node
    _along: Mapping[Axis, AxisReads]

    @property
    def name(self) -> str:
        """Dotted module path; see `Node.name`."""
        return self._node.name

    @property
    def op(self) -> str:
        """Canonical operator, e.g. `conv2d`."""
        return self._node.op

    @property
    def module(self) -> str:
        """Class name of its module."""
        return self._node.module

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor, as analysed."""
        return self._node.shape

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the nodes it reads."""
        return self._node.operands

    @property
    def source(self) -> str:
        """`file:line` in the model's code."""
        return self._node.source

    @cached_property
    def rfs(self) -> Mapping[str, ReceptiveField]:
        """The field in each input that the node reads, by the input's name."""
        fields: dict[str, list[AxisReads]] = {}
        for axis, reads in self._along.items():
            if reads.is_connected:
                fields.setdefault(axis.input, []).append(reads)
        return {input: ReceptiveField(axes) for input, axes in fields.items()}

    def at(self, axis: Axis) -> AxisReads:
        """What it reads along an axis of `report.axes`; nothing, where it does not read the axis' input.

        Raises:
            InputError: this axis is not tracked.
        """
        if axis not in self._along:
            tracked = ", ".join(f"dim {dim} of {input!r}" for input, dim in self._along)
            raise InputError(f"{axis!r} is not tracked: the tracked axes are {tracked}")
        return self._along[axis]

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

    def region(
        self, position: int | Sequence[int], input: str | None = None
    ) -> tuple[tuple[int, int], ...] | None:
        """The inclusive hull `(lo, hi)`, per tracked axis, of what one position reads at the analysed size.

        Borders included: what would fall into padding is not counted. None where nothing is read.

        Args:
            position: a tuple over `dims` (what any channel there reads), or over all dims of the node;
                an int where the node has one such dim.
            input: which input, where the model has several.

        Raises:
            InputError: a position outside the node, or an unknown input.
        """
        field = self._field(input)
        where = self._position(position, self.dims)
        hulls = [reads.hull(where) for reads in field]
        return None if None in hulls else tuple(hull for hull in hulls if hull is not None)

    def reads(
        self, axis: int, position: int | Sequence[int], input: str | None = None
    ) -> npt.NDArray[np.int64]:
        """The exact indices that one position reads along tracked axis number `axis`, in ascending order.

        Raises:
            InputError: as `region`; also where sets of so long an axis exceed the memory budget, so that
                hulls alone are kept.
        """
        field = self._field(input)
        if not 0 <= axis < len(field):
            raise InputError(f"{self.name!r} has {len(field)} tracked axes and no axis {axis}")
        dims = field[axis].dims if isinstance(position, int) else self.dims
        return field[axis].members(self._position(position, dims or self.dims))

    def _field(self, input: str | None) -> ReceptiveField:
        if input is None:
            return self.rf
        if input not in self.rfs:
            raise InputError(f"node {self.name!r} does not read input {input!r}")
        return self.rfs[input]

    def _position(self, position: int | Sequence[int], dims: Sequence[int]) -> Position:
        """What a caller gives, over `dims` or over all of them, as a position."""
        given = (position,) if isinstance(position, int) else tuple(position)
        dims = range(len(self.shape)) if len(given) == len(self.shape) else dims
        if len(given) != len(dims):
            raise InputError(
                f"a position in {self.name!r} is {len(dims)} integers, over its dims {tuple(dims)}, "
                f"or {len(self.shape)}, over all of them; got {position!r}"
            )
        where = dict(zip(dims, given, strict=True))
        if any(not 0 <= index < self.shape[dim] for dim, index in where.items()):
            raise InputError(f"{self.name!r} has shape {self.shape}: no position {position!r}")
        return where

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
            axis: AxisReads(name, axis, values.get(axis, _NOTHING), axis in values, self._at_size)
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
    ) -> tuple[npt.NDArray[np.bool_], bool]:
        """Which positions of a node, over `dims`, read each of these rows of an input.

        Args:
            axis: a tracked axis, one of `axes`.
            dims: of the node; None: its own `dims`. What any element of the others reads counts.

        Returns:
            An array of the shape (row, *dims; 1 where it does not vary), and False where it was worked
            out from hulls alone.
        """
        return self._at_size.reached(name, axis, rows, self[name].dims if dims is None else dims)

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


_NOTHING = Periodic(())


def _records(node: NodeReport) -> list[dict[str, Any]]:
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
