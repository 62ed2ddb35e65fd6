"""Twins of short-time Fourier transforms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rfgraph.probe.twins.encoding import average, settled, without_low
from rfgraph.probe.twins.twin import Called, Twin, arguments, nothing, twin

_STFT = (
    "input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode='reflect', "
    "normalized=False, onesided=None, return_complex=None, align_to_window=None"
)


@twin("stft")
def stft(call: Called, *args: object, **kwargs: object) -> Tensor:
    """The mean of each frame, weighted by what is fixed of the window; of a computed one, all of it."""
    p = arguments(_STFT, args, kwargs)
    n_fft, signal, window = p["n_fft"], p["input"], p["window"]
    length = p["win_length"] or n_fft
    weights = torch.zeros(n_fft, dtype=torch.float64)
    left = (n_fft - length) // 2
    known = isinstance(window, Tensor) and not isinstance(window, Twin)
    weights[left : left + length] = settled(window).cpu() if known else 1.0
    terms = []
    if isinstance(signal, Twin):
        value = without_low(signal.value)
        lines = value.reshape(-1, 1, value.shape[-1])
        if p["center"]:
            lines = F.pad(lines, (n_fft // 2, n_fft // 2), mode=p["pad_mode"])
        frames = lines.unfold(-1, n_fft, p["hop_length"] or n_fft // 4) * weights.to(lines.device)
        terms.append(frames.mean(-1).reshape(*value.shape[:-1], 1, -1))
    if isinstance(window, Twin) and not call.setting.cut:
        terms.append(window.value.mean())
    if not terms:
        return nothing(call)
    made, shape = average(*terms), call.shape()
    apart = made.ndim and len(shape) > signal.ndim + 1  # real and imaginary parts
    return (made.unsqueeze(-1) if apart else made).expand(shape)
