"""Models whose forward asserts something about values, and others that decide by values.

In a module of its own: pytest writes the assertions of a test module in another way.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Asserting(nn.Module):
    """A convolution, and what `look` makes of its output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.look(self.conv(x))

    def look(self, y: Tensor) -> Tensor:
        raise NotImplementedError


class Plain(Asserting):
    def look(self, y: Tensor) -> Tensor:
        assert (y == y).all()
        return y


class WithText(Asserting):
    def look(self, y: Tensor) -> Tensor:
        assert torch.isfinite(y).all(), (
            f"{self.conv} gave {y.shape[-1]:>3} positions, not all {y!r}"
        )
        return y


class Not(Asserting):
    def look(self, y: Tensor) -> Tensor:
        assert not torch.isnan(y).any()
        return y


class Both(Asserting):
    def look(self, y: Tensor) -> Tensor:
        assert torch.isfinite(y).all() and y.abs().max() < 1e9, "too large"
        return y


class Guard(Asserting):
    def look(self, y: Tensor) -> Tensor:
        if torch.isnan(y).any():
            text = "not a number in {}"
            raise ValueError(text.format(type(self).__name__))
        return y


class Else(Asserting):
    def look(self, y: Tensor) -> Tensor:
        if torch.isfinite(y).all():
            y = y * 2
        else:
            raise ValueError("not finite")
        return y


class OfTorch(Asserting):
    def look(self, y: Tensor) -> Tensor:
        torch._assert((y == y).all(), "not a number")
        return y


class Inside(Asserting):
    def look(self, y: Tensor) -> Tensor:
        with torch.no_grad():
            assert (y == y).all()
        return y


class Branch(Asserting):
    def look(self, y: Tensor) -> Tensor:
        if (y > 0).any():
            return y * 2
        return y


class Caught(Asserting):
    def look(self, y: Tensor) -> Tensor:
        try:
            assert (y > 0).all()
        except AssertionError:
            y = y.flip(-1)
        return y


class Either(Asserting):
    def look(self, y: Tensor) -> Tensor:
        assert (y > 0).all() or (y < 0).all()
        return y


class Many(Asserting):
    def look(self, y: Tensor) -> Tensor:
        assert y == y
        return y


class Number(Asserting):
    def look(self, y: Tensor) -> Tensor:
        assert y.max().item() < 10
        return y


class Kept(Asserting):
    def look(self, y: Tensor) -> Tensor:
        is_large = bool((y > 5).any())
        return y.flip(-1) if is_large else y
