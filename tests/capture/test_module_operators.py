"""A module is its operator only where it computes it: else capture looks inside.

Truth is the field of the computation written out, and `verify`. Kernels are even and strided, so that nothing is
symmetric by accident.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import rfgraph
from rfgraph import Read, Relation, along
from rfgraph.errors import CaptureError
from rfgraph.language.vocabulary import Vocabulary
from rfgraph.rules import VOCABULARY, rule
from tests.recurrent_models import Chunks

SHAPE = (2, 2, 20)


class Around(nn.Module):
    """One module between two operators: what it reads is seen at positions that are not its own."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.avg_pool1d(self.inner(torch.relu(x)), 2, 1)
        return out


def reads(module: nn.Module, position: int = 6, mode: Any = "eval") -> list[int]:
    """What a position reads; in eval mode held against the probes."""
    model = Around(module)
    if mode == "eval":
        check = rfgraph.verify(model, SHAPE)
        assert check and check.exact, str(check)
    found: list[int] = rfgraph.analyze(model, SHAPE, mode=mode).output.reads(0, position).tolist()
    return found


def ops(module: nn.Module) -> list[str]:
    return [node.op for node in rfgraph.analyze(Around(module), SHAPE).nodes][2:-1]


# --- what a module computes is not what its class computes ------------------------------------------


def _causal(self: nn.Conv1d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv1d(F.pad(x, (6, 0)), weight, bias, 1, 0, 2)


class CausalConv(nn.Conv1d):
    """Keeps `forward`, which calls this."""

    _conv_forward = _causal


class PaddingMixin:
    _conv_forward = _causal


class MixedConv(PaddingMixin, nn.Conv1d):
    """Overrides by a class that is no module."""


class CalledConv(nn.Conv1d):
    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(F.pad(x, (6, 0))[..., :-3])  # type: ignore[no-any-return]


class WeightConv(nn.Conv1d):
    """Its weight is another's: `__getattr__` decides."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        return found[..., :2] if name == "weight" else found


def _with_forward() -> nn.Module:
    conv = nn.Conv1d(2, 2, 4)
    conv.forward = types.MethodType(lambda self, x: _causal(self, x, self.weight, None), conv)
    return conv


def _with_conv_forward() -> nn.Module:
    conv = nn.Conv1d(2, 2, 4)
    conv._conv_forward = lambda x, weight, bias: _causal(conv, x, weight, bias)  # type: ignore
    return conv


def _with_call_impl() -> nn.Module:
    conv = nn.Conv1d(2, 2, 4)
    conv._call_impl = lambda x: _causal(conv, x, conv.weight, None)  # type: ignore[method-assign]
    return conv


def _wrapped_forward() -> nn.Module:
    """As libraries that move weights about do: the old forward inside a new one."""
    conv = nn.Conv1d(2, 2, 4, dilation=2)
    old = conv.forward
    conv.forward = lambda x: old(F.pad(x, (6, 0)))  # type: ignore[method-assign]
    return conv


_CAUSAL_READS = [0, 1, 2, 3, 4, 5, 6, 7]
"""Position 6 and 7 of a causal kernel of 4, dilated by 2."""
OVERRIDDEN: dict[str, Callable[[], nn.Module]] = {
    "forward on the instance": _with_forward,
    "forward on the instance, around the old one": _wrapped_forward,
    "_conv_forward on the instance": _with_conv_forward,
    "_call_impl on the instance": _with_call_impl,
    "_conv_forward in a subclass": lambda: CausalConv(2, 2, 4),
    "_conv_forward in a subclass of a subclass": lambda: type("Sub", (CausalConv,), {})(2, 2, 4),
    "_conv_forward in a mixin": lambda: MixedConv(2, 2, 4),
    "__call__ in a subclass": lambda: CalledConv(2, 2, 4, dilation=2, padding=0),
}


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_a_module_that_overrides_what_its_forward_calls_is_looked_into(name: str) -> None:
    module = OVERRIDDEN[name]()
    assert VOCABULARY.of_module(module) is None
    assert reads(module) == _CAUSAL_READS


def test_a_weight_that_a_module_makes_up_is_looked_at() -> None:
    assert VOCABULARY.of_module(WeightConv(2, 2, 4)) is None
    assert reads(WeightConv(2, 2, 4)) == [6, 7, 8]


def test_a_class_of_torch_that_was_changed_is_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Conv1d, "_conv_forward", _causal)
    assert reads(nn.Conv1d(2, 2, 4)) == _CAUSAL_READS
    monkeypatch.undo()
    assert ops(nn.Conv1d(2, 2, 4)) == ["conv1d"]
    assert reads(nn.Conv1d(2, 2, 4)) == [6, 7, 8, 9, 10]


class Normed(nn.InstanceNorm1d):
    """Statistics over the first half of the signal."""

    def _apply_instance_norm(self, input: Tensor) -> Tensor:
        half = input[..., : input.shape[-1] // 2]
        return input - half.mean(-1, keepdim=True)


def test_an_instance_norm_that_norms_otherwise_is_looked_into() -> None:
    assert VOCABULARY.of_module(Normed(2)) is None
    assert reads(Normed(2), 15) == [*range(10), 15, 16]


class Lenient(nn.BatchNorm1d):
    def _check_input_dim(self, input: Tensor) -> None:
        pass


def test_a_batch_norm_that_checks_otherwise_is_batch_norm_inside() -> None:
    assert ops(Lenient(2)) == ["batch_norm"]
    assert reads(Lenient(2)) == [6, 7]


class Upwards(nn.ConvTranspose1d):
    """Crops by asking for a size."""

    def _output_padding(self, *args: Any, **kwargs: Any) -> list[int]:
        return [1]


def test_a_transposed_convolution_that_pads_otherwise_is_looked_into() -> None:
    shape = rfgraph.analyze(Upwards(2, 2, 3, 2), SHAPE).output.shape
    assert shape == tuple(Upwards(2, 2, 3, 2)(torch.zeros(SHAPE)).shape) == (2, 2, 42)
    assert rfgraph.verify(Upwards(2, 2, 3, 2), SHAPE).exact


# --- what changes nothing -----------------------------------------------------------------------


class Named(nn.Conv1d):
    """Overrides what does not compute."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.note = "a forward of its own"

    def extra_repr(self) -> str:
        return self.note

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)

    def train(self, mode: bool = True) -> Named:
        super().train(False)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError

    def helper(self) -> int:
        return 3


class Flat(nn.LSTM):
    def flatten_parameters(self) -> None:
        pass


def test_a_subclass_that_computes_nothing_of_its_own_is_its_operator() -> None:
    assert ops(Named(2, 2, 4, 3)) == ["conv1d"]
    assert reads(Named(2, 2, 4, dilation=2)) == [6, 7, 8, 9, 10, 11, 12, 13]
    known = VOCABULARY.of_module(Flat(2, 2))
    assert known is not None and known[0].name == "lstm"


_PARAMETRIZED: dict[str, Callable[[nn.Conv1d], nn.Module]] = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "a parametrization of one's own": lambda conv: parametrize.register_parametrization(
        conv, "weight", nn.Tanh()
    ),
    "weight norm by a hook": nn.utils.weight_norm,
    "spectral norm by a hook": nn.utils.spectral_norm,
    "pruned": lambda conv: prune.random_unstructured(conv, "weight", 0.3),
    "pruned for good": lambda conv: prune.remove(
        prune.random_unstructured(conv, "weight", 0.3), "weight"
    ),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", _PARAMETRIZED)
def test_a_parametrized_module_is_its_operator(name: str) -> None:
    module = _PARAMETRIZED[name](nn.Conv1d(2, 2, 4, dilation=2))
    assert ops(module)[-1] == "conv1d"
    assert reads(module) == [6, 7, 8, 9, 10, 11, 12, 13]


def test_a_parametrized_module_that_overrides_more_is_looked_into() -> None:
    module = parametrizations.weight_norm(CausalConv(2, 2, 4))
    assert VOCABULARY.of_module(module) is None
    assert reads(module) == _CAUSAL_READS


# --- modules that a user taught -----------------------------------------------------------------


class Smooth(nn.Module):
    """A window of `width`, by a method and a property."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    @property
    def kernel(self) -> Tensor:
        return torch.ones(2, 1, self.width)

    def smoothed(self, x: Tensor) -> Tensor:
        return torch.conv1d(x, self.kernel, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.smoothed(x)


class Wider(Smooth):
    @property
    def kernel(self) -> Tensor:
        return torch.ones(2, 1, 2 * self.width)


class Twice(Smooth):
    def smoothed(self, x: Tensor) -> Tensor:
        return super().smoothed(super().smoothed(x))


def _taught() -> Vocabulary:
    vocabulary = VOCABULARY.copy()

    @rule(Smooth, vocabulary=vocabulary)
    def smooth(node: Any) -> Any:
        window = Relation.window(node.params["width"])
        return [Read(0, (along(0), along(1), along(2, window)))]

    return vocabulary


def test_a_taught_module_is_its_operator_only_where_it_computes_it() -> None:
    vocabulary = _taught()
    assert vocabulary.of_module(Smooth(3)) is not None
    assert vocabulary.of_module(type("Plain", (Smooth,), {"note": 1})(3)) is not None
    assert vocabulary.of_module(Wider(3)) is None
    assert vocabulary.of_module(Twice(3)) is None
    module = Smooth(3)
    module.smoothed = lambda x: x  # type: ignore[method-assign]
    assert vocabulary.of_module(module) is None


# --- batch norm without running statistics ------------------------------------------------------


def _without_statistics() -> nn.Module:
    norm = nn.BatchNorm1d(2)
    norm.running_mean = norm.running_var = None
    return norm


def _switched_off() -> nn.Module:
    """Keeps its statistics, and uses them in eval mode all the same."""
    norm = nn.BatchNorm1d(2)
    norm.track_running_stats = False
    return norm


_EVERYTHING = list(range(20))
_NORMS: dict[str, tuple[Callable[[], nn.Module], list[int], list[int]]] = {
    "plain": (lambda: nn.BatchNorm1d(2), [6, 7], _EVERYTHING),
    "never tracked": (
        lambda: nn.BatchNorm1d(2, track_running_stats=False),
        _EVERYTHING,
        _EVERYTHING,
    ),
    "statistics taken away": (_without_statistics, _EVERYTHING, _EVERYTHING),
    "switched off later": (_switched_off, [6, 7], _EVERYTHING),
    "synchronised, never tracked": (
        lambda: nn.SyncBatchNorm(2, track_running_stats=False),
        _EVERYTHING,
        _EVERYTHING,
    ),
    "checked otherwise": (
        lambda: Lenient(2, track_running_stats=False),
        _EVERYTHING,
        _EVERYTHING,
    ),
}


@pytest.mark.parametrize("name", _NORMS)
def test_batch_norm_reads_the_batch_where_it_has_no_statistics(name: str) -> None:
    build, in_eval, in_training = _NORMS[name]
    assert reads(build()) == in_eval
    if "synchronised" not in name:  # trains on accelerators alone
        assert reads(build(), mode="train") == in_training
    output = rfgraph.analyze(Around(build()), SHAPE).output
    assert output.rf.whole == (in_eval == _EVERYTHING,)
    if in_eval == _EVERYTHING:
        assert {cause.kind for cause in output.rf.causes} == {"statistics"}
        report = rfgraph.analyze(Around(build()), SHAPE, axes=(0,))
        assert report.output.rf.whole == (True,)


def test_batch_norm_without_statistics_that_are_due_is_refused_as_by_torch() -> None:
    class Functional(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.batch_norm(x, None, None)

    with pytest.raises(RuntimeError, match="running_mean must be defined"):
        Functional()(torch.zeros(SHAPE))
    with pytest.raises(CaptureError, match=r"batch_norm failed .*expected running statistics"):
        rfgraph.analyze(Functional(), SHAPE)


@pytest.mark.parametrize("steps", [10, 12, 13])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_a_recurrent_layer_may_be_called_again(kind: type[nn.RNNBase], steps: int) -> None:
    # It keeps a list of its weights, which a call on meta tensors sets anew.
    model = Chunks(kind)
    weights = model.recurrent._flat_weights
    report = rfgraph.analyze(model, (1, steps, 2), axes=(1,))
    name = kind.__name__.lower()
    assert {node.op for node in report.captured} == {"input", "split", name, "cat"}
    output = report.output
    assert [output.reads(0, o).tolist() for o in range(steps)] == [
        [*range(o + 1)] for o in range(steps)
    ]
    assert output.rf.lookahead == (0,) and output.rf.closed_form == (False,)
    check = rfgraph.verify(model, (1, steps, 2), axes=(1,))
    assert check.exact, str(check)
    assert model.recurrent._flat_weights is weights
