"""`analyze` leaves the model, and every random state, as they were: on success and on every failure."""

import itertools
import random
import sys
import threading
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import rfgraph
from rfgraph.gallery import MODELS
from rfgraph.graph import guard
from tests.capture import deep, mutations
from tests.capture.mutations import MUTATIONS, Hoard, roots


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
def test_a_messy_model_is_untouched_on_success_and_on_failure(fail, mode, untaught):
    untaught("msort")
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


# --- deeply: everything that can be reached ------------------------------------------------------

OUTCOMES = {
    "success": (None, None, None),
    "failure": (RuntimeError("boom"), rfgraph.CaptureError, "boom"),
    "interrupt": (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop"),
}


def run(model, outcome="success", mode="eval"):
    error, raised, text = OUTCOMES[outcome]
    model.fail = error
    if raised is None:
        return rfgraph.analyze(model, (1, 2, 5, 5), mode=mode)
    with pytest.raises(raised, match=text):
        rfgraph.analyze(model, (1, 2, 5, 5), mode=mode)
    return None


def assert_untouched(model, outcome, mode="eval"):
    model.fail = OUTCOMES[outcome][0]
    before = deep.picture(*roots(model))
    run(model, outcome, mode)
    deep.assert_same(before, deep.picture(*roots(model)))
    assert deep.stand_ins(*roots(model)) == []


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("name", MUTATIONS)
def test_whatever_a_forward_does_is_put_back(name, outcome):
    assert_untouched(Hoard([name]), outcome)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_all_of_it_at_once_is_put_back(outcome, mode):
    assert_untouched(Hoard([*MUTATIONS]), outcome, mode)


def test_gradients_that_are_there_keep_their_values():
    model = Hoard(["gradients", "backward", "tensor attributes"])
    model.conv.weight.sum().backward()
    assert_untouched(model, "success")


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_picture_notices_every_mutation(name):
    """The fault planted: what a forward does to the model by itself must be seen."""
    model = Hoard([])
    before = deep.picture(*roots(model))
    with guard.untouched(
        nn.ModuleList(), False
    ):  # puts back what is the process's, not the model's
        MUTATIONS[name](model, torch.ones(1, 2, 5, 5))
        after = deep.picture(*roots(model))
    with pytest.raises(AssertionError, match=r"^\{"):
        deep.assert_same(before, after)
    repair()


@pytest.fixture(autouse=True)
def _repaired():
    yield
    repair()


def repair():
    """Module-level objects of the mutations, as they were on import."""
    mutations.GRIDS = {(3, 3): torch.ones(1)}
    mutations.LOG, mutations.COUNT, mutations.MASK = ["begin"], 0, torch.ones(2, 2)
    vars(mutations).pop("LATE", None)
    mutations.Plain.shared, mutations.Plain.total, Hoard.total = [], 0, 0
    if hasattr(mutations.Plain, "late"):
        del mutations.Plain.late
    mutations.held.NESTED.clear(), mutations.held.HELD.clear()
    for function in (
        mutations.with_default,
        Hoard.noted,
        Hoard.memory.fget,
        vars(Hoard)["once"].func,
    ):
        function.__defaults__[0].clear()
    mutations.halved.cache_clear(), mutations.remembered.cache_clear()
    for found in roots(nn.Identity()):
        if isinstance(found, dict) and found is not mutations.GRIDS:  # hooks of all modules
            found.clear()


def test_a_stand_in_is_found_wherever_it_is():
    class Odd(nn.Module):
        def forward(self, x):
            found.append(x)
            keep = [{"a": (x,)}]
            assert deep.stand_ins(keep) and deep.stand_ins(self, found)
            return x

    found = []
    rfgraph.analyze(Odd(), (1, 2, 5, 5))
    assert found == []


def test_the_model_works_after_a_capture_that_filled_its_cache():
    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.grids = nn.Conv2d(2, 2, 3), {}

        def forward(self, x):
            key = x.shape[-2:]
            if key not in self.grids:
                self.grids[key] = torch.ones(key) + x[:1, :1]
            return self.conv(x * self.grids[key])

    model, x = Cached(), torch.randn(1, 2, 5, 5)
    expected = model(x)
    model.grids.clear()
    rfgraph.analyze(model, (1, 2, 5, 5))
    assert model.grids == {} and torch.equal(model(x), expected)


# --- interrupts wherever they come ---------------------------------------------------------------

GUARD = str(Path(guard.__file__).parent)
PLACES = (GUARD, mutations.__file__)


class InterruptAt:
    """Raises KeyboardInterrupt at one line of the guard's or of the forward's code, by their count."""

    def __init__(self, place):
        self.place, self.count, self.last = place, 0, {}

    def __call__(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(PLACES):
            return None
        if event == "line":
            self.count += 1
            self.last[frame.f_code.co_filename, frame.f_lineno] = self.count
            if self.count == self.place:
                raise KeyboardInterrupt("stop")
        return self

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)


def assert_untouched_where_interrupted(model, place, before, mode="eval"):
    """Looked at while the interrupt is on its way, which keeps alive all that it passed through."""
    try:
        with InterruptAt(place):
            rfgraph.analyze(model, (1, 2, 5, 5), mode=mode)
    except (KeyboardInterrupt, rfgraph.RfgraphError) as error:
        deep.assert_same(before, deep.picture(*roots(model)))
        assert not lock_is_held()
        return str(error) == "stop"
    deep.assert_same(before, deep.picture(*roots(model)))
    return False


def lock_is_held():
    """Asked from another thread: this one may enter at any time."""
    taken = []

    def take():
        if guard._LOCK.acquire(timeout=1):
            guard._LOCK.release()
            taken.append(True)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return not taken


def test_an_interrupt_at_any_line_of_the_guard_leaves_everything_as_it_was():
    """At every line that runs, the last time that it does: the way back is the last thing that runs."""
    todo = [
        *("dict", "hooks", "tensor values", "tensor attributes", "global", "slots", "random"),
        *("flags", "set", "deque", "bytes", "ordered", "closure", "lru", "class", "numpy"),
    ]
    model = Hoard(todo)
    rfgraph.analyze(model, (1, 2, 5, 5))  # what is asked once is known
    before = deep.picture(*roots(model))
    with InterruptAt(-1) as counted:
        rfgraph.analyze(model, (1, 2, 5, 5))
    places = sorted({*range(1, 30), *counted.last.values()})
    came = [assert_untouched_where_interrupted(model, place, before) for place in places]
    assert len(places) > 300 and sum(came) > len(places) - 5


# --- threads -------------------------------------------------------------------------------------


def test_captures_in_several_threads_neither_disturb_each_other_nor_wait_for_ever():
    todo = ["dict", "list", "tensor values", "global", "random", "class", "closure"]
    shared = Hoard(todo)
    models = [shared, Hoard(todo), shared, Hoard(todo)]
    before = deep.picture(*roots(shared))
    expected = str(rfgraph.analyze(shared, (1, 2, 5, 5)))
    start, results = threading.Barrier(len(models)), []

    def work(model):
        start.wait()
        for _ in range(5):
            results.append(str(rfgraph.analyze(model, (1, 2, 5, 5))))

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 20
    deep.assert_same(before, deep.picture(*roots(shared)))


def test_one_thread_may_enter_again():
    model = Hoard([])
    with guard.untouched(model, False), guard.untouched(model, True):
        assert model.training
        model.dict["x"] = 1
    assert model.dict == {"one": 1}


# --- what was written is read --------------------------------------------------------------------


class Written(nn.Module):
    def __init__(self, write):
        super().__init__()
        self.steps = nn.Buffer(torch.zeros(2, 3))
        self.table = [self.steps[1]]
        self.weight = nn.Parameter(torch.ones(3))
        self.write = write


def filled(x):
    """A function that tells torch's function modes of itself, and what it does of nothing."""
    if torch.overrides.has_torch_function((x,)):
        return torch.overrides.handle_torch_function(filled, (x,), x)
    return x.fill_(1)


threshold = torch.nn.functional.threshold

READS = {
    "a flag": lambda m: threshold(m.steps, 0.5, 1.0, inplace=True),
    "a name": lambda m: torch._foreach_add_(self=[m.steps], scalar=1.0),
    "a function of one's own": lambda m: filled(m.steps),
    "in place": lambda m: m.steps.add_(1),
    "an operator": lambda m: exec("m.steps += 1"),
    "an item": lambda m: m.steps.__setitem__(slice(None), 1),
    "a view": lambda m: m.steps.view(-1).fill_(1),
    "detached": lambda m: m.steps.detach().fill_(1),
    "its data": lambda m: m.steps.data.fill_(1),
    "another view": lambda m: (m.table[0].fill_(1), m.steps[0].fill_(1)),
    "out": lambda m: torch.ones(2, 3, out=m.steps),
    "an overload": lambda m: torch.ops.aten.add_.Scalar(m.steps, 1),
    "numpy": lambda m: m.steps.numpy().fill(1),
    "a list": lambda m: torch._foreach_add_([m.steps], 1),
    "data set": lambda m: setattr(m.steps, "data", torch.ones(2, 3)),
}


@pytest.mark.parametrize("write", READS)
def test_a_later_read_sees_what_was_written(write):
    model = Written(READS[write])
    memory = model.steps.untyped_storage().data_ptr()
    with guard.untouched(model, False):
        model.write(model)
        assert float((model.steps * 1).sum()) == 6
        assert float(torch.stack([model.steps, model.steps]).sum()) == 12
        assert float(torch.add(input=model.steps, other=0).sum()) == 6
        assert model.steps.mean().item() == 1
        if write != "data set":
            assert model.table[0].tolist() == [1, 1, 1]
    assert not model.steps.any() and model.steps.untyped_storage().data_ptr() == memory


def test_what_is_turned_in_place_stays_turned():
    model = Written(None)
    with guard.untouched(model, False):
        model.steps.t_()
        assert model.steps.shape == (3, 2) and model.steps[2, 1].item() == 0
        assert model.steps.add_(1) is model.steps
        assert model.weight.mul_(1) is model.weight and model.weight.requires_grad
        assert model.weight.requires_grad_(False) is model.weight and not model.weight.requires_grad
    assert model.steps.shape == (2, 3) and model.weight.requires_grad


def test_another_thread_sees_nothing_of_it():
    model, seen = Written(None), []
    with guard.untouched(model, False):
        model.steps.add_(1)
        thread = threading.Thread(target=lambda: seen.append(model.steps.sum().item()))
        thread.start()
        thread.join()
    assert seen == [0]


# --- what cannot be put back, and what it costs --------------------------------------------------


def test_an_iterator_that_a_module_holds_is_refused():
    model = nn.Sequential(nn.ReLU())
    model.ids = itertools.count()
    with pytest.raises(
        rfgraph.InputError,
        match=r"^Sequential.ids is an iterator \(count\), which could not be put back",
    ):
        rfgraph.analyze(model, (1, 2, 5, 5))
    assert next(model.ids) == 0


def test_a_long_list_takes_no_time_to_speak_of():
    model = Hoard(["list"])
    model.list += range(1_000_000)
    assert_untouched_quickly(model)


def assert_untouched_quickly(model):
    before = list(model.list)
    rfgraph.analyze(model, (1, 2, 5, 5))
    assert model.list == before


class Counts(nn.Module):
    """It asks for a size, so it is captured twice; what its first run counts would turn the second."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(len(self.seen))
        y = x.reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        return y if len(self.seen) == 1 else torch.nn.functional.avg_pool2d(y, 3)


def test_what_a_model_holds_is_found_once_for_all_runs_of_an_analysis(monkeypatch):
    found = []
    before = guard.Kept.__init__
    monkeypatch.setattr(
        guard.Kept,
        "__init__",
        lambda self, model, tree: (found.append(model), before(self, model, tree))[1],
    )
    model = Counts()
    report = rfgraph.analyze(model, (1, 2, 7, 9), on_unknown="measure")
    assert found.count(model) == 1 and model.seen == []
    assert report.output.rf.size == (1, 1) and all(report.output.rf.closed_form)
