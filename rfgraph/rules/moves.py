"""`moves()`: the rule of what only moves elements, asked by applying it to an array of positions.

In: a node and the function that it calls. Out: reads. What is asked again with one dim of twice the size, and
answers the same, is a law at any size; anything else holds at the analysed size alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import accumulate
from math import comb, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx.node import map_aggregate

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.errors import CaptureError
from rfgraph.graph import Node, Operand, Shape
from rfgraph.graph.calls import outputs_of
from rfgraph.language.reads import Place, Read, Reads, along, fixed, lookup, table
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import data_dependent, written
from rfgraph.rules.registry import rule, spellings

_REASON = "{} counts positions at this size"
_MOST, _MOST_ASKED = 1 << 26, 1 << 22
"""Elements of an output that are laid out, 8 bytes each and some copies of them; and at twice the size."""


# `function` is called with the node's params, by name; `by` are those that say what is moved where.
def moves(node: Node, function: Callable[..., object], by: Collection[str] = ()) -> Reads:
    """Operators that only move elements: an output element is an element of an operand, or a constant.

    Reads:      the element that is moved there; nothing where a constant is put.
    Formula:    R(o) = p(o), where p is the operator applied to an array of its operand's positions.
    Example:    rot90 of (2, 3): output (0, 1) reads (1, 2).
    Precision:  exact. A closed form along the dims that keep their step at twice the size, and where
                the operand alone fills them; elsewhere, and of more than 4 million elements, at the
                analysed size. Conservative for computed indices, by which everything is read.
    Documented: https://docs.pytorch.org/docs/stable/tensor_view.html
    """
    if any(isinstance(leaf, Operand) for name in by for leaf in outputs_of([node.params[name]])):
        return data_dependent(node)
    ask = partial(_applied, node, function, by)
    is_asked = prod(node.shape) <= _MOST_ASKED
    rank = max(1, *map(len, node.operand_shapes))
    larger = [_larger(ask, dim) if is_asked else None for dim in range(rank)]
    parts = (
        _Moved(here, [None if parts is None else parts[here.operand] for parts in larger], node)
        for here in _here(node, ask)
    )
    return tuple(part.read() for part in parts if bool(part.here.read.any()))


def moved(node: Node, operand: Operand, number: Tensor) -> Read:
    """What is read of an operand of which each output element is one, by its `number`, or -1: none."""
    own = operand.shape or (1,)
    return _Moved(_Part(operand.index, own, number), [None] * len(own), node).read()


def _here(node: Node, ask: Callable[[], list[_Part]]) -> list[_Part]:
    """The parts at the node's own size.

    Raises:
        CaptureError: torch refuses these shapes, which its meta kernel took, or they are too large.
    """
    if prod(node.shape) > _MOST:
        raise CaptureError(
            f"{node.op} moves {prod(node.shape)} elements at node {node.where()}; where each goes is worked "
            f"out of up to {_MOST}: analyse a smaller input"
        )
    try:
        return ask()
    except (RuntimeError, ValueError, IndexError) as error:
        raise CaptureError(f"{node.op} failed at node {node.where()}: {error}") from error


@dataclass(frozen=True)
class _Part:
    """Where the elements of one operand went, at one size: `number[o]` of its elements, -1 for none."""

    operand: int
    own: Shape
    number: Tensor

    @property
    def read(self) -> Tensor:
        return self.number >= 0

    def index(self, dim: int) -> Tensor:
        """The position along an operand dim that each output reads; -1 for none."""
        position = self.number // prod(self.own[dim + 1 :]) % self.own[dim]
        return position.where(self.read, -1)

    def varies(self, dim: int) -> bool:
        """True where it depends on an output dim whether anything is read."""
        return not bool((self.read == self.read.narrow(dim, 0, 1)).all())

    def along(self, dims: Collection[int]) -> Tensor:
        """Whether anything is read at a position along some output dims, whatever the others."""
        others = [dim for dim in range(self.number.ndim) if dim not in dims]
        return self.read.amax(others, keepdim=True) if others else self.read


def _applied(
    node: Node,
    function: Callable[..., object],
    by: Collection[str],
    grows: int | None = None,
    constants: bool = False,
) -> list[_Part]:
    """The parts of an output, of the call with one dim twice as large: that of the operands, or of all."""

    def sized(shape: Sequence[int], settled: bool) -> Shape:
        large = None if settled else grows
        return tuple(max(size * 2, 3) if d == large else size for d, size in enumerate(shape))

    shapes = [sized(shape, False) for shape in node.operand_shapes]
    first = list(accumulate(map(prod, shapes), initial=1))

    def numbered(value: Any) -> Any:
        if isinstance(value, Operand):
            own, start = shapes[value.index], first[value.index]
            return torch.arange(start, start + prod(own)).reshape(own)
        if isinstance(value, Tensor):
            return torch.zeros(sized(value.shape, not constants), dtype=torch.long)
        return value

    params = {
        name: map_aggregate(value, on_cpu if name in by else numbered)
        for name, value in node.params.items()
    }
    result = outputs_of(function(**params))[node.output].to(torch.long)
    return [
        _Part(
            i,
            own or (1,),
            (result - start).where((result >= start) & (result < start + prod(own)), -1),
        )
        for i, (own, start) in enumerate(zip(shapes, first, strict=False))
    ]


def on_cpu(value: Any) -> Any:
    """A constant where tables are worked out; anything else as it is."""
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _larger(ask: Callable[..., list[_Part]], dim: int) -> list[_Part] | None:
    """The parts at a larger size; None where the operator does not take it, or gives nothing."""
    for constants in (False, True):
        try:
            parts = ask(dim, constants)
        except (RuntimeError, ValueError, IndexError):
            continue
        if all(part.number.numel() for part in parts):
            return parts
    return None


class _Line(NamedTuple):
    """Along output dim `dim`, position `o` reads `start + step * o`."""

    dim: int
    start: int
    step: int

    def law(self) -> Relation:
        return Relation(1, self.step, (Positions.of([self.start]),))

    def fits(self, part: _Part, of: int) -> bool:
        """True where the line says what is read along operand dim `of`, and no position that is not read."""
        shape = part.number.shape
        line = self.start + self.step * torch.arange(shape[self.dim])
        line = line.reshape([-1 if dim == self.dim else 1 for dim in range(len(shape))])
        inside = (line >= 0) & (line < part.own[of])
        agrees = (part.index(of) == line) | ~part.read
        return bool(agrees.all()) and bool((~inside | part.along([self.dim])).all())


def _decided(part: _Part, of: int) -> tuple[tuple[int, ...], Tensor]:
    """The fewest output dims that decide what is read along an operand dim, and a grid over them."""
    high = part.index(of)
    low = high.where(part.read, part.own[of])
    dims = list(range(high.ndim))
    for dim in reversed(range(high.ndim)):
        lowest, highest = low.amin(dim, keepdim=True), high.amax(dim, keepdim=True)
        if bool((lowest >= highest).all()):
            low, high = lowest, highest
            dims.remove(dim)
    return tuple(dims), high.reshape([high.shape[dim] for dim in dims])


def _line(dims: Sequence[int], grid: Tensor) -> _Line | None:
    """The line through the entries of a grid over one dim; None: there is none, or more than one."""
    entries = [pair for pair in enumerate(grid.tolist()) if pair[1] >= 0] if len(dims) == 1 else []
    if len(entries) < 2:
        return None
    (first, value), (second, other) = entries[:2]
    step = (other - value) // (second - first)
    start = value - step * first
    fits = step and all(entry == start + step * place for place, entry in entries)
    return _Line(dims[0], start, step) if fits else None


@dataclass(frozen=True)
class _Moved:
    """One operand: where its elements went here and, dim by dim, at larger sizes."""

    here: _Part
    grown: list[_Part | None]
    node: Node

    @property
    def reason(self) -> str:
        return _REASON.format(self.node.op)

    def read(self) -> Read:
        """What is read of the operand, dim by dim, and nothing where another one stands."""
        if not self.node.operand_shapes[self.here.operand] and bool(self.here.read.all()):
            return Read(self.here.operand, ())
        pairs = [self.along(dim) for dim in range(len(self.here.own))]
        reads, dims = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        said = reduce(torch.logical_and, map(self.here.along, dims), torch.tensor(True))
        if pairs and not bool((self.here.read == said).all()):
            number = self.carrier(dims)
            reads[number] = self.only(number, reads[number], dims[number])
        return Read(self.here.operand, tuple(reads))

    def along(self, dim: int) -> tuple[Place, tuple[int, ...]]:
        """What is read along an operand dim, and the output dims that say it."""
        dims, grid = _decided(self.here, dim)
        grown = self.grown[dim]
        far, values = ((), grid - 1) if grown is None else _decided(grown, dim)
        law = _line(far, values)
        if law is not None and self.holds(law, dim):
            return self.lawful(law), (law.dim,)
        if law is not None and not dims and self.here.number.shape[law.dim] == 1:
            law = law._replace(start=int(grid))
            return table(law.dim, law.law(), law.law(), self.reason), (law.dim,)
        if not dims:
            settled = not far and bool(values == grid)
            return fixed(int(grid), "" if settled else self.reason), ()
        if len(dims) > 1:
            return lookup(dims, _lookup(grid), "moves positions across dims"), dims
        line = _line(dims, grid)
        if line is not None and not (self.fills(dims[0]) and line.fits(self.here, dim)):
            line = None
        return table(dims[0], _entries(grid), line and line.law(), self.reason), dims

    def holds(self, law: _Line, dim: int) -> bool:
        """True where a law is right at every size that was asked."""
        parts = (self.here, *(part for part in self.grown if part is not None))
        return all(law.fits(part, dim) for part in parts)

    def fills(self, dim: int) -> bool:
        """True where no other operand is read at some positions of an output dim."""
        return len(self.node.operand_shapes) == 1 or bool(self.here.along([dim]).all())

    def lawful(self, law: _Line) -> Place:
        if self.fills(law.dim):
            return along(law.dim, law.law())
        return table(law.dim, law.law(), None, self.reason)

    def carrier(self, dims: Sequence[Collection[int]]) -> int:
        """The operand dim that says where nothing is read: one that goes along such output dims."""
        varying = {dim for dim in range(self.here.number.ndim) if self.here.varies(dim)}
        chosen = (number for number, own in enumerate(dims) if own and varying.issuperset(own))
        return next(chosen, 0)

    def only(self, number: int, read: Place, dims: Collection[int]) -> Place:
        """What is read along operand dim `number`, and nothing where nothing of the operand is read."""
        every = range(self.here.number.ndim)
        wanted = tuple(dim for dim in every if dim in dims or self.here.varies(dim))
        others = [dim for dim in every if dim not in wanted]
        index = self.here.index(number)
        grid = index.amax(others) if others else index
        law = read if read.at is None and read.dims else None
        return lookup(wanted, _lookup(grid), self.reason, law=law)


def _entries(grid: Tensor) -> Callable[[int], tuple[int, ...]]:
    values = grid.tolist()
    return lambda o: (values[o],) if values[o] >= 0 else ()


def _lookup(grid: Tensor) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    def at(o: tuple[int, ...]) -> tuple[int, ...]:
        position = int(grid[o])
        return (position,) if position >= 0 else ()

    return at


def _spread(function: Callable[..., object]) -> Callable[..., object]:
    return lambda tensors: function(*tensors)


def _pieces(function: Callable[..., object]) -> Callable[..., object]:
    def split(input: Tensor, **asked: object) -> object:
        return function(input, next(value for value in asked.values() if value is not None))

    return split


def _meshed(tensors: Sequence[Tensor], indexing: str | None) -> object:
    return torch.meshgrid(*tensors, indexing=indexing or "ij")


def _as_real(input: Tensor) -> Tensor:
    return torch.view_as_real(torch.complex(input.double(), input.double()))


def _filled_diagonal(input: Tensor, fill_value: object, wrap: bool) -> Tensor:
    return input.clone().fill_diagonal_(0, wrap)


def _combined(params: Params, shapes: Sequence[Shape]) -> Shape:
    (size,), r = shapes[0], params["r"]
    return comb(size + r - 1 if params["with_replacement"] else size, r), r


_STACK, _EACH = "tensors, *, out=None", "*tensors"
_SPLIT = "input, indices_or_sections=None, *, indices=None, sections=None"
_FUNCTIONS: dict[str, tuple[str, Callable[..., object]]] = {
    **{
        name: (_STACK, getattr(torch, name))
        for name in ("hstack", "vstack", "row_stack", "dstack", "column_stack")
    },
    **{
        name: (_EACH, _spread(getattr(torch, name)))
        for name in ("atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "cartesian_prod")
    },
    **{name: (_SPLIT, _pieces(getattr(torch, name))) for name in ("hsplit", "vsplit", "dsplit")},
    "meshgrid": ("*tensors, indexing=None", _meshed),
    "rot90": ("input, k=1, dims=(0, 1)", torch.rot90),
    "adjoint": ("input", lambda input: input.mT),
    "diag": ("input, diagonal=0", torch.diag),
    "diagflat": ("input, offset=0", torch.diagflat),
    "diag_embed": ("input, offset=0, dim1=-2, dim2=-1", torch.diag_embed),
    "fftshift": ("input, dim=None", torch.fft.fftshift),
    "ifftshift": ("input, dim=None", torch.fft.ifftshift),
    "view_as_real": ("input", _as_real),
    "diagonal_scatter": ("input, src, offset=0, dim1=0, dim2=1", torch.diagonal_scatter),
    "select_scatter": ("input, src, dim, index", torch.select_scatter),
    "slice_scatter": ("input, src, dim=0, start=None, end=None, step=1", torch.slice_scatter),
}
for _name, (_signature, _function) in _FUNCTIONS.items():
    rule(*spellings(_name), name=_name, signature=_signature)(partial(moves, function=_function))
rule(*spellings("take_along_dim"), name="take_along_dim", signature="input, indices, dim=None")(
    partial(moves, function=torch.take_along_dim, by=("indices",))
)
rule(
    *spellings("combinations"),
    name="combinations",
    signature="input, r=2, with_replacement=False",
    infer=_combined,
)(partial(moves, function=torch.combinations))
rule(
    *spellings("fill_diagonal"),
    "fill_diagonal_",
    name="fill_diagonal",
    signature="input, fill_value, wrap=False",
    infer=written,
)(partial(moves, function=_filled_diagonal))
