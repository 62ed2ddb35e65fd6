"""Examples of normalisations, softmax and Fourier transforms.

In: tables of shapes and options. Out: `EXAMPLES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.rules.examples import Example, ex, w

_MEAN, _VARIANCE = w(3), w(3).abs()


def _running(x: Tensor, **options: Any) -> Tensor:
    """Batch norm with statistics of the model; these are copied, since training writes into them."""
    return F.batch_norm(x, _MEAN.clone(), _VARIANCE.clone(), **options)


def _batch() -> list[Example]:
    shape = (2, 3, 2)
    return [
        ex(nn.BatchNorm1d(3), shape),
        ex(nn.BatchNorm1d(3), (3, 3), training=True),
        ex(nn.BatchNorm1d(2), (2, 2, 3), training=True),
        ex(nn.BatchNorm1d(2, track_running_stats=False), (2, 2, 3)),
        ex(nn.BatchNorm2d(3), (1, 3, 2, 2)),
        ex(nn.BatchNorm2d(2, affine=False), (2, 2, 2, 3), training=True),
        ex(nn.BatchNorm3d(2), (1, 2, 2, 1, 3), training=True),
        ex(nn.SyncBatchNorm(2), (2, 2, 3)),
        ex(_running, shape),
        ex(lambda x: _running(x, training=True, weight=w(3)), shape),
        ex(lambda x: F.batch_norm(x, None, None, training=True), shape),
        ex(
            lambda x: torch.batch_norm(x, None, None, _MEAN, _VARIANCE, False, 0.1, 1e-5, True),
            shape,
        ),
        ex(lambda x: torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, True), shape),
        ex(lambda x: torch.ops.aten.batch_norm(x, w(3), None, None, None, True, 0, 1, True), shape),
        ex(
            lambda x, g: torch.batch_norm(x, g, None, _MEAN, _VARIANCE, False, 0.1, 1e-5, True),
            shape,
            (3,),
        ),
        ex(lambda x, g, b: _running(x, weight=g, bias=b), shape, (3,), (3,)),
    ]


def _instance() -> dict[str, list[Example]]:
    options = {"affine": True, "track_running_stats": True}
    return {
        "instance_norm": [
            ex(lambda x: F.instance_norm(x, weight=w(3)), (2, 3, 3)),
            ex(lambda x: F.instance_norm(x), (1, 2, 3, 2)),
            ex(lambda x: F.instance_norm(x, _MEAN, _VARIANCE, use_input_stats=False), (2, 3, 3)),
            ex(lambda x, g: F.instance_norm(x, weight=g), (2, 3, 3), (3,)),
            ex(
                lambda x: torch.instance_norm(
                    x, None, None, _MEAN, _VARIANCE, False, 0.1, 1e-5, True
                ),
                (2, 3, 3),
            ),
        ],
        "instance_norm1d": [ex(nn.InstanceNorm1d(2), (2, 2, 3)), ex(nn.InstanceNorm1d(2), (2, 4))],
        "instance_norm2d": [
            ex(nn.InstanceNorm2d(2, affine=True), (1, 2, 3, 2)),
            ex(nn.InstanceNorm2d(2), (2, 3, 2)),
            ex(nn.InstanceNorm2d(2, **options), (2, 2, 2, 2)),
            ex(nn.InstanceNorm2d(2, **options), (2, 2, 2, 2), training=True),
        ],
        "instance_norm3d": [
            ex(nn.InstanceNorm3d(2), (1, 2, 2, 1, 3)),
            ex(nn.InstanceNorm3d(2), (2, 2, 1, 3)),
        ],
    }


def _channels() -> dict[str, list[Example]]:
    """Statistics over groups of channels, or over the last dims."""
    return {
        "group_norm": [
            ex(nn.GroupNorm(2, 4), (2, 4, 3)),
            ex(nn.GroupNorm(1, 3), (1, 3, 2, 2)),
            ex(nn.GroupNorm(2, 6), (2, 6)),
            ex(lambda x: F.group_norm(x, 3, eps=1e-3), (2, 3, 2, 2)),
            ex(lambda x: torch.group_norm(x, 2, w(4), w(4), 1e-5, True), (1, 4, 3)),
            ex(lambda x, g, b: F.group_norm(x, 2, g, b), (2, 4, 2), (4,), (4,)),
        ],
        "layer_norm": [
            ex(nn.LayerNorm(4), (2, 3, 4)),
            ex(nn.LayerNorm((2, 3)), (2, 2, 2, 3)),
            ex(nn.LayerNorm([4], elementwise_affine=False), (3, 4)),
            ex(lambda x: F.layer_norm(x, (3,)), (2, 2, 3)),
            ex(lambda x: torch.layer_norm(x, [3], w(3), w(3), 1e-5, True), (2, 3)),
            ex(lambda x, g, b: F.layer_norm(x, (2, 3), g, b), (2, 2, 3), (2, 3), (2, 3)),
        ],
        "rms_norm": [
            ex(nn.RMSNorm(4), (2, 3, 4)),
            ex(nn.RMSNorm((2, 3)), (2, 2, 3)),
            ex(lambda x: F.rms_norm(x, (3,), eps=1e-4), (2, 2, 3)),
            ex(lambda x, g: F.rms_norm(x, (3,), g), (2, 3), (3,)),
        ],
        "local_response_norm": [
            ex(nn.LocalResponseNorm(3, alpha=0.5), (1, 5, 2)),
            ex(nn.LocalResponseNorm(2, alpha=0.5), (2, 4, 2, 1)),
            ex(lambda x: F.local_response_norm(x, 4, alpha=0.5), (1, 6, 1, 2)),
        ],
        "normalize": [
            ex(F.normalize, (2, 4)),
            ex(lambda x: F.normalize(x, p=1.0, dim=-1), (2, 2, 3)),
            ex(lambda x: F.normalize(x, dim=(0, 2)), (2, 2, 3)),
        ],
    }


def _soft(name: str, module: type[nn.Module]) -> list[Example]:
    function: Callable[..., Any] = getattr(F, name)
    return [
        ex(lambda x: function(x, dim=-1), (2, 2, 3)),
        ex(lambda x: function(x, 0), (3, 2)),
        ex(lambda x: function(x, dim=-2), (2, 3, 2)),
        ex(module(1), (2, 3, 2)),
        ex(module(dim=-1), (4,)),
        ex(module(), (2, 3)),
        ex(function, (3, 2, 2)),
        ex(function, (2, 3, 1, 2)),
    ]


def _fourier() -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
        draw = "complex" if name in ("irfft", "hfft") else "normal"
        one, two, n = (getattr(torch.fft, name + suffix) for suffix in ("", "2", "n"))
        found[name] = [
            ex(one, (2, 5), draw=draw),
            ex(lambda x, f=one: f(x, dim=1), (2, 3, 2), draw=draw),
            ex(lambda x, f=one: f(x, n=9, dim=0, norm="ortho"), (4, 2), draw=draw),
        ]
        found[name + "2"] = [
            ex(two, (2, 3, 4), draw=draw),
            ex(lambda x, f=two: f(x, dim=(0, 2)), (3, 2, 3), draw=draw),
        ]
        found[name + "n"] = [
            ex(n, (2, 3, 3), draw=draw),
            ex(lambda x, f=n: f(x, dim=(1,)), (2, 4, 2), draw=draw),
            ex(lambda x, f=n: f(x, s=(4, 8)), (2, 3, 4), draw=draw),
        ]
    short = "of a shortened transform all of the dim is read"
    found["fft"].append(ex(lambda x: torch.fft.fft(x, n=3), (2, 5), conservative=short))
    return found


def _stft() -> list[Example]:
    hann = torch.hann_window(6, dtype=torch.float64)
    some = torch.tensor([1.0, 0.0, 2.0, 3.0], dtype=torch.float64)

    def real(x: torch.Tensor) -> torch.Tensor:
        return torch.stft(x, 6, 4, window=hann, return_complex=False)

    return [
        ex(lambda x: torch.stft(x, 6, 2, window=hann, return_complex=True), (2, 11)),
        ex(lambda x: x.stft(n_fft=5, hop_length=3, center=False, return_complex=True), (9,)),
        ex(
            lambda x: torch.stft(x, 8, 3, 4, some, pad_mode="constant", return_complex=True),
            (2, 10),
        ),
        ex(
            lambda x: torch.stft(x, 6, 7, window=hann, pad_mode="circular", return_complex=True),
            (9,),
        ),
        ex(real, (2, 8), conservative="of a real signal, the lowest and the highest bin are real"),
    ]


def _istft() -> list[Example]:
    hann = torch.hann_window(8, dtype=torch.float64)
    hamming = torch.hamming_window(5, dtype=torch.float64)
    ones = torch.ones(6, dtype=torch.float64)

    def both(x: torch.Tensor) -> torch.Tensor:
        return torch.istft(x, 6, 2, window=ones, onesided=False, return_complex=True)

    def by_method(x: torch.Tensor) -> torch.Tensor:
        return x.istft(n_fft=7, hop_length=3, win_length=5, window=hamming)

    return [
        ex(lambda x: torch.istft(x, 8, 2, window=hann), (2, 5, 6), draw="complex"),
        ex(by_method, (4, 5), draw="complex"),
        ex(lambda x: torch.istft(x, 4, window=ones[:4], length=13), (1, 3, 5), draw="complex"),
        ex(lambda x: torch.istft(x, 6, 4, center=False, window=ones), (4, 3), draw="complex"),
        ex(both, (6, 5), draw="complex"),
    ]


EXAMPLES: dict[str, list[Example]] = {
    "stft": _stft(),
    "istft": _istft(),
    "batch_norm": _batch(),
    **_instance(),
    **_channels(),
    "softmax": [*_soft("softmax", nn.Softmax), ex(lambda x: x.softmax(0), (3, 2))],
    "log_softmax": [*_soft("log_softmax", nn.LogSoftmax), ex(lambda x: x.log_softmax(-1), (3, 2))],
    "softmin": _soft("softmin", nn.Softmin),
    "softmax2d": [ex(nn.Softmax2d(), (2, 3, 1, 2)), ex(nn.Softmax2d(), (3, 2, 2))],
    **_fourier(),
}
