"""What model code may ask of a stand-in, and what it may not: metadata, attributes, values.

In: names of tensor methods and attributes. Out: what they are; the errors for what cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rfgraph.errors import CaptureError

VALUE_READERS = frozenset(
    (
        *("item", "tolist", "numpy", "is_nonzero", "equal", "allclose", "data_ptr"),
        *("__bool__", "__int__", "__float__", "__complex__", "__index__", "__contains__"),
        *("__array__", "__cuda_array_interface__", "__dlpack__"),
    )
)
METADATA = frozenset(
    (
        *("size", "dim", "ndimension", "numel", "nelement", "element_size", "stride", "__len__"),
        *("is_contiguous", "is_floating_point", "is_complex", "is_signed"),
        *("storage_offset", "is_conj", "is_neg", "is_inference", "__hash__", "is_shared"),
        *("requires_grad_", "has_names", "is_same_size", "is_pinned", "retain_grad"),
        *("register_hook", "register_post_accumulate_grad_hook", "untyped_storage"),
    )
)
SIZES = frozenset(
    ("shape", "nbytes", "size", "numel", "nelement", "__len__", "stride", "is_same_size")
)
"""Methods and attributes that tell sizes, or what is worked out from them."""
SHOWN = frozenset(("__repr__", "__str__", "__format__"))
QUESTIONS = VALUE_READERS | METADATA | SHOWN | {"get_device", "__iter__", "__deepcopy__"}
"""Methods that no node is recorded for, or one of another name."""
TURNED: dict[str, tuple[str, tuple[int, ...]]] = {
    "data": ("detach", ()),
    **dict.fromkeys(("mT", "mH"), ("transpose", (-2, -1))),
    "H": ("adjoint", ()),
}
"""Attributes that are a method by another name."""
OPERATORS = frozenset(("T", "real", "imag"))
"""Attributes that are operators."""
RESHAPES = frozenset("t_ squeeze_ unsqueeze_ transpose_ swapaxes_ swapdims_ as_strided_".split())
"""Methods that make a tensor a view of what it was."""
RESIZES = frozenset("resize_ resize_as_ set_".split())
"""Methods that give a tensor other memory, or more of it."""
SETTABLE = frozenset(("requires_grad", "grad", "names"))
"""Attributes that may be set without changing what a tensor holds."""


class DataDependentError(CaptureError):
    """The graph depends on values, so no other input shape will do better."""


def needs_values(name: str, use: str, at: str) -> DataDependentError:
    """The error for model code that decides by data."""
    asked = {"__bool__": "a branch or assertion"}.get(use, f"{use.strip('_')}()")
    return DataDependentError(
        f"the model's Python code needs the values of {name!r} ({asked}{at}), so its graph depends on the "
        "data; pass a part of the model without that branch, decide the branch by an argument or attribute, "
        "or measure the module that holds it with on_unknown='measure'"
    )


def rejection(op: str, shapes: Sequence[object], at: str, error: Exception) -> CaptureError:
    """The error for a call that torch, or its formula, rejects, on tensors of these shapes."""
    on = f" on a tensor of shape {' and '.join(map(str, shapes))}" if shapes else ""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "quantize" in op:
        return CaptureError(
            f"{op} is a quantised operator{at}, which has no rule: analyse the model as it was before it was "
            "quantised, which reads the same"
        )
    if "item() cannot be called on meta" in text or "without output_size" in text:
        return DataDependentError(
            f"{op} asks for values that are computed from an input{at}, which a capture does not have: give "
            "it a number, such as num_classes of one_hot or output_size of repeat_interleave"
        )
    if "nonzero" in text or isinstance(error, NotImplementedError):
        return DataDependentError(f"the shape of what {op} returns depends on the data{at}")
    return CaptureError(f"{op} failed{on}{at}: {text}")


def in_place(name: str | None, at: str) -> CaptureError:
    """The error for a tensor that changes its shape in place; without a name, one of the model."""
    return CaptureError(
        f"{'a tensor of the model' if name is None else repr(name)} changes its shape in place{at}, which "
        "cannot be followed; use the operator that returns a new tensor"
    )


def on_device(attribute: str, device: torch.device) -> object:
    """What an attribute that tells the device says of a tensor there; None for any other attribute."""
    if attribute == "device":
        return device
    if attribute.startswith("is_") and attribute[3:] in _DEVICES:
        return device.type == attribute[3:]
    return None


_DEVICES = frozenset("cpu cuda meta mps xpu ipu hpu mtia maia vulkan xla xpu".split())
