"""`repro`: stand-alone code that runs one node of a model by itself.

In: a node. Out: text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx

from rfgraph.graph import Graph, Node

_HIDDEN = frozenset(("weight", "bias", "input", "operands", "tensors"))


def shown_params(node: Node) -> dict[str, Any]:
    """The parameters that say what a node does: no tensors, nothing that is not set."""
    return {
        name: value
        for name, value in node.params.items()
        if name not in _HIDDEN and value is not None and not hasattr(value, "shape")
    }


def repro(node: Node, graph: Graph) -> str:
    """Code that verifies the operator of a node alone, at the shapes it had in the model."""
    names = {name: f"x{number}" for number, name in enumerate(dict.fromkeys(node.operands))}
    shapes = dict(zip(node.operands, node.operand_shapes, strict=True))
    inputs = ", ".join(f'"{names[name]}": {tuple(shapes[name])}' for name in names)
    lines = ["import torch", "from torch import nn", "", "import rfgraph", "", ""]
    target = graph.call(node)[0]
    if _is_torch_module(target) and len(names) == 1:
        lines = [*lines[:-1], f"model = nn.{_one_line(target)}"]
        shape = tuple(shapes[node.operands[0]])
        return "\n".join([*lines, f"print(rfgraph.verify(model, {shape}))"])
    lines += [
        "class Model(nn.Module):",
        f"    def forward(self, {', '.join(names.values())}):",
        f"        return {_expression(node, graph, names)}",
        "",
        "",
        f"print(rfgraph.verify(Model(), {{{inputs}}}))",
    ]
    return "\n".join(lines)


def _is_torch_module(target: Any) -> bool:
    return type(target).__module__.startswith("torch.nn.modules.")


def _one_line(module: Any) -> str:
    return " ".join(repr(module).split())


def _expression(node: Node, graph: Graph, names: Mapping[str, str]) -> str:
    target, arguments, keywords = graph.call(node)
    if target is None:
        return ", ".join(names.values())

    def written(value: Any) -> str:
        return _written(value, lambda n: names[graph.names[n]])

    args = [written(value) for value in arguments]
    args += [f"{name}={written(value)}" for name, value in keywords.items()]
    if isinstance(target, str):
        return f"{args[0]}.{target}({', '.join(args[1:])})"
    if _is_torch_module(target):
        return f"nn.{_one_line(target)}({', '.join(args)})"
    name = getattr(target, "__name__", type(target).__name__)
    return f"{_home(target)}{name}({', '.join(args)})"


def _home(target: Any) -> str:
    """Where a reader finds a function."""
    module = getattr(target, "__module__", None) or "torch"
    known = {
        "_operator": "operator",
        "torch._C._nn": "nn.functional",
        "torch.nn.functional": "nn.functional",
    }
    return f"{known.get(module, 'torch' if module.startswith('torch') else module)}."


def _written(value: Any, name: Callable[[fx.Node], str]) -> str:
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
