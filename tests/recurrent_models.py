"""Recurrent models, as code has them: a state handed on from chunk to chunk, or from frame to frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Chunks(nn.Module):
    """A recurrent layer over chunks, the state of one handed on to the next."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.recurrent = kind(2, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for chunk in x.split(4, 1):
            output, state = self.recurrent(chunk, state)
            outputs.append(output)
        return torch.cat(outputs, 1)


class ConvLSTM(nn.Module):
    """Over frames (batch, time, channel, height, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        batch, times, _, height, width = x.shape
        hidden = cell = x.new_zeros(batch, 2, height, width)
        states = []
        for t in range(times):
            i, f, o, g = self.cell(torch.cat([x[:, t], hidden], 1)).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
            states.append(hidden)
        return torch.stack(states, 1)
