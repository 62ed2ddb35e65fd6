"""`Operator` and `Vocabulary`: one canonical name for every spelling of an operator.

In: an operator's spellings (module classes, functions, tensor methods; ATen overloads are functions too)
and how each binds its arguments. Out: the operator and bound parameters of one call.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeAlias

from rfgraph.graph import Masked, Node, Shape
from rfgraph.graph.calls import PLAIN, attribute
from rfgraph.language.reads import Reads

Params: TypeAlias = Mapping[str, Any]
"""The arguments of an operator by name: what each may be, its rule knows."""
Rule: TypeAlias = Callable[[Node], Reads]
Normalize: TypeAlias = Callable[[Params, Sequence[Shape]], Params]
Infer: TypeAlias = Callable[[Params, Sequence[Shape]], Shape | tuple[Shape | None, ...] | None]
Masks: TypeAlias = Callable[[Params, Shape], Masked | None]
Target: TypeAlias = type | Callable[..., object] | str
"""A class of modules, a function, `"library::operator"`, or the name of a tensor method."""
Spelling: TypeAlias = Target | tuple[Target, str]
"""A target, or one with a signature of its own."""


_ALSO = {
    **dict.fromkeys(("A", "x", "tensor"), "input"),
    **dict.fromkeys(("mat2", "vec", "vec2", "x2", "B", "y", "tensor2", "v"), "other"),
    "axis": "dim",
    "axis0": "dim0",
    "axis1": "dim1",
    "dims": "sizes",
    "train": "training",
}
"""Names that torch gives an argument in one spelling, and rules in all: `mm(mat2=w)`, `flip(axis=1)`."""


@dataclass(frozen=True)
class Signature:
    """The argument names of a call, in order, with defaults: `Signature.parse("input, dim=-1")`.

    `variadic` takes the remaining positional arguments (a lone tuple or list counts as all of them);
    `open` accepts any keyword.
    """

    names: tuple[str, ...]
    defaults: Mapping[str, object]
    variadic: str | None = None
    open: bool = False

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Read a signature written as in a `def`; defaults are literals."""
        arguments = ast.parse(f"def call({text}): pass").body[0].args  # type: ignore[attr-defined]
        positional = [*arguments.posonlyargs, *arguments.args]
        optional = positional[len(positional) - len(arguments.defaults) :]
        pairs = [*zip(optional, arguments.defaults, strict=True)]
        pairs += [*zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
        return cls(
            tuple(argument.arg for argument in positional),
            {argument.arg: ast.literal_eval(value) for argument, value in pairs if value},
            arguments.vararg.arg if arguments.vararg else None,
            arguments.kwarg is not None,
        )

    @classmethod
    def of(cls, function: Callable[..., object]) -> Signature:
        """The signature of a Python function or method; one that cannot be inspected takes anything."""
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return cls((), {}, "operands", True)
        named = [
            p
            for p in parameters
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "self"
        ]
        variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        return cls(
            tuple(p.name for p in named if p.kind is not p.KEYWORD_ONLY),
            {p.name: p.default for p in named if p.default is not p.empty},
            variadic,
            any(p.kind is p.VAR_KEYWORD for p in parameters),
        )

    @cached_property
    def known(self) -> frozenset[str]:
        """Every argument that has a name."""
        return frozenset((*self.names, *self.defaults))

    @cached_property
    def _left(self) -> tuple[Params, ...]:
        """By how many arguments come by position: the defaults of the others, in the signature's order."""
        by_keyword = {k: v for k, v in self.defaults.items() if k not in self.names}
        return tuple(
            {**{k: self.defaults[k] for k in self.names[i:] if k in self.defaults}, **by_keyword}
            for i in range(len(self.names) + 1)
        )

    def bind(self, args: Sequence[object], kwargs: Mapping[str, object]) -> Params:
        """Arguments by name, defaults filled in, in the order of the signature.

        `self` means the first one, as ATen calls it.

        Raises:
            TypeError: an argument that the signature does not have.
        """
        if "self" in kwargs and self.names and "self" not in self.known:
            kwargs = {self.names[0] if k == "self" else k: v for k, v in kwargs.items()}
        bound: dict[str, object] = dict(zip(self.names, args, strict=False))
        bound.update(self._left[len(bound)])
        rest = args[len(self.names) :]
        if self.variadic is not None:
            named = (kwargs[self.variadic],) if self.variadic in kwargs else ()
            bound[self.variadic] = _flat((*rest, *named))
        elif rest:
            raise TypeError(f"takes at most {len(self.names)} arguments, got {len(args)}")
        if kwargs:
            unknown = kwargs.keys() - self.known - {self.variadic}
            if unknown and not self.open and not unknown.isdisjoint(_ALSO):
                return self.bind(args, self._renamed(kwargs, unknown))
            if unknown and not self.open:
                raise TypeError(f"has no argument {', '.join(sorted(map(repr, unknown)))}")
            bound.update((k, value) for k, value in kwargs.items() if k != self.variadic)
            # Operands are numbered in this order: the input comes before a weight that has a default.
            return {**{name: bound[name] for name in self.names if name in bound}, **bound}
        return bound

    def _renamed(self, kwargs: Mapping[str, object], unknown: Collection[str]) -> Params:
        """Arguments by this signature's names; what it has under neither name is `TypeError`'s matter."""
        named = {name: _ALSO[name] for name in unknown if name in _ALSO}
        taken = {*self.known, self.variadic} - kwargs.keys()
        strange = sorted(repr(name) for name in unknown if named.get(name) not in taken)
        if strange:
            raise TypeError(f"has no argument {', '.join(strange)}")
        return {named.get(name, name): value for name, value in kwargs.items()}


def _flat(rest: Sequence[Any]) -> tuple[object, ...]:
    """`view(2, 3)` and `view((2, 3))` are one call."""
    alone = len(rest) == 1 and isinstance(rest[0], tuple | list)
    return tuple(rest[0] if alone else rest)


@dataclass(frozen=True)
class Operator:
    """A canonical operator: its name, its rule, and how a call of it becomes a node.

    Attributes:
        name: as in a report.
        rule: what one output position reads.
        signature: argument names, shared by every spelling that does not bring its own; None: inspect
            the target.
        normalize: turns bound arguments into canonical params (per-dim tuples, non-negative dims).
            May raise `ValueError` for arguments that torch would reject.
        infer: output shape(s) from canonical params and operand shapes; where it is or
            returns None, torch's meta kernels are asked.
        masks: positions of the output whose value the model fixes, from canonical params and the output's
            shape; None: there never are any.
        values: the arguments whose values the operator uses; the others are asked for their shape, dtype
            or device alone, as `other` in `x.type_as(other)`. None: it uses all of them.
    """

    name: str
    rule: Rule
    signature: Signature | None = None
    normalize: Normalize | None = None
    infer: Infer | None = None
    masks: Masks | None = None
    values: Collection[str] | None = None

    def used(self, params: Params) -> Params:
        """Of bound arguments, those whose values the operator uses."""
        if self.values is None:
            return params
        return {name: value for name, value in params.items() if name in self.values}


Spellings: TypeAlias = dict[Target, tuple[Operator, Signature]]
OfClass: TypeAlias = tuple[tuple[Operator, Signature], frozenset[str]] | None
"""The operator of a class of modules, and the names that a module of it may not replace."""


@dataclass(repr=False)  # it is a default argument of `rule`: help would print every operator
class Vocabulary:
    """Every spelling of every operator. A spelling belongs to one operator; duplicates are refused.

    `namespaces` are where the operators of torch's own library have their public names.
    """

    operators: dict[str, Operator] = field(default_factory=dict)
    functions: Spellings = field(default_factory=dict)
    methods: Spellings = field(default_factory=dict)
    modules: Spellings = field(default_factory=dict)
    namespaces: tuple[object, ...] = ()

    def add(self, operator: Operator, targets: Sequence[Spelling]) -> None:
        """Teach an operator and its spellings; a pair `(target, signature)` brings its own signature.

        Raises:
            ValueError: the operator's name or one of its spellings is taken.
        """
        if operator.name in self.operators:
            raise ValueError(f"there is a rule for operator {operator.name!r} already")
        for target in targets:
            spelled, text = target if isinstance(target, tuple) else (target, None)
            own = Signature.parse(text) if text is not None else operator.signature
            self._add_spelling(operator, spelled, own)
        self.operators[operator.name] = operator

    def _add_spelling(self, operator: Operator, target: Target, own: Signature | None) -> None:
        table = self.functions
        if isinstance(target, str):
            table = table if "::" in target else self.methods
            signature = own or Signature((), {}, "operands", True)
        elif isinstance(target, type):
            # A module is called with the arguments of its forward; the rest are its attributes.
            table, signature = self.modules, Signature.of(_forward(target))
            _computing(target)
        else:
            signature = own or Signature.of(target)
        if target in table:
            raise ValueError(f"there is a rule for {target!r} already: {table[target][0].name!r}")
        table[target] = (operator, signature)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self.operators)} operators)"

    def copy(self) -> Vocabulary:
        """A vocabulary that can be taught without teaching this one."""
        return Vocabulary(
            dict(self.operators),
            dict(self.functions),
            dict(self.methods),
            dict(self.modules),
            self.namespaces,
        )

    def of_library(self, name: str) -> tuple[Operator, Signature] | None:
        """The operator called `library::operator`; torch's own (`aten::conv2d`) go by their public names."""
        library, _, own = name.partition("::")
        if name in self.functions or library != "aten":
            return self.functions.get(name)
        for namespace in self.namespaces:
            function = getattr(namespace, own, None)
            if function in self.functions:
                return self.functions[function]
        return self.methods.get(own)

    def of_module(
        self, module: object, seen: dict[type, OfClass] | None = None
    ) -> tuple[Operator, Signature] | None:
        """The operator of a module, or None where it computes something of its own.

        A subclass is the operator of its base where it keeps `forward` and all that forward may call.
        One that overrides any of these is not, whatever it is called; nor is a module that has a
        `forward` or the like set on itself. `seen`: what was said of classes before, and is not asked again.
        """
        kind, seen = type(module), {} if seen is None else seen
        if kind not in seen:
            seen[kind] = self.of_class(kind)
        found = seen[kind]
        return None if found is None or not found[1].isdisjoint(vars(module)) else found[0]

    def of_class(self, kind: type) -> OfClass:
        """The operator of a class of modules, and the names that a module of it may not replace."""
        for base in kind.__mro__[:-1]:
            found = self.modules.get(base)
            if found is not None:
                names = _CALLING.union(_computing(base))
                return (found, names) if _computes_as(base, kind, names) else None
        return None


_CALLING = frozenset(
    "forward __call__ __getattr__ __getattribute__ _call_impl _wrapped_call_impl _slow_forward".split()
)
"""What every module is called by."""
_NOT_COMPUTING = frozenset(
    "extra_repr reset_parameters _reset_parameters reset_running_stats flatten_parameters "
    "_load_from_state_dict _save_to_state_dict from_pretrained".split()
)
_BY_DESCRIPTOR = (property, cached_property, staticmethod, classmethod)


@cache
def _computing(base: type) -> dict[str, object]:
    """The methods and properties by which modules of a class compute, as they were when it was taught.

    Those of every module are left out.
    """
    found: dict[str, object] = {}
    for known in base.__mro__[:-1]:
        if known.__module__ == "torch.nn.modules.module":
            break
        for name, value in vars(known).items():
            computes = callable(value) or isinstance(value, _BY_DESCRIPTOR)
            if computes and not name.startswith("__") and name not in _NOT_COMPUTING:
                found.setdefault(name, value)
    return found


def _computes_as(base: type, own: type, names: frozenset[str]) -> bool:
    """True where a class computes by the methods that `base` was taught with, and by no others."""
    if any(_definition(base, name) is not known for name, known in _computing(base).items()):
        return False
    further = (known for known in own.__mro__ if known not in base.__mro__)
    overridden = (name for known in further for name in names & vars(known).keys())
    return all(_definition(own, name) is _definition(base, name) for name in overridden)


def _definition(of: type, name: str) -> object:
    return next((vars(known)[name] for known in of.__mro__ if name in vars(known)), None)


def _forward(module_class: type) -> Any:
    return getattr(module_class, "forward", None)


def module_params(operator: Operator, module: object) -> Params:
    """The plain attributes and buffers of a module that are arguments of its operator.

    An operator without a signature of its own (one that a user taught) gets every public attribute.
    """
    attributes = vars(module)
    if operator.signature is None:
        return {k: v for k, v in attributes.items() if not k.startswith("_") and k != "training"}
    known = operator.signature.known
    plain = PLAIN
    own = {
        name: value if type(value := attributes[name]) in plain else attribute(value)
        for name in known & attributes.keys()
    }
    buffers = attributes["_buffers"]
    named = {name: buffers[name] for name in known & buffers.keys()} if buffers else {}
    return {**operator.signature.defaults, **own, **named}
