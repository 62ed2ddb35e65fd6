"""Every rule of the registry, held against what its operator alone was seen to do.

For each example of `tests.rules` the rule must be sound (nothing that the output depends on is missing)
and exact (nothing more is read), unless the example is marked conservative and the rule says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rfgraph.algebra.digits import plain
from rfgraph.algebra.relation import Relation
from rfgraph.capture import formulas
from rfgraph.graph import Node
from rfgraph.language.reads import Law, Read, Reads, along, every
from rfgraph.language.vocabulary import Operator, Rule, Vocabulary
from rfgraph.rules import VOCABULARY, rule
from tests.rules import EXAMPLES
from tests.rules.claims import Claim
from tests.rules.examples import Build, Example, ex, w

pytestmark = pytest.mark.filterwarnings(
    "ignore:Implicit dimension choice", "ignore:Using padding='same' with even kernel"
)
OPERATORS = sorted(VOCABULARY.operators)
FIELDS = ("Reads", "Formula", "Example", "Precision", "Documented")


def documentation(op: str) -> str:
    """The docstring of the operator's rule."""
    function: Rule = VOCABULARY.operators[op].rule
    while isinstance(function, partial):
        function = function.func
    return function.__doc__ or ""


def fields(text: str) -> dict[str, str]:
    """The fields of a rule's docstring."""
    parts = re.split(rf"^ +({'|'.join(FIELDS)}):", text, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(said.split()) for name, said in zip(parts[::2], parts[1::2], strict=True)
    }


# --- the rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", OPERATORS)
def test_a_rule_says_what_its_operator_depends_on(op: str) -> None:
    assert EXAMPLES.get(op), f"the rule of {op!r} has no example in tests/rules"
    complaints = [
        f"example {number} on {example.shapes} {complaint}"
        for number, example in enumerate(EXAMPLES[op])
        for complaint in Claim(op, example, VOCABULARY).complaints()
    ]
    assert not complaints, "\n".join(complaints)


def test_every_example_is_of_a_rule() -> None:
    assert sorted(EXAMPLES.keys() - set(OPERATORS)) == []


@pytest.mark.parametrize("op", OPERATORS)
def test_a_rule_is_documented_in_the_fixed_form(op: str) -> None:
    text = documentation(op)
    said = fields(text)
    assert tuple(said) == FIELDS
    assert all(said.values())
    assert said["Documented"].startswith("https://")
    assert text.splitlines()[0].strip().endswith(".")


@pytest.mark.parametrize(
    "op", [op for op in OPERATORS if any(e.conservative for e in EXAMPLES.get(op, ()))]
)
def test_a_rule_that_says_too_much_says_so(op: str) -> None:
    assert "conservative" in fields(documentation(op))["Precision"].lower()


# --- one operator, many spellings -------------------------------------------------------------------

_CONV = nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(0, 1), bias=False)
_BATCH = nn.BatchNorm1d(3, affine=False)
_MEAN, _SQUARE = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
_WEIGHT = w(3, 2, 3, 2)

SPELLINGS: dict[str, tuple[tuple[int, ...], list[Build]]] = {
    "conv2d": (
        (1, 2, 4, 3),
        [
            _CONV,
            lambda x: F.conv2d(x, _WEIGHT, None, (1, 2), (0, 1)),
            lambda x: torch.conv2d(x, _WEIGHT, stride=(1, 2), padding=(0, 1)),
            lambda x: F.conv2d(input=x, weight=_WEIGHT, stride=[1, 2], padding=[0, 1]),
        ],
    ),
    "add": (
        (2, 3),
        [
            *(torch.add, lambda x, y: x.add(y), lambda x, y: x.add_(y), lambda x, y: x + y),
            *(lambda x, y: torch.add(input=x, other=y), lambda x, y: torch.add(x, y, alpha=2)),
            lambda x, y: x.__iadd__(y),
        ],
    ),
    "relu": (
        (2, 3),
        [
            *(nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu, torch.relu_),
            *(lambda x: x.relu(), lambda x: x.relu_(), lambda x: F.relu(x, inplace=True)),
        ],
    ),
    "flatten": (
        (2, 3, 2),
        [
            *(nn.Flatten(), lambda x: torch.flatten(x, 1), lambda x: x.flatten(1)),
            *(lambda x: x.flatten(start_dim=1), lambda x: torch.flatten(x, 1, -1)),
        ],
    ),
    "softmax": (
        (2, 3),
        [
            *(nn.Softmax(-1), lambda x: F.softmax(x, 1), lambda x: torch.softmax(x, dim=-1)),
            lambda x: x.softmax(1),
        ],
    ),
    "mean": (
        (2, 3, 2),
        [
            *(lambda x: x.mean(1), lambda x: torch.mean(x, 1), lambda x: x.mean(dim=(-2,))),
            *(lambda x: x.mean([1]), lambda x: torch.mean(x, dim=[1]), lambda x: x.mean(axis=1)),
        ],
    ),
    "matmul": (
        (3, 3),
        [
            *(torch.matmul, lambda x, y: x @ y, lambda x, y: x.matmul(y)),
            *(lambda x, y: x.__matmul__(y), lambda x, y: y.__rmatmul__(x)),
        ],
    ),
    "permute": (
        (2, 3, 2),
        [
            *(lambda x: x.permute(0, 2, 1), lambda x: x.permute((0, 2, 1))),
            *(lambda x: torch.permute(x, [0, -1, 1]), lambda x: x.permute(dims=(0, 2, 1))),
        ],
    ),
    "view": ((2, 6), [lambda x: x.view(3, 4), lambda x: x.view((3, 4)), lambda x: x.view(-1, 4)]),
    "cat": (
        (2, 3),
        [
            *(lambda x, y: torch.cat((x, y), 1), lambda x, y: torch.cat([x, y], dim=-1)),
            *(lambda x, y: torch.concat((x, y), 1), lambda x, y: torch.concatenate((x, y), 1)),
        ],
    ),
    "getitem": (
        (2, 4),
        [
            *(lambda x: x[:, 1:], lambda x: x[..., 1:4], lambda x: x[0:, slice(1, None)]),
            *(lambda x: x[:, [1, 2, 3]], lambda x: x[:, torch.arange(1, 4)]),
        ],
    ),
    "max_pool1d": (
        (1, 2, 6),
        [
            *(nn.MaxPool1d(2), lambda x: F.max_pool1d(x, 2), lambda x: torch.max_pool1d(x, [2])),
            lambda x: F.max_pool1d(x, kernel_size=2, stride=(2,)),
        ],
    ),
    "batch_norm": (
        (2, 3, 2),
        [
            *(_BATCH, lambda x: F.batch_norm(x, _MEAN, _SQUARE)),
            lambda x: torch.batch_norm(x, None, None, _MEAN, _SQUARE, False, 0.1, 1e-5, True),
        ],
    ),
    "interpolate": (
        (1, 1, 3, 2),
        [
            *(nn.Upsample(scale_factor=2), lambda x: F.interpolate(x, scale_factor=(2, 2))),
            *(nn.UpsamplingNearest2d(scale_factor=2), lambda x: F.interpolate(x, (6, 4))),
        ],
    ),
}


def claim(op: str, build: Build, shape: tuple[int, ...]) -> Claim:
    """The claim for `build`, on one or two operands of `shape`."""
    count = 2 if op in ("add", "matmul", "cat") else 1
    return Claim(op, ex(build, *(shape,) * count), VOCABULARY)


@pytest.mark.parametrize("op", sorted(SPELLINGS))
def test_spellings_arrive_at_one_operator_with_one_meaning(op: str) -> None:
    shape, builds = SPELLINGS[op]
    claims = [claim(op, build, shape) for build in builds]
    assert [[node.op for node in each.nodes] for each in claims] == [[op]] * len(builds)
    first = claims[0].dependence[0]
    for number, each in enumerate(claims):
        parts = zip(each.dependence[0], first, strict=True)
        assert all((one == other).all() for one, other in parts), f"spelling {number} of {op}"


# --- the registry refuses ---------------------------------------------------------------------------


def test_an_operator_taught_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="there is a rule for operator 'conv2d' already"):
        rule(name="conv2d", vocabulary=VOCABULARY.copy())(lambda node: ())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (F.conv2d, "there is a rule for .*conv2d.* already: 'conv2d'"),
        (nn.ReLU, "there is a rule for .*ReLU.* already: 'relu'"),
        ("mean", "there is a rule for 'mean' already: 'mean'"),
    ],
)
def test_a_spelling_taught_twice_is_refused(target: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rule(target, name="another", vocabulary=VOCABULARY.copy())(lambda node: ())


def test_a_rule_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a rule needs a target or a name"):
        rule(vocabulary=VOCABULARY.copy())


# --- the check itself can fail ------------------------------------------------------------------------


def taught(op: str, wrong: Callable[[Node], Reads]) -> Vocabulary:
    """A vocabulary in which `op`, in every spelling, has another rule."""
    vocabulary = VOCABULARY.copy()
    known = vocabulary.operators[op]
    replaced = Operator(op, wrong, known.signature, known.normalize, known.infer)
    vocabulary.operators[op] = replaced
    for table in (vocabulary.functions, vocabulary.methods, vocabulary.modules):
        table.update({k: (replaced, own) for k, (o, own) in table.items() if o.name == op})
    return vocabulary


def _too_wide(node: Node) -> Reads:
    return (Read(0, (along(0), every("linear"), along(2, Relation.window(5, 1, 1, 2)))),)


def _too_narrow(node: Node) -> Reads:
    return (Read(0, (along(0), every("linear"), along(2, Relation.window(2, 1, 1, 1)))),)


def _shifted(node: Node) -> Reads:
    return (Read(0, (along(0), every("linear"), along(2, Relation.window(3)))),)


def _wrong_dim(node: Node) -> Reads:
    return (Read(0, (along(0), along(2, Relation.window(3, 1, 1, 1)), every("linear"))),)


_SAME = ex(nn.Conv1d(3, 1, 3, padding=1), (1, 3, 4))


def test_the_right_rule_passes() -> None:
    assert list(Claim("conv1d", _SAME, VOCABULARY).complaints()) == []


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (_too_wide, ["has too much"]),
        (_too_narrow, ["misses"]),
        (_shifted, ["misses", "has too much"]),
        (_wrong_dim, ["misses", "has too much"]),
    ],
)
def test_a_wrong_rule_is_caught(wrong: Callable[[Node], Reads], expected: list[str]) -> None:
    complaints = list(Claim("conv1d", _SAME, taught("conv1d", wrong)).complaints())
    assert len(complaints) == len(expected)
    for complaint, what in zip(complaints, expected, strict=True):
        assert what in complaint


def test_a_wrong_shape_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "_HELD", {})
    monkeypatch.setattr(formulas, "_is_confirmed", lambda *given: True)  # which would refuse it
    vocabulary = VOCABULARY.copy()
    known = vocabulary.operators["relu"]
    wrong = Operator("relu", known.rule, known.signature, None, lambda params, shapes: (2, 2))
    vocabulary.functions[F.relu] = (wrong, vocabulary.functions[F.relu][1])
    complaints = list(Claim("relu", ex(F.relu, (2, 3)), vocabulary)._about_shapes())
    assert complaints == ["shapes [(2, 2)], but torch returns [(2, 3)]"]


def test_a_wrong_law_is_caught() -> None:
    example = ex(lambda x: F.pad(x, (1, 2), "reflect"), (2, 4))

    def wrong(node: Node) -> Reads:
        (place,) = VOCABULARY.operators["pad"].rule(node)[0].dims[1:]
        shifted = replace(place, law=Law(plain(1), Relation.window(1, 1, 1, 2)))
        return (Read(0, (along(0), shifted)),)

    complaints = list(Claim("pad", example, taught("pad", wrong)).complaints())
    assert complaints[0] == "law reads [0] at 2, but the table [1]"


def test_a_stale_mark_is_caught() -> None:
    example = Example(F.relu, ((2, 3),), ("normal",), conservative="so it was once")
    complaints = list(Claim("relu", example, VOCABULARY).complaints())
    assert complaints == ["is marked conservative, but says no more than the truth"]


def test_a_call_without_a_rule_is_caught(untaught: Callable[..., None]) -> None:
    untaught("bessel_j0")

    def unknown(x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)

    complaints = list(Claim("relu", ex(unknown, (2, 3)), VOCABULARY).complaints())
    assert complaints == ["arrives at ['special_bessel_j0']"]
