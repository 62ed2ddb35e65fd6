"""`analyze`: a model in, a report out.

In: a model, input shapes or none, options. Out: a `Report`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral
from typing import Literal

from torch import nn

from rfgraph.capture import Capture
from rfgraph.capture import capture as _capture  # an option has its name
from rfgraph.capture.arguments import Inputs
from rfgraph.capture.programs import Model, of_one_size, opened
from rfgraph.errors import CaptureError, InputError, nearest_names
from rfgraph.faithful import fidelity
from rfgraph.graph import Axis, Graph, Shape
from rfgraph.graph.guard import Snapshot, refuse_without_numbers
from rfgraph.graph.replay import example_inputs
from rfgraph.language.readings import readings
from rfgraph.propagation.sets import AtSize
from rfgraph.report import Report
from rfgraph.rules import VOCABULARY
from rfgraph.rules.measured import measure
from rfgraph.sizes import Look, look, settled

Axes = Sequence[int] | Mapping[str, Sequence[int]] | None


def analyze(
    model: Model,
    inputs: Inputs = None,
    *,
    axes: Axes = None,
    mode: Literal["eval", "train"] = "eval",
    capture: Literal["auto", "fx", "export"] = "auto",
    on_unknown: Literal["raise", "whole", "measure"] = "raise",
    check: bool = False,
) -> Report:
    """What every node of `model` reads of its inputs: size, stride, dilation, offset, in input pixels.

    The model is run once, on stand-ins for its tensors, and is left as it was, also where this raises.

    Args:
        model: an `nn.Module`; or a graph that exists already, which is read as it is and never traced again:
            a `torch.fx.GraphModule`, a `torch.export.ExportedProgram`, the path of a `.pt2` file. A
            program without `inputs` is analysed at the shapes that it was exported at.
        inputs: a shape such as `(1, 3, 224, 224)`, a tensor, a sequence of these for the first arguments
            of forward, or a dict from the names of its arguments. A shape stands for a tensor of the model's
            own dtype. An argument may also be a list, tuple, dict, named tuple or dataclass of these: the
            tensors in it are inputs called `feats.0`, `batch.image`. `rfgraph.value(True)` is what is no
            tensor. Default: a shape is worked out from the model's layers, and the report says so. Most
            answers hold at any size; where one does not, its row says so.
        axes: the dims to track, of every input or by input name. Default: every dim from 2 on of each
            floating-point input.
        mode: `"train"` lets batch norm read batch and space, as it does while training.
        capture: how a forward becomes a graph: `"fx"`, it is run on stand-ins, as torch.fx does;
            `"export"`, torch.export does it; `"auto"`, fx, and export where fx meets code that it cannot
            follow, which the report's notes then say.
        on_unknown: what to do with operators that have no rule: `"raise"`; `"whole"`: count them as
            reads of everything, marked `unknown` in every row they reach; `"measure"`: run each alone on
            random tensors and see what it reads, marked `measured` or `inferred` in every row.
        check: run the captured graph beside the model, on the caller's tensors or random ones: it must give
            the same values, and every node the shape that it was captured with.

    Raises:
        InputError: no model, inputs or options that cannot be used, a shape that a program does not take.
        CaptureError: the forward failed on these inputs, or decides by data; `check` found a difference.
        UnsupportedOperatorError: operators without a rule, all of them named.
    """
    _option("mode", mode, ("eval", "train"))
    _option("capture", capture, ("auto", "fx", "export"))
    _option("on_unknown", on_unknown, ("raise", "whole", "measure"))
    module = opened(model)
    training, measuring = mode == "train", on_unknown == "measure"
    snapshot = Snapshot(module)
    captured = _capture(module, inputs, VOCABULARY, training, measuring, capture, snapshot)
    if check:
        again = partial(
            _capture, vocabulary=VOCABULARY, training=training, leaves=measuring, way=capture
        )
        _check(module, captured, again, training)
    tracked = _axes(captured.graph, axes)

    def found(graph: Graph) -> Look:
        measured = measure(graph, snapshot, training) if measuring else {}
        read = readings(graph, VOCABULARY, measured)
        if on_unknown == "raise":
            read.refuse_unknown()
        return look(read, tracked)

    def found_at(shapes: dict[str, Shape]) -> Look:
        resized = captured.arguments.resized(shapes)
        way = training, measuring, capture, snapshot
        return found(_capture(module, resized, VOCABULARY, *way).graph)

    seen, note = settled(found(captured.graph), found_at)
    notes = captured.graph.note, of_one_size(module, tracked) or note
    captured.graph.note = "; ".join(filter(None, notes))
    at_size = AtSize(seen.readings, growth=seen.growth, tables=seen.tables)
    return Report(
        type(module).__name__,
        captured.graph,
        tracked,
        seen.values,
        at_size,
        captured.worked_out,
    )


def _check(
    model: nn.Module, captured: Capture, again: Callable[..., Capture], training: bool
) -> None:
    """Raise where the captured graph does not compute what the model computes; note how that was held."""
    refuse_without_numbers(model)
    graph, arguments = captured.graph, captured.arguments
    own = {name: tensor for name, tensor in arguments.given.items() if not tensor.is_meta}
    tensors = {**example_inputs(graph, None), **own}
    same = fidelity(model, graph, arguments, tensors, lambda *given: again(*given).graph, training)
    if same.differs:
        raise CaptureError(
            f"the captured graph of {type(model).__name__} does not compute what the model does: "
            f"{same.differs}; look at report.fx of an analysis without check, or pass capture='export'"
        )
    graph.note = "; ".join(filter(None, (graph.note, same.note)))


def _option(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        listed = " or ".join(map(repr, allowed))
        raise InputError(f"{name} must be {listed}, got {value!r}")


def _axes(graph: Graph, axes: Axes) -> list[Axis]:
    """The tracked axes, input by input."""
    if isinstance(axes, Mapping):
        for name in axes:
            if name not in graph.inputs:
                near = nearest_names(name, graph.inputs)
                raise InputError(f"axes names {name!r}, which is no input of the model{near}")
    tracked: list[Axis] = []
    for name, node in graph.inputs.items():
        asked = axes.get(name) if isinstance(axes, Mapping) else axes
        rank = len(node.shape)
        if asked is None:
            dims = list(range(2, rank)) if node.params["is_float"] else []
        else:
            dims = [_dim(name, dim, rank) for dim in _several(asked)]
        tracked += [Axis(name, dim) for dim in dims]
    if not tracked:
        listed = ", ".join(f"{name} {tuple(node.shape)}" for name, node in graph.inputs.items())
        raise InputError(
            f"no axis to track: by default the dims from 2 on of float inputs, and the inputs are "
            f"{listed}; name the dims with axes=, as in axes=(1,)"
        )
    return tracked


def _several(dims: object) -> Iterable[object]:
    if not isinstance(dims, Iterable) or isinstance(dims, str):
        raise InputError(
            f"axes must be a sequence of dims, as in axes=(2, 3), or a dict of these by input, got {dims!r}"
        )
    return dims


def _dim(name: str, dim: object, rank: int) -> int:
    whole = int(dim) if isinstance(dim, Integral) and not isinstance(dim, bool) else rank
    if not -rank <= whole < rank:
        raise InputError(f"axes: input {name!r} has {rank} dims and no dim {dim!r}")
    return whole % rank
