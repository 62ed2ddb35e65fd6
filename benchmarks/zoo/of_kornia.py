"""kornia: descriptors and detectors, filters, geometry, models."""

from __future__ import annotations

import kornia.color
import kornia.contrib
import kornia.enhance
import kornia.feature
import kornia.filters
import kornia.geometry
import torch
import torchvision_models
from kornia.models.rrdbnet import RRDBNet
from kornia.models.small_sr import SmallSRNet
from kornia.models.tiny_vit import TinyViT
from kornia.models.yunet import YuNet

from zoo.built import Models, of_class

assert torchvision_models

_PATCHES = (2, 1, 32, 32)
_IMAGES = ((1, 3, 64, 64), (1, 1, 64, 64), (1, 3, 256, 256))
_PAIR = {"data": {"image0": (1, 1, 64, 64), "image1": (1, 1, 64, 64)}}


def models() -> Models:
    """By class."""
    return {**_features(), **_filters(), **_others()}


def _features() -> Models:
    own = kornia.feature
    descriptors = ("HardNet", "SOSNet", "HyNet", "TFeat", "HardNet8", "OriNet")
    return {
        **{name: of_class(getattr(own, name), _PATCHES, pretrained=False) for name in descriptors},
        "SIFTDescriptor": of_class(own.SIFTDescriptor, (2, 1, 41, 41)),
        "KeyNet": of_class(own.KeyNet, (1, 1, 64, 80), pretrained=False),
        "DISK": of_class(own.DISK, (1, 3, 64, 80)),
        "LoFTR": of_class(own.LoFTR, _PAIR, pretrained=None),
        "CornerHarris": of_class(own.CornerHarris, *_IMAGES, k=0.05),
        "CornerGFTT": of_class(own.CornerGFTT, *_IMAGES),
        "BlobHessian": of_class(own.BlobHessian, *_IMAGES),
    }


def _filters() -> Models:
    own, sigma = kornia.filters, (1.0, 1.0)
    made = {
        "GaussianBlur2d": lambda: own.GaussianBlur2d((3, 5), sigma),
        "BoxBlur": lambda: own.BoxBlur((3, 5)),
        "MedianBlur": lambda: own.MedianBlur((3, 5)),
        "MotionBlur": lambda: own.MotionBlur(3, 35.0, 0.5),
        "Sobel": own.Sobel,
        "SpatialGradient": own.SpatialGradient,
        "Laplacian": lambda: own.Laplacian(5),
        "Canny": own.Canny,
        "UnsharpMask": lambda: own.UnsharpMask((3, 3), sigma),
        "BilateralBlur": lambda: own.BilateralBlur((3, 3), 0.1, sigma),
        "BlurPool2D": lambda: own.BlurPool2D(3),
        "MaxBlurPool2D": lambda: own.MaxBlurPool2D(3),
    }
    return {name: of_class(maker, *_IMAGES) for name, maker in made.items()}


def _others() -> Models:
    geometry, color = kornia.geometry, kornia.color
    made = {
        "RgbToHsv": color.RgbToHsv,
        "RgbToLab": color.RgbToLab,
        "AdjustGamma": lambda: kornia.enhance.AdjustGamma(0.5),
        "AdjustHue": lambda: kornia.enhance.AdjustHue(0.5),
        "PyrDown": geometry.PyrDown,
        "PyrUp": geometry.PyrUp,
        "ScalePyramid": geometry.ScalePyramid,
        "Rescale": lambda: geometry.Rescale(0.5),
        "Resize": lambda: geometry.Resize((20, 30)),
        "Rotate": lambda: geometry.Rotate(torch.tensor(30.0)),
        "ConvSoftArgmax2d": geometry.ConvSoftArgmax2d,
        "ExtractTensorPatches": lambda: kornia.contrib.ExtractTensorPatches((4, 6), (2, 3)),
        "TinyViT": lambda: TinyViT(img_size=64),
        "SmallSRNet": lambda: SmallSRNet(3, pretrained=False),
        "RRDBNet": lambda: RRDBNet(3, 3, 4, 8, 2),
    }
    return {
        **{name: of_class(maker, *_IMAGES) for name, maker in made.items()},
        "YuNet": of_class(YuNet, (1, 3, 160, 192), phase="test", pretrained=False),
    }
