"""The recorder: writes calls down as nodes of a `torch.fx` graph, and as canonical nodes.

In: calls on stand-ins. Out: nodes, and stand-ins for what the calls return. What the model's code asks for
comes by the tracer, which is one.
"""

import operator
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch.fx.node import Target, map_aggregate

from rfgraph.capture import memory
from rfgraph.capture.constants import Constants
from rfgraph.capture.formulas import ASKED, SAME, formula, hold, writes
from rfgraph.capture.interception import passed_by
from rfgraph.capture.known import Call
from rfgraph.capture.lowering import Bound, Found, Lowering, Result, is_settled
from rfgraph.capture.memory import Step, Traced, is_same, storage_of
from rfgraph.capture.shapes import Shapes, called, like, tensors_in
from rfgraph.capture.source import source
from rfgraph.capture.standing import Standing
from rfgraph.capture.tensors import in_place, rejection
from rfgraph.errors import CaptureError, RfgraphError
from rfgraph.graph import Node
from rfgraph.graph.calls import PLAIN, Args, Kwargs, is_inplace, name_of, outputs_of, readable
from rfgraph.language.vocabulary import Vocabulary

_untouched = torch._C.DisableTorchFunction
"""Within it, torch functions are called as if nobody looked."""
_guarded = torch._C._EnableTorchFunction
"""Within it, the guard looks again: code of the model runs on real tensors."""
Stack: TypeAlias = Mapping[str, tuple[str, object]]
"""The modules that a call ran in, outermost first: path -> (path, class)."""
_set_args = fx.Node.args.__set__  # type: ignore[attr-defined]
"""`node.args = args`, past a look-up that `fx.Node` makes of every attribute that is set."""
_Again: TypeAlias = tuple[str, Target, tuple[Any, ...], Kwargs]
"""A call: its kind as an fx node, target, args and kwargs."""


class Recorder(fx.Tracer):
    """The graph of one capture, while it is written.

    Args:
        vocabulary: every spelling of every operator.
        can_leave: an operator that cannot be followed becomes an unknown node, if it can be run.
    """

    def __init__(self, vocabulary: Vocabulary, can_leave: bool = False) -> None:
        super().__init__()
        self.graph = fx.Graph(tracer_cls=fx.Tracer)
        self._vocabulary = vocabulary
        self._can_leave = can_leave
        self._traced: dict[int, Traced] = {}
        self._constants = Constants(self)
        self._lowering = Lowering(vocabulary, self._constants.values.__getitem__)
        self._shapes = Shapes(self.find)
        self._standing = Standing(self.find)
        self._nodes: dict[str, Node] = {}
        self._modules: list[tuple[str, nn.Module, Stack]] = []
        self._paths: dict[int, str] = {}
        self.asked: set[tuple[fx.Node, int | None]] = set()
        self.assumed: dict[str, None] = {}  # what the graph rests on, in order

    def mark(self) -> Callable[[], None]:
        """Where the graph stands: what it gives forgets all that is recorded from now on."""
        last, names = next(iter(reversed(self.graph.nodes)), None), self._lowering.mark()
        nodes, traced = dict(self._nodes), dict(self._traced)
        promoted = dict(self._constants.promoted)
        states = [(each, each.state()) for each in traced.values()]

        def rewind() -> None:
            self._lowering.rewind(names)
            self._nodes, self._constants.promoted = nodes, promoted
            self._traced.clear()
            self._traced.update(traced)
            for each, state in states:
                each.put_back(state)
            for node in reversed(list(self.graph.nodes)):
                if node is last:
                    break
                self._constants.forget(node)
                self.graph.erase_node(node)

        return rewind

    def hold(self, traced: Traced) -> torch.Tensor:
        """From now on, the traced tensor is known by its stand-in."""
        self._traced[id(traced.tensor)] = traced
        return traced.tensor

    def forget(self, tensor: torch.Tensor) -> Traced:
        """The traced tensor that was known by a stand-in, which nobody holds."""
        return self._traced.pop(id(tensor))

    def know(self, tensor: torch.Tensor, traced: Traced) -> None:
        """From now on, a tensor of the model means a traced one."""
        self._traced[id(tensor)] = traced

    def _record(
        self,
        kind: str,
        target: Target,
        args: Args,
        kwargs: Kwargs,
        metas: Result = None,
        known: Found | None = None,
    ) -> object:
        """Write one call down as an fx node, and a canonical node for each tensor that it returns."""
        with _untouched():
            node = self._node(kind, target, args, kwargs)
            bound = self._bound(node, known, args)
            if bound.operands and not is_settled(bound):
                return self._written_down(node, bound, (kind, target, args, kwargs), metas)
            self.graph.erase_node(node)
        return called(
            target, self._shapes.without_values(args), self._shapes.without_values(kwargs)
        )

    def _bound(self, node: fx.Node, known: Found | None, args: object) -> Bound:
        try:
            return self._lowering.bind(node, known)
        except RfgraphError:
            raise
        except Exception as error:
            raise self._rejected(node, args, error) from error

    def _written_down(self, node: fx.Node, bound: Bound, again: _Again, metas: Result) -> object:
        """The result of a call whose fx node is there: stand-ins, and their canonical nodes."""
        kind, target, args, kwargs = again
        inplace = kind != "call_module" and is_inplace(name_of(target))
        is_fresh = metas is not None
        if inplace or metas is None:
            metas, is_fresh = self._metas(node, bound, (target, args, kwargs), inplace)
        if type(metas) is not torch.Tensor and not tensors_in(metas):
            self.graph.erase_node(node)  # a question about sizes or dtypes, not an operator
            return metas
        viewed = [] if is_fresh else self._all((*args, kwargs) if kwargs else args)
        if type(metas) is torch.Tensor:
            result: object = self._output(node, bound, metas, node, 0, viewed, again)
        else:
            result = self._outputs(node, bound, metas, viewed, again)
        if inplace or writes(bound):
            return self._write(args[0] if args else next(iter(kwargs.values())), result)
        return result

    def _node(self, kind: str, target: Target, args: Args, kwargs: Kwargs) -> fx.Node:
        path, module, stack = self._modules[-1]
        named = target
        if kind == "call_module" and isinstance(target, nn.Module):
            named = self._constants.module(path, target)
        # This may record nodes of its own.
        given, named_given = self.arg(args), self.arg(kwargs) if kwargs else {}
        node = self.graph.create_node(kind, named, name=readable(named))
        _set_args(node, given)  # given here, they are not searched for symbolic sizes
        if kwargs:
            node.kwargs = named_given
        meta = node.meta
        meta["where"] = path, type(module).__name__
        meta["nn_module_stack"] = stack
        meta["source"] = source(own_frames=5)
        return node

    def _metas(self, node: fx.Node, bound: Bound, call: Call, inplace: bool) -> tuple[object, bool]:
        """Meta tensors for what the call returns; True where they share memory with nothing."""
        target, args, kwargs = call
        try:
            ask = partial(self._apart, target, args, kwargs)
            if inplace:
                own = like(self._traced[id(args[0])].tensor)
                hold(lambda *_: tuple(own.shape), own.dtype, target, bound, ask)
                return own, True
            metas = formula(node, bound, target, ask)
            if metas is not None:
                return metas, bound.op not in SAME
            if bound.op in ASKED and bound.known is not None:  # a view, which writes nothing
                return self._asked(target, args, kwargs, bound), False
            if writes(bound):  # on the stand-ins themselves it would write unseen
                return self._apart(target, args, kwargs), True
            before = [operand.meta["val"]._version for operand in bound.operands]
            metas = self._asked(target, args, kwargs, bound)
        except RfgraphError:
            raise
        except Exception as error:
            raise self._rejected(node, args, error) from error
        if before != [operand.meta["val"]._version for operand in bound.operands]:
            raise CaptureError(
                f"{bound.op} writes into its arguments{self.at_source()}, which cannot be followed"
            )
        return metas, False

    def _apart(self, target: Target, args: Args, kwargs: Kwargs) -> object:
        with passed_by():
            return self._shapes.apart(target, args, kwargs)

    def _asked(self, target: Target, args: Args, kwargs: Kwargs, bound: Bound) -> object:
        """What torch says of a call; where it cannot, of one without an operator, what a trial shows."""
        with passed_by():
            try:
                return self._shapes.run(target, args, kwargs, bound)
            except Exception as error:
                if not (self._can_leave and bound.known is None):
                    raise
                try:
                    with _guarded():
                        return self._shapes.tried(target, args, kwargs)
                except Exception:
                    raise error from None

    def _outputs(
        self, call: fx.Node, bound: Bound, metas: Result, viewed: list[Traced], again: _Again
    ) -> object:
        """Stand-ins in the structure of `metas`: (named) tuples and lists of tensors."""
        outputs = count()

        def made(meta: Result, value: fx.Node) -> Result:
            if isinstance(meta, tuple | list):
                value.meta["val"] = meta
                parts = [made(part, self._item(value, i, part)) for i, part in enumerate(meta)]
                return type(meta)(*parts) if hasattr(meta, "_fields") else type(meta)(parts)
            number = next(outputs)
            if not isinstance(meta, torch.Tensor):
                return meta
            return self._output(call, bound, meta, value, number, viewed, again)

        return made(metas, call)

    def _output(
        self,
        call: fx.Node,
        bound: Bound,
        meta: torch.Tensor,
        value: fx.Node,
        number: int,
        viewed: list[Traced],
        again: _Again,
    ) -> torch.Tensor:
        """The stand-in for output `number` of a call, the tensor that fx node `value` is."""
        traced = self._result(bound, value, meta, number, viewed, again)
        traced.masked = self._standing.learn(bound, value, number, again[1:])
        canonical = self._lowering.node(call, bound, number, value)
        self._nodes[canonical.name] = canonical
        return self.hold(traced)

    def _item(self, value: fx.Node, index: int, part: object) -> fx.Node:
        """The fx node of one of several outputs."""
        if not tensors_in(part):
            return value
        item = self.graph.create_node("call_function", operator.getitem, (value, index))
        item.meta.update({k: v for k, v in value.meta.items() if k != "val"}, item=True)
        return item

    def _result(
        self,
        bound: Bound,
        value: fx.Node,
        meta: torch.Tensor,
        number: int,
        viewed: list[Traced],
        again: _Again,
    ) -> Traced:
        """What is known of one tensor that a call returned: fresh, or a view of one that it was given."""
        device = self._constants.device_of(bound.op, again[2], again[3], viewed)
        for parent in viewed:
            if storage_of(parent.tensor) != storage_of(meta):
                continue
            if parent.device.type != device.type:  # a copy, on another device
                meta = like(meta)
                break
            meta = meta.detach() if id(meta) in self._traced else meta
            step = None
            if not is_same(meta, parent.tensor):
                step = Step(bound.op, bound.params, *self._steps(parent, number, again))
            value.meta["val"] = meta
            return Traced(meta, value, device, None, parent, step)
        value.meta["val"] = meta
        return Traced(meta, value, device)

    def _steps(
        self, parent: Traced, number: int, again: _Again
    ) -> tuple[Callable[[], Traced], Callable[[torch.Tensor], torch.Tensor]]:
        """How to make a view again, and how to make it of another tensor."""
        kind, target, args, kwargs = again
        held = parent.tensor  # model code may have given it other sizes since

        def moved(to: torch.Tensor) -> Any:
            """The arguments, with a tensor in the place of the parent; it may have come by name."""
            given: Any = args, dict(kwargs)
            return map_aggregate(
                given, lambda arg: to if arg is held or self.find(arg) is parent else arg
            )

        def once_more() -> Traced:
            made = self._record(kind, target, *moved(parent.tensor))
            return self._traced[id(outputs_of(made)[number])]

        def on(tensor: torch.Tensor) -> torch.Tensor:
            with passed_by(), _untouched():
                made: torch.Tensor = outputs_of(called(target, *moved(tensor)))[number]
            return made

        return once_more, on

    # --- writes ---------------------------------------------------------------------------------

    def _write(self, target: object, result: object) -> object:
        """An in-place call: every tensor that shares the memory it wrote means the result from now on."""
        traced = self.find(target)
        if traced is None or not isinstance(result, torch.Tensor):
            return result
        if traced.tensor.shape != result.shape:
            raise self.resized(target)
        try:
            memory.written(traced, self._traced[id(result)], self.record)
        except memory.Unfollowed as why:
            raise CaptureError(
                f"{self._name(traced)!r} is written {why}{self.at_source()}, which cannot be followed; write "
                "into the tensor itself, or join the parts with torch.cat"
            ) from None
        return target

    def record(self, target: Target, *args: object) -> Traced:
        """A call that a write takes, or a view, recorded; a `str` target is a method."""
        given = [traced.refreshed() for traced in self._all(args)]
        if all(each.node.op == "get_attr" for each in given):  # of the model, and not yet written
            return self._constants.made(target, args)
        kind = "call_method" if isinstance(target, str) else "call_function"
        return self._traced[id(self._record(kind, target, args, {}))]

    # --- arguments ------------------------------------------------------------------------------

    def find(self, value: object) -> Traced | None:
        """What is known of a tensor of the graph; None for everything else."""
        found = self._traced.get(id(value))
        if found is None and self._constants.promoted and isinstance(value, torch.Tensor):
            return self._constants.view_of(value)
        return found

    def _all(self, value: object) -> list[Traced]:
        """Every tensor of the graph in nested tuples, lists and dicts."""
        if isinstance(value, tuple | list):
            found: list[Traced] = []
            for entry in value:
                if type(entry) not in PLAIN:
                    found += self._all(entry)
            return found
        if isinstance(value, dict):
            return self._all(tuple(value.values())) if value else []
        traced = self.find(value)
        return [] if traced is None else [traced]

    def arg(self, value: Any) -> Any:
        """An argument as an fx graph holds it: nodes for tensors and for what is not written in code."""
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is tuple:
            return tuple([v if type(v) in PLAIN else self.arg(v) for v in value])
        found = self.find(value)
        if found is not None:
            if found.is_written_unseen():
                raise CaptureError(
                    f"{self._name(found)!r} is written in compiled code before it is used{self.at_source()}, "
                    "which cannot be followed; teach that code with @rfgraph.rule, or return a new tensor"
                )
            return found.refreshed().node
        if isinstance(value, dict):  # in a graph, one that cannot be changed
            return {key: self.arg(entry) for key, entry in value.items()}
        if kind is slice:
            ends = (value.start, value.stop, value.step)
            return value if PLAIN.issuperset(map(type, ends)) else slice(*map(self.arg, ends))
        if isinstance(value, tuple | list):
            entries = [self.arg(entry) for entry in value]
            return kind(*entries) if hasattr(value, "_fields") else kind(entries)
        return self._constants.arg(value)

    # --- messages -------------------------------------------------------------------------------

    def at_source(self) -> str:
        """`, in 'layer1', at model.py:12` for the line of the model's code that runs now, or nothing."""
        line, path = source(), self._modules[-1][0]
        return (f", in {path!r}" if path else "") + (f", at {line}" if line else "")

    def _name(self, traced: Traced) -> str:
        return self._lowering.names.get(traced.node, traced.node.name)

    def resized(self, tensor: object) -> CaptureError:
        traced = self.find(tensor)
        return in_place(None if traced is None else self._name(traced), self.at_source())

    def _rejected(self, call: fx.Node, args: object, error: Exception) -> CaptureError:
        with _untouched():
            shapes = [tuple(each.tensor.shape) for each in self._all(args)]
        return rejection(self._lowering.op(call), shapes, self.at_source(), error)
