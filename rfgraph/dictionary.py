"""The vocabulary as people read it: every operator, how it is written, and what its rule says it reads.

In: the vocabulary, and the docstrings of its rules. Out: `Entry`s, those that a name means, and a page of
them all. Nothing here is written by hand: a rule that is taught is in it.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from inspect import cleandoc
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from rfgraph.capture.aten import SPELLINGS
from rfgraph.errors import InputError, nearest_names
from rfgraph.language.vocabulary import Operator, Target, Vocabulary
from rfgraph.rules import VOCABULARY

_NAMESPACES = {
    "nn": nn,
    "F": F,
    "torch": torch,
    "torch.special": torch.special,
    "torch.linalg": torch.linalg,
    "torch.fft": torch.fft,
    "Tensor": torch.Tensor,
    "operator": operator,
}
"""Where operators have the names that people write."""
_LONG = {
    "torch.nn.functional.": "F.",
    "nn.functional.": "F.",
    "torch.nn.": "nn.",
    "torch.Tensor.": "Tensor.",
    "torch.ops.aten.": "aten.",
}
"""The same names as they are written in full."""
_TORCH = ".".join(torch.__version__.split(".")[:2])


@dataclass(frozen=True)
class Entry:
    """An operator that rfgraph knows.

    Attributes:
        name: as in a report.
        family: the file of its rule; the whole module's name for a rule of one's own.
        spellings: as a person writes them: `nn.Conv2d`, `F.conv2d`, `torch.conv2d`, `Tensor.relu`. In-place
            methods (`Tensor.relu_`), `out=` and ATen's overloads are the same operators.
        summary: what the rule's docstring begins with.
        reads: what one output position reads. formula: the same as sets of positions, `R(o)`.
        example: one output position and what it reads.
        precision: whether the rule is exact, and where it is conservative.
        documented: address of the operator's own documentation.

    From `summary` on, what the rule's docstring says; empty where it says nothing.
    """

    name: str
    family: str
    spellings: tuple[str, ...]
    summary: str
    reads: str
    formula: str
    example: str
    precision: str
    documented: str


FIELDS = tuple(field.name for field in fields(Entry))[4:]
"""What a rule's docstring says below its first line, in its order."""
_FIELD = re.compile(rf"^({'|'.join(FIELDS).title()}):", re.MULTILINE)


def operators() -> tuple[Entry, ...]:
    """Every operator that rfgraph knows, also those taught with `rfgraph.rule`, by family and name."""
    spellings = _spellings(VOCABULARY)
    entries = (_entry(known, spellings[name]) for name, known in VOCABULARY.operators.items())
    return tuple(sorted(entries, key=lambda entry: (entry.family, entry.name)))


def _entry(known: Operator, spellings: Sequence[str]) -> Entry:
    rule: Any = known.rule
    while isinstance(rule, partial):
        rule = rule.func
    summary, *parts = _FIELD.split(cleandoc(rule.__doc__ or ""))
    said = dict(zip(parts[::2], parts[1::2], strict=True))
    texts = (
        " ".join(text.split())
        for text in (summary, *(said.get(name.title(), "") for name in FIELDS))
    )
    family = rule.__module__.removeprefix("rfgraph.rules.")
    return Entry(known.name, family, tuple(spellings), *texts)


# --- spellings ------------------------------------------------------------------------------------


def _spellings(vocabulary: Vocabulary) -> dict[str, list[str]]:
    """The spellings of every operator, by its name."""
    written: dict[str, dict[str, None]] = {name: {} for name in vocabulary.operators}
    public = {id(target) for target, _ in _public()}
    for target, spelling in [*_public(), *_others(vocabulary, public)]:
        known = _known(vocabulary, target)
        if known is not None:
            written[known.name][spelling] = None
    for method, (known, _) in vocabulary.methods.items():
        written[known.name][f"Tensor.{method}"] = None
    return {name: list(spellings) for name, spellings in written.items()}


def _public() -> Iterator[tuple[Target, str]]:
    """What torch and Python offer under a public name, and that name."""
    for prefix, namespace in _NAMESPACES.items():
        for name, value in vars(namespace).items():
            if callable(value) and not name.startswith("_"):
                yield value, f"{prefix}.{name}"


def _others(vocabulary: Vocabulary, public: set[int]) -> Iterator[tuple[Target, str]]:
    """The functions and modules of other libraries and of users."""
    for target in (*vocabulary.functions, *vocabulary.modules):
        if isinstance(target, str):
            yield target, "torch.ops." + target.replace("::", ".")
        elif id(target) not in public:
            name = f"{target.__module__}.{target.__qualname__}".removeprefix("builtins.")
            yield (
                target,
                name.replace("._VariableFunctionsClass.", "."),
            )  # what torch keeps to itself


def _known(vocabulary: Vocabulary, target: Target) -> Operator | None:
    """The operator of a function or of a class of modules."""
    if not isinstance(target, type):
        return vocabulary.functions.get(target, (None,))[0]
    known = vocabulary.of_class(target) if issubclass(target, nn.Module) else None
    return known and known[0][0]


# --- names ----------------------------------------------------------------------------------------


def operators_named(name: str) -> tuple[Entry, ...]:
    """The operators that a name means.

    Args:
        name: of an operator, or a spelling (`nn.Conv2d`, `torch.nn.Conv2d`, `Conv2d`, `aten.conv2d`), or a
            pattern of either (`conv*`, `nn.*Pool2d`). A name on its own means the operator of that name,
            and the spellings that end in it where there is none.

    Raises:
        InputError: no operator has that name; the message has the nearest ones.
    """
    entries, spelled = operators(), _short(name)
    for bare in dict.fromkeys((spelled, spelled.removesuffix("_"))):  # a method that writes
        for means in (_is_called, _is_written, _ends_in):
            meant = tuple(entry for entry in entries if means(entry, bare))
            if meant:
                return meant
        meant = _of_aten(entries, bare)
        if meant:
            return meant
    raise InputError(_unknown(name, entries))


def _short(name: str) -> str:
    name = f"torch.ops.{name.replace('::', '.')}" if "::" in name else name
    long = next((long for long in _LONG if name.startswith(long)), "")
    return _LONG.get(long, "") + name.removeprefix(long)


def _is_called(entry: Entry, name: str) -> bool:
    return fnmatch.fnmatchcase(entry.name, name)


def _is_written(entry: Entry, name: str) -> bool:
    return any(fnmatch.fnmatchcase(spelling, name) for spelling in entry.spellings)


def _ends_in(entry: Entry, name: str) -> bool:
    return any(spelling.rpartition(".")[2] == name for spelling in entry.spellings)


def _of_aten(entries: Sequence[Entry], name: str) -> tuple[Entry, ...]:
    """The operator of `aten.conv2d`, of `aten.conv2d.default` and of its other overloads."""
    library, _, rest = name.partition(".")
    base = rest.partition(".")[0].removesuffix("_")
    known = VOCABULARY.of_library(f"aten::{base}") if library == "aten" else None
    return tuple(entry for entry in entries if known and entry.name == known[0].name)


def _unknown(name: str, entries: Sequence[Entry]) -> str:
    library, _, rest = _short(name).partition(".")
    if library == "aten" and {rest, rest.partition(".")[0]} & SPELLINGS.keys():
        return f"{name!r} is no operator of its own: its calls are read as those of torch's public functions"
    names = [entry.name for entry in entries]
    written = (spelling for entry in entries for spelling in entry.spellings)
    return f"there is no operator {name!r}{nearest_names(_short(name), (*names, *written))}"


# --- the page -------------------------------------------------------------------------------------


def by_rule(entries: Sequence[Entry]) -> Iterator[tuple[Entry, ...]]:
    """Operators of a family that share a rule, together, in the order of the first of them."""
    shared: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        shared.setdefault((entry.family, entry.summary or entry.name, entry.reads), []).append(
            entry
        )
    return map(tuple, shared.values())


def markdown(entries: Sequence[Entry]) -> str:
    """The operators as a page, by family and rule."""
    lines = [
        "# Operators",
        "",
        f"{count(entries)}, as `rfgraph operators --format markdown` prints them with torch {_TORCH}.",
        "",
    ]
    for family, rules in groupby(by_rule(entries), key=lambda together: together[0].family):
        lines += [f"## {family}", ""]
        for together in rules:
            lines += _section(together)
    return "\n".join(lines).rstrip() + "\n"


def _section(together: Sequence[Entry]) -> Iterator[str]:
    heading = together[0].summary.rstrip(".") or together[0].name
    yield from (f"### {_escaped(heading)}", "")
    for name in FIELDS:
        yield f"- {name.title()}: {_escaped(getattr(together[0], name))}"
    yield from ("", "| operator | spellings |", "|---|---|")
    for entry in together:
        yield f"| {entry.name} | {', '.join(f'`{spelling}`' for spelling in entry.spellings)} |"
    yield ""


def _escaped(text: str) -> str:
    """Text in which a `*` is a product, but for code."""
    return re.sub(r"(`[^`]*`)|([*<])", lambda m: m[1] or f"\\{m[2]}", text)


def count(entries: Sequence[Entry]) -> str:
    """`335 operators in 16 families`."""
    families = len({entry.family for entry in entries})
    return f"{len(entries)} operators in {families} famil{'ies' if families > 1 else 'y'}"
