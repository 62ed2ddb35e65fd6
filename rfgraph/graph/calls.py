"""Calls as a captured graph holds them: how Python's operators are spelled, and which calls write.

In: the target of a call. Out: its name, and what is known by the name alone. Nothing of rfgraph is used.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor, nn
from torch._ops import OpOverload, OpOverloadPacket
from torch.overrides import handle_torch_function, has_torch_function

Args: TypeAlias = tuple[object, ...]
Kwargs: TypeAlias = Mapping[str, object]
"""The arguments of a call: by position, and by name."""

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
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
_OTHERS = {
    **{name: name for name in ("neg", "abs", "eq", "ne", "lt", "le", "gt", "ge", "getitem")},
    "pos": "positive",
    "invert": "bitwise_not",
}
PLAIN = frozenset((type(None), bool, int, float, str))
"""Classes of arguments that are neither tensors nor hold any."""
METHODS = {
    **{f"__{prefix}{name}__": op for name, op in _BINARY.items() for prefix in ("", "r", "i")},
    **{f"__{name}__": op for name, op in _OTHERS.items()},
}
"""Python's operators: the tensor method that each calls -> the name of what it computes."""

REVERSED = frozenset(f"__r{name}__" for name in _BINARY)
"""`1 - x` calls `x.__rsub__(1)`: the operands come in the other order."""

STATISTICS = frozenset(
    ("batch_norm", "instance_norm", "native_batch_norm", "_native_batch_norm_legit")
)
"""What writes running statistics, where a flag among its arguments says so."""

TABLES = frozenset(("embedding", "embedding_bag"))
"""What scales the rows of a table that it looks up, where it has a `max_norm`."""

_INPLACE = frozenset(
    (*(f"__i{name}__" for name in _BINARY), *(f"i{name}" for name in _BINARY), "__setitem__")
)


def written_first(args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The arguments of an in-place call: what it writes comes first, also where it came by name."""
    if args:
        return args, kwargs
    name = next(name for name in (*("input", "self"), *kwargs) if name in kwargs)
    return (kwargs[name],), {key: value for key, value in kwargs.items() if key != name}


def is_inplace(name: str) -> bool:
    """True for a call that writes into its first argument, by its name."""
    return name in _INPLACE or (name.endswith("_") and not name.startswith("__"))


def python(name: str) -> Iterator[Callable[..., object]]:
    """The functions of Python, `operator.add` and `operator.iadd`, that compute the operator `name`."""
    for method, op in METHODS.items():
        if op == name and hasattr(operator, method):
            yield getattr(operator, method)
    if name == "abs":
        yield abs


def assigned(tensor: Tensor, index: Any, value: Tensor | float) -> Any:
    """`tensor[index] = value` as a function: what a graph of values can hold, print and run.

    Returns:
        A copy of `tensor`, of the same shape, with `value` at `index`.
    """
    if has_torch_function((tensor, value)):  # a tensor of another kind has a say in it
        return handle_torch_function(assigned, (tensor, value), tensor, index, value)
    written = tensor.clone()
    written[index] = value
    return written


def name_of(target: object) -> str:
    """The bare name of a function, or of a method by its name."""
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def readable(target: object) -> str:
    """A name for the value of a call, as torch.fx gives it but for capitals, for which it searches long."""
    name = name_of(target).replace(".", "_")
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name


def is_of_torch(target: object) -> bool:
    """True for torch's own modules and functions, Python's operators, and methods by their names."""
    named = type(target) if isinstance(target, nn.Module) else target
    module = getattr(named, "__module__", None)
    return type(module) is not str or module.partition(".")[0] in ("torch", "_operator", "builtins")


def qualified(target: OpOverload | OpOverloadPacket) -> str:
    """`library::operator`, of an operator in `torch.ops` and of its overloads alike."""
    if isinstance(target, OpOverloadPacket):
        return str(target._qualified_op_name)
    return str(target._schema.name)


def outputs_of(result: object) -> list[Any]:
    """What a call returned, in the order of `Node.output`: tuples and lists opened at any depth."""
    if isinstance(result, tuple | list):
        return [output for part in result for output in outputs_of(part)]
    return [result]


def plain(value: object) -> object:
    """An argument out of a graph, in which a list is of a kind that cannot be changed."""
    if isinstance(value, list):
        return list(map(plain, value))
    if type(value) is tuple:
        return tuple(map(plain, value))
    return value


def number(value: object) -> object:
    """The whole number that a tensor without dims is; anything else as it is."""
    if not isinstance(value, Tensor) or value.ndim or value.is_meta:
        return value
    return value if value.is_floating_point() or value.is_complex() else int(value)


def attribute(value: object) -> object:
    """An attribute of a module as the code would write it; most are pairs of numbers."""
    if type(value) is tuple and PLAIN.issuperset(map(type, value)):
        return value
    return number(written(value))


def written(value: object) -> object:
    """Numbers of numpy as the code would write them."""
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        entries = map(written, value)
        return list(entries) if isinstance(value, list) else tuple(entries)
    return value.item() if isinstance(value, np.generic) else value
