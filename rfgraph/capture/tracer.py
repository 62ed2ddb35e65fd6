"""The tracer: runs a model's forward on proxies and writes down a `Graph`.

In: a module, its input tensors (meta), a vocabulary. Out: a `Graph` of canonical operators. Callers:
`capture.capture`. torch.fx's `Proxy` supplies the interception of functions, methods and operators;
the nodes are ours, because a node is named, bound and shaped once, here, and nowhere else.
"""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rfgraph.capture.proxy import TensorProxy, first_proxy
from rfgraph.capture.shapes import Shapes
from rfgraph.errors import CaptureError, RfgraphError
from rfgraph.graph import Graph, Node, Operand
from rfgraph.operators import Operator, Signature, Vocabulary, module_params

_INPLACE = frozenset(
    getattr(operator, n) for n in dir(operator) if n[0] == "i" and hasattr(operator, f"__{n}__")
)
_LIBRARIES = tuple(
    os.path.dirname(os.path.abspath(path)) + os.sep for path in (torch.__file__, __file__)
)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What the nodes of one call have in common."""

    op: str
    params: Mapping[str, Any]
    operands: list[TensorProxy]
    is_module: bool
    known: bool = True


class Tracer:
    """One capture of one model."""

    def __init__(self, model: nn.Module, vocabulary: Vocabulary) -> None:
        parameter = next(model.parameters(), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.nodes: dict[str, Node] = {}
        self._model = model
        self._vocabulary = vocabulary
        self._shapes = Shapes()
        self._modules: list[tuple[str, nn.Module]] = [("", model)]
        self._paths: dict[int, str] = {}
        self._repeats: dict[str, int] = {}

    # --- interception ---------------------------------------------------------------------------

    def run(self, inputs: Mapping[str, torch.Tensor]) -> Graph:
        """Trace `model(**inputs)`; the inputs are meta tensors."""
        for path, module in self._model.named_modules():
            self._paths[id(module)] = path
        proxies = {name: self._input(name, meta) for name, meta in inputs.items()}
        with self._module_calls():
            result = self._model(**proxies)
        return self._finish(result)

    @contextmanager
    def _module_calls(self) -> Iterator[None]:
        """Let every call of a module come by `call_module`."""
        original = nn.Module.__call__
        tracer = self

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return tracer.call_module(module, original, args, kwargs)

        nn.Module.__call__ = call  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]

    def call_module(
        self,
        module: nn.Module,
        original: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """A module is one node where an operator describes it; else its forward runs, on proxies."""
        path = self._paths.get(id(module))
        if path is None:  # a module held outside the module tree
            path = f"{self._modules[-1][0]}.{type(module).__name__}".lstrip(".")
        self._modules.append((path, module))
        try:
            found = None if _hooked(module) else self._vocabulary.of_module(module)
            if found is None or first_proxy((args, kwargs)) is None:
                return original(module, *args, **kwargs)
            known, signature = found
            params = {**module_params(known, module), **signature.bind(args, kwargs)}
            return self._record(known, params, module, args, kwargs)
        finally:
            self._modules.pop()

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """A function, operator or tensor method was called on proxies (`kind` is fx's word for which)."""
        table: Mapping[Any, tuple[Operator, Signature]]
        methods = kind == "call_method"
        table = self._vocabulary.methods if methods else self._vocabulary.functions
        found = table.get(target)
        inplace = (methods and _is_inplace(target)) or target in _INPLACE
        if found is None and inplace:
            found = self._vocabulary.methods.get(target.rstrip("_")) if methods else None
        if found is None:
            return self._unknown(target, args, kwargs, inplace)
        known, signature = found
        try:
            params = signature.bind(args, kwargs)
        except TypeError as error:
            return self._unknown(target, args, kwargs, inplace, f"{known.name} {error}")
        result = self._record(known, params, target, args, kwargs)
        return self._written(args[0], result) if inplace else result

    # --- nodes ----------------------------------------------------------------------------------

    def _input(self, name: str, meta: torch.Tensor) -> TensorProxy:
        unique = self._unique(name)
        self.nodes[unique] = Node(
            unique, "input", shape=tuple(meta.shape), params={"is_float": meta.is_floating_point()}
        )
        return TensorProxy(unique, meta, self)

    def _record(
        self,
        known: Operator,
        params: dict[str, Any],
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Write one call down as one node per tensor that it returns; give proxies back."""
        operands: list[TensorProxy] = []
        params = {name: _bound(value, operands) for name, value in params.items()}
        if not operands:
            return target(*args, **kwargs)
        try:
            if known.normalize is not None:
                params = known.normalize(params, [tuple(p.meta.shape) for p in operands])
            metas = self._shapes.of(known, params, operands, target, args, kwargs)
        except RfgraphError:
            raise
        except Exception as error:
            raise self._rejected(known.name, operands, error) from error
        draft = _Draft(known.name, params, operands, isinstance(target, nn.Module))
        result = self._proxies(draft, metas)
        return self._written(operands[0], result) if params.get("inplace") is True else result

    def _proxies(self, draft: _Draft, metas: Any) -> Any:
        """Proxies in the structure of `metas`: a tensor, or a (named) tuple or list of tensors."""
        if not isinstance(metas, tuple | list):
            return self._proxy(draft, metas, 0)
        proxies = [self._proxy(draft, meta, output) for output, meta in enumerate(metas)]
        named = hasattr(metas, "_fields")
        return type(metas)(*proxies) if named else type(metas)(proxies)

    def _proxy(self, draft: _Draft, meta: Any, output: int) -> Any:
        if not isinstance(meta, torch.Tensor):
            return meta
        path, module = self._modules[-1]
        own_name = draft.is_module and path
        name = self._unique(path if own_name else f"{path}.{draft.op}".lstrip("."))
        self.nodes[name] = Node(
            name,
            draft.op,
            tuple(operand.node for operand in draft.operands),
            draft.params,
            tuple(meta.shape),
            tuple(tuple(operand.meta.shape) for operand in draft.operands),
            output,
            type(module).__name__,
            _source(),
            draft.known,
        )
        return TensorProxy(name, meta, self)

    def _unknown(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inplace: bool,
        problem: str = "",
    ) -> Any:
        """A call that no operator describes: answer it, or write it down as unknown."""
        metas = self._shapes.run(target, args, kwargs, self._complain(target))
        if not _has_tensor(metas):
            return metas  # a question about sizes or dtypes, not an operator
        operands: list[TensorProxy] = []
        params = {"args": _bound(args, operands), "problem": problem}
        params.update((name, _bound(value, operands)) for name, value in kwargs.items())
        result = self._proxies(_Draft(_name(target), params, operands, False, known=False), metas)
        return self._written(args[0], result) if inplace else result

    def _written(self, proxy: Any, result: Any) -> Any:
        """An in-place call: every reference to the tensor it wrote now means the result."""
        if isinstance(result, TensorProxy) and type(proxy) is TensorProxy:
            proxy.node, proxy.meta = result.node, result.meta
            return proxy
        return result

    def _finish(self, result: Any) -> Graph:
        """The graph: every node but the unread outputs of operators with several."""
        graph = Graph()
        graph.outputs = dict(_outputs(result))
        read = {name for node in self.nodes.values() for name in node.operands}
        read.update(graph.outputs.values())
        for node in self.nodes.values():
            if node.output == 0 or node.name in read:
                graph.add(node)
        return graph

    def _unique(self, name: str) -> str:
        """`name`, `name_1`, `name_2`: in the order of the calls."""
        count = self._repeats.get(name, 0)
        self._repeats[name] = count + 1
        unique = f"{name}_{count}" if count else name
        return self._unique(name) if unique in self.nodes else unique

    # --- messages -------------------------------------------------------------------------------

    def at_source(self) -> str:
        """`, at model.py:12` for the line of the model's code that runs now, or nothing."""
        source = _source()
        path = self._modules[-1][0]
        return (f", in {path!r}" if path else "") + (f", at {source}" if source else "")

    def _complain(self, target: Any) -> Callable[[Exception], CaptureError]:
        return lambda error: self._rejected(_name(target), [], error)

    def _rejected(self, op: str, operands: list[TensorProxy], error: Exception) -> CaptureError:
        shapes = " and ".join(str(tuple(p.meta.shape)) for p in operands)
        on = f" on a tensor of shape {shapes}" if shapes else ""
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return CaptureError(f"{op} failed{on}{self.at_source()}: {text}")


def _bound(value: Any, operands: list[TensorProxy]) -> Any:
    """`value` with each proxy replaced by an `Operand`, and appended to `operands`."""
    if type(value) is TensorProxy:
        operands.append(value)
        return Operand(len(operands) - 1, tuple(value.meta.shape))
    if type(value) in (tuple, list):
        return tuple(_bound(entry, operands) for entry in value)
    if type(value) is slice:
        return slice(*(_bound(end, operands) for end in (value.start, value.stop, value.step)))
    return value


def _name(target: Any) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _has_tensor(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_has_tensor, value))
    return isinstance(value, torch.Tensor)


def _outputs(result: Any, path: str = "") -> list[tuple[str, str]]:
    """(key, node) of every tensor in what the model returned; the key is its path in the structure."""
    if type(result) is TensorProxy:
        return [(path or "output", result.node)]
    if isinstance(result, Mapping):
        entries = [(str(key), value) for key, value in result.items()]
    elif hasattr(result, "_fields"):
        entries = list(zip(result._fields, result, strict=True))
    elif isinstance(result, tuple | list):
        entries = [(str(i), value) for i, value in enumerate(result)]
    elif hasattr(result, "__dataclass_fields__"):
        entries = list(vars(result).items())
    else:
        return []
    inside = (_outputs(value, f"{path}.{key}".lstrip(".")) for key, value in entries)
    return [pair for pairs in inside for pair in pairs]


def _hooked(module: nn.Module) -> bool:
    """Hooks may change what a module computes: look inside instead of trusting its class."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _is_inplace(method: str) -> bool:
    return (method.endswith("_") and not method.startswith("__")) or method == "__setitem__"


def _source() -> str:
    """`file:line` of the innermost frame outside torch and rfgraph."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_LIBRARIES) and name[0] != "<":
            return f"{os.path.basename(name)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def source_of(error: BaseException) -> str:
    """`file:line` of the innermost frame of the model's own code that `error` passed through."""
    found, traceback = "", error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith(_LIBRARIES) and name[0] != "<":
            found = f"{os.path.basename(name)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found
