"""Exported programs: read from a file, made by `torch.export`, turned into a graph module that can be walked.

In: an `ExportedProgram`, the path of a `.pt2` file, or a model with its inputs. Out: an `Exported`, a
`GraphModule` that takes the program's inputs one by one, under their names; the inputs it is analysed on.
"""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.fx.graph import CodeGen, _PyTreeCodeGen
from torch.fx.node import map_arg

from rfgraph.capture.arguments import Arguments, Inputs, by_keyword, given
from rfgraph.capture.existing import OUT_SPEC, refuse_changed, size_of
from rfgraph.errors import CaptureError, InputError
from rfgraph.graph import Axis
from rfgraph.graph.guard import unwrapped

Model: TypeAlias = nn.Module | ExportedProgram | str | os.PathLike[str] | Callable[..., object]
"""A module, a program, the path of a `.pt2` file; what `torch.compile` returns is typed as a callable."""

Graph = TypeVar("Graph", bound=GraphModule)
ONE_SIZE = (
    "the program takes this size only: closed forms are those of its operators, with the numbers that the "
    "forward computed from its size"
)
_TORCH_FILES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx")


@dataclass(frozen=True)
class Size:
    """The size of a dim that a program takes: `factor * symbol + constant`, `symbol` from least to largest.

    Without a symbol it is `constant`.
    """

    constant: int
    symbol: str = ""
    factor: int = 0
    least: float = 0
    largest: float = inf

    def __str__(self) -> str:
        if not self.symbol:
            return str(self.constant)
        times = "" if self.factor == 1 else f"{self.factor} * "
        plus = f" + {self.constant}" if self.constant else ""
        return f"{times}{self.symbol}{plus}"

    def takes(self, size: int, symbols: dict[str, int]) -> bool:
        """True where the dim may have this size; a symbol that is new is noted."""
        if not self.symbol:
            return size == self.constant
        value, rest = divmod(size - self.constant, self.factor)
        return (
            not rest
            and symbols.setdefault(self.symbol, value) == value
            and self.least <= value <= self.largest
        )


class Exported(GraphModule):
    """An exported program as a module: its parameters and buffers by their paths, its inputs by name.

    Attributes:
        sizes: the sizes that each input may have.
    """

    sizes: Mapping[str, tuple[Size, ...]]


def opened(model: Model) -> Any:
    """The module to analyse: that of a program, of a `.pt2` file, inside a wrapper; else what was given.

    Raises:
        InputError: a file that holds no exported program.
    """
    if isinstance(model, str | os.PathLike):
        model = _loaded(Path(model))
    if isinstance(model, ExportedProgram):
        return _module(model)
    inside = unwrapped(model)
    if isinstance(inside, GraphModule) and _is_nested(inside):
        refuse_changed(inside)
        return _flat(inside, GraphModule)
    return inside


def _is_nested(model: GraphModule) -> bool:
    """True for a program's module, which takes its inputs in a structure; hooks of torch's own aside."""
    if type(model.graph._codegen) is not _PyTreeCodeGen:
        return False
    if any("val" not in node.meta for node in model.graph.nodes if node.op == "placeholder"):
        return False  # traced with concrete arguments: nothing says what its inputs are
    hooks = (*model._forward_hooks.values(), *model._forward_pre_hooks.values())
    own = (getattr(hook, "__module__", "") for hook in hooks)
    return all(name.startswith("torch.") for name in own) and "forward" not in vars(model)


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
        raise InputError(
            f"{path} cannot be read as an exported program by torch {torch.__version__}: it is no such file, "
            "damaged, or of another version of torch; export the model anew"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own warnings, logs and prints of graphs: what matters is said by an error.

    Its loggers have handlers of their own, and some are made late, so nothing is logged at all meanwhile.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def exported(model: nn.Module, inputs: Arguments) -> Exported:
    """`model`, exported by torch at these inputs."""
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    tensors = {name: _example(meta, device) for name, meta in inputs.leaves.items()}
    with _quiet():
        return _module(torch.export.export(model, *inputs.filled(tensors), strict=False))


def _example(meta: torch.Tensor, device: torch.device) -> torch.Tensor:
    return torch.zeros(meta.shape, dtype=meta.dtype, device=device)


# --- programs as modules ----------------------------------------------------------------------------


def _module(program: ExportedProgram) -> Exported:
    with _quiet():
        lifted = program.module()
    module: Exported = _flat(lifted, Exported)
    module.sizes = {
        str(node.target): tuple(
            _size(size, program.range_constraints) for size in shown(node).shape
        )
        for node in module.graph.nodes
        if node.op == "placeholder"
    }
    return module


def _size(size: int | torch.SymInt, ranges: Mapping[Any, Any]) -> Size:
    """A dim that depends on its symbol in another way than by a factor and a constant is what it was."""
    if not isinstance(size, torch.SymInt):
        return Size(size)
    expression, hint = size.node.expr, int(size_of(size))
    if len(expression.free_symbols) != 1:
        return Size(hint)
    (symbol,) = expression.free_symbols
    at = [int(expression.subs(symbol, value)) for value in (0, 1, 2)]
    if at[2] - at[1] != at[1] - at[0] or at[1] == at[0]:
        return Size(hint)
    bounds = ranges.get(symbol)
    if bounds is None:
        return Size(at[0], str(symbol), at[1] - at[0])
    return Size(at[0], str(symbol), at[1] - at[0], _bound(bounds.lower), _bound(bounds.upper))


def _bound(number: Any) -> float:
    return int(number) if number.is_finite else float(number)


def _flat(module: GraphModule, kind: type[Graph]) -> Graph:
    """The same graph, of which each input is an argument; its output says the structure of what it returns.

    Arguments that are no tensors are what they were when the program was made. A program's checks of its
    inputs are left out: `taken` makes them.
    """
    information = module.graph._codegen.pytree_info  # type: ignore[attr-defined]
    graph = fx.Graph()
    values: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "placeholder" and not isinstance(shown(node), torch.Tensor):
            values[node] = size_of(shown(node))
        elif kind is GraphModule or node.target != "_guards_fn":
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


def of_one_size(model: nn.Module, axes: Iterable[Axis]) -> str:
    """What to know of a program that takes but one size along these axes; "" for any other model."""
    if not isinstance(model, Exported) or any(
        model.sizes[axis.input][axis.dim].symbol for axis in axes
    ):
        return ""
    return ONE_SIZE


# --- inputs -----------------------------------------------------------------------------------------


def shown(node: fx.Node) -> Any:
    """What an input was when the graph was made: a tensor (without values), a value, or None."""
    for key in ("val", "example_value"):
        if node.meta.get(key) is not None:
            return node.meta[key]
    seen = node.meta.get("tensor_meta")
    return None if seen is None else torch.empty(seen.shape, dtype=seen.dtype, device="meta")


def held(model: GraphModule) -> Arguments | None:
    """The inputs that a graph was made with; None where it does not say."""
    found = {}
    for node in model.graph.nodes:
        if node.op == "placeholder" and not node.args:
            tensor = shown(node)
            if not isinstance(tensor, torch.Tensor):
                return None
            sizes = [size_of(size) for size in tensor.shape]
            found[str(node.target)] = torch.empty(sizes, dtype=tensor.dtype, device="meta")
    return by_keyword(found, list(found))


def as_named(program: Exported, inputs: Arguments) -> Arguments:
    """The inputs of a program by the names that they have in the forward that it was exported from.

    Raises:
        CaptureError: the program does not take its inputs in their order.
    """
    own = held(program)
    names = [] if own is None else list(own.leaves)
    if names != [re.sub(r"\W", "_", name) for name in inputs.leaves]:
        raise CaptureError("torch.export gives the model's inputs other names, or another order")
    return by_keyword(inputs.leaves, names)


def taken(model: GraphModule, inputs: Inputs) -> Arguments:
    """The caller's inputs, in the dtypes that the graph was made with.

    Raises:
        InputError: as `given`; shapes that an exported program does not take.
    """
    named = given(model, inputs)
    if not isinstance(model, Exported):
        return named
    dtypes = {str(n.target): shown(n).dtype for n in model.graph.nodes if n.op == "placeholder"}
    symbols: dict[str, int] = {}
    for name, tensor in named.leaves.items():
        sizes = model.sizes[name]
        pairs = zip(sizes, tensor.shape, strict=False)
        if len(sizes) != tensor.dim() or not all(s.takes(n, symbols) for s, n in pairs):
            raise _not_taken(name, sizes, tuple(tensor.shape))
    metas = {name: meta.to(dtypes[name]) for name, meta in named.leaves.items()}
    return replace(named, leaves=metas)


def _not_taken(name: str, sizes: tuple[Size, ...], asked: tuple[int, ...]) -> InputError:
    bounds = {
        f"{size.symbol} from {size.least} to {size.largest}": None for size in sizes if size.symbol
    }
    told = f" with {', '.join(bounds)}" if bounds else ""
    return InputError(
        f"the program takes {name!r} of shape ({', '.join(map(str, sizes))}){told}, got {asked}: export the "
        "model at that shape, or with dynamic_shapes"
    )
