"""Vision and audio models of transformers, from their default configurations.

Of every configuration that has a model of one tensor, pixels or sound: the models of the tasks below, and
the bare model where it has none of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torchvision_models
from transformers.initialization import no_init_weights
from transformers.models.auto import modeling_auto

from zoo.built import Built, Given, Models

assert torchvision_models
_TASKS = (
    "IMAGE_CLASSIFICATION SEMANTIC_SEGMENTATION DEPTH_ESTIMATION IMAGE_TO_IMAGE OBJECT_DETECTION "
    "INSTANCE_SEGMENTATION UNIVERSAL_SEGMENTATION VIDEO_CLASSIFICATION KEYPOINT_DETECTION KEYPOINT_MATCHING "
    "MASKED_IMAGE_MODELING AUDIO_CLASSIFICATION CTC AUDIO_FRAME_CLASSIFICATION AUDIO_XVECTOR BACKBONE "
    "AUDIO_TOKENIZATION".split()
)
_INPUTS = ("pixel_values", "pixel_values_videos", "input_values", "input_features")
_PARTS = ("vision_config", "audio_config", "backbone_config")
_MORE = frozenset(
    (
        "AudioFlamingo3Encoder BeitForSemanticSegmentation Blip2Model CanaryModel CohereAsrModel "
        "ConvNextBackbone ConvNextV2Backbone Cosmos3EdgeVisionModel DinatBackbone "
        "DinatForImageClassification DinatModel EdgeTamModel EdgeTamVideoModel EdgeTamVisionModel "
        "FocalNetBackbone FunAsrNanoEncoder GlmImageVisionModel GroundingDinoModel HYV4VLVisionModel "
        "HunYuanVLVisionTransformer Inkling2VisionModel InstructBlipModel InstructBlipVideoModel "
        "Kosmos2Model LightGlueForKeypointMatching LwDetrForObjectDetection MMGroundingDinoModel "
        "MiniCPMOcrVisionModel MiniCPMV4_7VisionModel MoonshineModel MoonshineStreamingModel "
        "MuseGlimmerVisionModel MuseSparkVisionModel Nemotron3_5AsrForRNNT "
        "Nemotron3_5TranscribeAudioModel NemotronAsrStreamingForRNNT NeuCodecModel "
        "OmDetTurboForObjectDetection PPDocLayoutV2ForObjectDetection "
        "PPOCRV5ServerDetForObjectDetection PPOCRV6MediumDetForObjectDetection "
        "PPOCRV6SmallDetForObjectDetection ParakeetForRNNT ParakeetForTDT PeAudioVideoEncoder "
        "PeVideoEncoder Qwen3ASREncoder RfDetrForInstanceSegmentation RfDetrForObjectDetection "
        "Sam2VideoModel Sam3LiteTextModel Sam3LiteTextTextModel Sam3Model Sam3TrackerVideoModel "
        "Sam3VideoModel Sapiens2ForSemanticSegmentation SegGptModel Siglip2ForImageClassification "
        "Siglip2VisionModel Speech2TextModel SpeechT5Model SuperGlueForKeypointMatching TimmBackbone "
        "UVDocModel VibeVoiceAcousticTokenizerDecoderModel VibeVoiceAcousticTokenizerEncoderModel "
        "VideoLlama3VisionModel VideoPrismClipModel"
    ).split()
)
"""Classes that need more than one tensor (text, other sizes of images), another configuration, or another
package."""


def models() -> Models:
    """By class."""
    found: dict[str, tuple[Any, Any]] = {}
    for task in _TASKS:
        for configuration, kind in _mapped(f"MODEL_FOR_{task}_MAPPING"):
            found.setdefault(kind.__name__, (configuration, kind))
    known = {configuration for configuration, _ in found.values()}
    for configuration, kind in _mapped("MODEL_MAPPING"):
        if configuration not in known:
            found.setdefault(kind.__name__, (configuration, kind))
    return {
        name: partial(_built, *each) for name, each in sorted(found.items()) if name not in _MORE
    }


def _mapped(name: str) -> Iterator[tuple[Any, Any]]:
    """The configurations and classes of one of transformers' mappings that take one tensor."""
    mapping = getattr(modeling_auto, name)
    for key, kinds in mapping._model_mapping.items():
        for kind in (kinds,) if isinstance(kinds, str) else kinds:
            try:
                configuration = mapping._load_attr_from_module(key, mapping._config_mapping[key])
                model = mapping._load_attr_from_module(key, kind)
                takes = model.main_input_name
            except (ValueError, ImportError):  # named and not there, or in need of a package
                continue
            if takes in _INPUTS:
                yield configuration, model


def _built(configuration: Any, kind: Any) -> Built:
    own = configuration()
    with no_init_weights():
        model = kind(own).eval()
    name = kind.main_input_name
    sides = _asked(own, "image_size", "input_size") or 224
    height, width = sides[-2:] if isinstance(sides, tuple | list) else (sides, sides)
    channels, bins = _asked(own, "num_channels") or 3, _asked(own, "num_mel_bins", "feature_size")
    image, large = (1, channels, height, width), (1, channels, 1536, 1536)
    frames = _asked(own, "num_frames") or 8
    shapes: dict[str, tuple[tuple[int, ...], ...]] = {
        "pixel_values": (image, (1, 2, *image[1:]), (1, frames, *image[1:]), large),
        "pixel_values_videos": ((1, frames, *image[1:]),),
        "input_values": ((1, 16000), (1, 1, 16000), (1, 19200), (1, 1, 19200), (1, 1024, 128)),
        "input_features": (
            *((1, bins or 80, 3000), (1, 3000, bins or 80)),
            *((1, 300, 80), (1, 300, 128), (1, 300, 160), (1, 300, 320)),
        ),
    }
    return Built(model, tuple(_given(name, shape) for shape in shapes[name]))


def _asked(configuration: Any, *names: str) -> Any:
    """The first of these attributes that a configuration has, or a part of it."""
    parts = [configuration, *(getattr(configuration, part, None) for part in _PARTS)]
    found = (getattr(part, name, None) for part in parts if part is not None for name in names)
    return next(filter(None, found), None)


def _given(name: str, shape: tuple[int, ...]) -> Given:
    """Time is the tracked dim of sound and of features in rows."""
    in_rows = len(shape) == 2 or (len(shape) == 3 and shape[1] > shape[2])
    return Given({name: shape}, (1,) if in_rows else None)
