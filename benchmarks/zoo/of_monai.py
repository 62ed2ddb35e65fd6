"""MONAI's nets for volumes, small."""

from __future__ import annotations

from functools import partial

from monai.networks import nets

from zoo.built import Models, of_class

_VOLUMES = ((1, 1, 32, 32, 32), (1, 1, 64, 64, 64))
_SIDES = (32, 32, 32)


def models() -> Models:
    """By class."""
    made = {
        "UNet": partial(nets.UNet, 3, 1, 2, (8, 16, 32), (2, 2)),
        "AttentionUnet": partial(nets.AttentionUnet, 3, 1, 2, (8, 16, 32), (2, 2)),
        "SegResNet": partial(nets.SegResNet, 3, init_filters=8),
        "SegResNetVAE": partial(nets.SegResNetVAE, _SIDES, init_filters=8),
        "SegResNetDS": partial(nets.SegResNetDS, 3, 8),
        "VNet": nets.VNet,
        "DynUNet": partial(nets.DynUNet, 3, 1, 2, (3, 3, 3), (1, 2, 2), (2, 2)),
        "UNETR": partial(nets.UNETR, 1, 2, _SIDES, hidden_size=48, mlp_dim=96, num_heads=4),
        "SwinUNETR": partial(nets.SwinUNETR, in_channels=1, out_channels=2, feature_size=12),
        "BasicUNet": partial(nets.BasicUNet, 3, 1, 2, (8, 8, 16, 16, 16, 8)),
        "BasicUNetPlusPlus": partial(nets.BasicUNetPlusPlus, 3, 1, 2, (8, 8, 16, 16, 16, 8)),
        "FlexibleUNet": partial(nets.FlexibleUNet, 1, 2, "efficientnet-b0", spatial_dims=3),
        "HighResNet": partial(nets.HighResNet, 3),
        "RegUNet": partial(nets.RegUNet, 3, 1, 8, 2),
        "DenseNet121": partial(nets.DenseNet121, 3, 1, 2),
        "SEResNet50": partial(nets.SEResNet50, spatial_dims=3, in_channels=1),
        "ResNet18": partial(nets.resnet18, n_input_channels=1),
        "EfficientNetBN": partial(
            nets.EfficientNetBN, "efficientnet-b0", spatial_dims=3, in_channels=1
        ),
        "ViT": partial(nets.ViT, 1, _SIDES, (8, 8, 8), 48, 96, 2, 4),
        "AutoEncoder": partial(nets.AutoEncoder, 3, 1, 1, (4, 8), (2, 2)),
        "VarAutoEncoder": partial(nets.VarAutoEncoder, 3, (1, *_SIDES), 1, 4, (4, 8), (2, 2)),
        "AutoencoderKL": partial(
            nets.AutoencoderKL,
            *(3, 1, 1, (1, 1), (8, 16)),
            attention_levels=(False, False),
            latent_channels=4,
            norm_num_groups=4,
        ),
        "Discriminator": partial(nets.Discriminator, (1, *_SIDES), (4, 8), (2, 2)),
        "PatchDiscriminator": partial(nets.PatchDiscriminator, 3, 8, 1),
        "DAF3D": partial(nets.DAF3D, 1, 2),
        "HoVerNet": nets.HoVerNet,
    }
    shapes = {"HoVerNet": ((1, 3, 256, 256),)}
    return {name: of_class(kind, *shapes.get(name, _VOLUMES)) for name, kind in made.items()}
