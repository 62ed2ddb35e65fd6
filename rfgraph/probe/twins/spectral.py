"""Twins of short-time Fourier transforms, and of their inverse."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rfgraph.probe.twins.encoding import average, settled, without_low
from rfgraph.probe.twins.twin import Called, Named, Twin, arguments, nothing, twin

_STFT = (
    "input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode='reflect', "
    "normalized=False, onesided=None, return_complex=None, align_to_window=None"
)
_ISTFT = (
    "input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, "
    "onesided=None, length=None, return_complex=False"
)


@twin("stft")
def stft(call: Called, *args: object, **kwargs: object) -> Tensor:
    """The mean of each frame, weighted by what is fixed of the window; of a computed one, all of it."""
    p = arguments(_STFT, args, kwargs)
    n_fft, signal, window = p["n_fft"], p["input"], p["window"]
    weights, terms = _weights(p), []
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


def _weights(p: Named) -> Tensor:
    """What is fixed of the window, in the middle of a frame; of a computed one, all of it."""
    n_fft, window = p["n_fft"], p["window"]
    length = p["win_length"] or n_fft
    weights = torch.zeros(n_fft, dtype=torch.float64)
    left = (n_fft - length) // 2
    known = isinstance(window, Tensor) and not isinstance(window, Twin)
    weights[left : left + length] = settled(window).cpu() if known else 1.0
    return weights


@twin("istft")
def istft(call: Called, *args: object, **kwargs: object) -> Tensor:
    """Of each frame the mean of its bins; of a position, that of the frames whose window is not 0 there."""
    p = arguments(_ISTFT, args, kwargs)
    spectra, window, shape = p["input"], p["window"], _shape_back(p)
    terms = []
    if isinstance(spectra, Twin) and not call.setting.cut:
        lines = without_low(spectra.value).mean(-2)
        lines = lines.reshape(-1, 1, lines.shape[-1])
        weights = (_weights(p) != 0).to(lines).reshape(1, 1, -1)
        hop, start = p["hop_length"] or p["n_fft"] // 4, p["n_fft"] // 2 if p["center"] else 0
        sums, counts = (
            F.conv_transpose1d(each, weights, stride=hop)[..., start:]
            for each in (lines, torch.ones_like(lines))
        )
        laid = (sums / counts.clamp(min=1.0))[..., : shape[-1]]
        terms.append(F.pad(laid, (0, shape[-1] - laid.shape[-1])).reshape(shape))
    if isinstance(window, Twin) and not call.setting.cut:
        terms.append(window.value.mean().expand(shape))
    return average(*terms) if terms else torch.ones(shape, dtype=torch.float64)


def _shape_back(p: Named) -> tuple[int, ...]:
    """What torch returns for such spectra: a meta tensor will not do, as it looks at the window."""
    spectra = torch.zeros(tuple(p["input"].shape), dtype=torch.complex128)
    window = torch.ones(p["win_length"] or p["n_fft"], dtype=torch.float64)
    options = {name: p[name] for name in ("center", "onesided", "length", "return_complex")}
    made = torch.istft(spectra, p["n_fft"], p["hop_length"], p["win_length"], window, **options)
    return tuple(made.shape)
