"""Products that sum over a dim: linear, matmul, einsum, and what is built of them.

In: nodes of `linear`, `matmul`, `einsum`, `outer`, `kron` and their like. Out: reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_letters
from typing import TypeAlias

import torch
from torch import Tensor, nn

from rfgraph.graph import Masked, Node, Operand, Shape
from rfgraph.language.reads import Kind, Place, Read, Reads, along, broadcast, every, fixed, whole
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import broadcast_shapes
from rfgraph.rules.masks import added_to
from rfgraph.rules.registry import rule, spellings
from rfgraph.rules.unmasked import attended
from rfgraph.rules.zeros import fixed as zeros_in

Labels: TypeAlias = Sequence[object]


def _mixing(node: Node) -> Kind:
    """Two tensors of the graph contracted with each other are attention; with weights, linear."""
    return "attention" if len(node.operand_shapes) > 1 else "linear"


def _infer_linear(params: Params, shapes: Sequence[Shape]) -> Shape:
    weight = params["weight"]
    if not isinstance(params["input"], Operand):
        raise ValueError("a constant input with a computed weight cannot be followed: use matmul")
    features, out = params["in_features"], params["out_features"]
    if weight is not None:
        features, out = weight.shape[-1], weight.shape[0] if len(weight.shape) > 1 else None
    if shapes[0][-1] != features:
        raise ValueError(f"expected {features} features in the last dim, got {shapes[0][-1]}")
    return shapes[0][:-1] if out is None else (*shapes[0][:-1], out)


@rule(
    *spellings("linear", nn.Linear),
    name="linear",
    signature="input, weight=None, bias=None, *, in_features=None, out_features=None",
    infer=_infer_linear,
)
def linear(node: Node) -> Reads:
    """Linear layer over the last dim.

    Reads:      all of the last dim; its own position elsewhere.
    Formula:    R(o) = every position of the last dim.
    Example:    8 features to 4 on (2, 5, 8): output (1, 3, 2) reads (1, 3, 0 .. 7).
    Precision:  exact; what the model fixes to 0 in a weight is not read. Conservative for a weight
                computed from the input, which is read whole.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html
    """
    own = node.operand_shapes[0]
    weight, last = node.params["weight"], len(node.shape) - 1
    labels = ["features"], ["out", "features"][2 - len(getattr(weight, "shape", (0, 0))) :]
    features = _where_not_zero((None, weight), labels, "features", {"out": last}, "linear")
    first = Read(0, (*map(along, range(len(own) - 1)), features))
    rest = enumerate(node.operand_shapes[1:], start=1)
    return (first, *(whole(len(shape), "linear", i) for i, shape in rest))


def contracted(
    node: Node,
    factors: Sequence[object],
    labels: Sequence[Labels],
    output: Labels,
    zeros_hide: bool = True,
) -> Reads:
    """Labelled dims: along the output dim of the same label; all of those the output has not.

    Where a factor is fixed to 0, nothing of the others is read: masked attention. `zeros_hide`: it is a
    product.
    """
    kind = _mixing(node)
    positions = {label: dim for dim, label in enumerate(output)}

    def of(label: object, size: int) -> Place:
        if label not in positions:
            if not zeros_hide:
                return every(kind)
            return _where_not_zero(factors, labels, label, positions, kind)
        dim = positions[label]
        return fixed(0) if size == 1 != node.shape[dim] else along(dim)

    return tuple(
        Read(
            factor.index,
            tuple(map(of, own, factor.shape)),
        )
        for factor, own in zip(factors, labels, strict=True)
        if isinstance(factor, Operand)
    )


def _where_not_zero(
    factors: Sequence[object],
    labels: Sequence[Labels],
    summed: object,
    positions: Mapping[object, int],
    kind: Kind,
) -> Place:
    """The positions of a summed dim at which no factor is fixed to 0, by output position."""
    found = _live(factors, labels, [*positions, summed])
    if found is None or summed not in found[1]:
        return every(kind)
    allowed, own = found
    dims = [positions[label] for label in own if label != summed]
    return attended(allowed.movedim(own.index(summed), -1), dims, kind)


def _live(
    factors: Sequence[object], labels: Sequence[Labels], kept: Sequence[object]
) -> tuple[Tensor, list[object]] | None:
    """Where no factor is fixed to 0, over those of the labels `kept` that this varies along, in order.

    Of the other labels, any position will do. None where no factor is fixed anywhere.
    """
    given = [
        _along_labels(where, own)
        for factor, own in zip(factors, labels, strict=True)
        if (where := zeros_in(factor, 0.0)) is not None
    ]
    if not given:
        return None
    there = dict.fromkeys(label for _, own in given for label in own)
    letters = dict(zip(there, ascii_letters, strict=False))
    wanted = [label for label in kept if label in there]
    terms = ",".join("".join(letters[label] for label in own) for _, own in given)
    equation = f"{terms}->{''.join(letters[label] for label in wanted)}"
    count = torch.einsum(equation, *((~where).to(torch.float32) for where, _ in given))
    return count > 0, wanted


def _along_labels(where: Tensor, labels: Labels) -> tuple[Tensor, list[object]]:
    """Without the dims along which it does not vary, and the labels of those that are left."""
    own = labels[len(labels) - where.ndim :]
    varying = [label for label, size in zip(own, where.shape, strict=True) if size != 1]
    return where.squeeze(), varying


def _zero_product(
    factors: Sequence[object], labels: Sequence[Labels], output: Labels
) -> Masked | None:
    """Where a product is fixed to 0: at all summed positions some factor is."""
    found = _live(factors, labels, output)
    if found is None or bool(found[0].all()):
        return None
    live, own = found
    sizes = [live.shape[own.index(label)] if label in own else 1 for label in output]
    return Masked(~live.reshape(sizes), 0.0)


def _matmul_labels(left: int, right: int) -> tuple[list[object], list[object], list[object]]:
    """Labels of both factors and of the product: batch dims by their place from the right."""
    batch = max(left, right) - 2
    one = [*range(batch - left + 2, batch), "i", "k"] if left > 1 else ["k"]
    two = [*range(batch - right + 2, batch), "k", "j"] if right > 1 else ["k"]
    out = [*range(max(batch, 0)), *(["i"] if left > 1 else []), *(["j"] if right > 1 else [])]
    return one, two, out


def _infer_matmul(params: Params, shapes: Sequence[Shape]) -> Shape:
    left, right = tuple(params["input"].shape), tuple(params["other"].shape)
    if left[-1] != right[-2 if len(right) > 1 else 0]:
        raise ValueError(f"cannot multiply {left} by {right}: inner sizes differ")
    batch = broadcast_shapes(left[:-2], right[:-2])
    return (*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))


def matmul(node: Node) -> Reads:
    """Matrix products.

    Reads:      row i of the left factor and column j of the right one.
    Formula:    out[.., i, j] reads left[.., i, :] and right[.., :, j]; batch dims are broadcast.
    Example:    (2, 5, 8) @ (8, 3): output (1, 3, 2) reads left (1, 3, 0 .. 7).
    Precision:  exact; nothing is read where a factor is fixed to 0. The summed dim counts as attention
                where both factors depend on the input.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.matmul.html
    """
    factors = node.params["input"], node.params["other"]
    one, two, out = _matmul_labels(*(len(factor.shape) for factor in factors))
    return contracted(node, factors, (one, two), out)


def _matmul_masks(params: Params, shape: Shape) -> Masked | None:
    factors = params["input"], params["other"]
    one, two, out = _matmul_labels(*(len(factor.shape) for factor in factors))
    return _zero_product(factors, (one, two), out)


for _name in ("matmul", "bmm", "mm", "mv"):
    rule(
        *spellings(_name),
        name=_name,
        signature="input, other",
        infer=_infer_matmul,
        masks=_matmul_masks,
    )(matmul)


def added_product(node: Node) -> Reads:
    """A matrix product and a term added to it: addmm, baddbmm, addbmm, addmv.

    Reads:      the term at the output's own position; row i of the left factor, column j of the right one.
    Formula:    out[.., i, j] reads input[.., i, j], left[.., i, :] and right[.., :, j].
    Example:    baddbmm of (2, 5, 3), (2, 5, 8) and (2, 8, 3): output (1, 3, 2) reads left (1, 3, 0 .. 7).
    Precision:  exact.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.baddbmm.html
    """
    term, left, right = (node.params[name] for name in ("input", "left", "right"))
    one, two, out = _matmul_labels(len(left.shape), len(right.shape))
    product = contracted(node, (left, right), (one, two), out)
    if not isinstance(term, Operand):
        return product
    return (broadcast(term.shape, node.shape, term.index), *product)


for _name, _factors in {
    "addmm": "mat1, mat2",
    "addmv": "mat, vec",
    "baddbmm": "batch1, batch2",
}.items():

    def _factored(params: Params, shapes: Sequence[Shape], names: str = _factors) -> Params:
        left, right = (params[name] for name in names.split(", "))
        return {**params, "left": left, "right": right}

    rule(
        *spellings(_name),
        name=_name,
        signature=f"input, {_factors}, *, beta=1, alpha=1",
        normalize=_factored,
        masks=added_to,
    )(added_product)


def _normalize_einsum(params: Params, shapes: Sequence[Shape]) -> Params:
    """`labels` of each operand and `output` labels; `...` becomes numbers counted from the right."""
    left, arrow, right = params["equation"].replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow:
        letters = "".join(terms).replace("...", "")
        right = ("..." if "..." in left else "") + "".join(
            sorted(letter for letter in letters if letters.count(letter) == 1)
        )
    ranks = [len(tensor.shape) for tensor in params["operands"]]
    hidden = [
        rank - len(term.replace("...", "")) if "..." in term else 0
        for term, rank in zip(terms, ranks, strict=True)
    ]
    labels = [_labels(term, count) for term, count in zip(terms, hidden, strict=True)]
    return {**params, "labels": labels, "output": _labels(right, max(hidden))}


def _labels(term: str, hidden: int) -> list[object]:
    before, dots, after = term.partition("...")
    return [*before, *(range(-hidden, 0) if dots else ()), *after]


def _einsum_masks(params: Params, shape: Shape) -> Masked | None:
    return _zero_product(params["operands"], params["labels"], params["output"])


@rule(
    *spellings("einsum"),
    signature="equation, *operands",
    normalize=_normalize_einsum,
    masks=_einsum_masks,
)
def einsum(node: Node) -> Reads:
    """Einstein summation.

    Reads:      along a labelled dim, the output's position of that label; all of a summed dim.
    Formula:    out[labels] reads each factor at its own labels; labels that the output lacks are whole.
    Example:    'bij,bjk->bik': output (0, 1, 2) reads the factors at (0, 1, :) and (0, :, 2).
    Precision:  exact. Conservative for a label that one factor repeats and the output lacks: all of
                its dims are read, not their diagonal alone.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.einsum.html
    """
    params = node.params
    return contracted(node, params["operands"], params["labels"], params["output"])
