"""Short-time Fourier transforms, and back.

In: nodes of `stft` and `istft`. Out: reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rfgraph.algebra.positions import Positions
from rfgraph.algebra.relation import Relation
from rfgraph.graph import Node, Operand, Shape
from rfgraph.language.reads import Read, Reads, along, every
from rfgraph.language.vocabulary import Params
from rfgraph.rules.common import padded
from rfgraph.rules.registry import rule
from rfgraph.rules.zeros import fixed


def _taps(params: Params) -> list[int]:
    """The places of a frame that its window, in the middle of it, does not fix to 0."""
    length = params["win_length"] or params["n_fft"]
    left = (params["n_fft"] - length) // 2
    zeros = None if params["window"] is None else fixed(params["window"], 0.0)
    if zeros is None:
        return list(range(left, left + length))
    return [left + t for t, is_zero in enumerate(zeros.expand(length).tolist()) if not is_zero]


def _frames(params: Params) -> tuple[Relation, int]:
    """What each frame reads of a signal, and how far before it they begin."""
    start = params["n_fft"] // 2 if params["center"] else 0
    hop = params["hop_length"] or params["n_fft"] // 4
    return Relation(1, hop, (Positions.of(t - start for t in _taps(params)),)), start


@rule(
    torch.stft,
    "stft",
    name="stft",
    signature="input, n_fft, hop_length=None, win_length=None, window=None, center=True, "
    "pad_mode='reflect', normalized=False, onesided=None, return_complex=None, align_to_window=None",
)
def stft(node: Node) -> Reads:
    """Short-time Fourier transform: a spectrum of each frame.

    Reads:      of its own frame, all that the window does not fix to 0; with `center`, frames begin
                n_fft // 2 before the signal, which is padded by `pad_mode`.
    Formula:    R(.., f, m) = {hop_length * m - n_fft // 2 + t : window[t] != 0} for every bin f.
    Example:    n_fft 16, hop 4, a Hann window, whose first weight is 0: frame 3 reads {5 .. 19}.
    Precision:  exact. Conservative where real and imaginary parts are apart: some of their weights are 0.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.stft.html
    """
    params, reads = node.params, []
    law, start = _frames(params)
    if isinstance(params["input"], Operand):
        *batch, size = params["input"].shape
        frame = padded(len(batch) + 1, law, size, params["pad_mode"] if start else "")
        reads.append(Read(params["input"].index, (*map(along, range(len(batch))), frame)))
    if isinstance(params["window"], Operand):
        reads.append(Read(params["window"].index, (every("linear"),)))
    return tuple(reads)


def _infer_back(params: Params, shapes: Sequence[Shape]) -> Shape:
    *batch, _, frames = params["input"].shape
    law, start = _frames(params)
    own = params["n_fft"] + law.advance * (frames - 1) - 2 * start
    return (*batch, own if params["length"] is None else int(params["length"]))


@rule(
    torch.istft,
    "istft",
    name="istft",
    signature="input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, "
    "onesided=None, length=None, return_complex=False",
    infer=_infer_back,
)
def istft(node: Node) -> Reads:
    """Inverse short-time Fourier transform: frames, back from their spectra, laid over each other.

    Reads:      every bin of the frames that hold the position, but where their window is fixed to 0.
    Formula:    R(o) = {m : window[o + n_fft // 2 - hop_length * m] != 0}, for all bins: the converse of what
                the frames of `stft` read.
    Example:    n_fft 16, hop 4, a Hann window, whose first weight is 0: position 8 reads frames {1, 2, 3}.
    Precision:  exact. Conservative where real and imaginary parts are apart: some of their weights are 0.
    Documented: https://docs.pytorch.org/docs/stable/generated/torch.istft.html
    """
    params, reads = node.params, []
    if isinstance(params["input"], Operand):
        time = len(node.shape) - 1
        frame = along(time, _frames(params)[0].converse())
        batch = map(along, range(time))
        reads.append(Read(params["input"].index, (*batch, every("linear"), frame)))
    if isinstance(params["window"], Operand):
        reads.append(Read(params["window"].index, (every("linear"),)))
    return tuple(reads)
