"""The tracer: runs a model's forward on proxies and writes down a `Graph`.

In: a module, its input tensors (meta), a vocabulary. Out: a `Graph` of canonical operators. Callers:
`capture.capture`. A node is named, bound and shaped once, here, and nowhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload, OpOverloadPacket

from rfgraph import guard
from rfgraph.capture.calls import as_call, bound, has_tensor, name_of, qualified
from rfgraph.capture.inputs import leading
from rfgraph.capture.proxy import DataDependentError, TensorProxy, first_proxy
from rfgraph.capture.shapes import Meta, Shapes
from rfgraph.errors import CaptureError, RfgraphError
from rfgraph.graph import Call, Graph, Node
from rfgraph.operators import Masks, Operator, Vocabulary, module_params

_BINARY = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "div": "div",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
_UNARY = ("neg", "pos", "abs", "invert", "eq", "ne", "lt", "le", "gt", "ge")
_METHODS = {
    **{f"__{prefix}{name}__": op for name, op in _BINARY.items() for prefix in ("", "r", "i")},
    **{f"__{name}__": name for name in _UNARY},
    "__invert__": "bitwise_not",
    "__pos__": "positive",
}
"""Python's operators, by the tensor method they call."""
_REVERSED = frozenset(f"__r{name}__" for name in _BINARY)
_INPLACE = frozenset((*(f"__i{name}__" for name in _BINARY), "__setitem__"))
_LIBRARIES = (
    *(os.path.dirname(os.path.abspath(path)) + os.sep for path in (torch.__file__, __file__)),
    os.path.abspath(guard.__file__),
)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What the nodes of one call have in common."""

    op: str
    params: Mapping[str, Any]
    operands: list[TensorProxy]
    call: Call
    known: bool = True
    masks: Masks | None = None


class Tracer:
    """One capture of one model."""

    def __init__(self, model: nn.Module, vocabulary: Vocabulary, leaves: bool = False) -> None:
        parameter = next(model.parameters(), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.nodes: dict[str, Node] = {}
        self._model = model
        self._vocabulary = vocabulary
        self._leaves = leaves
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
        first = list(leading(self._model, proxies))
        named = {name: proxy for name, proxy in proxies.items() if name not in first}
        with self._module_calls():
            result = self._model(*(proxies[name] for name in first), **named)
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
            if first_proxy((args, kwargs)) is None:
                return original(module, *args, **kwargs)
            if found is None:
                run = self._followed_or_leaf if self._leaves and path else _followed
                return run(module, original, args, kwargs)
            known, signature = found
            given = signature.bind(args, kwargs)
            params = {**given, **module_params(known, module), **given}  # arguments come first
            return self._record(known, params, module, args, kwargs)
        finally:
            self._modules.pop()

    def _followed_or_leaf(
        self,
        module: nn.Module,
        original: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """A module's result; one that cannot be followed is one unknown node, if it can be run."""
        nodes, repeats = dict(self.nodes), dict(self._repeats)
        try:
            return original(module, *args, **kwargs)
        except CaptureError as error:
            self.nodes, self._repeats = nodes, repeats
            try:
                metas = self._shapes.tried(module, args, kwargs)
            except Exception:
                raise error from None
        operands: list[TensorProxy] = []
        params = {"args": bound(args, operands), "problem": ""}
        params.update((name, bound(value, operands)) for name, value in kwargs.items())
        called = as_call(module, args, kwargs)
        return self._proxies(_Draft(type(module).__name__, params, operands, called, False), metas)

    def call(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A function, or the tensor method called `target`, was called on proxies."""
        is_method = isinstance(target, str)
        table = self._vocabulary.methods if is_method else self._vocabulary.functions
        name = target if is_method else getattr(target, "__name__", "")
        inplace = _is_inplace(name)
        found = table.get(target)
        if found is None and isinstance(target, OpOverload | OpOverloadPacket):
            found = self._vocabulary.of_library(qualified(target))
        if found is None and is_method:
            found = table.get(_METHODS.get(target, target.rstrip("_") if inplace else ""))
        if inplace and type(args[0]) is not TensorProxy:
            raise CaptureError(
                f"a traced tensor is written into a tensor that does not depend on the input"
                f"{self.at_source()}, which cannot be followed; make that tensor with x.new_zeros, "
                "torch.zeros_like or the like, or join the parts with torch.cat"
            )
        if found is None:
            return self._unknown(target, args, kwargs, inplace)
        known, signature = found
        try:
            in_order = args[::-1] if is_method and name in _REVERSED else args
            params = signature.bind(in_order, kwargs)
        except TypeError as error:
            return self._unknown(target, args, kwargs, inplace, f"{known.name} {error}")
        result = self._record(known, params, target, args, kwargs)
        return self._written(args[0], result) if inplace else result

    # --- nodes ----------------------------------------------------------------------------------

    def _input(self, name: str, meta: torch.Tensor) -> TensorProxy:
        unique, shape = self._unique(name), tuple(meta.shape)
        params = {"is_float": meta.is_floating_point()}
        self.nodes[unique] = Node(unique, "input", shape=shape, params=params)
        return TensorProxy.make(unique, shape, meta.dtype, self)

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
        params = {name: bound(value, operands) for name, value in params.items()}
        if not operands:
            return target(*args, **kwargs)
        try:
            if known.normalize is not None:
                params = known.normalize(params, [operand.sizes for operand in operands])
            metas = self._shapes.of(known, params, operands, target, args, kwargs)
        except RfgraphError:
            raise
        except Exception as error:
            raise self._rejected(known.name, operands, error) from error
        called = as_call(target, args, kwargs)
        draft = _Draft(known.name, params, operands, called, masks=known.masks)
        result = self._proxies(draft, metas)
        return self._written(operands[0], result) if params.get("inplace") is True else result

    def _proxies(self, draft: _Draft, metas: Any) -> Any:
        """Proxies in the structure of `metas`: a tensor, or (named) tuples and lists of tensors."""
        outputs = count()

        def made(meta: Any) -> Any:
            if not isinstance(meta, tuple | list):
                return self._proxy(draft, meta, next(outputs))
            proxies = map(made, meta)
            return type(meta)(*proxies) if hasattr(meta, "_fields") else type(meta)(proxies)

        return made(metas)

    def _proxy(self, draft: _Draft, meta: Any, output: int) -> Any:
        if not isinstance(meta, Meta | torch.Tensor):
            return meta
        path, module = self._modules[-1]
        own_name = isinstance(draft.call.target, nn.Module) and path
        name = self._unique(path if own_name else f"{path}.{draft.op}".lstrip("."))
        shape = tuple(meta.shape)
        masked = None if draft.masks is None else draft.masks(dict(draft.params), shape)
        self.nodes[name] = Node(
            name,
            draft.op,
            tuple(operand.name_of_node for operand in draft.operands),
            draft.params,
            shape,
            tuple(operand.sizes for operand in draft.operands),
            output,
            type(module).__name__,
            _source(),
            draft.known,
            draft.call,
            masked,
        )
        return TensorProxy.make(name, shape, meta.dtype, self, masked)

    def _unknown(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inplace: bool,
        problem: str = "",
    ) -> Any:
        """A call that no operator describes: answer it, or write it down as unknown."""
        metas = self._answer(target, args, kwargs)
        if inplace and metas is None:  # __setitem__ returns nothing, but leaves a new tensor behind
            metas = Meta(args[0].sizes, args[0].dtype)
        if not has_tensor(metas):
            return metas  # a question about sizes or dtypes, not an operator
        operands: list[TensorProxy] = []
        params = {"args": bound(args, operands), "problem": problem}
        params.update((name, bound(value, operands)) for name, value in kwargs.items())
        call = as_call(target, args, kwargs)
        result = self._proxies(_Draft(name_of(target), params, operands, call, known=False), metas)
        return self._written(args[0], result) if inplace else result

    def _answer(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What torch says of a call that no operator describes; where it cannot, what a trial shows."""
        try:
            return self._shapes.run(target, args, kwargs, self._complain(target))
        except CaptureError as error:
            if not self._leaves:
                raise
            try:
                return self._shapes.tried(target, args, kwargs)
            except Exception:
                raise error from None

    def _written(self, proxy: Any, result: Any) -> Any:
        """An in-place call: every reference to the tensor it wrote now means the result."""
        if type(proxy) is not TensorProxy or not isinstance(result, TensorProxy):
            return result
        if proxy.sizes != result.sizes:
            raise CaptureError(
                f"{proxy.name_of_node!r} changes its shape in place{self.at_source()}, which cannot "
                "be followed; use the operator that returns a new tensor"
            )
        proxy.name_of_node, proxy.masked = result.name_of_node, result.masked
        return proxy

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
        return lambda error: self._rejected(name_of(target), [], error)

    def _rejected(self, op: str, operands: list[TensorProxy], error: Exception) -> CaptureError:
        shapes = " and ".join(str(operand.sizes) for operand in operands)
        on = f" on a tensor of shape {shapes}" if shapes else ""
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if "nonzero" in text or isinstance(error, NotImplementedError):
            return DataDependentError(
                f"the shape of what {op} returns depends on the data{self.at_source()}"
            )
        return CaptureError(f"{op} failed{on}{self.at_source()}: {text}")


def _followed(
    module: nn.Module, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    return original(module, *args, **kwargs)


def _outputs(result: Any, path: str = "") -> list[tuple[str, str]]:
    """(key, node) of every tensor in what the model returned; the key is its path in the structure."""
    if type(result) is TensorProxy:
        return [(path or "output", result.name_of_node)]
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


def _is_inplace(name: str) -> bool:
    return (name.endswith("_") and not name.startswith("__")) or name in _INPLACE


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
