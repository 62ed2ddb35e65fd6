"""Exported programs: read from a file, made by `torch.export`, turned into a graph module that can be walked.

In: an `ExportedProgram`, the path of a `.pt2` file, or a model with its inputs. Out: an `Exported`, a
`GraphModule` that takes the program's inputs one by one, under their names; the inputs it is analysed on.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.fx.graph import CodeGen, _PyTreeCodeGen
from torch.fx.node import map_arg

from rfgraph.capture.existing import OUT_SPEC, size_of
from rfgraph.capture.inputs import Inputs, given, leading
from rfgraph.errors import InputError
from rfgraph.guard import unwrapped

_TORCH_FILES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx")


class Exported(GraphModule):
    """An exported program as a module: its parameters and buffers by their paths, its inputs by name.

    Attributes:
        ranges: the sizes that a dynamic dim may have, by its symbol: (least, largest).
    """

    ranges: Mapping[Any, tuple[Any, Any]]


def opened(model: Any) -> Any:
    """The module to analyse: that of a program, of a `.pt2` file, inside a wrapper; else what was given.

    Raises:
        InputError: a file that holds no exported program.
    """
    if isinstance(model, str | os.PathLike):
        model = _loaded(Path(model))
    if isinstance(model, ExportedProgram):
        return _module(model)
    model = unwrapped(model)
    if isinstance(model, GraphModule) and type(model.graph._codegen) is _PyTreeCodeGen:
        return _flat(model, GraphModule)
    return model


def _loaded(path: Path) -> ExportedProgram:
    if path.suffix != ".pt2":
        what = "weights or TorchScript" if path.suffix in _TORCH_FILES else "no model"
        raise InputError(
            f"expected a torch.nn.Module, got str: {str(path)!r} holds {what}; of files, the .pt2 that "
            "torch.export.save writes will do"
        )
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with _quiet():
            return torch.export.load(path)
    except Exception as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise InputError(
            f"{path} cannot be read as an exported program by torch {torch.__version__} "
            f"({type(error).__name__}: {text}); a file of another version of torch has to be exported anew"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own warnings, in text and in its log: what matters is said by an error."""
    log = logging.getLogger("torch.export")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def exported(model: nn.Module, inputs: Inputs) -> Exported:
    """`model`, exported by torch at these inputs."""
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    tensors = {name: _example(meta, device) for name, meta in inputs.items()}
    first = list(leading(model, tensors))
    named = {name: tensor for name, tensor in tensors.items() if name not in first}
    args = tuple(tensors[name] for name in first)
    with _quiet():
        return _module(torch.export.export(model, args, named, strict=False))


def _example(meta: torch.Tensor, device: torch.device) -> torch.Tensor:
    return torch.zeros(meta.shape, dtype=meta.dtype, device=device)


# --- programs as modules ----------------------------------------------------------------------------


def _module(program: ExportedProgram) -> Exported:
    with _quiet():
        lifted = program.module()
    module: Exported = _flat(lifted, Exported)
    module.ranges = {
        symbol: (allowed.lower, allowed.upper)
        for symbol, allowed in program.range_constraints.items()
    }
    return module


def _flat(module: GraphModule, kind: type[Any]) -> Any:
    """The same graph, of which each input is an argument; its output says the structure of what it returns.

    Arguments that are no tensors are what they were when the program was made. Checks of the inputs are
    left out: `taken` makes them.
    """
    information = module.graph._codegen.pytree_info  # type: ignore[attr-defined]
    graph = fx.Graph()
    values: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "placeholder" and not isinstance(shown(node), torch.Tensor):
            values[node] = size_of(shown(node))
        elif not str(node.target).startswith("_guards"):
            values[node] = _copied(graph, node, values)
    output = next(iter(reversed(graph.nodes)))
    output.meta[OUT_SPEC] = information.out_spec
    graph.set_codegen(CodeGen())
    return kind(module, graph, _name(module))


def _copied(graph: fx.Graph, node: fx.Node, values: Mapping[fx.Node, Any]) -> fx.Node:
    copy = graph.node_copy(node, lambda n: n)
    copy.args = map_arg(node.args, values.__getitem__)
    copy.kwargs = map_arg(node.kwargs, values.__getitem__)
    return copy


def _name(module: GraphModule) -> str:
    """The class of the model that was exported, as the graph remembers it."""
    for node in module.graph.nodes:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            if path in ("", "L['self']"):
                return kind.rpartition(".")[2] if isinstance(kind, str) else str(kind.__name__)
    return type(module).__name__


# --- inputs -----------------------------------------------------------------------------------------


def shown(node: fx.Node) -> Any:
    """What an input was when the graph was made: a tensor (without values), a value, or None."""
    for key in ("val", "example_value"):
        if node.meta.get(key) is not None:
            return node.meta[key]
    seen = node.meta.get("tensor_meta")
    return None if seen is None else torch.empty(seen.shape, dtype=seen.dtype, device="meta")


def held(model: GraphModule) -> Inputs | None:
    """The inputs that a graph was made with; None where it does not say."""
    found = {}
    for node in model.graph.nodes:
        if node.op == "placeholder" and not node.args:
            tensor = shown(node)
            if not isinstance(tensor, torch.Tensor):
                return None
            sizes = [size_of(size) for size in tensor.shape]
            found[str(node.target)] = torch.empty(sizes, dtype=tensor.dtype, device="meta")
    return found


def taken(model: GraphModule, inputs: Any) -> Inputs:
    """The caller's inputs, in the dtypes that the graph was made with.

    Raises:
        InputError: as `given`; shapes that an exported program does not take.
    """
    named = given(model, inputs)
    if not isinstance(model, Exported):
        return named
    sizes: dict[Any, int] = {}
    placeholders = {str(n.target): shown(n) for n in model.graph.nodes if n.op == "placeholder"}
    for name, tensor in named.items():
        made = placeholders[name]
        if len(made.shape) != tensor.dim():
            raise _not_taken(model, name, made, tensor)
        for size, asked in zip(made.shape, tensor.shape, strict=True):
            if not _fits(size, asked, sizes, model.ranges):
                raise _not_taken(model, name, made, tensor)
    return {
        name: torch.empty(tensor.shape, dtype=placeholders[name].dtype, device="meta")
        for name, tensor in named.items()
    }


def _not_taken(model: Exported, name: str, made: Any, tensor: torch.Tensor) -> InputError:
    sizes = ", ".join(map(str, made.shape))
    bounds = ", ".join(
        f"{symbol} from {least} to {largest}"
        for symbol, (least, largest) in model.ranges.items()
        if str(symbol) in sizes
    )
    return InputError(
        f"the program takes {name!r} of shape ({sizes}){f' with {bounds}' if bounds else ''}, got "
        f"{tuple(tensor.shape)}: export the model at that shape, or with dynamic_shapes"
    )


def _fits(size: Any, asked: int, sizes: dict[Any, int], ranges: Mapping[Any, Any]) -> bool:
    """A dim of the program may have this size; the sizes that symbols have got so far are added to."""
    if not isinstance(size, torch.SymInt):
        return bool(size == asked)
    expression = size.node.expr
    unknown = [symbol for symbol in expression.free_symbols if symbol not in sizes]
    for (
        symbol
    ) in unknown:  # in an exported program a dim is a multiple of one symbol, plus a constant
        first, second = (expression.subs({**sizes, symbol: number}) for number in (0, 1))
        sizes[symbol] = round(float((asked - first) / (second - first)))
    within = (
        least <= sizes[symbol] <= largest
        for symbol in unknown
        for least, largest in [ranges.get(symbol, (0, 1 << 62))]
    )
    return bool(expression.subs(sizes) == asked) and all(map(bool, within))
