"""Modules that are not in the model's module tree: each is still seen as the module that it is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

import rfgraph
from rfgraph.rules import VOCABULARY

_GLOBAL = nn.Conv1d(2, 2, 3)


class Made(nn.Module):
    """Makes one in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.MaxPool1d(3)(x)


class Listed(nn.Module):
    """Holds one in a plain list, and counts its own calls."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.inside, self.calls = [nn.Conv1d(2, 2, 3)], nn.ReLU(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 1:  # what the first run left behind must not be seen by the second
            return x
        return self.inside(self.held[0](x))


class Global(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _GLOBAL(x)


class Copied(nn.Module):
    """A copy of its own child, which must not be taken for it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        other = copy.deepcopy(self.conv)
        return other(self.conv(x))


class Set(nn.Module):
    """Gives itself a child in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        self.late = nn.Conv1d(2, 2, 3)
        return self.late(x)


class Handles(nn.Module):
    """Handles every error: the module that did not come by is not to be handled away."""

    def forward(self, x: Tensor) -> Tensor:
        try:
            return nn.MaxPool1d(3)(x)
        except:  # noqa: E722
            return x


MODELS: dict[str, tuple[type[nn.Module], str, int]] = {
    "made in the forward": (Made, "MaxPool1d", 3),
    "held in a list": (Listed, "inside", 3),
    "a global": (Global, "Conv1d.conv1d", 3),
    "a copy": (Copied, "Conv1d", 5),
    "set in the forward": (Set, "Conv1d.conv1d", 3),
    "where every error is handled": (Handles, "MaxPool1d", 3),
}
"""The name of the output: what is in train mode is looked into."""


@pytest.mark.parametrize("name", MODELS)
def test_a_module_outside_the_tree_is_seen(name: str) -> None:
    kind, called, size = MODELS[name]
    model = kind().eval()
    original, before = nn.Module.__call__, dict(vars(model))
    report = rfgraph.analyze(model, (1, 2, 13))
    assert report.output.name == called
    assert report.output.rf.size == (size,)
    assert nn.Module.__call__ is original
    assert vars(model) == before
    assert not module_hooks._global_forward_pre_hooks


class Sums(nn.Module):
    """Taught to be pointwise, which it is not: so the rule was asked."""

    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(-1)


class MadeOwn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Sums()(x)


_CHANGED = nn.Conv1d(2, 2, 3).eval()


class ChangesGlobal(nn.Module):
    """Gives a module outside its tree another stride, for one call."""

    def forward(self, x: Tensor) -> Tensor:
        _CHANGED.stride = (2,)
        y = _CHANGED(x)
        _CHANGED.stride = (1,)
        return _CHANGED(y)


def test_a_module_outside_the_tree_that_the_forward_changes_is_looked_into() -> None:
    report = rfgraph.analyze(ChangesGlobal().eval(), (1, 2, 13), check=True)
    assert [node.name for node in report.nodes][1:] == ["Conv1d.conv1d", "Conv1d.conv1d_1"]
    assert [node.rf.size for node in report.nodes][1:] == [(3,), (7,)]
    assert _CHANGED.stride == (1,)


def test_a_rule_taught_for_a_module_made_in_the_forward_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(VOCABULARY.modules, Sums, VOCABULARY.modules[nn.ReLU])
    assert rfgraph.analyze(MadeOwn(), (1, 2, 7)).output.rf.size == (1,)


def test_modules_of_the_tree_need_no_change_of_the_class() -> None:
    """What `nn.Module.__call__` is while the forward runs."""

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            assert nn.Module.__call__ is original
            return self.conv(x)

    original = nn.Module.__call__
    assert rfgraph.analyze(Looks(), (1, 2, 9)).output.name == "conv"


def test_a_compiled_call_is_there_again() -> None:
    model = nn.Sequential(nn.Conv1d(2, 2, 3), nn.ReLU())
    called = model[0].__dict__["_compiled_call_impl"] = lambda x: x
    names = list(vars(model[0]))
    rfgraph.analyze(model, (1, 2, 9))
    assert vars(model[0])["_compiled_call_impl"] is called
    assert list(vars(model[0])) == names
    assert "_compiled_call_impl" not in vars(model[1])


def test_a_failing_forward_leaves_no_call_behind() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.conv(x)
            raise KeyboardInterrupt

    model = Fails()
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        rfgraph.analyze(model, (1, 2, 9))
    assert all("_compiled_call_impl" not in vars(module) for module in model.modules())
    assert not module_hooks._global_forward_pre_hooks
    assert model.conv(torch.zeros(1, 2, 9)).shape == (1, 2, 7)
