"""Autoencoders, U-Nets and transformers of diffusers, by default or with few layers."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from rfgraph import value
from zoo.built import Models, of_class

_STEP, _STEPS, _TIME = value(5), torch.tensor([5]), torch.tensor([0.5])
_IMAGE, _VIDEO = (1, 3, 64, 64), (1, 3, 9, 64, 64)


def _text(width: int, tokens: int = 7) -> tuple[int, int, int]:
    return 1, tokens, width


def _latents(channels: int = 4, side: int = 32) -> tuple[int, int, int, int]:
    return 1, channels, side, side


_AUTOENCODERS: dict[str, Any] = {
    **dict.fromkeys(
        "AutoencoderKL AsymmetricAutoencoderKL VQModel AutoencoderTiny AutoencoderKLFlux2".split(),
        _IMAGE,
    ),
    **dict.fromkeys(
        "AutoencoderKLCogVideoX AutoencoderKLLTXVideo AutoencoderKLHunyuanVideo AutoencoderKLWan "
        "AutoencoderKLCosmos AutoencoderKLMagvit".split(),
        _VIDEO,
    ),
    "AutoencoderKLMochi": (1, 3, 7, 64, 64),
    "AutoencoderKLQwenImage": (1, 3, 1, 64, 64),
    "AutoencoderOobleck": (1, 2, 65536),
    "T2IAdapter": (1, 3, 256, 256),
}
_CONDITIONED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "UNet2DModel": ({"sample": _IMAGE, "timestep": _STEP}, {}),
    "UNet2DConditionModel": (
        {"sample": _latents(side=64), "timestep": _STEP, "encoder_hidden_states": _text(1280)},
        {},
    ),
    "UNet3DConditionModel": (
        {"sample": (1, 4, 4, 32, 32), "timestep": _STEP, "encoder_hidden_states": _text(1024)},
        {},
    ),
    "UNetSpatioTemporalConditionModel": (
        {
            "sample": (1, 2, 8, 32, 32),
            "timestep": _STEP,
            "encoder_hidden_states": (1, 1, 1024),
            "added_time_ids": (1, 3),
        },
        {},
    ),
    "ControlNetModel": (
        {
            "sample": _latents(),
            "timestep": _STEP,
            "encoder_hidden_states": _text(1280),
            "controlnet_cond": (1, 3, 256, 256),
        },
        {},
    ),
    "Transformer2DModel": (
        {"hidden_states": (1, 32, 16, 16)},
        {"in_channels": 32, "norm_num_groups": 8},
    ),
    "DiTTransformer2DModel": (
        {"hidden_states": _latents(), "timestep": _STEPS, "class_labels": torch.tensor([1])},
        {"num_layers": 2},
    ),
    "PixArtTransformer2DModel": (
        {"hidden_states": _latents(), "encoder_hidden_states": _text(4096), "timestep": _STEPS},
        {"num_layers": 2, "sample_size": 32, "caption_channels": 4096},
    ),
    "SD3Transformer2DModel": (
        {
            "hidden_states": _latents(16),
            "encoder_hidden_states": _text(4096),
            "pooled_projections": (1, 2048),
            "timestep": _STEPS,
        },
        {"num_layers": 2},
    ),
    "SanaTransformer2DModel": (
        {"hidden_states": _latents(32), "encoder_hidden_states": _text(2304), "timestep": _STEPS},
        {"num_layers": 2},
    ),
    "AuraFlowTransformer2DModel": (
        {
            "hidden_states": _latents(side=64),
            "encoder_hidden_states": _text(2048),
            "timestep": _TIME,
        },
        {"num_mmdit_layers": 1, "num_single_dit_layers": 1},
    ),
    "CogVideoXTransformer3DModel": (
        {
            "hidden_states": (1, 2, 16, 32, 32),
            "encoder_hidden_states": _text(4096, 226),
            "timestep": _STEPS,
        },
        {"num_layers": 1},
    ),
    "WanTransformer3DModel": (
        {
            "hidden_states": (1, 16, 2, 16, 16),
            "encoder_hidden_states": _text(4096),
            "timestep": _STEPS,
        },
        {"num_layers": 1},
    ),
    "PriorTransformer": (
        {
            "hidden_states": (1, 768),
            "timestep": _STEP,
            "proj_embedding": (1, 768),
            "encoder_hidden_states": _text(768, 77),
        },
        {"num_layers": 2},
    ),
    "FluxTransformer2DModel": (
        {
            "hidden_states": (1, 64, 64),
            "encoder_hidden_states": _text(4096),
            "pooled_projections": (1, 768),
            "timestep": _TIME,
            "img_ids": (64, 3),
            "txt_ids": (7, 3),
            "guidance": torch.tensor([1.0]),
        },
        {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": True},
    ),
}
"""What each takes, and what it is made with."""


def models() -> Models:
    """By class."""
    return {
        **{
            name: of_class(getattr(diffusers, name), shape) for name, shape in _AUTOENCODERS.items()
        },
        **{
            name: of_class(getattr(diffusers, name), given, **options)
            for name, (given, options) in _CONDITIONED.items()
        },
    }
