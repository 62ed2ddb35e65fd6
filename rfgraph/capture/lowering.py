"""Lowering: one node of a `torch.fx` graph -> canonical `Node`s. The same for every way in.

In: an fx node whose operands have their `meta["val"]` (shape and dtype), a vocabulary. Out: the operator and
its bound params (`Bound`); canonical nodes, named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch._ops import OpOverload, OpOverloadPacket

from rfgraph.graph import Masked, Node, Operand, Shape
from rfgraph.graph.calls import (
    METHODS,
    PLAIN,
    REVERSED,
    assigned,
    is_inplace,
    name_of,
    number,
    outputs_of,
    qualified,
)
from rfgraph.language.vocabulary import (
    OfClass,
    Operator,
    Params,
    Signature,
    Vocabulary,
    module_params,
)

Result: TypeAlias = Any
"""What a call returns: a tensor, tuples and lists of these, a size or a dtype, anything at all."""
Found: TypeAlias = tuple[Operator, Signature]


@dataclass(slots=True)
class Bound:
    """A call bound to its operator: what the rule will see, before the shape of the result is known.

    `shapes` are those of the operands. `known` is None where the vocabulary has no operator for the call;
    `problem` may say more. Calls with the same `alike` share their `params`; None: like no other.
    """

    op: str
    params: Params
    operands: list[fx.Node]
    shapes: tuple[Shape, ...]
    known: Operator | None
    alike: tuple[object, ...] | None = None


_WHOLE = frozenset(
    "size dim dims dim0 dim1 dim2 start_dim end_dim dimension start length end step n k shifts chunks groups "
    "num_groups offset diagonal kernel_size stride padding dilation output_padding output_size correction "
    "num_classes n_fft hop_length win_length split_size split_size_or_sections indices_or_sections "
    "sections pad shape sizes split_sizes unflattened_size normalized_shape s upscale_factor "
    "downscale_factor storage_offset r".split()
)
"""Arguments that are whole numbers, whatever they come as: torch takes a tensor without dims for one."""
_NO_NUMBERS = PLAIN | {Operand}
LIKE_NO_OTHER = frozenset((torch.Tensor, nn.Parameter, slice, list))
"""Classes of arguments that are compared by who they are, or have no hash."""
_OF_TWO = frozenset(("max", "min"))
"""In the place of a dim, a tensor is a second one to these, unless more is said of a dim."""
_OF_A_DIM = frozenset(("dim", "keepdim"))


def _number(value: object) -> object:
    """The whole number that a constant without dims is; in a sequence, too."""
    if type(value) is tuple and PLAIN.issuperset(map(type, value)):
        return value
    if isinstance(value, list | tuple) and any(isinstance(entry, torch.Tensor) for entry in value):
        return type(value)(map(_number, value))
    return number(value)


def _with_numbers(params: Params) -> Params:
    """The same arguments, but that whole numbers are Python's."""
    if _NO_NUMBERS.issuperset(map(type, params.values())):
        return params
    named = [name for name, value in params.items() if type(value) not in PLAIN]
    return {**params, **{name: _number(params[name]) for name in named if name in _WHOLE}}


class Lowering:
    """Canonical nodes of one graph, and their names.

    Args:
        vocabulary: every spelling of every operator.
        attribute: the object that the target of a `get_attr` or `call_module` node stands for.
    """

    def __init__(self, vocabulary: Vocabulary, attribute: Callable[[str], object]) -> None:
        self._vocabulary = vocabulary
        self._attribute = attribute
        self._classes: dict[type, OfClass] = {}
        self._repeats: dict[str, int] = {}
        self._taken: set[str] = set()
        self._shapes: dict[fx.Node, Shape] = {}  # of what has a name
        self._shared: dict[object, Params] = {}
        self.names: dict[fx.Node, str] = {}

    # --- which operator, with which arguments ---------------------------------------------------

    def bind(self, node: fx.Node, found: Found | None = None) -> Bound:
        """The operator of a call and its params, in which an `Operand` stands for a tensor of the graph.

        `found`: the operator and signature, where the caller has looked them up.

        Raises:
            ValueError: arguments that torch would reject.
        """
        found = found or self._operator(node)
        if found is None:
            return self._unknown(node, "")
        known, signature = found
        operands: list[fx.Node] = []
        args: tuple[object, ...] = node.args
        if node.op == "call_module":
            given = self._params(signature.bind(args, node.kwargs), operands)
            if len(args) > 1 or node.kwargs:
                given = _with_numbers(given)
            params: Params = {
                **given,
                **module_params(known, self._attribute(str(node.target))),
                **given,
            }
        else:
            if node.target is getattr:
                args = args[:1]
            elif node.op == "call_method" and node.target in REVERSED:
                args = args[::-1]
            try:
                given = signature.bind(args, node.kwargs)
            except TypeError as error:
                return self._unknown(node, f"{known.name} {error}")
            params = self._params(given, operands)
            is_dim = len(args) > 2 or not _OF_A_DIM.isdisjoint(node.kwargs)
            if is_dim or known.name not in _OF_TWO:
                params = _with_numbers(params)
        shapes = tuple([self._shapes[operand] for operand in operands])
        alike = None if any(map(_is_told, operands)) else _alike(known.name, shapes, params)
        try:
            shared = self._shared.get(alike)
        except TypeError:  # there is a list, or a slice, further inside
            alike = shared = None
        if shared is None:
            shared = params
            if known.normalize is not None and operands:
                shared = known.normalize(params, shapes)
            if alike is not None:
                self._shared[alike] = shared
        return Bound(known.name, shared, operands, shapes, known, alike)

    def of_module(self, module: object) -> Found | None:
        """As `Vocabulary.of_module`; what it says of a class is remembered for this graph."""
        return self._vocabulary.of_module(module, self._classes)

    def op(self, node: fx.Node) -> str:
        """The name of the call's operator, or the name it was called by."""
        found = self._operator(node)
        return self._unknown(node, "").op if found is None else found[0].name

    def _operator(self, node: fx.Node) -> Found | None:
        target, vocabulary = node.target, self._vocabulary
        if node.op == "call_module":
            return self.of_module(self._attribute(str(target)))
        if target is getattr:
            target = node.args[1]  # type: ignore[assignment]
        if isinstance(target, str):
            found = vocabulary.methods.get(target)
            if found is not None:
                return found
            return vocabulary.methods.get(
                METHODS.get(target, target.rstrip("_") if is_inplace(target) else "")
            )
        if target is assigned:
            return vocabulary.methods.get("__setitem__")
        found = vocabulary.functions.get(target)
        if found is None and isinstance(target, OpOverload | OpOverloadPacket):
            found = vocabulary.of_library(qualified(target))
        return found

    def _unknown(self, node: fx.Node, problem: str) -> Bound:
        operands: list[fx.Node] = []
        params = {"args": self._param(node.args, operands), "problem": problem}
        params.update((name, self._param(v, operands)) for name, v in node.kwargs.items())
        target: object = node.target
        if node.op == "call_module":
            op = type(self._attribute(str(target))).__name__
        else:
            op = str(node.args[1]) if target is getattr else name_of(target)
        return Bound(op, params, operands, tuple([self._shapes[each] for each in operands]), None)

    def _params(self, bound: Params, operands: list[fx.Node]) -> Params:
        """Bound arguments as a rule sees them; the operands are added to those that are known."""
        plain = PLAIN
        return {
            name: value if type(value) in plain else self._param(value, operands)
            for name, value in bound.items()
        }

    def _param(self, value: Any, operands: list[fx.Node]) -> object:
        """An argument as a rule sees it: constants are themselves, tensors of the graph operands."""
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is fx.Node:
            if value.op == "get_attr":
                return self._attribute(str(value.target))
            meta = value.meta
            if "constant" in meta:
                return meta["constant"]
            operands.append(value)
            dtype, masked = meta["val"].dtype, meta.get("masked")
            return Operand(len(operands) - 1, self._shapes[value], dtype, masked, meta.get("known"))
        if isinstance(value, list):  # x[[0, 1]] picks rows, x[0, 1] an element
            return [self._param(entry, operands) for entry in value]
        if isinstance(value, tuple):
            entries = self._entries(value, operands)
            return type(value)(*entries) if hasattr(value, "_fields") else tuple(entries)
        if kind is slice:
            ends = (value.start, value.stop, value.step)
            is_plain = PLAIN.issuperset(map(type, ends))
            return value if is_plain else slice(*self._entries(ends, operands))
        if isinstance(value, dict):
            return {key: self._param(entry, operands) for key, entry in value.items()}
        return value

    def _entries(self, values: Sequence[object], operands: list[fx.Node]) -> list[Any]:
        plain = PLAIN
        return [v if type(v) in plain else self._param(v, operands) for v in values]

    # --- canonical nodes ------------------------------------------------------------------------

    def input(self, node: fx.Node, name: str, is_float: bool) -> Node:
        """The canonical node of an input."""
        unique = self.names[node] = self.unique(name)
        shape = self._shapes[node] = _shape_of(node)
        return Node(unique, "input", params={"is_float": is_float}, shape=shape, fx=node)

    def node(self, call: fx.Node, bound: Bound, output: int, value: fx.Node) -> Node:
        """The canonical node of output number `output` of a call, the tensor that is `value`."""
        meta, names = call.meta, self.names
        path, kind = meta.get("where", ("", ""))
        if path and meta.get("own", call.op == "call_module"):
            name = self.unique(path)
        else:
            name = self.unique(f"{path}.{bound.op}" if path else bound.op)
        names[value] = name
        shape = self._shapes[value] = _shape_of(value)
        return Node(
            name,
            bound.op,
            tuple([names[operand] for operand in bound.operands]),
            bound.params,
            shape,
            bound.shapes,
            output,
            kind,
            meta.get("source", ""),
            bound.known is not None,
            call,
            value.meta.get("masked"),
        )

    def unique(self, name: str) -> str:
        """`name`, `name_1`, `name_2`: in the order of the calls."""
        count = self._repeats.get(name, 0)
        self._repeats[name] = count + 1
        unique = f"{name}_{count}" if count else name
        if unique in self._taken:
            return self.unique(name)
        self._taken.add(unique)
        return unique

    def mark(self) -> tuple[dict[str, int], set[str]]:
        """What `rewind` goes back to."""
        return dict(self._repeats), set(self._taken)

    def rewind(self, mark: tuple[dict[str, int], set[str]]) -> None:
        """Forget the names given since `mark`."""
        self._repeats, self._taken = dict(mark[0]), set(mark[1])


def _is_told(operand: fx.Node) -> bool:
    """Something is fixed in it, or all is known of it."""
    meta = operand.meta
    return meta.get("masked") is not None or meta.get("known") is not None


def _alike(name: str, shapes: tuple[Shape, ...], params: Params) -> tuple[object, ...] | None:
    """What all calls have in common that are bound alike; None where a tensor or its like has a say."""
    values = tuple(params.values())
    kinds = tuple(map(type, values))  # 1, 1.0 and True are equal
    if not LIKE_NO_OTHER.isdisjoint(kinds):
        return None
    return name, shapes, tuple(params), kinds, values


def is_settled(bound: Bound) -> bool:
    """True for a call that uses the values of a tensor of the model, and of none of the graph.

    `kernel.to(x)` is a constant of the model, as is a mask that is expanded to the shape of `x`.
    """
    known = bound.known
    if known is None or known.values is None:
        return False
    leaves = outputs_of(list(known.used(bound.params).values()))
    is_traced = any(isinstance(leaf, Operand) for leaf in leaves)
    return not is_traced and any(isinstance(leaf, torch.Tensor) for leaf in leaves)


def fixed(bound: Bound, shape: Shape) -> Masked | None:
    """Positions of the output whose value the model fixes."""
    if bound.known is None or bound.known.masks is None:
        return None
    return bound.known.masks(dict(bound.params), shape)


def _shape_of(node: fx.Node) -> Shape:
    """The sizes of the tensor that is the node's value."""
    return tuple(node.meta["val"].shape)
