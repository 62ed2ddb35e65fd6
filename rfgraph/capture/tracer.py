"""The tracer: runs a forward on stand-ins and writes down a `torch.fx` graph, and its canonical nodes.

In: a module, its input tensors (meta), a vocabulary. Out: a `Graph`.

A stand-in is a meta tensor: its type, sizes, strides and dtype are those of the model's own tensor, and torch
itself says which share memory. Functions and modules come by (`interception`); what is computed out of sight,
in compiled code, gives tensors that the tracer does not know, and is refused where they are used.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload, OpOverloadPacket
from torch.fx.node import Target
from torch.overrides import is_tensor_method_or_property

from rfgraph.capture import aten, flex, made, packed, recurrent
from rfgraph.capture.arguments import Arguments
from rfgraph.capture.assertions import passing
from rfgraph.capture.inputs import identifiers
from rfgraph.capture.interception import functions, intercepted, passed_by
from rfgraph.capture.laid import laid_out, reshaped
from rfgraph.capture.lowering import Result
from rfgraph.capture.memory import Traced, is_same, storage_of
from rfgraph.capture.outputs import leaves, structure
from rfgraph.capture.recorder import Recorder
from rfgraph.capture.shapes import called, like
from rfgraph.capture.standing import computes_zeros
from rfgraph.capture.tensors import (
    METADATA,
    OPERATORS,
    QUESTIONS,
    RESHAPES,
    RESIZES,
    SETTABLE,
    SHOWN,
    SIZES,
    TURNED,
    VALUE_READERS,
    needs_values,
    on_device,
)
from rfgraph.capture.transforms import check_transformed
from rfgraph.errors import CaptureError
from rfgraph.graph import Graph
from rfgraph.graph.calls import (
    PLAIN,
    Args,
    Kwargs,
    assigned,
    is_inplace,
    name_of,
    outputs_of,
    qualified,
    written_first,
)
from rfgraph.graph.guard import begin
from rfgraph.graph.wrapped import is_transforming

_untouched = torch._C.DisableTorchFunction
"""Within it, torch functions are called as if nobody looked."""
_SPELLED = {**made.SPELLED, **packed.SPELLED, **recurrent.SPELLED, **flex.SPELLED}
"""Functions that are several operators, by their names."""

_is_method = lru_cache(maxsize=1024)(is_tensor_method_or_property)
"""Is a function a method of tensors? torch sets up a filter of warnings each time that it is asked."""


class Tracer(Recorder):
    """One capture of one model: its forward runs, and what it calls is recorded."""

    def run(
        self,
        model: nn.Module,
        modules: Mapping[str, nn.Module],
        inputs: Arguments,
        all_modules: bool = False,
    ) -> Graph:
        """Trace the model's forward, called with these arguments; `modules`: those of its tree, by path.

        Raises:
            OutsideTheTree: it calls a module that is not the model's, and `all_modules` was not said.
        """
        self.root = model
        self._paths = {id(module): path for path, module in modules.items()}
        self._constants.own(modules)
        self._modules = [("", model, {"": ("", type(model))})]
        names = identifiers(inputs.leaves)
        with _untouched():
            tensors = {
                name: self._input(name, names[name], meta) for name, meta in inputs.leaves.items()
            }
        args, kwargs = inputs.filled(tensors)
        with intercepted(self, None if all_modules else modules.values()):
            self._began = begin(modules.values(), everywhere=all_modules)
            result = self.result_of(model, args, kwargs)
        return self._finish(result)

    def result_of(self, model: nn.Module, args: Args, kwargs: Kwargs) -> object:
        """What the model returns on these arguments, in which stand-ins are the tensors."""
        return model(*args, **kwargs)

    # --- modules --------------------------------------------------------------------------------

    def module(
        self, module: nn.Module, original: Callable[..., object], args: Args, kwargs: Kwargs
    ) -> object:
        """A module is one node where an operator describes it; else its forward runs, on stand-ins."""
        path = self._paths.get(id(module))
        if path is None:  # a module held outside the module tree
            path = f"{self._modules[-1][0]}.{type(module).__name__}".lstrip(".")
        self._modules.append((path, module, {**self._modules[-1][2], path: (path, type(module))}))
        try:
            if self._first_of(args, kwargs) is None:
                return original(module, *args, **kwargs)
            known = self._lowering.of_module(module)
            if known is None or self._is_other(module):
                if recurrent.is_of_weights(module):
                    raise recurrent.refusal(module, self.at_source())
                if self._can_leave and path:
                    return self._followed_or_left(module, original, args, kwargs)
                return original(module, *args, **kwargs)
            if isinstance(module, nn.RNNBase) and packed.is_given(args, kwargs):
                return packed.layer(module, *args, **kwargs)  # type: ignore[arg-type]
            return self._record("call_module", module, args, kwargs, known=known)
        finally:
            self._modules.pop()

    def _is_other(self, module: nn.Module) -> bool:
        """True where a module may compute something else than its class and attributes say later on.

        Its hooks may change that; so does a forward that has written into its tensors, or set an attribute.
        """
        if module._forward_hooks or module._forward_pre_hooks:
            return True
        is_written = self._constants.is_written(module)
        return is_written or self._began.is_changed(module) or computes_zeros(module)

    def _followed_or_left(
        self, module: nn.Module, original: Callable[..., object], args: Args, kwargs: Kwargs
    ) -> object:
        """A module's result; one that cannot be followed is one unknown node, if it can be run."""
        rewind = self.mark()
        try:
            return original(module, *args, **kwargs)
        except CaptureError as error:
            rewind()
            try:
                with passed_by():
                    metas = self._shapes.tried(module, args, kwargs)
            except Exception:
                raise error from None
        return self._record("call_module", module, args, kwargs, metas)

    # --- functions ------------------------------------------------------------------------------

    def function(self, function: Callable[..., object], args: Args, kwargs: Kwargs) -> object:
        """A torch function, a tensor's method or attribute, was called."""
        if is_transforming():
            check_transformed(args, kwargs, self._traced, self.at_source)
            return function(*args, **kwargs)
        name = function.__name__
        if name == "__get__":
            return self._attribute(function, args[0])
        if name == "__set__":
            self._set(function, args)
            return None
        found = self._first_of(args, kwargs)
        if found is None:
            if is_inplace(name.partition(".")[0]) or "out" in kwargs:  # overloads: `mul_.Tensor`
                self._constants.written((args, kwargs))
            return self._constants.called(function, args, kwargs)
        if name in QUESTIONS:
            return self._answer(name, found, function, args, kwargs)
        if isinstance(function, OpOverload):
            return self._overload(function, args, kwargs)
        is_method = hasattr(function, "__objclass__") or _is_method(function)
        spelled = (made.METHODS if is_method else _SPELLED).get(name)
        if spelled is not None and (is_method or self._is_own(function)):
            with functions(self):
                return spelled(*args, **kwargs)
        return self.call(name if is_method else function, args, kwargs)

    def _is_own(self, function: object) -> bool:
        """Is a function torch's own, which nobody has taught? Another library's may have its name."""
        taught = self._vocabulary.functions
        return function not in taught and not isinstance(function, OpOverloadPacket)

    def _answer(
        self, name: str, found: Traced, function: Callable[..., object], args: Args, kwargs: Kwargs
    ) -> object:
        """What a stand-in says of itself, where it is asked what it is, or what it holds."""
        if name in METADATA:
            if name in SIZES:
                self._ask(found, name, args, kwargs)
            with _untouched():
                return function(*args, **kwargs)
        if name in VALUE_READERS:
            truth = passing() if name == "__bool__" and found.tensor.numel() == 1 else None
            if truth is None:
                raise needs_values(self._name(found), name, self.at_source())
            self.assumed[f"taken to hold: an assertion about values{self.at_source()}"] = None
            return truth
        if name == "get_device":
            return -1 if found.device.index is None else found.device.index
        if name in SHOWN:
            return f"<{self._name(found)}: {tuple(found.tensor.shape)}>"
        if name == "__iter__":
            return iter(self.call("unbind", (args[0], 0), {}))
        return self.call("clone", (args[0],), {})

    def _overload(self, overload: OpOverload, args: Args, kwargs: Kwargs) -> object:
        """An overload is called by its public name, unless a rule was taught for it."""
        is_taught = qualified(overload) in self._vocabulary.functions
        spelled = None if is_taught else aten.public(overload)
        if spelled is None:
            return self.call(overload.overloadpacket, args, kwargs)
        args, kwargs = aten.in_order(overload, args, kwargs)
        with functions(self):
            return spelled(*args, **kwargs)

    def _attribute(self, getter: Any, tensor: Any) -> object:
        """`x.shape`: what the stand-in itself knows; `x.T`: an operator."""
        traced = self.find(tensor)
        name = getter.__self__.__name__
        if traced is None:
            is_value = name in TURNED or name in OPERATORS or name == "data"
            return self._constants.called(getter, (tensor,), {}) if is_value else getter(tensor)
        if name in TURNED:
            method, arguments = TURNED[name]
            made = self.call(method, (tensor, *arguments), {})
            return self.call("conj", (made,), {}) if name == "mH" and made.is_complex() else made
        if name in OPERATORS:
            return self._record("call_function", getattr, (tensor, name), {})
        told = on_device(name, traced.device)
        if told is not None:
            return told
        if name in SIZES:
            self.asked.add((traced.node, None))
        with _untouched():
            return getter(traced.tensor)

    def _ask(self, traced: Traced, name: str, args: Args, kwargs: Kwargs) -> None:
        """The model asks for sizes: for one, `x.size(2)`, `len(x)`, or for all."""
        with _untouched():
            rank = traced.tensor.dim()
        dim = 0 if name == "__len__" else kwargs.get("dim", args[1] if len(args) > 1 else None)
        if not isinstance(dim, int) or not rank or name not in ("size", "__len__"):
            self.asked.add((traced.node, None))
        else:
            self.asked.add((traced.node, dim % rank))

    def _set(self, setter: Any, args: Args) -> None:
        if self._first(args) is None:
            self._constants.written(args[:1])
            self._constants.called(setter, args, {})
            return
        name = setter.__self__.__name__
        if name not in SETTABLE:
            raise CaptureError(
                f"sets .{name} of a tensor{self.at_source()}, which cannot be followed; write into it with "
                "copy_, or use the new tensor"
            )
        with _untouched():
            setter(*args)

    def call(self, target: Target, args: Args, kwargs: Kwargs) -> Result:
        """A function, or the tensor method called `target`, is called on stand-ins."""
        if kwargs.get("out") is not None:
            return self._into(target, args, kwargs)
        if target == "__setitem__" or target is operator.setitem:
            if not self._is_there(*args):
                self._write(
                    args[0], self._record("call_function", assigned, self._own(args), kwargs)
                )
            return None
        name = name_of(target)
        if is_inplace(name):
            args, kwargs = written_first(args, kwargs)
            args = self._own(args)
            if name in RESIZES:
                raise self.resized(args[0])
            if name in RESHAPES:
                return reshaped(self, name, args, kwargs, self.call)
            self._check_overlap(args[0])
        if name == "as_strided":
            return laid_out(self, *args, **kwargs)
        kind = "call_method" if isinstance(target, str) else "call_function"
        return self._record(kind, target, args, kwargs)

    def _is_there(self, tensor: object, index: object, value: object) -> bool:
        """`x[i] += y` ends by writing the part into its own place, where `+=` has written it before."""
        whole, part = self.find(tensor), self.find(value)
        if whole is None or part is None or whole.memory is not part.memory:
            return False
        with passed_by(), _untouched():
            try:
                place = whole.tensor[self._shapes.to_meta(index)]
            except Exception:  # said better where it is recorded
                return False
            return is_same(place, part.tensor) and storage_of(place) == storage_of(part.tensor)

    def _first_of(self, args: Args, kwargs: Kwargs) -> Traced | None:
        """The first tensor of the graph in the arguments of a call: most often the first argument."""
        first = self._traced.get(id(args[0])) if args else None
        if first is not None:
            return first
        return self._first(args) or (self._first(kwargs) if kwargs else None)

    def _first(self, value: Any) -> Traced | None:
        """The first tensor of the graph in nested tuples, lists, dicts and slices."""
        if type(value) in PLAIN:
            return None
        if isinstance(value, tuple | list):
            for entry in value:
                found = self._first(entry)
                if found is not None:
                    return found
            return None
        if isinstance(value, dict):
            return self._first(tuple(value.values())) if value else None
        if type(value) is slice:
            return self._first((value.start, value.stop, value.step))
        return self.find(value)

    def _own(self, args: Args) -> Args:
        """The arguments of a write; a tensor of the model that is written into is traced from now on."""
        if isinstance(args[0], torch.Tensor) and self.find(args[0]) is None:
            self._constants.promote(args[0])
        return args

    def _into(self, target: Target, args: Args, kwargs: Kwargs) -> object:
        """A call with `out=`: the same without, then a copy of the result."""
        rest = {name: value for name, value in kwargs.items() if name != "out"}
        if self._first_of(args, rest) is None:
            result = called(target, args, rest)
        else:
            result = self.call(target, args, rest)
        outs, results = outputs_of(kwargs["out"]), outputs_of(result)
        for out, new in zip(outs, results, strict=True):
            if tuple(out.shape) != tuple(new.shape):
                raise self.resized(out)
            self.call("copy_", (out, new), {})
        return kwargs["out"]

    # --- nodes ----------------------------------------------------------------------------------

    def _input(self, name: str, identifier: str, meta: torch.Tensor) -> torch.Tensor:
        node = self.graph.placeholder(identifier)
        node.meta["val"] = stand_in = like(meta)
        node.meta["nn_module_stack"] = {}
        canonical = self._lowering.input(node, name, meta.is_floating_point())
        self._nodes[canonical.name] = canonical
        return self.hold(Traced(stand_in, node, self._constants.device))

    def _check_overlap(self, tensor: object) -> None:
        traced = self.find(tensor)
        with _untouched():
            if traced is not None and torch._debug_has_internal_overlap(traced.tensor) == 1:
                raise CaptureError(
                    f"{self._name(traced)!r} is written{self.at_source()} where several of its elements are "
                    "one in memory, which torch refuses; clone() it first"
                )

    # --- results --------------------------------------------------------------------------------

    def _finish(self, result: object) -> Graph:
        """The graph: every node but the unread outputs of operators with several."""
        graph = Graph(self.graph)
        found = [(path, self.find(tensor)) for path, tensor in leaves(result)]
        with _untouched():
            kept = [(path, self.arg(traced.tensor)) for path, traced in found if traced is not None]
        self.graph.output(structure(result, self.graph, self.arg))
        names = self._lowering.names
        graph.outputs = {path: names[node] for path, node in kept}
        read = {*graph.outputs.values()}
        read.update(*[node.operands for node in self._nodes.values()])
        graph.add(*[n for n in self._nodes.values() if n.output == 0 or n.name in read])
        graph.names = {value: name for value, name in names.items() if name in graph}
        graph.attributes = self._constants.values
        graph.note = "; ".join(self.assumed)
        graph.asked = frozenset((names.get(node, ""), dim) for node, dim in self.asked)
        return graph
