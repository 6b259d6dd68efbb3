"""CLIP's image encoder as a function of images in [-1, 1], with the preprocessing it was trained with, differentiable."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.zoo._extra import transformers
from unsnarl.zoo._shelf import PREFIX, load

# of CLIP (Radford et al. 2021), for encoders that come without a processor
PUBLISHED_MEAN = (0.48145466, 0.4578275, 0.40821073)
PUBLISHED_STD = (0.26862954, 0.26130258, 0.27577711)
FITTING = {
    128: "zoo/clip-tiny",
    768: "openai/clip-vit-large-patch14",
    1024: "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
}
"""Width of a projected embedding -> an encoder of that width."""


class ImageEncoder:
    """Images to projected CLIP embeddings, which are not normalised.

    Args:
        model: "zoo/clip-tiny", a hub name ("openai/clip-vit-large-patch14", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"), a folder, a
            `CLIPVisionModelWithProjection`, a `CLIPModel`, or another `ImageEncoder`. An object is used as it is; what is loaded by
            name is frozen.
        processor: where mean and standard deviation come from: a processor of transformers or a mapping with
            "image_mean" and "image_std". When absent, the one that lies beside the model.

    Attributes:
        model: the model.
        width: of an embedding.
        image_size: pixels a side that it sees.
        name: what it was loaded by, or None.

    Raises:
        OptionError: another kind of object, or a vision model that does not project.
        FileError: no such model.
        MissingExtraError: transformers is not installed.
    """

    def __init__(self, model: Any, *, processor: Any = None):
        self.name: str | None = None
        self.model: Any
        self._known: Mapping[str, Any]
        known: Mapping[str, Any] | None = None
        if isinstance(model, ImageEncoder):
            self.name, known, model = model.name, model._known, model.model
        elif isinstance(model, (str, os.PathLike)):
            self.name = os.fspath(model)
            model = _loaded(self.name)
        if not hasattr(model, "visual_projection") or not hasattr(model, "vision_model"):
            raise OptionError(
                "image_encoder must be a CLIPVisionModelWithProjection, a CLIPModel, or the name or folder of one, got "
                f"{type(model).__name__}"
            )
        self.model = model
        vision = getattr(model.config, "vision_config", model.config)
        self.width = int(model.visual_projection.weight.shape[0])
        self.image_size = int(vision.image_size)
        self._known = _settings(processor) if processor is not None else known or _found(model, self.name)
        self._mean, self._std = (
            torch.tensor([float(v) for v in self._known[key]]) for key in ("image_mean", "image_std")
        )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.visual_projection.weight.device

    def preprocess(
        self, images: Float[Tensor, "n 3 rows columns"], *, raw: bool = False
    ) -> Float[Tensor, "n 3 size size"]:
        """Images in [-1, 1] as the model sees them, differentiable.

        The shorter side is brought to the model's size (bicubic, antialiased, as by its processor), the middle cut out, and the
        pixels are standardised.

        Args:
            images: n images.
            raw: leave the pixels in [-1, 1], as some training code does.

        Raises:
            DataError: not images.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise DataError(f"images must have the shape (n, 3, height, width), got {tuple(images.shape)}")
        size = self.image_size
        height, width = images.shape[2:]
        short = min(height, width)
        if short != size:
            to = [max(size, int(side * size / short)) for side in (height, width)]
            images = functional.interpolate(images, to, mode="bicubic", antialias=True, align_corners=False)
            images = images.clamp(-1, 1)
        top, left = ((side - size) // 2 for side in images.shape[2:])
        images = images[:, :, top : top + size, left : left + size]
        if raw:
            return images
        mean, std = (v.to(images)[:, None, None] for v in (self._mean, self._std))
        return ((images + 1) / 2 - mean) / std

    def __call__(self, images: Float[Tensor, "n 3 rows columns"], *, raw: bool = False) -> Float[Tensor, "n dim"]:
        """Projected embeddings of images in [-1, 1]; differentiable in the images.

        Args:
            images: n images.
            raw: see `preprocess`.
        """
        weight = self.model.visual_projection.weight
        pixels = self.preprocess(images.to(weight.device), raw=raw).to(weight.dtype)
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)


def fitting_encoder(width: int) -> str:
    """What to say about an encoder for texts of a width: a name, or that none is known."""
    return f"use {FITTING[width]!r}" if width in FITTING else "no published CLIP is known here that has this width"


def _loaded(name: str) -> Any:
    if name.startswith(PREFIX):
        return load(name).requires_grad_(False)
    try:
        found = transformers().CLIPVisionModelWithProjection.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FileError(
            f"{name!r} is neither a folder here nor an image encoder that the hub gives: {first.rstrip('.')}"
        ) from error
    return found.eval().requires_grad_(False)


def _settings(processor: Any) -> Mapping[str, Any]:
    known = processor if isinstance(processor, Mapping) else vars(processor)
    missing = [key for key in ("image_mean", "image_std") if known.get(key) is None]
    if missing:
        raise OptionError(f"processor must have image_mean and image_std, {missing[0]} is missing")
    return {key: [float(v) for v in known[key]] for key in ("image_mean", "image_std")}


def _found(model: Any, name: str | None) -> Mapping[str, Any]:
    from transformers.image_processing_base import ImageProcessingMixin

    if name is not None and name.startswith(PREFIX):
        from unsnarl.zoo._clip_recipes import image_processor

        return _settings(image_processor())
    source = name or getattr(model.config, "_name_or_path", "")
    if source:
        try:
            return _settings(ImageProcessingMixin.get_image_processor_dict(source)[0])
        except (OSError, ValueError, OptionError):
            pass
    warnings.warn(
        "this image encoder comes without a processor: its pixels are standardised with the mean and deviation of the "
        "published CLIP; give processor= if it was trained with others",
        UserWarning,
        stacklevel=3,
    )
    return {"image_mean": list(PUBLISHED_MEAN), "image_std": list(PUBLISHED_STD)}
