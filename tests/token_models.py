"""Models over tokens, written out: few channels, the geometry of the originals. See `tests/models.py`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TokenBlock(nn.Module):
    """Attention over all tokens, then a perceptron on each; both are added to what they read."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, 2, batch_first=True)
        self.between = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 8), nn.GELU(), nn.Linear(8, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.before(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.between(tokens))


class VisionTransformer(nn.Module):
    """Dosovitskiy et al. 2021: a convolution cuts patches, a class token is put before them.

    `patch`: its two sides; `grid`: how many patches along each.
    """

    def __init__(self, patch: tuple[int, int], grid: tuple[int, int], blocks: int = 2) -> None:
        super().__init__()
        channels = 4
        self.patches = nn.Conv2d(3, channels, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.places = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], channels))
        self.blocks = nn.ModuleList(TokenBlock(channels) for _ in range(blocks))
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.patches(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(image), -1, -1), tokens], dim=1)
        tokens = tokens + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)
