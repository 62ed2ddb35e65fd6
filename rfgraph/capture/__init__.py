"""Model -> Graph. The model is run on proxies by torch.fx and is left as it was, also on an error.

In: a module, input shapes or none, a vocabulary of operators. Out: a `Capture`. Callers: the public
functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import nn

from rfgraph.calls import outputs_of
from rfgraph.capture.arguments import Arguments, given
from rfgraph.capture.inputs import worked_out
from rfgraph.capture.source import source_of
from rfgraph.capture.tensors import DataDependentError
from rfgraph.capture.tracer import Tracer
from rfgraph.errors import CaptureError, InputError, RfgraphError
from rfgraph.graph import Graph, Operand
from rfgraph.guard import lazy, quantised, untouched, unwrapped
from rfgraph.operators import Vocabulary

_WANTS_INTEGERS = re.compile(
    "scalar types: Long|used as indices must|Expected dtype int|index tensor|a long tensor|be long or int"
)
"""What torch says of floating-point numbers as an index."""


@dataclass(frozen=True)
class Capture:
    """A graph, and whether the shapes it was traced at came from the caller or were worked out."""

    graph: Graph
    worked_out: bool


def capture(
    model: Any,
    inputs: Any,
    vocabulary: Vocabulary,
    training: bool = False,
    leaves: bool = False,
) -> Capture:
    """Capture `model` at `inputs` (shapes or tensors; None: work some out).

    `leaves`: a module that cannot be followed becomes one unknown node, if it can be run.

    Raises:
        InputError: not a module, or inputs that cannot be used.
        CaptureError: the forward failed, or decided by data.
    """
    if not isinstance(model, nn.Module):
        kind = model.__name__ + " (a class: call it first)" if isinstance(model, type) else ""
        raise InputError(
            f"expected a torch.nn.Module, got {kind or type(model).__name__}"
            + ("" if kind else "; of an exported program, pass program.module()")
        )
    model = unwrapped(model)
    _refuse(model, inputs)
    with untouched(model, training):
        if inputs is not None:
            graph = _trace(model, given(model, inputs), vocabulary, leaves)
            return Capture(graph, worked_out=False)
        return Capture(_first_that_fits(model, vocabulary, leaves), worked_out=True)


def _refuse(model: nn.Module, inputs: Any) -> None:
    if inputs is None and (path := lazy(model)) is not None:
        raise InputError(
            f"{path} is a lazy module without weights yet, so no input shape can be worked out: pass "
            "one, as in analyze(model, (1, 3, 224, 224))"
        )
    if (path := quantised(model)) is not None:
        raise CaptureError(
            f"{path} is a quantised module, whose operators have no rules: analyse the model as it was "
            "before it was quantised, which reads the same"
        )


def _first_that_fits(model: nn.Module, vocabulary: Vocabulary, leaves: bool) -> Graph:
    """The graph at the first worked-out inputs that the model accepts."""
    first: tuple[Arguments, CaptureError] | None = None
    for inputs in worked_out(model):
        try:
            return _trace(model, inputs, vocabulary, leaves)
        except DataDependentError:
            raise
        except CaptureError as error:
            first = first or (inputs, error)
    assert first is not None
    shapes = ", ".join(f"{name}: {tuple(meta.shape)}" for name, meta in first[0].leaves.items())
    raise CaptureError(
        f"no input shape that was tried fits the model; pass one. With {shapes}, {first[1]}"
    ) from first[1]


def _trace(model: nn.Module, inputs: Arguments, vocabulary: Vocabulary, leaves: bool) -> Graph:
    try:
        graph = Tracer(vocabulary, leaves).run(model, inputs)
        _check_indices(graph)
        return graph
    except CaptureError as error:
        wanted = _for_want_of_integers(inputs, error)
        if wanted is not None:
            raise wanted from error
        raise
    except RfgraphError:
        raise
    except Exception as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise CaptureError(
            f"{type(model).__name__} could not be captured{_at(error)}: "
            f"{type(error).__name__}: {text}"
        ) from error


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


def _at(error: Exception) -> str:
    source = source_of(error)
    return f" (at {source})" if source else ""
