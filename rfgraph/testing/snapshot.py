"""`assert_snapshot`: a report kept as JSON beside the tests, and what has changed since.

In: a model or a report, and a file. Out: nothing, or an `AssertionError` that names the first node that
changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from rfgraph.capture.arguments import Inputs
from rfgraph.capture.programs import Model
from rfgraph.report import Report
from rfgraph.report.figures import PlainData
from rfgraph.testing.assertions import report_of

UPDATE = "RFGRAPH_UPDATE_SNAPSHOTS"
_MOST_FIELDS = 4
_HOW = f"run once with {UPDATE}=1 to accept it (pytest --rfgraph-update-snapshots)"
_HEAD = ("model", "inputs", "axes")


def assert_snapshot(
    model: Model | Report, path: str | Path, inputs: Inputs = None, *, update: bool = False
) -> None:
    """The report is the one that is kept at `path`.

    Args:
        model: a model, or a report.
        path: a JSON file, to be kept in the repository.
        inputs: as for `rfgraph.analyze`.
        update: write the file instead, as the environment variable RFGRAPH_UPDATE_SNAPSHOTS=1 does.

    Raises:
        AssertionError: no file yet, or the first node in the order of the model that changed.
    """
    new, file = _kept(report_of(model, inputs)), Path(path)
    if update or os.environ.get(UPDATE) == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")
        return
    if not file.exists():
        raise AssertionError(f"there is no snapshot at {file}: {_HOW.replace('accept', 'write')}")
    change = _change(json.loads(file.read_text(encoding="utf-8")), new)
    if change:
        raise AssertionError(f"the report is not the one in {file}: {change}; {_HOW}")


def _kept(report: Report) -> PlainData:
    """What a snapshot holds: lines of source move without a change of the model; so do numbers of origins."""
    nodes = [node.to_dict() for node in report.nodes]
    rows = [{k: v for k, v in node.items() if k != "source"} for node in nodes]
    kept: PlainData = json.loads(json.dumps({**report.to_dict([]), "nodes": rows}))
    del kept["worked_out"], kept["origins"]
    return kept


def _change(old: PlainData, new: PlainData) -> str:
    """The first difference, in the order of the model, or nothing."""
    for name in _HEAD:
        if old.get(name) != new[name]:
            return f"{name} {_pair(old.get(name), new[name])}"
    changes = list(_changed_nodes(old["nodes"], new["nodes"]))
    if changes:
        more = f", and {len(changes) - 1} more after it" if len(changes) > 1 else ""
        return f"{changes[0]}{more}"
    outputs = old["outputs"], new["outputs"]
    return f"outputs {_pair(*outputs)}" if outputs[0] != outputs[1] else ""


def _changed_nodes(old: list[PlainData], new: list[PlainData]) -> Iterator[str]:
    """Every node that changed, in the new order; one that is gone where its next neighbour stands."""
    before, after = ({node["name"]: node for node in nodes} for nodes in (old, new))
    gone = [node for node in old if node["name"] not in after]
    place = {node["name"]: number for number, node in enumerate(old)}
    for node in new:
        known = before.get(node["name"])
        while known and gone and place[gone[0]["name"]] < place[node["name"]]:
            yield f"{_title(gone.pop(0))} is gone"
        if known is None:
            yield f"{_title(node)} is new"
        elif known != node:
            yield f"{_title(node)}: {_fields(known, node)}"
    yield from (f"{_title(node)} is gone" for node in gone)


def _title(node: PlainData) -> str:
    return f"node {node['name']!r} ({node['op']})"


def _fields(old: PlainData, new: PlainData) -> str:
    flat_old, flat_new = dict(_flat(old)), dict(_flat(new))
    names = [n for n in dict.fromkeys((*flat_old, *flat_new)) if flat_old.get(n) != flat_new.get(n)]
    told = [f"{name} {_pair(flat_old.get(name), flat_new.get(name))}" for name in names]
    more = f" and {len(told) - _MOST_FIELDS} more fields" if len(told) > _MOST_FIELDS else ""
    return ", ".join(told[:_MOST_FIELDS]) + more


def _flat(value: PlainData, path: str = "") -> Iterator[tuple[str, object]]:
    for key, entry in value.items():
        if isinstance(entry, dict):
            yield from _flat(entry, "" if key == "rfs" else f"{path}{key}.")
        else:
            yield f"{path}{key}", entry


def _pair(old: object, new: object) -> str:
    return f"{json.dumps(old)} -> {json.dumps(new)}"
