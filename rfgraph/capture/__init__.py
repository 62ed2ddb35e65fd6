"""Model -> Graph, by one of three ways in; the model is left as it was, also on an error.

In: a model, input shapes or none, a vocabulary of operators. Out: a `Capture`. A forward is run on stand-ins
(`tracer`), or exported by torch (`programs`); a graph that exists already is walked (`existing`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import nn
from torch.fx import GraphModule

from rfgraph.capture.arguments import Arguments, Inputs, given
from rfgraph.capture.existing import Existing, is_graph
from rfgraph.capture.inputs import worked_out
from rfgraph.capture.interception import OutsideTheTree
from rfgraph.capture.programs import Exported, Model, as_named, exported, held, opened, taken
from rfgraph.capture.source import module_in, source_of
from rfgraph.capture.tensors import DataDependentError
from rfgraph.capture.tracer import Tracer
from rfgraph.errors import CaptureError, InputError, RfgraphError
from rfgraph.graph import Graph, Operand
from rfgraph.graph.calls import outputs_of
from rfgraph.graph.eager import uncompiled
from rfgraph.graph.guard import Snapshot, lazy, quantised, tree, untouched
from rfgraph.language.vocabulary import Vocabulary

_WANTS_INTEGERS = re.compile(
    "scalar types: Long|used as indices must|Expected dtype int|index tensor|a long tensor|be long or int"
)
"""What torch says of floating-point numbers as an index."""


@dataclass(frozen=True)
class Capture:
    """A graph, the arguments it was captured with, and whether they were worked out."""

    graph: Graph
    arguments: Arguments
    worked_out: bool


def capture(
    model: Model,
    inputs: Inputs,
    vocabulary: Vocabulary,
    training: bool = False,
    leaves: bool = False,
    way: str = "auto",
    snapshot: Snapshot | None = None,
) -> Capture:
    """Capture `model` at `inputs` (shapes or tensors; None: work some out).

    `leaves`: a module that cannot be followed becomes one unknown node, if it can be run.
    `way`: `"fx"`, `"export"`, or `"auto"`: export where the tracer cannot follow what runs.
    `snapshot`: of the model, for who captures it again.

    Raises:
        InputError: not a module, or inputs that cannot be used.
        CaptureError: the forward failed, or decided by data.
    """
    model = opened(model)
    if not isinstance(model, nn.Module):
        raise InputError(f"expected a torch.nn.Module, got {_instead(model)}")
    snapshot = snapshot or Snapshot(model)
    _refuse(snapshot, inputs)
    one = _One(snapshot, vocabulary, training, leaves, way)
    if is_graph(model):
        return one.existing(inputs)
    try:
        return one.captured(inputs)
    except CaptureError as error:
        if way != "auto" or not _is_refusal(error):
            raise
        assert one.tried is not None
        try:  # in a context of its own: what the first forward left behind is put back
            found = _One(snapshot, vocabulary, training, leaves, "export").at(one.tried)
        except RfgraphError:
            raise error from error.__cause__
        found.graph.note = f"captured by torch.export, since torch.fx is refused: {error}"
        return replace(found, worked_out=inputs is None)


def _instead(found: object) -> str:
    """What was passed in place of a module, and what to do about it."""
    if isinstance(found, type):
        return f"{found.__name__} (a class: call it first)"
    kind = type(found).__name__
    if isinstance(found, Mapping):
        return f"{kind}: weights alone are no model; build the module that they belong to"
    if isinstance(found, list | tuple):
        return f"{kind}: put modules that are called in turn in a torch.nn.Sequential"
    if callable(found):
        return f"{kind}: put it in a module whose forward calls it"
    return kind


def _refuse(snapshot: Snapshot, inputs: Inputs) -> None:
    modules = snapshot.modules
    if inputs is None and (path := lazy(modules)) is not None:
        raise InputError(
            f"{path} is a lazy module without weights yet, so no input shape can be worked out: pass "
            "one, as in analyze(model, (1, 3, 224, 224))"
        )
    if (path := quantised(modules)) is not None:
        raise CaptureError(
            f"{path} is a quantised module, whose operators have no rules: analyse the model as it was "
            "before it was quantised, which reads the same"
        )


class _One:
    """The capture of one model by one way.

    Attributes:
        tried: the inputs that it was last captured at.
    """

    def __init__(
        self, snapshot: Snapshot, vocabulary: Vocabulary, training: bool, leaves: bool, way: str
    ) -> None:
        self.model = snapshot.model
        self._snapshot = snapshot
        self.tried: Arguments | None = None
        self._vocabulary = vocabulary
        self._training = training
        self._leaves = leaves
        self._way = way
        self._is_graph = False
        self._all_modules = False

    def captured(self, inputs: Inputs) -> Capture:
        """The model, at the caller's inputs or some that are worked out."""

        def capture() -> Capture:
            if inputs is not None:
                return self._trace(given(self.model, inputs))
            return replace(self._first_that_fits(), worked_out=True)

        return self._untouched(capture)

    def at(self, inputs: Arguments) -> Capture:
        """The model at these inputs."""
        return self._untouched(lambda: self._trace(inputs))

    def _untouched(self, capture: Callable[[], Capture]) -> Capture:
        """What is captured; what the forward does is put back, also before it has to run again."""
        try:
            with untouched(self._snapshot, self._training):
                return capture()
        except OutsideTheTree:
            self._all_modules = True
            with untouched(self._snapshot, self._training):
                return capture()

    def existing(self, inputs: Inputs) -> Capture:
        """A graph that exists already, at the caller's inputs or those it was made with."""
        model = self.model
        assert isinstance(model, GraphModule)
        if self._way != "auto":
            raise InputError(
                f"capture={self._way!r} says how a forward is captured, but {type(model).__name__} is a "
                "graph already, which is read as it is: leave capture out"
            )
        if self._training and isinstance(model, Exported):
            raise InputError(
                "mode='train' cannot be asked of an exported program, which computes what it was exported "
                "to: export the model in train mode, and leave mode out"
            )
        self._is_graph = True
        made = held(model) if inputs is None else taken(model, inputs)
        return self.captured(None) if made is None else self.at(made)

    def _first_that_fits(self) -> Capture:
        """The model at the first worked-out inputs that the model accepts."""
        first: tuple[Arguments, CaptureError] | None = None
        for inputs in worked_out(self.model, list(self._snapshot.modules.values())):
            try:
                return self._trace(inputs)
            except CaptureError as error:
                if isinstance(error, DataDependentError) or _is_refusal(error):
                    raise
                first = first or (inputs, error)
        assert first is not None
        shapes = ", ".join(f"{name}: {tuple(meta.shape)}" for name, meta in first[0].leaves.items())
        raise CaptureError(
            f"no input shape that was tried fits the model; pass one. With {shapes}, {first[1]}"
        ) from first[1]

    def _trace(self, inputs: Arguments) -> Capture:
        """The graph at these inputs."""
        self.tried = inputs
        try:
            graph = self._exported(inputs) if self._way == "export" else self._run(inputs)
            if self._way == "export" or isinstance(self.model, Exported):
                graph.asked |= {("", None)}  # what the forward asked for, a program does not tell
            _check_indices(graph)
            return Capture(graph, inputs, worked_out=False)
        except CaptureError as error:
            wanted = _for_want_of_integers(inputs, error)
            if wanted is not None:
                raise wanted from error
            raise
        except RfgraphError:
            raise
        except Exception as error:
            text = str(error).strip().splitlines()[0] if str(error).strip() else ""
            doing = "exported" if self._way == "export" else "captured"
            raise CaptureError(
                f"{type(self.model).__name__} could not be {doing}{_at(error, self.model)}: "
                f"{type(error).__name__}: {text}"
            ) from error

    def _run(self, inputs: Arguments) -> Graph:
        tracer = Existing if self._is_graph else Tracer
        with uncompiled():
            return tracer(self._vocabulary, self._leaves).run(
                self.model, self._snapshot.modules, inputs, self._all_modules
            )

    def _exported(self, inputs: Arguments) -> Graph:
        program = exported(self.model, inputs)
        return Existing(self._vocabulary, self._leaves).run(
            program, tree(program), as_named(program, inputs), self._all_modules
        )


def _is_refusal(error: CaptureError) -> bool:
    """What the tracer cannot follow, although the forward did not fail: torch.export may.

    It cannot where the graph depends on the data, which makes no graph for any data.
    """
    return error.__cause__ is None and not isinstance(error, DataDependentError)


def _check_indices(graph: Graph) -> None:
    """What tells a shape by a formula of its own does not look at the dtype of an index; torch does."""
    for node in graph:
        index = node.params.get("index")
        for entry in () if index is None else outputs_of(index):
            if isinstance(entry, Operand) and entry.dtype.is_floating_point:
                raise CaptureError(
                    f"tensors used as indices must be integers or booleans, at node {node.where()}"
                )


def _for_want_of_integers(inputs: Arguments, error: CaptureError) -> InputError | None:
    """What to say where a shape, which stands for floating-point numbers, is used as an index."""
    shapes = {name: meta for name, meta in inputs.leaves.items() if name not in inputs.given}
    if not shapes or not _WANTS_INTEGERS.search(str(error)):
        return None
    name, meta = next(iter(shapes.items()))
    which = repr(name) if len(shapes) == 1 else f"one of {', '.join(map(repr, shapes))}"
    sizes = ", ".join(map(str, meta.shape))
    return InputError(
        f"{error}; a shape stands for floating-point numbers, and {which} is used as an index: pass a tensor "
        f"of integers, as in torch.zeros({sizes}, dtype=torch.long)"
    )


def _at(error: BaseException, model: nn.Module) -> str:
    inside, line = module_in(error, model), source_of(error)
    told = [*([f"in {inside!r}"] if inside else ()), *([f"at {line}"] if line else ())]
    return f" ({', '.join(told)})" if told else ""
