"""A graph that exists already, walked in order: no forward of the model is run, and nothing is traced again.

In: a `GraphModule`, its input tensors (meta), a vocabulary. Out: a `Graph`, as the tracer makes one. Its
nodes are called on stand-ins and come by the tracer: shapes, constants, writes and refusals are one way.
Names come from their `meta["nn_module_stack"]`, lines from `meta["stack_trace"]`. A module that the graph
calls is one node where an operator describes it, and runs inside, on stand-ins, where none does.
"""

from __future__ import annotations

import inspect
import operator
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch._ops import HigherOrderOperator, OpOverload
from torch.fx import GraphModule
from torch.fx.graph import CodeGen
from torch.fx.node import Target
from torch.utils import _pytree as pytree

from rfgraph.capture.memory import Traced
from rfgraph.capture.recorder import Stack
from rfgraph.capture.source import source, source_in
from rfgraph.capture.tracer import Tracer
from rfgraph.errors import InputError
from rfgraph.graph.calls import Args, Kwargs, plain
from rfgraph.language.vocabulary import Vocabulary

_Args: TypeAlias = tuple[Any, ...]
_Kwargs: TypeAlias = dict[str, Any]
"""The arguments of a node, as an interpreter has them."""

OUT_SPEC = "out_spec"
"""The key of the output node's meta for the structure of what the model returns, where the node is flat."""
_RUNS_INSIDE = ("wrap_with_set_grad_enabled", "wrap_with_autocast")
_CALL_NUMBER = re.compile(r"@\d+$")


def is_graph(model: object) -> bool:
    """True for a module that computes what its graph says, and nothing beside it.

    Raises:
        InputError: its graph was changed after it was compiled.
    """
    if not isinstance(model, GraphModule) or type(model.graph._codegen) is not CodeGen:
        return False
    if model._forward_hooks or model._forward_pre_hooks or "forward" in vars(model):
        return False  # they may change what it computes: its forward is run, hooks and all
    refuse_changed(model)
    return True


def refuse_changed(model: GraphModule) -> None:
    """A graph that was changed and not compiled again is not what its module computes."""
    if model.graph.python_code(root_module="self").src != model.code:
        raise InputError(
            f"the graph of {type(model).__name__} was changed after it was compiled, so it is not what the "
            "module computes: call recompile() on it first"
        )


def size_of(value: Any) -> Any:
    """The number that a symbolic size was seen as; any other value is itself."""
    symbolic = isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool)
    return value.node.hint if symbolic else value


@dataclass(frozen=True)
class _Scope:
    """Where a node of the graph comes from.

    Attributes:
        path, kind: of the innermost module that it ran in: its path and class name.
        stack: of all modules that it ran in, path -> (path, class), outermost first.
        own: it is what that module returns, and goes by its name.
        source: `file:line` in the model's code, or nothing.
    """

    path: str
    kind: str
    stack: Stack
    own: bool
    source: str


class Existing(Tracer):
    """One capture of a graph that exists already."""

    def __init__(self, vocabulary: Vocabulary, can_leave: bool = False) -> None:
        super().__init__(vocabulary, can_leave)
        self._scope: _Scope | None = None
        self._is_named = False
        self._owners: dict[fx.Node, str] = {}
        self._outside = ""

    def result_of(self, model: nn.Module, args: Args, kwargs: Kwargs) -> object:
        """What the graph returns on these arguments."""
        assert isinstance(model, GraphModule)
        self._outside = source()
        given = inspect.signature(model.forward).bind(*args, **kwargs).arguments
        return _Walk(self, model, given).run()

    def begin(self, graph: fx.Graph) -> None:
        """The nodes of this graph are walked next."""
        self._owners.update(_owned(graph, self._is_operator))

    def enter(self, node: fx.Node) -> None:
        """Calls are from now on those of this node of the graph."""
        self._scope, self._is_named = self._scope_of(node), False
        self._modules = [(self._scope.path, self.root, self._scope.stack)]

    def laid_out(self, result: object, node: fx.Node) -> object:
        """A new tensor, in memory as the program has it: what is a view of it depends on that."""
        made, traced = node.meta.get("val"), self.find(result)
        if traced is None or traced.parent is not None or not isinstance(made, torch.Tensor):
            return result
        with torch._C.DisableTorchFunction():
            sizes, own = [size_of(size) for size in made.shape], traced.tensor
            if sizes != list(own.shape):
                return result
            strides = [size_of(stride) for stride in made.stride()]
            if strides == list(own.stride()):
                return result
            stand_in = torch.empty_strided(sizes, strides, dtype=own.dtype, device="meta")
        traced.node.meta["val"] = stand_in
        return self.hold(Traced(stand_in, traced.node, traced.device, traced.masked, traced))

    # --- where a node comes from ----------------------------------------------------------------

    def _scope_of(self, node: fx.Node) -> _Scope:
        stack = {path: (path, kind) for path, kind in _stack(node).values()}
        if node.op == "call_module":  # it enters itself when it is called
            stack.pop(str(node.target), None)
        owner = self._owners.get(node)
        path = next(reversed(stack), "") if owner is None else owner
        kind = stack[path][1] if path in stack else type(self.root)
        name = kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
        line = source_in(node.meta.get("stack_trace") or "")
        return _Scope(path, name, stack, owner is not None, line)

    def _is_operator(self, kind: object) -> bool:
        """True for the class of a module that an operator describes, given as a class or by its full name."""
        known: Any = _class(kind) if isinstance(kind, str) else kind
        for base in getattr(known, "__mro__", ())[:-1]:
            if base in self._vocabulary.modules:
                return bool(known.forward is base.forward)
        return False

    # --- what the recorder asks -------------------------------------------------------------------

    def _node(self, kind: str, target: Target, args: Args, kwargs: Kwargs) -> fx.Node:
        node = super()._node(kind, target, args, kwargs)
        node.meta["source"] = self._line()
        scope = self._scope
        if scope is not None and len(self._modules) == 1:
            node.meta["where"] = scope.path, scope.kind
            node.meta["own"] = scope.own and not self._is_named
            self._is_named = True
        return node

    def at_source(self) -> str:
        """`, in 'layer1', at model.py:12` for the node of the graph that is walked now, or nothing."""
        line, path = self._line(), self._modules[-1][0]
        return (f", in {path!r}" if path else "") + (f", at {line}" if line else "")

    def _line(self) -> str:
        """The line of a module that runs inside, or that of the node; never the caller's own."""
        line = source()
        return self._scope.source if self._scope and line == self._outside else line

    def module(
        self, module: nn.Module, original: Callable[..., object], args: Args, kwargs: Kwargs
    ) -> object:
        """A module; one that is put together for a node goes by the path of the module that node is of."""
        if id(module) not in self._paths and len(self._modules) == 1 and self._is_owned():
            self._paths[id(module)] = self._modules[-1][0]
        return super().module(module, original, args, kwargs)

    def _is_owned(self) -> bool:
        return self._scope is not None and self._scope.own


class _Walk(fx.Interpreter):
    """Calls the nodes of a graph in order; what they call comes by the tracer."""

    def __init__(self, tracer: Existing, module: GraphModule, given: Mapping[str, object]) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self._tracer = tracer
        self._given = given
        tracer.begin(module.graph)

    def run_node(self, n: fx.Node) -> object:
        """The value of one node."""
        self._tracer.enter(n)
        return self._tracer.laid_out(super().run_node(n), n)

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[_Args, _Kwargs]:
        """Arguments; fx holds lists as ones that cannot be changed, which not every function takes."""
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        return tuple(map(plain, args)), {name: plain(value) for name, value in kwargs.items()}

    def placeholder(self, target: Target, args: _Args, kwargs: _Kwargs) -> object:
        """An input, or the default of one that was not given."""
        name = str(target)
        if name.lstrip("*") in self._given:
            return self._given[name.lstrip("*")]
        if name.startswith("*"):
            return {} if name.startswith("**") else ()
        return args[0] if args else None

    def call_function(self, target: Target, args: _Args, kwargs: _Kwargs) -> object:
        """A function; one that only sets a mode around a graph is that graph."""
        if isinstance(target, HigherOrderOperator) and target.__name__ in _RUNS_INSIDE:
            place = next(i for i, arg in enumerate(args) if isinstance(arg, GraphModule))
            return self._inside(args[place], args[place + 1 :])
        if target is operator.getitem and isinstance(args[0], tuple | list):
            return args[0][args[1]]
        return super().call_function(target, args, kwargs)

    def _inside(self, module: GraphModule, args: Args) -> object:
        names = (str(node.target) for node in module.graph.nodes if node.op == "placeholder")
        return _Walk(self._tracer, module, dict(zip(names, args, strict=True))).run()

    def output(self, target: Target, args: _Args, kwargs: _Kwargs) -> object:
        """What the model returns, in its own structure."""
        made = next(iter(reversed(self.graph.nodes)))
        result = super().output(target, args, kwargs)
        spec = made.meta.get(OUT_SPEC)
        return result if spec is None else pytree.tree_unflatten(list(result), spec)


def _stack(node: fx.Node) -> dict[str, tuple[str, Any]]:
    """The calls of modules that a node ran in: (path, class of the module) by a key of the call."""
    stack = node.meta.get("nn_module_stack") or {}
    return {key: (_path(path), kind) for key, (path, kind) in stack.items()}


def _path(path: str) -> str:
    """A module's path as `named_modules` has it; a second call of a module is marked by a number."""
    return _CALL_NUMBER.sub("", path.removeprefix("L['self']").lstrip("."))


def _class(name: str) -> Any:
    """The class of this full name, where its module is loaded: nothing is imported for it."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:count]))
        if found is not None:
            for part in parts[count:]:
                found = getattr(found, part, None)
            return found
    return None


def _owned(graph: fx.Graph, is_operator: Callable[[object], bool]) -> dict[fx.Node, str]:
    """The nodes that are all that a module returns, where an operator describes it -> that module's path.

    What leaves such a module is its output; where two nodes leave it, neither is.
    """
    leaving: dict[str, list[tuple[fx.Node, str]]] = {}
    for node in graph.nodes:
        if node.op in ("call_function", "call_method") and not _is_item(node):
            for key, (path, kind) in _stack(node).items():
                if is_operator(kind):
                    if _leaves(node, key):
                        leaving.setdefault(key, []).append((node, path))
                    break
    return {nodes[0][0]: nodes[0][1] for nodes in leaving.values() if len(nodes) == 1}


def _leaves(node: fx.Node, key: str) -> bool:
    """True where a node's value, or one of its outputs, is used outside a call of a module."""
    return any(
        key not in _stack(user) or (_is_item(user) and _leaves(user, key)) for user in node.users
    )


def _is_item(node: fx.Node) -> bool:
    """One output of an overload with several; ATen picks parts of a tensor by other means."""
    made = node.args[0] if node.args else None
    return (
        node.target is operator.getitem
        and isinstance(made, fx.Node)
        and isinstance(made.target, OpOverload)
    )
