"""The report: what every node of a model reads of its inputs, as frozen plain data.

In: a graph and the abstract values of its nodes. Out: `Report`, `NodeReport`, `ReceptiveField`.
Callers: the public functions make reports; everyone reads them. Definitions: `docs/theory.md`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import networkx as nx

from rfgraph import table
from rfgraph.domains.coordinates import plain
from rfgraph.domains.periodic import Periodic
from rfgraph.errors import InputError, nearest_names
from rfgraph.graph import Graph, Node
from rfgraph.propagate import Axis
from rfgraph.relation import Relation

T = TypeVar("T")


class Cause(NamedTuple):
    """A node that reads the whole of an input axis, the kind of read, and the axes (numbered as in the field)."""

    node: str
    kind: str
    axes: tuple[int, ...]


class Limit(NamedTuple):
    """A node from which on the answer holds at the analysed size only, and why."""

    node: str
    reason: str


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What one position of a node reads of one input: one entry per tracked axis, in input pixels.

    Where the whole axis is read (`whole`), `size`, `reach` and `halo` are `math.inf` and what depends
    on the position is None: ask `local`. Where no relation describes the reads (`limits` say why),
    every view of it is None.
    """

    _values: tuple[Periodic, ...]

    def _each(self, view: Callable[[Relation], T], when_whole: T) -> tuple[T | None, ...]:
        def of(value: Periodic) -> T | None:
            if value.whole is not None:
                return when_whole
            law = _law(value)
            return None if law is None else view(law)

        return tuple(map(of, self._values))

    @property
    def size(self) -> tuple[float | None, ...]:
        """`hi - lo + 1`; the largest over the phases."""
        return self._each(lambda law: law.size, inf)

    @property
    def size_range(self) -> tuple[tuple[float, float] | None, ...]:
        """The least and the largest size over the phases."""
        return self._each(lambda law: law.size_range, (inf, inf))

    @property
    def stride(self) -> tuple[Fraction | None, ...]:
        """Effective stride (Araujo, Norris and Sim 2019, doi 10.23915/distill.00021): a `Fraction`."""
        return self._each(lambda law: law.stride, None)

    @property
    def offset(self) -> tuple[int | None, ...]:
        """The least position that output 0 reads: minus the effective padding."""
        return self._each(lambda law: law.offset, None)

    @property
    def dilation(self) -> tuple[int | None, ...]:
        """The greatest common divisor of the gaps between the positions one output reads."""
        return self._each(lambda law: law.dilation, 1)

    @property
    def holes(self) -> tuple[int | None, ...]:
        """Positions inside the hull that are not read; the most over the phases."""
        return self._each(lambda law: law.holes, 0)

    @property
    def density(self) -> tuple[float | None, ...]:
        """Positions read / size; the least over the phases."""
        return self._each(lambda law: law.density, 1.0)

    @property
    def period(self) -> tuple[int | None, ...]:
        """After how many outputs the reads repeat."""
        return self._each(lambda law: law.period, None)

    @property
    def advance(self) -> tuple[int | None, ...]:
        """By how many input positions they have moved then."""
        return self._each(lambda law: law.advance, None)

    @property
    def phases(self) -> tuple[tuple[tuple[int, ...], ...] | None, ...]:
        """The positions that outputs `0 .. period - 1` read."""
        return self._each(lambda law: law.phases, None)

    @property
    def reach(self) -> tuple[tuple[float, float] | None, ...]:
        """How far left and right of `floor(stride * o)` any output `o` reads."""
        return self._each(lambda law: law.reach, (inf, inf))

    @property
    def halo(self) -> tuple[tuple[float, float] | None, ...]:
        """How far left and right of itself a tile aligned to the period reads."""
        return self._each(lambda law: law.halo, (inf, inf))

    def center(self, output: int) -> tuple[Fraction | None, ...]:
        """`(lo + hi) / 2` of what position `output` reads, along each axis."""
        return self._each(lambda law: law.center(output), None)

    @property
    def whole(self) -> tuple[bool, ...]:
        """Is the whole input axis read?"""
        return tuple(value.whole is not None for value in self._values)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The nodes that read a whole axis, in the order of the model."""
        axes: dict[tuple[str, str], list[int]] = {}
        for axis, value in enumerate(self._values):
            for origin in value.whole or ():
                axes.setdefault(origin, []).append(axis)
        return tuple(Cause(node, kind, tuple(found)) for (node, kind), found in axes.items())

    @cached_property
    def local(self) -> ReceptiveField | None:
        """The field along the same paths with whole-axis reads left out; None where nothing is left."""
        if not any(value.local for value in self._values):
            return None
        if not any(self.whole):
            return self
        return ReceptiveField(tuple(Periodic(v.local, None, v.limits) for v in self._values))

    @property
    def closed_form(self) -> tuple[bool, ...]:
        """Does the answer hold at any input size? Else at the analysed size only: see `limits`."""
        return tuple(_is_closed(value) for value in self._values)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Why the answer holds at the analysed size only, in the order of the model."""
        found = dict.fromkeys(origin for value in self._values for origin in value.limits or ())
        return tuple(Limit(*origin) for origin in found)

    @property
    def relations(self) -> tuple[Relation | None, ...]:
        """The relation from positions along the node's own dim to input positions, where there is one.

        None for a whole read, and where a reshape has spread the axis over the node's dims.
        """
        return tuple(
            None if value.whole is not None or not _is_plain(value) else _law(value)
            for value in self._values
        )

    @property
    def dims(self) -> tuple[int, ...]:
        """The node's own dims along which its reads vary."""
        scans = (scan for value in self._values for scan in value.local)
        return tuple(sorted({digit.dim for scan in scans for digit in scan.digits}))

    def __repr__(self) -> str:
        sizes = table.each(self.size, table.number)
        return f"ReceptiveField(size={sizes}, stride={table.each(self.stride, table.number)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: `null` for an infinite size (see `whole`), a string for a fraction."""
        views = ("size", "size_range", "stride", "offset", "dilation", "holes", "density")
        views += ("period", "advance", "reach", "halo", "whole", "closed_form")
        return {
            **{view: _plain_data(getattr(self, view)) for view in views},
            "causes": [cause._asdict() for cause in self.causes],
            "limits": [limit._asdict() for limit in self.limits],
            "local": self.local.to_dict() if self.local is not None and any(self.whole) else None,
        }


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
            told = f"the inputs {sorted(self.rfs)}: use .rfs[name]" if self.rfs else "no tracked input"
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
        return {**{name: _plain_data(getattr(self, name)) for name in names}, "rfs": fields}


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
        return {name: ReceptiveField(tuple(values)) for name, values in by_input.items()}

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

    def rows(self, nodes: Sequence[NodeReport] | None = None) -> list[table.Row]:
        """The report as text cells, one row a node and input: `table.HEADER` names the columns."""
        several = len(self._graph.inputs) > 1
        return [row for node in nodes or self.nodes for row in table.rows_of(node, several)]

    def __str__(self) -> str:
        return table.text(f"{self.model}\n" + "\n".join(self.notes), self.rows())

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


def _law(value: Periodic) -> Relation | None:
    """The relation of all local reads, in steps of the axis' coordinate."""
    if not value.local:
        return Relation.nothing()
    return value.local[0].relation if len(value.local) == 1 else None


def _is_plain(value: Periodic) -> bool:
    digits = value.local[0].digits if value.local else ()
    return len(digits) == 0 or digits == plain(digits[0].dim)


def _is_closed(value: Periodic) -> bool:
    return value.limits is None and len(value.local) < 2 and _is_plain(value) and _law(value) is not None


def _plain_data(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain_data(entry) for entry in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else str(value)
    return None if value == inf else value
