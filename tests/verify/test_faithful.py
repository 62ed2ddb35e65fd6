"""Whether the graph computes what the model computes: in float64, module by module; planted captures are caught."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rfgraph
from rfgraph.capture import memory
from tests.capture.test_untouched import assert_same, snapshot

SMALL = 1e-4


class Scan(nn.Module):
    """A selective scan over (batch, time, channel): its states are written, one by one, into its result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.rand(channels))
        self.gate = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate, state = self.gate(x).sigmoid(), torch.zeros_like(x[:, 0])
        states = torch.zeros_like(x)
        for step in range(x.shape[1]):
            state = self.decay * gate[:, step] * state + x[:, step]
            states[:, step] = state
        return states


class Mamba(nn.Module):
    """A scan that contributes 1e-4 of what is returned."""

    def __init__(self, share: float = SMALL) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.scan = Scan(4)
        self.outer = nn.Linear(4, 4)
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        return y + self.share * self.outer(self.scan(y))


SHAPE = (2, 5, 4)


def lose_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture that forgets what is written."""
    monkeypatch.setattr(memory, "written", lambda target, value, record: None)


def checked(model: nn.Module) -> rfgraph.Report:
    return rfgraph.analyze(model, SHAPE, axes=(1,), check=True)


def test_a_scan_that_adds_little_is_what_it_is() -> None:
    assert checked(Mamba()).notes == rfgraph.analyze(Mamba(), SHAPE, axes=(1,)).notes
    assert rfgraph.verify(Mamba(), SHAPE, axes=(1,)).faithful


def test_a_lost_scan_is_caught_and_its_module_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lose_writes(monkeypatch)
    with pytest.raises(
        rfgraph.CaptureError,
        match=r"'output' differs from the model's by up to .*; the first module that differs is 'scan'",
    ):
        checked(Mamba())
    check = rfgraph.verify(Mamba(), SHAPE, axes=(1,))
    assert not check and not check.faithful
    assert "the first module that differs is 'scan'" in check.differs and check.differs in str(
        check
    )


def test_a_lost_scan_that_adds_nothing_yet_is_caught_at_the_module_that_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose_writes(monkeypatch)
    with pytest.raises(
        rfgraph.CaptureError,
        match=r"'outer' differs from the model's by up to .*; the first module that differs is 'scan'",
    ):
        checked(Mamba(share=0.0))


class Cast(Mamba):
    """Names a dtype, so that a copy in float64 does not run."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(torch.float32))


TOLD = "the graph was held against the model in float32, to 0.0003: in float64 it cannot be run"


def test_what_has_no_copy_in_float64_is_held_in_its_own_dtype_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert any(TOLD in note for note in checked(Cast()).notes)
    check = rfgraph.verify(Cast(), SHAPE, axes=(1,))
    assert check.faithful and any(note.startswith(TOLD) for note in check.notes)
    lose_writes(monkeypatch)
    with pytest.raises(rfgraph.CaptureError, match="the first module that differs is 'scan'"):
        checked(Cast(share=1.0))


class Branching(nn.Module):
    """Another graph in float64."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.dtype is torch.float64 else x + x.relu()


def test_another_path_in_float64_is_no_difference() -> None:
    check = rfgraph.verify(Branching(), (1, 2, 7))
    assert check.exact and "its forward takes another path" in check.notes[0]


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("there is but one")


def test_what_cannot_be_copied_is_run_as_it_is() -> None:
    check = rfgraph.verify(nn.Sequential(Uncopied(4, 4)), (1, 4, 4), axes=(1,))
    assert check.exact and "TypeError: there is but one" in check.notes[0]


class Constant(nn.Module):
    """Constants that the forward works out from its parameters: in float32 they are other numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(7))
        self.plain = torch.rand(7)

    def forward(self, x: Tensor) -> Tensor:
        ramp = torch.linspace(0, 1, 7) / self.scale.norm().item()
        return x * ramp.to(x.dtype) * self.scale.softmax(0) + self.plain.exp()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_constants_are_worked_out_in_float64_too(dtype: torch.dtype) -> None:
    check = rfgraph.verify(Constant().to(dtype), (1, 2, 7))
    assert check.faithful and not any("held against the model" in note for note in check.notes)


def test_the_model_and_the_default_dtype_are_as_they_were() -> None:
    model = Mamba().train()
    before = snapshot(model)
    checked(model)
    assert_same(before, snapshot(model))
    assert torch.get_default_dtype() is torch.float32
    assert {p.dtype for p in model.parameters()} == {torch.float32}
