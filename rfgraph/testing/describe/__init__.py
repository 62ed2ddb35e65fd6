"""Descriptions of small models: frozen plain data that prints as the code that builds the module."""

from rfgraph.testing.describe.branches import (
    Cat,
    ChannelsLast,
    Dense,
    Feed,
    GlobalAdd,
    Repeat,
    Residual,
    SqueezeExcite,
    Swapped,
    Tap,
)
from rfgraph.testing.describe.code import Layer, Shape
from rfgraph.testing.describe.layers import (
    AdaptivePool,
    BatchNorm,
    Flip,
    GroupNorm,
    InstanceNorm,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Pointwise,
    Resize,
    Roll,
    Slice,
    Softmax,
)
from rfgraph.testing.describe.model import Description
from rfgraph.testing.describe.views import View
from rfgraph.testing.describe.windows import Conv, Pool, TransposedConv
from rfgraph.testing.describe.writes import Write, Written, Zeros

__all__ = [
    "AdaptivePool",
    "BatchNorm",
    "Cat",
    "ChannelsLast",
    "Conv",
    "Dense",
    "Description",
    "Feed",
    "Flip",
    "GlobalAdd",
    "GroupNorm",
    "InstanceNorm",
    "Layer",
    "Pad",
    "PixelShuffle",
    "PixelUnshuffle",
    "Pointwise",
    "Pool",
    "Repeat",
    "Residual",
    "Resize",
    "Roll",
    "Shape",
    "Slice",
    "Softmax",
    "SqueezeExcite",
    "Swapped",
    "Tap",
    "TransposedConv",
    "View",
    "Write",
    "Written",
    "Zeros",
]
