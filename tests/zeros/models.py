"""Models whose weights or scores are masked, in the spellings that people write.

`CASES`: name -> (what builds the model, the shape of its input).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

INF = math.inf
TOKENS, FEATURES = 7, 3


def distances(n: int, like: Tensor) -> Tensor:
    i = torch.arange(n, dtype=like.dtype)
    return i[:, None] - i[None]


# --- convolutions ---------------------------------------------------------------------------------


def pixel_mask(kind: str, size: tuple[int, int]) -> Tensor:
    """All rows above the centre, and what is left of it; of kind B the centre, too."""
    mask = torch.zeros(2, 2, *size)
    row, column = size[0] // 2, size[1] // 2
    mask[:, :, :row] = 1
    mask[:, :, row, : column + (kind == "B")] = 1
    return mask


class Masked(nn.Module):
    """A parametrisation."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


class PixelCNN(nn.Module):
    """A masked convolution of kind A or B, and one of kind B; the kernel is (3, 4)."""

    def __init__(self, kind: str, spelling: str, size: tuple[int, int] = (3, 4)) -> None:
        super().__init__()
        self.spelling = spelling
        padding = size[0] // 2, size[1] // 2
        self.convs = nn.ModuleList(nn.Conv2d(2, 2, size, padding=padding) for _ in range(2))
        for number, each in enumerate((kind, "B")):
            mask = pixel_mask(each, size)
            self.register_buffer(f"mask{number}", mask)
            if spelling == "parametrize":
                parametrize.register_parametrization(
                    self.convs[number], "weight", Masked(mask.clone())
                )
            if spelling == "prune":
                prune.custom_from_mask(self.convs[number], "weight", mask)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        for conv, mask in zip(self.convs, (self.mask0, self.mask1), strict=True):
            x = torch.tanh(self.convolved(conv, mask, x)[:, :, :height, :width])
        return x

    def convolved(self, conv: nn.Conv2d, mask: Tensor, x: Tensor) -> Tensor:
        spelling = self.spelling
        if spelling in ("parametrize", "prune"):
            return conv(x)
        if spelling == "data":  # as the first PixelCNNs in PyTorch have it
            conv.weight.data *= mask
            return conv(x)
        if spelling == "multiplied":
            weight = conv.weight * mask
        elif spelling == "where":
            weight = torch.where(mask.bool(), conv.weight, torch.zeros(()).to(conv.weight))
        elif spelling == "masked_fill":
            weight = conv.weight.masked_fill(mask == 0, 0.0)
        else:
            weight = conv.weight.clone()
            weight[mask == 0] = 0
        return F.conv2d(x, weight, conv.bias, padding=conv.padding)


class Kernels(nn.Module):
    """Fixed kernels, with zeros among their taps."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("blur", torch.tensor([[[1.0, 0.0, 2.0, 0.0, 1.0]]]).repeat(3, 1, 1))
        shift = torch.zeros(3, 1, 3)
        shift[0, 0, 0] = shift[1, 0, 1] = shift[2, 0, 2] = 1
        self.register_buffer("shift", shift)
        self.register_buffer("taper", torch.hann_window(TOKENS, periodic=False))
        self.causal = nn.Parameter(torch.randn(3, 3, 4))
        self.zeros = nn.Parameter(torch.zeros(3, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        kind = self.kind
        if kind == "blur":
            return F.conv1d(x, self.blur, groups=3, padding=2, stride=2)
        if kind == "blur, transposed":
            return F.conv_transpose1d(x, self.blur, groups=3, padding=2, stride=2)
        if kind == "shift twice":
            once = F.conv1d(x, self.shift, groups=3, padding=1)
            return F.conv1d(once.tanh(), self.shift, groups=3, padding=1)
        if kind == "tril along the kernel":
            weight = self.causal.tril(1)
            return F.conv1d(x, weight, padding=2)
        if kind == "reflected":
            return F.conv1d(F.pad(x, (2, 2), mode="reflect"), self.blur, groups=3)
        if kind == "taper":
            return F.conv1d(x * self.taper, torch.ones(1, 3, 2).to(x))
        if kind == "tapered sum":
            return (x @ self.taper)[..., None].expand(1, 3, 4)
        assert kind == "a parameter that is 0"
        return F.conv1d(x, self.zeros.view(3, 1, 3), groups=3, padding=1)


# --- matrices -------------------------------------------------------------------------------------


class Matrix(nn.Module):
    """(1, features, tokens) times a matrix of which the upper triangle is fixed to 0."""

    def __init__(self, kind: str, n: int = TOKENS) -> None:
        super().__init__()
        self.kind, self.n = kind, n
        self.w, self.kernel = nn.Parameter(torch.randn(n, n)), nn.Parameter(torch.randn(n))
        self.register_buffer("mask", torch.ones(n, n).tril())

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "linear":
            return F.linear(x, self.w * self.mask)
        if self.kind == "einsum":
            return torch.einsum("bcj,ij->bci", x, self.w * self.mask)
        return x @ self.matrix(distances(self.n, x)).T

    def matrix(self, d: Tensor) -> Tensor:
        kind, n, w, kernel = self.kind, self.n, self.w, self.kernel
        if kind == "tril":
            return torch.tril(w)
        if kind == "triu":
            return torch.triu(w.T).T
        if kind == "toeplitz":
            return kernel[d.long().clamp(min=0)] * (d >= 0)
        if kind == "band":
            return torch.where((d >= 0) & (d < 3), kernel[d.long().clamp(0, n - 1)], 0.0)
        if kind == "toeplitz, padded":
            return torch.stack([F.pad(kernel[: i + 1].flip(0), (0, n - 1 - i)) for i in range(n)])
        if kind == "scattered":
            made, (i, j) = torch.zeros(n, n).to(w), torch.tril_indices(n, n)
            made[i, j] = w[i, j]
            return made
        if kind == "softmax":
            return torch.softmax(w.masked_fill(self.mask == 0, -INF), -1)
        if kind == "softmax of -1e9":
            return torch.softmax(w + (1 - self.mask) * -1e9, -1)
        if kind == "decay":
            return torch.exp(-kernel[0].abs() * d).tril()
        if kind == "buffer":
            return self.mask
        assert kind == "plain"
        return w


# --- scores ---------------------------------------------------------------------------------------


def allowed_by(kind: str, n: int = TOKENS) -> Tensor:
    i = torch.arange(n)
    d, chunk = i[:, None] - i[None], i // 3
    return {
        "causal": d >= 0,
        "band": (d >= 0) & (d < 3),
        "chunks": chunk[:, None] == chunk[None],
        "this chunk and the one before": (chunk[:, None] - chunk[None]).clamp(-1, 2) % 3 < 2,
    }[kind]


class Attention(nn.Module):
    """(1, features, tokens): scores of the input, masked in one of many spellings, times values."""

    def __init__(self, spelling: str, mask: str = "causal", n: int = TOKENS) -> None:
        super().__init__()
        self.spelling, self.n = spelling, n
        self.q, self.k, self.v = (nn.Linear(FEATURES, FEATURES) for _ in range(3))
        self.gate, self.forget = nn.Linear(FEATURES, 1), nn.Linear(FEATURES, 1)
        self.decay = nn.Parameter(torch.tensor(0.3))
        self.register_buffer("ok", allowed_by(mask, n))

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        q, k, v = self.q(x), self.k(x), self.v(x)
        if self.spelling == "scaled-dot-product":
            made = F.scaled_dot_product_attention(q, k, v, attn_mask=self.ok)
        elif self.spelling == "mamba 2":
            log = -F.softplus(self.forget(x)).squeeze(-1)
            decay = torch.exp(segment_sums(log))
            made = torch.einsum("bln,bsn,bls,bsp->blp", q, k, decay, v)
        elif self.spelling == "mlstm":
            made = self.mlstm(x, q, k, v)
        elif self.spelling == "retention by einsum":
            scores = torch.einsum("bid,bjd->bij", q, k) * self.decays(x)
            made = torch.einsum("bij,bjd->bid", scores, v)
        else:
            made = self.weights(q @ k.transpose(-1, -2)) @ v
        return made.transpose(1, 2)

    def decays(self, like: Tensor) -> Tensor:
        """As RetNet makes them, of constants alone."""
        return (0.9 ** distances(self.n, like).clamp(min=0)).tril()

    def weights(self, scores: Tensor) -> Tensor:
        made = getattr(self, f"_{self.spelling.replace(' ', '_')}")(scores, self.ok)
        assert isinstance(made, Tensor)
        return made

    # Softmax.

    def _boolean(self, s: Tensor, ok: Tensor) -> Tensor:
        return s.masked_fill(~ok, -INF).softmax(-1)

    def _minus_1e4(self, s: Tensor, ok: Tensor) -> Tensor:
        return (s + (~ok).to(s) * -1e4).softmax(-1)

    def _taken_off(self, s: Tensor, ok: Tensor) -> Tensor:
        return (s - (1 - ok.to(s)) * 1e9).softmax(-1)

    def _where(self, s: Tensor, ok: Tensor) -> Tensor:
        return torch.where(ok, s, torch.tensor(-INF).to(s)).softmax(-1)

    def _least_value(self, s: Tensor, ok: Tensor) -> Tensor:
        return torch.where(ok, s, torch.finfo(s.dtype).min).softmax(-1)

    def _triu(self, s: Tensor, ok: Tensor) -> Tensor:
        return (s + torch.triu(torch.full((self.n, self.n), -INF), 1).to(s)).softmax(-1)

    def _logarithm(self, s: Tensor, ok: Tensor) -> Tensor:
        return (s + torch.log(ok.to(s))).softmax(-1)

    def _in_the_image_of_scores(self, s: Tensor, ok: Tensor) -> Tensor:
        return (s + torch.full_like(s, -INF).triu(1)).softmax(-1)

    def _new_ones(self, s: Tensor, ok: Tensor) -> Tensor:
        return s.masked_fill(s.new_ones(self.n, self.n).tril() == 0, -INF).softmax(-1)

    def _log_softmax(self, s: Tensor, ok: Tensor) -> Tensor:
        return s.masked_fill(~ok, -INF).log_softmax(-1).exp()

    # Products.

    def _multiplied(self, s: Tensor, ok: Tensor) -> Tensor:
        return s * ok

    def _assigned(self, s: Tensor, ok: Tensor) -> Tensor:
        s = s.clone()
        s[:, ~ok] = 0.0
        return s

    def _exp_and_multiplied(self, s: Tensor, ok: Tensor) -> Tensor:
        return s.exp() * ok

    def _tril(self, s: Tensor, ok: Tensor) -> Tensor:
        return torch.tril(s)

    def _retention(self, s: Tensor, ok: Tensor) -> Tensor:
        return s * self.decays(s)

    def _learned_retention(self, s: Tensor, ok: Tensor) -> Tensor:
        return s * torch.exp(-self.decay.abs() * distances(self.n, s).clamp(min=0)).tril()

    def _filled_retention(self, s: Tensor, ok: Tensor) -> Tensor:
        logs = distances(self.n, s) * torch.log(torch.sigmoid(self.decay))
        return s * logs.masked_fill(~ok, -INF).exp()

    def _normalised_retention(self, s: Tensor, ok: Tensor) -> Tensor:
        decays = self.decays(s)
        s = s * (decays / decays.sum(-1, keepdim=True).sqrt())
        return s / s.detach().abs().sum(-1, keepdim=True).clamp(max=5e4)

    # What is masked is computed of the input.

    def _exponentiated(self, s: Tensor, ok: Tensor) -> Tensor:
        return torch.tanh(s).masked_fill(~ok, -INF).exp()

    def _exponentiated_and_normalised(self, s: Tensor, ok: Tensor) -> Tensor:
        made = torch.tanh(s).masked_fill(~ok, -INF).exp()
        return made / made.sum(-1, keepdim=True)

    def _less_the_largest(self, s: Tensor, ok: Tensor) -> Tensor:
        s = s.masked_fill(~ok, -INF)
        return (s - s.amax(-1, keepdim=True)).exp()

    def _sigmoid(self, s: Tensor, ok: Tensor) -> Tensor:
        return torch.sigmoid(s.masked_fill(~ok, -INF) * 0.5)

    def _softplus(self, s: Tensor, ok: Tensor) -> Tensor:
        return F.softplus(s.masked_fill(~ok, -INF))

    def _cut_and_joined(self, s: Tensor, ok: Tensor) -> Tensor:
        s = torch.tanh(s).masked_fill(~ok, -INF)
        return torch.cat([s[:, :, :3], s[:, :, 3:]], 2).exp()

    def _two_heads(self, s: Tensor, ok: Tensor) -> Tensor:
        s = torch.tanh(s).masked_fill(~ok, -INF)
        return torch.stack([s, s / 2], 1).exp().sum(1)

    def _twice(self, s: Tensor, ok: Tensor) -> Tensor:
        return (s * ok) @ (s * ok)

    def mlstm(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The parallel form of xLSTM's matrix memory."""
        n = self.n
        forget, gate = F.logsigmoid(self.forget(x)), self.gate(x)
        sums = torch.cat([torch.zeros_like(forget[:, :1]), torch.cumsum(forget, 1)], 1)
        repeated = sums.repeat(1, 1, n + 1)
        log = (repeated - repeated.transpose(-2, -1))[:, 1:, 1:]
        past = torch.tril(torch.ones(n, n, dtype=torch.bool))
        log = torch.where(past, log, -INF) + gate.transpose(-2, -1)
        largest = torch.max(log, dim=-1, keepdim=True)[0]
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(FEATURES) * torch.exp(log - largest)
        norm = torch.maximum(scores.sum(-1, keepdim=True).abs(), torch.exp(-largest))
        return (scores / (norm + 1e-6)) @ v


def segment_sums(x: Tensor) -> Tensor:
    """As Mamba 2 has it: sums over j + 1 .. i, -inf for j above i."""
    n = x.size(-1)
    x = x[..., None].expand(*x.shape, n)
    x = x.masked_fill(~torch.tril(torch.ones(n, n, dtype=torch.bool), diagonal=-1), 0)
    sums = torch.cumsum(x, dim=-2)
    return sums.masked_fill(~torch.tril(torch.ones(n, n, dtype=torch.bool)), -INF)


# --- all of them ----------------------------------------------------------------------------------

Case = tuple[Callable[[], nn.Module], tuple[int, ...]]

PIXELS = "multiplied where masked_fill assigned data parametrize prune".split()
KERNELS = (
    "blur",
    "blur, transposed",
    "shift twice",
    "tril along the kernel",
    "reflected",
    "taper",
    "tapered sum",
    "a parameter that is 0",
)
MATRICES = (
    *("linear", "einsum", "tril", "triu", "toeplitz", "band", "toeplitz, padded", "scattered"),
    *("softmax", "softmax of -1e9", "decay", "buffer", "plain"),
)
BY_MASK = (
    *("boolean", "minus 1e4", "taken off", "where", "least value", "logarithm", "multiplied"),
    *("assigned", "exp and multiplied", "exponentiated", "scaled-dot-product"),
)
"""Eleven spellings, for masks of any kind."""
CAUSAL = (
    *("triu", "in the image of scores", "new ones", "log softmax", "tril", "retention"),
    *("learned retention", "filled retention", "normalised retention", "retention by einsum"),
    *("exponentiated and normalised", "less the largest", "sigmoid", "softplus"),
    *("cut and joined", "two heads", "twice", "mlstm", "mamba 2"),
)
SEQUENCE = (1, FEATURES, TOKENS)

CASES: dict[str, Case] = {
    **{
        f"PixelCNN {kind}: {spelling}": (partial(PixelCNN, kind, spelling), (1, 2, 5, 6))
        for kind in "AB"
        for spelling in PIXELS
    },
    **{f"kernel: {kind}": (partial(Kernels, kind), SEQUENCE) for kind in KERNELS},
    **{f"matrix: {kind}": (partial(Matrix, kind), SEQUENCE) for kind in MATRICES},
    **{
        f"{mask}: {spelling}": (partial(Attention, spelling, mask), SEQUENCE)
        for mask in ("causal", "band", "chunks", "this chunk and the one before")
        for spelling in BY_MASK
    },
    **{f"causal: {spelling}": (partial(Attention, spelling), SEQUENCE) for spelling in CAUSAL},
}
