"""`analyze` leaves the model, and every random state, as they were: on success and on every failure."""

import random
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

import rfgraph
from rfgraph.gallery import MODELS


def snapshot(model):
    """Everything that must not change, in a form that compares by value."""
    modules = list(model.named_modules())
    return {
        "tensors": {k: v.detach().clone() for k, v in model.state_dict(keep_vars=True).items()},
        "versions": {k: v._version for k, v in model.state_dict(keep_vars=True).items()},
        "requires_grad": {k: p.requires_grad for k, p in model.named_parameters()},
        "grads": {
            k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()
        },
        "training": {name: module.training for name, module in modules},
        "attributes": {
            name: {k: id(v) for k, v in vars(module).items()} for name, module in modules
        },
        "entries": {
            name: {
                k: {n: id(t) for n, t in vars(module)[k].items()}
                for k in ("_parameters", "_buffers", "_modules")
            }
            for name, module in modules
        },
        "hooks": {name: (len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in modules},
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),
        "python": random.getstate(),
        "grad_mode": torch.is_grad_enabled(),
        "module_call": nn.Module.__call__,
    }


def assert_same(before, after, path=""):
    if isinstance(before, dict):
        assert before.keys() == after.keys(), path
        for key in before:
            assert_same(before[key], after[key], f"{path}/{key}")
    elif isinstance(before, torch.Tensor):
        assert torch.equal(before, after), path
    elif isinstance(before, np.ndarray):
        assert np.array_equal(before, after), path
    else:
        assert before == after, path


class Messy(nn.Module):
    """Does what a forward should not do, then fails where it is told to."""

    def __init__(self, fail=None):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout2d(0.5)
        self.frozen = nn.Conv2d(4, 4, 1).requires_grad_(False)
        self.register_buffer("steps", torch.zeros(()))
        self.seen = []
        self.fail = fail
        self.norm.eval()

    def forward(self, image):
        self.steps += 1
        self.steps.add_(1)
        self.conv.weight.data.mul_(2)
        with torch.no_grad():
            self.conv.bias.fill_(7)
        self.last = image
        self.scratch = nn.Parameter(torch.ones(1))
        self.norm.momentum = 0.9
        noise = torch.rand(1) + random.random() + np.random.rand()
        y = self.drop(self.norm(self.conv(image))) * noise
        if self.fail == "data" and y.sum() > 0:
            return y
        if self.fail == "shape":
            return self.conv(y)
        if self.fail == "unsupported":
            return y.msort()
        if self.fail == "python":
            raise RuntimeError("boom")
        if self.fail == "interrupt":
            raise KeyboardInterrupt
        return self.frozen(y)


FAILURES = {
    None: None,
    "data": (rfgraph.CaptureError, "needs the values of 'gt'"),
    "shape": (rfgraph.CaptureError, "expected 3 channels, got 4"),
    "unsupported": (rfgraph.UnsupportedOperatorError, "'msort'"),
    "python": (rfgraph.CaptureError, "RuntimeError: boom"),
    "interrupt": (KeyboardInterrupt, "^$"),
}


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("fail", FAILURES)
def test_a_messy_model_is_untouched_on_success_and_on_failure(fail, mode):
    model = Messy(fail)
    model.register_forward_hook(lambda module, args, out: out * 1)
    model.conv(torch.ones(1, 3, 5, 5)).sum().backward()
    before = snapshot(model)
    if FAILURES[fail] is None:
        assert rfgraph.analyze(model, (1, 3, 9, 8), mode=mode).output.shape == (1, 4, 7, 6)
    else:
        error, text = FAILURES[fail]
        with pytest.raises(error, match=text):
            rfgraph.analyze(model, (1, 3, 9, 8), mode=mode)
    assert_same(before, snapshot(model))
    assert not hasattr(model, "last") and not hasattr(model, "scratch")


@pytest.mark.parametrize("name", MODELS)
def test_gallery_models_are_untouched_and_still_compute_the_same(name):
    model = MODELS[name]()
    before = snapshot(model)
    report = rfgraph.analyze(model)
    assert_same(before, snapshot(model))
    shape = next(iter(report.inputs.values())).shape
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    twin = deepcopy(model).eval()
    assert torch.equal(model.eval()(inputs), twin(inputs))


def test_inputs_given_as_tensors_are_untouched():
    inputs = torch.randn(1, 3, 9, 8, requires_grad=True)
    kept = inputs.detach().clone()
    rfgraph.analyze(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3)), inputs)
    assert torch.equal(inputs.detach(), kept) and inputs.grad is None


def test_the_snapshot_notices_every_change():
    """The fault planted: each of these must be seen, or the tests above prove nothing."""
    changes = [
        lambda m: m.steps.add_(1),
        lambda m: m.conv.weight.data.mul_(2),
        lambda m: setattr(m, "last", 1),
        lambda m: m.conv.train(not m.conv.training),
        lambda m: m.conv.requires_grad_(False),
        lambda m: m.conv.register_forward_hook(print),
        lambda m: torch.rand(1),
        lambda m: random.random(),
        lambda m: np.random.rand(),
        lambda m: setattr(m.conv, "weight", nn.Parameter(m.conv.weight.detach().clone())),
    ]
    for change in changes:
        model = Messy()
        before = snapshot(model)
        change(model)
        with pytest.raises(AssertionError, match=r"^/|^assert"):
            assert_same(before, snapshot(model))
