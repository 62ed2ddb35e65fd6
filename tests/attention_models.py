"""Attention written out: products of matrices and a softmax, as model code has it. Few channels, odd sizes.

The geometry is that of the originals. See `tests/token_models.py` for attention by torch's own modules.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Heads of `softmax(q @ k.T) @ v` over (batch, tokens, channels), with a residual."""

    def __init__(self, channels: int = 4, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, channels = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = self.weights(query @ key.transpose(-2, -1)) @ value
        return tokens + self.out(mixed.transpose(1, 2).reshape(batch, count, channels))


class Alibi(Attention):
    """Press et al. 2022: what is added to the scores falls with the distance, for each head in its own way."""

    def weights(self, scores: Tensor) -> Tensor:
        places = torch.arange(scores.shape[-1], dtype=scores.dtype)
        slopes = 0.5 ** torch.arange(1, self.heads + 1, dtype=scores.dtype)
        far = (places - places[:, None]).abs()
        return (scores - slopes[:, None, None] * far).softmax(-1)


class SelfProduct(nn.Module):
    """`softmax(y @ x, -1) @ y`, tokens last in x."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(-1, -2)
        return torch.softmax(y @ x, -1) @ y


class UnfusedViT(nn.Module):
    """Dosovitskiy et al. 2021, a class token before the patches."""

    def __init__(self, grid: tuple[int, int] = (2, 3)) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 4, (4, 3), stride=(4, 3))
        self.class_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.places = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], 4))
        self.norm = nn.LayerNorm(4)
        self.blocks = nn.Sequential(Attention(), Attention())

    def tokens(self, image: Tensor) -> Tensor:
        patches = self.patches(image).flatten(2).transpose(1, 2)
        together = torch.cat([self.class_token.expand(len(image), -1, -1), patches], 1)
        out: Tensor = self.blocks(self.norm(together + self.places))
        return out

    def forward(self, image: Tensor) -> Tensor:
        return self.tokens(image)[:, 0]


class Unetr(UnfusedViT):
    """Hatamizadeh et al. 2022: tokens become a map again, go up, and meet a skip from the image."""

    def __init__(self, grid: tuple[int, int] = (2, 3)) -> None:
        super().__init__(grid)
        self.grid = grid
        self.up = nn.ConvTranspose2d(4, 2, (4, 3), stride=(4, 3))
        self.skip = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.tokens(image)[:, 1:].transpose(1, 2)
        return torch.cat([self.up(tokens.unflatten(2, self.grid)), self.skip(image)], 1)


class Axial(nn.Module):
    """Attention along the width, then along the height."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns = Attention(), Attention()

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(batch * height, width, channels)
        rows = self.rows(rows).reshape(batch, height, width, channels)
        columns = rows.transpose(1, 2).reshape(batch * width, height, channels)
        columns = self.columns(columns).reshape(batch, width, height, channels)
        return columns.permute(0, 3, 2, 1)


class ReducedKeys(nn.Module):
    """SegFormer, PVT: keys and values of a map that a strided convolution has made smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.both = nn.Linear(4, 4), nn.Linear(4, 8)
        self.reduce = nn.Conv2d(4, 4, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        key, value = self.both(self.reduce(x).flatten(2).transpose(1, 2)).chunk(2, -1)
        scores = self.query(tokens) @ key.transpose(-1, -2)
        mixed = tokens + scores.softmax(-1) @ value
        return mixed.transpose(1, 2).reshape(x.shape)


class Levit(nn.Module):
    """Graham et al. 2021: an attention bias by distance, queries of every second position."""

    def __init__(self, height: int = 4, width: int = 6) -> None:
        super().__init__()
        self.query, self.both = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 1)
        down, across = (height + 1) // 2, (width + 1) // 2
        self.bias = nn.Parameter(torch.randn(down * across, height * width))
        self.grid = (down, across)

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x[:, :, ::2, ::2]).flatten(2).transpose(1, 2)
        key, value = self.both(x).flatten(2).chunk(2, 1)
        weights = (query @ key + self.bias).softmax(-1)
        out = value @ weights.transpose(1, 2)
        return F.hardswish(out).unflatten(2, self.grid)


class Hiera(nn.Module):
    """Ryali et al. 2023: attention within units of four tokens, queries pooled by a maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, length = x.shape
        units = x.transpose(1, 2).reshape(batch, length // 4, 4, channels)
        query, key, value = self.qkv(units).chunk(3, -1)
        query = query.unflatten(2, (2, 2)).amax(3)
        mixed = (query @ key.transpose(-1, -2)).softmax(-1) @ value
        return mixed.reshape(batch, length // 2, channels)


class RelativeAttention(Attention):
    """A conformer's: scores by distance are shifted into place, as in Transformer-XL."""

    def __init__(self, tokens: int = 5) -> None:
        super().__init__()
        self.distances = nn.Parameter(torch.randn(2 * tokens - 1, 2))

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, channels = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        by_distance = query @ self.distances.T
        padded = F.pad(by_distance, (1, 0)).view(batch, self.heads, 2 * count, count)
        shifted = padded[:, :, 1:].view_as(by_distance)[..., :count]
        weights = (query @ key.transpose(-2, -1) + shifted).softmax(-1)
        return tokens + self.out((weights @ value).transpose(1, 2).reshape(batch, count, channels))


class Conformer(nn.Module):
    """Gulati et al. 2020: relative attention, then a gated convolution along time."""

    def __init__(self, tokens: int = 5) -> None:
        super().__init__()
        self.attention = RelativeAttention(tokens)
        self.gate, self.depthwise = nn.Conv1d(4, 8, 1), nn.Conv1d(4, 4, 3, padding=1, groups=4)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed = self.attention(tokens)
        return mixed + self.depthwise(F.glu(self.gate(mixed.transpose(1, 2)), 1)).transpose(1, 2)


class WindowAttention(Attention):
    """Attention within each window; what the image's other side has brought beside it is masked."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: Tensor | None = None

    def weights(self, scores: Tensor) -> Tensor:
        if self.hidden is None:
            return scores.softmax(-1)
        return scores.masked_fill(self.hidden[:, None], float("-inf")).softmax(-1)


class Windows(nn.Module):
    """Swin: attention within windows of 2 x 3; a cyclic shift first, where one is given."""

    def __init__(self, shift: tuple[int, int] = (0, 0), masked: bool = False) -> None:
        super().__init__()
        self.attention = WindowAttention()
        self.shift, self.masked = shift, masked

    def regions(self, height: int, width: int) -> Tensor:
        """Which positions of the rolled image may not see each other, window by window."""
        region = torch.zeros(height, width)
        region[height - self.shift[0] :] += 1
        region[:, width - self.shift[1] :] += 2
        windows = region.view(height // 2, 2, width // 3, 3).permute(0, 2, 1, 3).reshape(-1, 6)
        return windows[:, :, None] != windows[:, None]

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        if self.masked:
            self.attention.hidden = self.regions(height, width)
        x = torch.roll(x, (-self.shift[0], -self.shift[1]), (2, 3))
        windows = x.view(batch, channels, height // 2, 2, width // 3, 3).permute(0, 2, 4, 3, 5, 1)
        mixed = self.attention(windows.reshape(-1, 6, channels))
        mixed = mixed.view(batch, height // 2, width // 3, 2, 3, channels)
        mixed = mixed.permute(0, 5, 1, 3, 2, 4).reshape(batch, channels, height, width)
        return torch.roll(mixed, self.shift, (2, 3))


class ChannelAttention(nn.Module):
    """XCiT: channels attend to channels, over all of space."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        return ((tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens).reshape(x.shape)


class LinearAttention(nn.Module):
    """Katharopoulos et al. 2020: keys and values are summed over all tokens first."""

    def forward(self, tokens: Tensor) -> Tensor:
        query, key = F.elu(tokens) + 1, F.elu(tokens) + 1
        return query @ (key.transpose(1, 2) @ tokens) / (query @ key.sum(1).unsqueeze(-1))
