"""Hypothesis strategies that draw random small models, each with inputs that fit it.

In: keywords that say what may occur. Out: `Description`s, frozen data that prints as the code of the model
and builds it.

Every example is valid by construction: shapes are tracked while layers are drawn, and nothing is
filtered. Examples shrink to few layers, small sizes and parameters of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from rfgraph.errors import InputError
from rfgraph.testing.describe import Description, Feed, Layer, Shape
from rfgraph.testing.draw import branches as drawn_branches
from rfgraph.testing.draw import chains as drawn_chains
from rfgraph.testing.draw.options import LARGEST, SMALLEST, Options

__all__ = ["chains", "input_shapes", "layers", "models"]


def models(
    *,
    spatial_dims: Sequence[int] = (1, 2, 3),
    max_layers: int = 6,
    max_channels: int = 4,
    max_sizes: Mapping[int, int] | None = None,
    batch: int = 1,
    branches: bool = True,
    gates: bool = False,
    misaligned: bool = False,
    moves: bool = True,
    resampling: bool = True,
    several_inputs: bool = False,
    shared: bool = True,
    writes: bool = True,
    attention: bool = False,
    cumulative: bool = False,
    loops: bool = False,
    masks: bool = False,
    patches: bool = False,
    recurrent: bool = False,
    sizes: bool = False,
) -> st.SearchStrategy[Description]:
    """Random models: `.build()` one, analyse it at its `.input_shapes`, paste its `.code()` in a file.

    Args:
        spatial_dims: how many spatial dims: any of 1, 2, 3.
        max_layers: one after the other; those inside branches come on top, and so does one that merges a
            further input, where `several_inputs` promises it and none was drawn.
        max_channels: that a convolution makes.
        max_sizes: the longest axis by the number of spatial dims; default 40, 16 and 8.
        batch: the size of the batch.
        branches: sums, concatenations, dense blocks and U-Net levels, all of them aligned.
        gates: operators that read a whole axis: squeeze-excite, global averages, softmax, norms.
        misaligned: sums and concatenations of branches of any offsets and rates.
        moves: slices, pads, flips, rolls, transposes and permutes.
        resampling: transposed convolutions, interpolation, adaptive pooling, pixel shuffles.
        several_inputs: two inputs or more, and perhaps several outputs.
        shared: submodules that are used twice.
        writes: tensors that are written in place: through views, by item assignment, by activations; never
            an input.
        attention: attention over one spatial dim, with masks of every spelling.
        cumulative: sums and maxima of all up to a position.
        loops: Python loops over the positions of one spatial dim: stacked, concatenated, added up in place.
        masks: convolutions whose weight is masked.
        patches: space to depth along one spatial dim, in several spellings.
        recurrent: recurrent layers over one spatial dim, with their state handed on.
        sizes: slices, padding, resampling and pooling by a size that the forward asks for.
    """
    limits = _largest(max_sizes)
    options = Options(
        max(limits.values()),
        max_channels,
        branches=branches,
        gates=gates,
        misaligned=misaligned,
        moves=moves,
        resampling=resampling,
        several=several_inputs,
        shared=shared,
        writes=writes,
        attention=attention,
        cumulative=cumulative,
        loops=loops,
        masks=masks,
        patches=patches,
        recurrent=recurrent,
        sizes=sizes,
    )
    inputs = input_shapes(
        spatial_dims=spatial_dims, max_channels=max_channels, max_sizes=max_sizes, batch=batch
    )
    return _descriptions(inputs, limits, max_layers, options)


def chains(
    *,
    spatial_dims: Sequence[int] = (1, 2, 3),
    max_layers: int = 6,
    max_channels: int = 4,
    max_sizes: Mapping[int, int] | None = None,
    batch: int = 1,
    moves: bool = False,
    resampling: bool = False,
    writes: bool = False,
) -> st.SearchStrategy[Description]:
    """Plain stacks: convolutions, pools and activations one after the other; arguments as in `models`."""
    return models(
        spatial_dims=spatial_dims,
        max_layers=max_layers,
        max_channels=max_channels,
        max_sizes=max_sizes,
        batch=batch,
        branches=False,
        moves=moves,
        resampling=resampling,
        shared=False,
        writes=writes,
    )


def layers(
    *,
    shape: Shape,
    max_channels: int = 4,
    max_size: int | None = None,
    branches: bool = False,
    gates: bool = False,
    misaligned: bool = False,
    moves: bool = True,
    resampling: bool = True,
    shared: bool = False,
    writes: bool = False,
) -> st.SearchStrategy[tuple[Layer, ...]]:
    """One layer, or a few that belong together, for a tensor of this shape: channels, then sizes."""
    largest = max_size or max(*shape[1:], _largest(None)[len(shape) - 1])
    return drawn_chains.layer(
        shape,
        Options(
            largest,
            max_channels,
            branches=branches,
            gates=gates,
            misaligned=misaligned,
            moves=moves,
            resampling=resampling,
            shared=shared,
            writes=writes,
        ),
    )


@st.composite
def input_shapes(
    draw: st.DrawFn,
    *,
    spatial_dims: Sequence[int] = (1, 2, 3),
    max_channels: int = 4,
    max_sizes: Mapping[int, int] | None = None,
    batch: int = 1,
) -> Shape:
    """Shapes of inputs: batch, channels, sizes that differ from axis to axis."""
    dims = draw(st.sampled_from(sorted(spatial_dims)))
    largest = _largest(max_sizes)[dims]
    channels = draw(st.integers(1, max_channels))
    sizes = (draw(st.integers(min(SMALLEST[dims], largest), largest)) for _ in range(dims))
    return (batch, channels, *sizes)


@st.composite
def _descriptions(
    draw: st.DrawFn,
    inputs: st.SearchStrategy[Shape],
    largest: Mapping[int, int],
    max_layers: int,
    allowed: Options,
) -> Description:
    shape = draw(inputs)
    options = replace(allowed, largest=largest[len(shape) - 2])
    least = 0 if options.several else 1  # where the further input is a layer itself
    drawn = draw(drawn_chains.chain(shape[1:], options, least=least, most=max_layers))
    if options.several and not any(isinstance(layer, Feed) for layer in drawn):
        left = drawn_chains.after(drawn, shape[1:])
        drawn += drawn_branches.feed(draw, left, options)
    returns = draw(st.sampled_from(["tuple", "dict"])) if options.several else "tuple"
    return Description(shape=shape, layers=drawn, returns=returns)  # type: ignore[arg-type]


def _largest(max_sizes: Mapping[int, int] | None) -> dict[int, int]:
    found = {**LARGEST, **(max_sizes or {})}
    if set(found) != set(LARGEST) or min(found.values()) < 1:
        raise InputError(f"max_sizes maps 1, 2 or 3 spatial dims to a size, got {max_sizes!r}")
    return found
