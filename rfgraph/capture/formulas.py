"""What a call returns by the operator's own formula, held to what torch says of the same call.

In: a call on stand-ins, bound to its operator. Out: meta tensors. A formula costs a microsecond, a kernel
up to two milliseconds; so torch is asked once a process for equal calls, which is what a replay of the whole
graph on meta tensors would show, for the price of one such replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import fx, nn

from rfgraph.capture.lowering import LIKE_NO_OTHER, Bound, Result
from rfgraph.graph import Operand
from rfgraph.graph.calls import assigned, is_of_torch
from rfgraph.language.vocabulary import Infer

ASKED = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze view_as reshape_as permute transpose t T swapaxes "
    "swapdims movedim moveaxis expand expand_as narrow select getitem chunk split unbind tensor_split".split()
)
"""Operators whose result may share memory: their kernels take a microsecond, and tell."""
SAME = frozenset(
    "identity cpu cuda dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split()
)
"""Operators that return their operand itself, where they do nothing."""

REAL = frozenset(("istft",))
"""Operators that return real numbers of complex ones, unless they are asked for complex ones."""

_HELD: dict[object, Result] = {}
"""Calls of which torch said the same as the formula, in this process: the shapes of what they return."""
_META = torch.device("meta")
_MOST_HELD = 1 << 16


def formula(call: fx.Node, bound: Bound, target: object, ask: Callable[[], object]) -> object:
    """Meta tensors by the operator's own formula, which torch confirms; None where torch has to be asked.

    A formula knows shapes. The dtype is the operands' where all are of one floating dtype, and the strides
    are torch's default where all of theirs are.

    Args:
        target: what is called.
        ask: makes the call on meta tensors; see `hold`.

    Raises:
        ValueError: torch says something else.
    """
    known = bound.known
    if known is None or known.infer is None:
        return None
    name, params = known.name, bound.params
    if name in ASKED:
        if name != "getitem" or not any(map(is_tensor, params["index"])):
            return None
        dtype = params["input"].dtype  # a meta kernel might ask for the values of the index
    else:
        own = bound.operands[0].meta["val"]
        dtype = own.dtype
        if does_nothing(bound):
            return own.detach()
        if name in REAL:
            dtype = dtype if params["return_complex"] else dtype.to_real()
        elif not _is_of(dtype, call, bound):
            return None
    return _tensors(hold(known.infer, dtype, target, bound, ask), dtype)


def _is_of(dtype: torch.dtype, call: fx.Node, bound: Bound) -> bool:
    """True for a call whose result is of its operands' floating dtype, with torch's default strides."""
    params = bound.params
    if not dtype.is_floating_point or params.get("dtype") is not None:
        return False
    if params.get("return_indices"):  # the second output is of another dtype
        return False
    if complex in map(type, params.values()) or complex in map(type, params.get("operands", ())):
        return False
    for value in call.all_input_nodes if call.op != "call_module" else bound.operands:
        if not _alike(value.meta["val"], dtype):
            return False
    return True


def does_nothing(bound: Bound) -> bool:
    """True for a call that returns its operand itself, such as dropout in eval mode."""
    return bound.op in SAME and bound.known is not None and bound.params.get("training") is not True


def writes(bound: Bound) -> bool:
    """True for a call that is asked to write into its operand, as activations are by `inplace=True`."""
    return bound.params.get("inplace") is True and not does_nothing(bound)


def is_tensor(entry: object) -> bool:
    """True for an entry of an index that is a tensor, or a list of some."""
    if isinstance(entry, tuple | list):
        return any(map(is_tensor, entry))
    return isinstance(entry, torch.Tensor | Operand)


def _alike(value: object, dtype: torch.dtype) -> bool:
    """A tensor that leaves dtype and strides of what it is combined with as they are."""
    if not isinstance(value, torch.Tensor):
        return True
    return value.is_contiguous() and (value.dtype is dtype or not value.dtype.is_floating_point)


def _tensors(shapes: Result, dtype: torch.dtype) -> object:
    """A tensor, or one for each of several shapes."""
    if shapes and isinstance(shapes[0], tuple):
        return tuple(None if shape is None else _fresh(shape, dtype) for shape in shapes)
    return None if shapes is None else _fresh(shapes, dtype)


def _fresh(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=_META)


def hold(
    infer: Infer,
    dtype: torch.dtype,
    target: object,
    bound: Bound,
    ask: Callable[[], object],
) -> Result:
    """The shapes that a formula gives, compared with what torch's meta kernels say.

    Compared are operators of torch's own, but in modules with hooks, which would run: what the others do
    with meta tensors is not known. What torch has confirmed is not worked out again.

    Args:
        infer: the formula.
        dtype: of what is returned.
        ask: makes the call on meta tensors; may raise what torch says of arguments that it refuses.

    Raises:
        ValueError: they differ in shapes or dtypes.
    """
    key = _key(dtype, target, bound)
    shapes = _held(key)
    if shapes is not None:
        return shapes
    key = tuple(map(_kind, key))  # there may be tensors, lists and slices in a tuple
    shapes = _held(key)
    if shapes is not None:
        return shapes
    shapes = infer(bound.params, bound.shapes)
    if (
        shapes is None
        or not (is_of_torch(target) or target is assigned)
        or _has_hooks(target)
        or not _is_confirmed(_layout(_tensors(shapes, dtype)), ask)
    ):
        return shapes
    if len(_HELD) < _MOST_HELD and not _holds_tensor(key):
        with suppress(TypeError):
            _HELD[key] = shapes
    return shapes


def _key(dtype: torch.dtype, target: object, bound: Bound) -> tuple[object, ...]:
    """What the shapes can depend on."""
    weights: list[object] = []
    if isinstance(target, nn.Module):  # its own weights may be others than its attributes say
        weights = [None if w is None else w.shape for w in target._parameters.values()]
        target = None
    if bound.alike is not None:
        return target, dtype, bound.alike, *weights
    params = bound.params
    given = [*params.values()]
    if not LIKE_NO_OTHER.isdisjoint(map(type, given)):
        given = [_kind(value) if type(value) in LIKE_NO_OTHER else value for value in given]
    return target, dtype, bound.op, bound.shapes, tuple(params), *given, *weights


def _is_confirmed(claimed: object, ask: Callable[[], object]) -> bool:
    """True where torch says the same as a formula, False where it cannot say.

    Raises:
        ValueError: it says something else.
    """
    try:
        said = _layout(ask())
    except RuntimeError as error:
        if isinstance(error, NotImplementedError) or "meta tensor" in str(error):
            return False  # it has no meta kernel, or one that asks for values
        raise
    if said != claimed:
        raise ValueError(
            f"torch returns {said}, and rfgraph's formula says {claimed}; please report this"
        )
    return True


def _held(key: object) -> Result:
    try:
        return _HELD.get(key)
    except TypeError:  # an argument of a class that has no hash
        return None


def _kind(value: object) -> object:
    """What can be a key; of a tensor, what a shape can depend on: a set must not keep tensors alive."""
    if isinstance(value, torch.Tensor):
        return value.shape, value.dtype
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    return tuple(map(_kind, value)) if isinstance(value, list | tuple) else value


def _holds_tensor(value: object) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_holds_tensor, value))
    return isinstance(value, torch.Tensor)


def _has_hooks(target: object) -> bool:
    return isinstance(target, nn.Module) and bool(
        target._forward_hooks or target._forward_pre_hooks
    )


def _layout(result: Result) -> object:
    """Shape and dtype of every tensor that a call returned."""
    if isinstance(result, tuple | list):
        return tuple(map(_layout, result))
    return None if result is None else (tuple(result.shape), result.dtype)
