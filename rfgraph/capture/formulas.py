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

from rfgraph.capture.lowering import Bound, Result
from rfgraph.graph import Operand
from rfgraph.graph.calls import assigned, is_of_torch

ASKED = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze view_as reshape_as permute transpose t T swapaxes "
    "swapdims movedim moveaxis expand expand_as narrow select getitem chunk split unbind tensor_split".split()
)
"""Operators whose result may share memory: their kernels take a microsecond, and tell."""
SAME = frozenset(
    "identity cpu cuda dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split()
)
"""Operators that return their operand itself, where they do nothing."""

_HELD: set[object] = set()
"""Calls of which torch said the same as the formula, in this process."""
_META = torch.device("meta")
_MOST_HELD = 1 << 16
_NO_KEYS = frozenset((torch.Tensor, nn.Parameter, slice, list))


def formula(call: fx.Node, bound: Bound) -> object:
    """Meta tensors by the operator's own formula; None where torch has to be asked.

    A formula knows shapes. The dtype is the operands' where all are of one floating dtype, and the strides
    are torch's default where all of theirs are.
    """
    known = bound.known
    if known is None or known.infer is None:
        return None
    own = bound.operands[0].meta["val"]
    dtype = own.dtype
    if known.name in ASKED:
        return _indexed(bound) if known.name == "getitem" else None
    if does_nothing(bound):
        return own.detach()
    if not dtype.is_floating_point or bound.params.get("dtype") is not None:
        return None
    if bound.params.get("return_indices"):  # the second output is of another dtype
        return None
    params = bound.params
    if complex in map(type, (*params.values(), *params.get("operands", ()))):
        return None
    for value in call.all_input_nodes if call.op != "call_module" else bound.operands:
        if not _alike(value.meta["val"], dtype):
            return None
    shapes: Result = known.infer(bound.params, bound.shapes)
    if shapes is None:
        return None
    if shapes and isinstance(shapes[0], tuple):
        return tuple(None if shape is None else _fresh(shape, dtype) for shape in shapes)
    return _fresh(shapes, dtype)


def does_nothing(bound: Bound) -> bool:
    """True for a call that returns its operand itself, such as dropout in eval mode."""
    return bound.op in SAME and bound.known is not None and bound.params.get("training") is not True


def writes(bound: Bound) -> bool:
    """True for a call that is asked to write into its operand, as activations are by `inplace=True`."""
    return bound.params.get("inplace") is True and not does_nothing(bound)


def _indexed(bound: Bound) -> torch.Tensor | None:
    """What an index tensor picks, whose values a meta kernel might ask for; None for a plain index."""
    known, index = bound.known, bound.params["index"]
    if known is None or known.infer is None or not any(map(is_tensor, index)):
        return None
    shape: Result = known.infer(bound.params, bound.shapes)
    return None if shape is None else _fresh(shape, bound.params["input"].dtype)


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


def _fresh(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=_META)


def hold(metas: object, target: object, bound: Bound, ask: Callable[[], object]) -> None:
    """Compare what a formula says with what torch's meta kernels say.

    Held are operators of torch's own, but in modules with hooks, which would run: what the others do with
    meta tensors is not known.

    Args:
        metas: by the formula.
        ask: makes the call on meta tensors; may raise what torch says of arguments that it refuses.

    Raises:
        ValueError: they differ in shapes or dtypes.
    """
    params = bound.params.values()
    claimed = _layout(metas)  # by which writes differ from what returns a new tensor
    own: list[object] = []
    if isinstance(target, nn.Module):  # its own weights may be others than its attributes say
        own = [None if w is None else w.shape for w in target._parameters.values()]
    spelled = None if isinstance(target, nn.Module) else target
    key = (
        bound.op,
        spelled,
        claimed,
        *[_kind(v) if type(v) in _NO_KEYS else v for v in params],
        *own,
    )
    if _is_held(key):
        return
    key = tuple(map(_kind, key))  # there may be tensors, lists and slices in a tuple
    if _is_held(key):
        return
    if not (is_of_torch(target) or target is assigned) or _has_hooks(target):
        return
    try:
        said = _layout(ask())
    except RuntimeError as error:
        if isinstance(error, NotImplementedError) or "meta tensor" in str(error):
            return  # it has no meta kernel, or one that asks for values
        raise
    if said != claimed:
        raise ValueError(
            f"torch returns {said}, and rfgraph's formula says {claimed}; please report this"
        )
    if len(_HELD) < _MOST_HELD and not _holds_tensor(key):
        with suppress(TypeError):
            _HELD.add(key)


def _is_held(key: object) -> bool:
    try:
        return key in _HELD
    except TypeError:  # an argument of a class that has no hash
        return False


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
