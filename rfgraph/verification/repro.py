"""`repro`: stand-alone code that verifies the operator of one node by itself, run before it is shown.

In: a node, the report it is of. Out: text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import fx

from rfgraph.capture.arguments import Inputs
from rfgraph.capture.programs import Model
from rfgraph.graph import Graph, Node
from rfgraph.language.vocabulary import Params
from rfgraph.report import Report
from rfgraph.verification.compare import at

Axes: TypeAlias = "tuple[int, ...] | dict[str, tuple[int, ...]] | None"
Check: TypeAlias = Callable[[Model, Inputs, Axes], bool]
"""(a model, its inputs, the dims to track) -> whether the numbers agree with the analysis."""

_HIDDEN = frozenset(("weight", "bias", "input", "operands", "tensors"))
_AGREES = "# alone, the operator agrees: the fault shows only in the model"


@dataclass(frozen=True)
class Code:
    """Code that verifies a model: statements, then expressions for `rfgraph.verify`."""

    statements: tuple[str, ...]
    model: str
    inputs: str
    axes: str

    def __str__(self) -> str:
        axes = "" if self.axes == "None" else f", axes={self.axes}"
        return "\n".join(
            [*self.statements, f"print(rfgraph.verify({self.model}, {self.inputs}{axes}))"]
        )


def shown_params(node: Node) -> Params:
    """The parameters that say what a node does: no tensors, nothing that is not set."""
    return {
        name: value
        for name, value in node.params.items()
        if name not in _HIDDEN and value is not None and not hasattr(value, "shape")
    }


def repro(node: Node, report: Report, check: Check | None) -> str:
    """Code that verifies the operator of a node alone, at the shapes and along the dims it had in the model.

    Args:
        check: runs it. Where it does not show a fault, or cannot be run, the first line says so. None: it is
            not run.
    """
    code = _code(node, report)
    told = "" if check is None else _told(code, check)
    return f"{told}\n{code}" if told else str(code)


def _told(code: Code, check: Check) -> str:
    """What is to be known of code that does not show the fault; empty where it does."""
    names: dict[str, Any] = {}
    try:
        with torch.random.fork_rng(devices=[]):
            exec("\n".join(code.statements), names)
            given = (eval(each, names) for each in (code.model, code.inputs, code.axes))
            return _AGREES if check(*given) else ""
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        return f"# this cannot be run by itself: {type(error).__name__}: {reason}"


def _code(node: Node, report: Report) -> Code:
    graph = report.captured
    names = {name: f"x{number}" for number, name in enumerate(dict.fromkeys(node.operands))}
    shapes = dict(zip(node.operands, node.operand_shapes, strict=True))
    dims = _dims(node, report)
    head = ("import torch", "from torch import nn", "", "import rfgraph", "", "")
    target = graph.call(node)[0]
    if _is_torch_module(target) and len(names) == 1:
        (name,) = names
        model = f"model = nn.{_one_line(target)}"
        along = None if dims is None else dims[name]
        return Code((*head[:-1], model), "model", str(tuple(shapes[name])), str(along))
    inputs = ", ".join(f'"{names[name]}": {tuple(shapes[name])}' for name in names)
    along_each = None if dims is None else {names[name]: each for name, each in dims.items()}
    statements = (
        *head,
        "class Model(nn.Module):",
        f"    def forward(self, {', '.join(names.values())}):",
        f"        return {_expression(node, graph, names)}",
        "",
        "",
    )
    return Code(statements, "Model()", f"{{{inputs}}}", str(along_each))


def _dims(node: Node, report: Report) -> dict[str, tuple[int, ...]] | None:
    """The dims of each operand that carry a tracked axis; None where those are tracked by default."""
    dims: dict[str, tuple[int, ...]] = {}
    for name in node.operands:
        reads = (at(report, name, axis) for axis in report.axes)
        dims[name] = tuple(sorted({dim for each in reads if each for dim in each.dims}))
    default = {name: tuple(range(2, len(report[name].shape))) for name in dims}
    return None if dims == default or not any(dims.values()) else dims


def _is_torch_module(target: object) -> bool:
    return type(target).__module__.startswith("torch.nn.modules.")


def _one_line(module: object) -> str:
    return " ".join(repr(module).split())


def _expression(node: Node, graph: Graph, names: Mapping[str, str]) -> str:
    target, arguments, keywords = graph.call(node)
    if target is None:
        return ", ".join(names.values())

    def written(value: object) -> str:
        return _written(value, lambda n: names[graph.names[n]])

    args = [written(value) for value in arguments]
    args += [f"{name}={written(value)}" for name, value in keywords.items()]
    if isinstance(target, str):
        return f"{args[0]}.{target}({', '.join(args[1:])})"
    if _is_torch_module(target):
        return f"nn.{_one_line(target)}({', '.join(args)})"
    name = getattr(target, "__name__", type(target).__name__)
    return f"{_home(target)}{name}({', '.join(args)})"


def _home(target: object) -> str:
    """Where a reader finds a function."""
    module = getattr(target, "__module__", None) or "torch"
    known = {
        "_operator": "operator",
        "torch._C._nn": "nn.functional",
        "torch.nn.functional": "nn.functional",
    }
    return f"{known.get(module, 'torch' if module.startswith('torch') else module)}."


def _written(value: object, name: Callable[[fx.Node], str]) -> str:
    if isinstance(value, fx.Node):
        return name(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"torch.randn({tuple(value.shape)})"
    if isinstance(value, tuple):
        inside = ", ".join(_written(entry, name) for entry in value)
        return f"({inside}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(_written(entry, name) for entry in value)}]"
    if isinstance(value, slice):
        ends = (value.start, value.stop, value.step)
        return f"slice({', '.join(_written(end, name) for end in ends)})"
    return repr(value)
