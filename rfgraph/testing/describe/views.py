"""`View`: a part of a tensor, or the whole in another order, that shares its memory.

In: how it is made, and the shape of the tensor. Out: code and shape. Dims are counted as torch does, the
batch first; shapes begin with the channels, as everywhere in descriptions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias

from rfgraph.testing.describe.code import Shape

ViewKind: TypeAlias = Literal[
    "index",
    "narrow",
    "select",
    "chunk",
    "split",
    "unbind",
    "transpose",
    "squeeze",
    "flatten",
    "view",
]
Entry: TypeAlias = int | tuple[int | None, int | None, int | None]
"""Of an index along one axis: a position, or start, stop and step."""


@dataclass(frozen=True)
class View:
    """One step from a tensor to a part of it.

    Attributes:
        kind: the method of torch, or an index.
        arguments: of an index an `Entry` for each axis; of the others those of the method, in its order, and
            of what gives several parts the number of one at the end.
    """

    kind: ViewKind
    arguments: tuple[Any, ...] = ()

    def out(self, shape: Shape) -> Shape:
        """The shape of the view of a tensor of this shape."""
        return _SHAPES[self.kind](shape, *self.arguments)

    def of(self, name: str) -> str:
        """The code that makes the view of the tensor that `name` holds."""
        if self.kind == "index":
            return f"{name}[{_index(self.arguments)}]"
        if self.kind == "view":
            return f"{name}.view(*{name}.shape[:2], -1)"
        if self.kind in ("chunk", "split", "unbind"):
            return f"{name}.{self.kind}({', '.join(map(str, self.arguments[:-1]))})[{self.arguments[-1]}]"
        return f"{name}.{self.kind}({', '.join(map(str, self.arguments))})"


Path: TypeAlias = tuple[View, ...]
"""Views of views: () is the tensor itself."""


def seen(path: Path, shape: Shape) -> Shape:
    """The shape at the end of a path."""
    for view in path:
        shape = view.out(shape)
    return shape


def written(path: Path, name: str) -> str:
    """The code of a path, from the tensor that `name` holds."""
    for view in path:
        name = view.of(name)
    return name


# --- as code ------------------------------------------------------------------------------------


def _index(entries: tuple[Entry, ...]) -> str:
    """`...` stands for axes that are full before those that are cut; full ones at the end are left out."""
    texts = [":", *map(_entry, entries)]
    first = next((i for i, text in enumerate(texts) if text != ":"), 0)
    if first > 1:
        return ", ".join(("...", *texts[first:]))
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    return ", ".join(texts)


def _entry(entry: Entry) -> str:
    if isinstance(entry, int):
        return str(entry)
    start, stop, step = ("" if end is None else str(end) for end in entry)
    return f"{start}:{stop}" + (f":{step}" if step else "")


# --- shapes -------------------------------------------------------------------------------------


def _indexed(shape: Shape, *entries: Entry) -> Shape:
    cut = ((size, e) for size, e in zip(shape, entries, strict=True) if not isinstance(e, int))
    return tuple(len(range(*slice(*entry).indices(size))) for size, entry in cut)


def _with(shape: Shape, dim: int, sizes: Iterable[int]) -> Shape:
    return (*shape[: dim - 1], *sizes, *shape[dim:])


def _chunk(shape: Shape, parts: int, dim: int, number: int) -> Shape:
    return _split(shape, -(-shape[dim - 1] // parts), dim, number)


def _split(shape: Shape, size: int, dim: int, number: int) -> Shape:
    return _with(shape, dim, [min(size, shape[dim - 1] - size * number)])


def _transposed(shape: Shape, one: int, two: int) -> Shape:
    sizes = list(shape)
    sizes[one - 1], sizes[two - 1] = sizes[two - 1], sizes[one - 1]
    return tuple(sizes)


_SHAPES: Mapping[ViewKind, Callable[..., Shape]] = {
    "index": _indexed,
    "narrow": lambda shape, dim, start, length: _with(shape, dim, [length]),
    "select": lambda shape, dim, index: _with(shape, dim, []),
    "chunk": _chunk,
    "split": _split,
    "unbind": lambda shape, dim, number: _with(shape, dim, []),
    "transpose": _transposed,
    "squeeze": lambda shape, dim: _with(shape, dim, []),
    "flatten": lambda shape, dim: (*shape[: dim - 1], prod(shape[dim - 1 :])),
    "view": lambda shape: (shape[0], prod(shape[1:])),
}
