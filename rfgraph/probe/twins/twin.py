"""`Twin`: a tensor of the linearised, positive, float64 twin of a model.

In: tensors; calls that torch hands over by `__torch_function__`. Out: twins of their results.

The twin of an operator reads what the operator reads, and is a sum of its operands with positive
coefficients: nothing cancels, saturates or dies, so a gradient through it is exact. Activations and
scalings pass on what they get, products are sums, weights are positive. The values matter only where
they are exactly 0 (nothing is read through a product with them) or -inf (a softmax leaves them out).
A call without a twin is refused, never passed through.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from rfgraph.graph.calls import METHODS, is_inplace
from rfgraph.graph.replay import UnreadableError
from rfgraph.probe.metadata import bare, valued
from rfgraph.probe.positional import by_position
from rfgraph.probe.twins.encoding import settled

Result: TypeAlias = Tensor | tuple[Tensor, ...]
"""What an operator returns."""
Operand: TypeAlias = Tensor | float | complex
Named: TypeAlias = dict[str, Any]
"""Arguments of a call, by the names of its parameters."""
Handler: TypeAlias = Callable[..., Result | tuple[Tensor, None]]
AnyHandler = TypeVar("AnyHandler", bound=Handler)
HANDLERS: dict[str, Handler] = {}
"""Name of an operator -> its twin: `handler(call, *args, **kwargs)` gives plain float64 tensors."""

_METADATA = frozenset(
    "size dim ndimension numel nelement element_size stride __len__ is_contiguous is_complex "
    "is_floating_point is_signed get_device storage_offset is_conj is_neg is_inference __hash__ "
    "is_same_size is_pinned __format__ __repr__".split()
)
_RANDOM = frozenset("rand_like randn_like randint_like bernoulli".split())
_BOOLEAN = frozenset(
    "eq ne lt le gt ge greater greater_equal less less_equal not_equal isclose isnan isinf isfinite isneginf "
    "isposinf isreal signbit logical_and logical_or logical_xor logical_not any all isin".split()
)
_TRANSPOSED = {"T": None, "mT": (-2, -1), "H": None, "mH": (-2, -1)}
_SAME = frozenset(("real", "imag", "data"))


@dataclass
class Setting:
    """How the twins of one replay are made: the seed of the weights, and the node that is made now.

    `cut`: reads of a whole axis are left out in the call that is made now.
    """

    seed: int = 0
    cut: bool = False
    _weights: dict[tuple[object, ...], Tensor] = field(default_factory=dict)

    def weights(self, shape: Sequence[int], dims: Sequence[int], device: torch.device) -> Tensor:
        """Positive random numbers that sum to 1 over `dims`: the same ones for the same shape."""
        key = (tuple(shape), tuple(dims), device)
        if key not in self._weights:
            seed = hash((self.seed, *shape, len(dims))) % (1 << 62)
            generator = torch.Generator().manual_seed(seed)
            drawn = 0.5 + torch.rand(tuple(shape), generator=generator, dtype=torch.float64)
            total = drawn.sum(tuple(dims), keepdim=True) if dims else drawn
            self._weights[key] = (drawn / total).to(device)
        return self._weights[key]


@dataclass(frozen=True)
class Called:
    """What a handler is told of a call besides its arguments."""

    name: str
    function: Callable[..., Any]
    setting: Setting
    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def shapes(self) -> Any:
        """What the real operator returns for tensors of these shapes: meta tensors, where it can."""
        kwargs = {name: mapped(arg, _to_meta) for name, arg in self.kwargs.items()}
        if "device" in kwargs:
            kwargs["device"] = "meta"
        try:
            return self.function(*mapped(self.args, _to_meta), **kwargs)
        except RuntimeError as error:  # it has no meta kernel, or one that asks for a value
            if not (isinstance(error, NotImplementedError) or "meta tensors" in str(error)):
                raise
            return self.function(*mapped(self.args, _to_zeros), **mapped(self.kwargs, _to_zeros))

    def dtype(self) -> torch.dtype:
        """The dtype of what a cast returns, asked of tensors without elements."""
        kwargs = {name: mapped(arg, _emptied) for name, arg in self.kwargs.items()}
        found: torch.dtype = self.function(*mapped(self.args, _emptied), **kwargs).dtype
        return found

    def shape(self) -> tuple[int, ...]:
        """The shape of the one tensor, or of the first, that the real operator returns."""
        result = self.shapes()
        return tuple((result[0] if isinstance(result, tuple | list) else result).shape)


@dataclass(frozen=True, eq=False)
class Part:
    """A value with the gradient of some parts of a twin alone: those that these dims carry.

    `entry`: the argument of a call that it came through, by its node and which of its uses it is.
    """

    carried: frozenset[frozenset[int]]
    value: Tensor
    entry: tuple[str, int] = ("", 0)


class Twin(torch.Tensor):
    """Stands in a replay for a tensor of the graph; `value` is its float64 twin.

    `fixed`: the tensor itself, where it depends on no input: made by `zeros_like` and its like, and by
    calls on such tensors alone. Masks are built so. `node`, `parts`: in a replay by parts, whose twin it is,
    and what its gradient is made of.
    """

    value: Tensor
    setting: Setting
    fixed: Tensor | None
    node: str
    parts: tuple[Part, ...]

    @staticmethod
    def make(value: Tensor, dtype: torch.dtype, setting: Setting) -> Twin:
        twin: Twin = torch.Tensor._make_wrapper_subclass(
            Twin, tuple(value.shape), dtype=dtype, device=value.device
        )
        twin.value, twin.setting, twin.fixed = value, setting, None
        twin.node, twin.parts = "", ()
        return twin

    @staticmethod
    def constant(real: Tensor, setting: Setting) -> Twin:
        """The twin of a tensor that depends on no input."""
        twin = Twin.make(settled(real), real.dtype, setting)
        twin.fixed = real
        return twin

    def __repr__(self, **_: object) -> str:  # type: ignore[override]
        return f"Twin(shape={tuple(self.value.shape)})"

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        args, kwargs = by_position(func, args, kwargs) if kwargs else (args, {})
        name = getattr(func, "__name__", "")
        if name == "__get__":
            return _attribute(func, args)
        if name == "__set__" and getattr(func, "__self__", None) is torch.Tensor.data:
            args[0].value = args[1].value if isinstance(args[1], Twin) else settled(args[1])
            return None
        if name in _METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        return _called(func, name, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: object, types: object, args: object = (), kwargs: object = None
    ) -> object:
        raise UnreadableError(f"{func} is called from compiled code")


def twin(names: str) -> Callable[[AnyHandler], AnyHandler]:
    """Teach the twin of the operators called by these names, as torch spells them."""

    def teach(handler: AnyHandler) -> AnyHandler:
        for name in names.split():
            if name in HANDLERS:
                raise ValueError(f"two twins of {name!r}")
            HANDLERS[name] = handler
        return handler

    return teach


def canonical(name: str) -> str:
    """One name for `add`, `add_`, `__add__`, `__radd__`, for `fft_fft` and `fft`, for `t_copy` and `t`."""
    name = name.partition(".")[0]
    if name.startswith("__"):
        return METHODS.get(name, name)
    for prefix in ("fft_", "special_", "linalg_"):
        name = name.removeprefix(prefix)
    name = name.strip("_")
    return name if name == "index_copy" else name.removesuffix("_copy")


def _called(
    func: Callable[..., object], name: str, args: tuple[Any, ...], kwargs: dict[str, object]
) -> object:
    """The twin of `func(*args, **kwargs)`; an in-place call changes what its first argument holds."""
    given = next(entry for entry in leaves((args, kwargs)) if isinstance(entry, Twin))
    read = (entry for entry in leaves(valued(name, args, kwargs)) if isinstance(entry, Twin))
    first = next((entry for entry in read if entry.fixed is None), None)
    if first is None:
        return _constant(func, name, args, kwargs, given.setting)
    inplace = is_inplace(name) or kwargs.get("inplace") is True
    if inplace and not isinstance(args[0], Twin):  # a copy of a tensor of the model
        args = (Twin.constant(args[0], first.setting), *args[1:])
    args = (*args[: int(inplace)], *mapped(args[int(inplace) :], _real))
    kwargs = {key: mapped(entry, _real) for key, entry in kwargs.items() if key != "inplace"}
    handler = HANDLERS.get(canonical(name))
    if handler is None:
        raise UnreadableError(f"the twin of {name!r} is unknown")
    call = Called(canonical(name), func, first.setting, args, kwargs)
    with torch._C.DisableTorchFunctionSubclass():
        result = handler(call, *args, **kwargs)
        made = _wrapped(result, _dtype(call, first), first.setting)
    if not inplace:
        return made
    if made.value.shape != args[0].value.shape:
        raise UnreadableError(f"{name!r} changes a shape in place")
    args[0].value, args[0].fixed = made.value, None
    return args[0]


def _constant(
    func: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, object],
    setting: Setting,
) -> Any:
    """A call that uses the values of no tensor that depends on an input: what it really returns.

    What it draws at random is fixed to no value.
    """
    result = func(*mapped(args, _stand_in), **mapped(kwargs, _stand_in))
    if bare(name) in _RANDOM:
        result = torch.ones_like(result)
    if is_inplace(name) and isinstance(args[0], Twin):
        written: Any = (
            args[0].fixed if result is None else result
        )  # an item assignment returns nothing
        args[0].value, args[0].fixed = settled(written), written
        return args[0]
    return mapped(result, lambda e: Twin.constant(e, setting) if isinstance(e, Tensor) else e)


def _real(entry: object) -> object:
    return entry.fixed if isinstance(entry, Twin) and entry.fixed is not None else entry


def _stand_in(entry: object) -> object:
    """The tensor itself where it depends on no input; else one of its shape and dtype."""
    if isinstance(entry, Twin) and entry.fixed is None:
        return torch.zeros(tuple(entry.shape), dtype=entry.dtype, device=entry.device)
    return _real(entry)


def _wrapped(result: object, dtype: torch.dtype, setting: Setting) -> Any:
    if isinstance(result, Twin) or not isinstance(result, Tensor | tuple | list):
        return result
    if isinstance(result, Tensor):
        return Twin.make(result, dtype, setting)
    return tuple(_wrapped(entry, dtype, setting) for entry in result)


def _dtype(call: Called, first: Twin) -> torch.dtype:
    """A mask is boolean, as those that are handed one insist; of other results, that of what is read."""
    if call.name in _BOOLEAN:
        return torch.bool
    read = (entry for entry in leaves((call.args, call.kwargs)) if isinstance(entry, Twin))
    return next((entry.dtype for entry in read if entry.dtype is not torch.bool), first.dtype)


def _attribute(getter: Any, args: tuple[Twin, ...]) -> object:
    """`x.shape`, `x.device`: of the stand-in itself; `x.T`: of its value."""
    name = getter.__self__.__name__
    own: Twin = args[0]
    if name in _SAME:
        return own
    with torch._C.DisableTorchFunctionSubclass():
        if name not in _TRANSPOSED:
            return getter(*args)
        dims = _TRANSPOSED[name]
        value = own.value if own.fixed is None else own.fixed
        turned = value.transpose(*dims) if dims else value.permute(*reversed(range(value.ndim)))
        if own.fixed is not None:
            return Twin.constant(turned, own.setting)
        return Twin.make(turned, own.dtype, own.setting)


# --- values -------------------------------------------------------------------------------------


def traced(value: object) -> list[Tensor]:
    """The values of every twin among arguments, at any depth."""
    return [entry.value for entry in leaves(value) if isinstance(entry, Twin)]


def nothing(call: Called) -> Tensor:
    """Ones that read nothing, as what cut reads leave of a call: a tensor, or one for each result."""
    real, device = call.shapes(), traced((call.args, call.kwargs))[0].device

    def ones(shape: Sequence[int]) -> Tensor:
        return torch.ones(tuple(shape), dtype=torch.float64, device=device)

    if isinstance(real, Tensor):
        return ones(real.shape)
    return tuple(ones(result.shape) for result in real)  # type: ignore[return-value]


def _to_meta(entry: object) -> object:
    if isinstance(entry, Twin):
        return torch.empty(entry.value.shape, dtype=entry.dtype, device="meta")
    return entry.to("meta") if isinstance(entry, Tensor) else entry


def _emptied(entry: object) -> object:
    return torch.empty(0, dtype=entry.dtype) if isinstance(entry, Tensor) else entry


def _to_zeros(entry: object) -> object:
    if isinstance(entry, Twin):
        return torch.zeros(entry.value.shape, dtype=entry.dtype, device=entry.device)
    return entry


def mapped(value: Any, change: Callable[[object], object]) -> Any:
    """The argument, with everything in it changed, at any depth."""
    if type(value) in (tuple, list):
        return type(value)(mapped(entry, change) for entry in value)
    if isinstance(value, Mapping):
        return {name: mapped(entry, change) for name, entry in value.items()}
    if type(value) is slice:
        return slice(*(mapped(end, change) for end in (value.start, value.stop, value.step)))
    return change(value)


def leaves(value: object) -> list[object]:
    """What an argument holds, at any depth."""
    if isinstance(value, tuple | list):
        return [leaf for entry in value for leaf in leaves(entry)]
    if isinstance(value, Mapping):
        return leaves(list(value.values()))
    if type(value) is slice:
        return leaves((value.start, value.stop, value.step))
    return [value]


def arguments(signature: str, args: Sequence[object], kwargs: Mapping[str, object]) -> Named:
    """Arguments by name: `arguments("input, dim=-1", args, kwargs)`; unknown keywords are kept."""
    parsed = ast.parse(f"def call({signature}): pass").body[0].args  # type: ignore[attr-defined]
    names = [argument.arg for argument in parsed.args]
    defaults = zip(names[len(names) - len(parsed.defaults) :], parsed.defaults, strict=True)
    found = {name: ast.literal_eval(default) for name, default in defaults}
    return {**found, **dict(zip(names, args, strict=False)), **kwargs}
