"""segmentation_models_pytorch: every decoder on one encoder, and one decoder on many."""

from __future__ import annotations

import segmentation_models_pytorch as smp

from zoo.built import Built, Given, Models

_IMAGE = Given((1, 3, 128, 160))
_DECODERS = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet DeepLabV3 DeepLabV3Plus PAN UPerNet Segformer".split()
_ENCODERS = (
    "densenet121 dpn68 efficientnet-b0 inceptionresnetv2 inceptionv4 mit_b0 mobilenet_v2 mobileone_s0 "
    "resnext50_32x4d se_resnet50 senet154 timm-efficientnet-b0 timm-gernet_s timm-mobilenetv3_small_100 "
    "timm-regnetx_002 timm-res2net50_26w_4s timm-resnest14d timm-skresnet18 vgg11_bn xception".split()
)
_VIT = "tu-vit_base_patch16_224.augreg_in21k"


def models() -> Models:
    """Decoders by `Decoder-encoder`."""
    pairs = [(decoder, "resnet18", _IMAGE) for decoder in _DECODERS]
    pairs += [("Unet", encoder, _IMAGE) for encoder in _ENCODERS]
    pairs += [("FPN", "mobilenet_v2", _IMAGE), ("DPT", _VIT, Given((1, 3, 224, 224)))]
    return {
        f"{decoder}-{encoder}": lambda decoder=decoder, encoder=encoder, takes=takes: Built(
            getattr(smp, decoder)(encoder, encoder_weights=None).eval(), (takes,)
        )
        for decoder, encoder, takes in pairs
    }
