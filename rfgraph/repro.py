"""`repro`: stand-alone code that runs one node of a model by itself.

In: a node. Out: text. Callers: the verification, which prints it for the node to blame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rfgraph.graph import Node, Value

_HIDDEN = frozenset(("weight", "bias", "input", "operands", "tensors"))


def shown_params(node: Node) -> dict[str, Any]:
    """The parameters that say what a node does: no tensors, nothing that is not set."""
    return {
        name: value
        for name, value in node.params.items()
        if name not in _HIDDEN and value is not None and not hasattr(value, "shape")
    }


def repro(node: Node) -> str:
    """Code that verifies the operator of a node alone, at the shapes it had in the model."""
    names = {name: f"x{number}" for number, name in enumerate(dict.fromkeys(node.operands))}
    shapes = dict(zip(node.operands, node.operand_shapes, strict=True))
    inputs = ", ".join(f'"{names[name]}": {tuple(shapes[name])}' for name in names)
    lines = ["import torch", "from torch import nn", "", "import rfgraph", "", ""]
    call = node.call
    if call is not None and _is_torch_module(call.target) and len(names) == 1:
        lines = [*lines[:-1], f"model = nn.{_one_line(call.target)}"]
        shape = tuple(shapes[node.operands[0]])
        return "\n".join([*lines, f"print(rfgraph.verify(model, {shape}))"])
    lines += [
        "class Model(nn.Module):",
        f"    def forward(self, {', '.join(names.values())}):",
        f"        return {_expression(node, names)}",
        "",
        "",
        f"print(rfgraph.verify(Model(), {{{inputs}}}))",
    ]
    return "\n".join(lines)


def _is_torch_module(target: Any) -> bool:
    return type(target).__module__.startswith("torch.nn.modules.")


def _one_line(module: Any) -> str:
    return " ".join(repr(module).split())


def _expression(node: Node, names: Mapping[str, str]) -> str:
    call = node.call
    if call is None:
        return ", ".join(names.values())
    args = [_written(value, names) for value in call.args]
    args += [f"{name}={_written(value, names)}" for name, value in call.kwargs.items()]
    if isinstance(call.target, str):
        return f"{args[0]}.{call.target}({', '.join(args[1:])})"
    if _is_torch_module(call.target):
        return f"nn.{_one_line(call.target)}({', '.join(args)})"
    target = call.target
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


def _written(value: Any, names: Mapping[str, str]) -> str:
    if type(value) is Value:
        return names[value.name]
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"torch.randn({tuple(value.shape)})"
    if isinstance(value, tuple):
        inside = ", ".join(_written(entry, names) for entry in value)
        return f"({inside}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(_written(entry, names) for entry in value)}]"
    if isinstance(value, slice):
        ends = (value.start, value.stop, value.step)
        return f"slice({', '.join(_written(end, names) for end in ends)})"
    return repr(value)
