"""What an image operator is: one visible characteristic changed by one fixed strength, everything else kept as far as it goes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_finite, check_range, to_numpy
from unsnarl.errors import DataError

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601: how bright the three channels look


@dataclass(frozen=True)
class ImageOperator:
    """Changes one characteristic of images by a fixed strength.

    Calling it with images (n, 3, height, width), uint8 in 0..255 or floats in [0, 1], array or tensor, gives images of the
    same kind, shape and range. Floats are worked on as floats; bytes are rounded once, at the end.

    Attributes:
        strength: how much; what it means is the operator's own.
    """

    strength: float
    name: ClassVar[str] = ""
    neutral: ClassVar[float] = 0.0  # the strength that changes nothing
    extreme: ClassVar[float] = 1.0  # the strength beyond which there is no more to change
    colored: ClassVar[bool] = False  # does nothing to grey images

    def __post_init__(self) -> None:
        low, high = sorted((self.neutral, self.extreme))
        check_range(self.strength, f"strength of {self.name}", low=low, high=high)

    def __call__(self, images: Any) -> Any:
        """The images with this characteristic changed.

        Raises:
            DataError: not images of three channels, or values outside [0, 1] (such as images that are already normalised).

        Warns:
            UserWarning: the operator works on color and images are grey.
        """
        pixels = as_pixels(images)
        if self.colored:
            none = int(are_grey(pixels).sum())
            if none:
                count = "all" if none == len(pixels) else f"{none} of {len(pixels)}"
                warnings.warn(f"{count} images are grey; {self.name} does nothing to them", UserWarning, stacklevel=2)
        return like(np.clip(self.change(pixels), 0.0, 1.0), images)

    def change(self, pixels: Float[np.ndarray, "n 3 height width"]) -> Float[np.ndarray, "n 3 height width"]:
        """The same on float32 pixels in [0, 1]; results may leave the range a little."""
        raise NotImplementedError

    def at(self, strength: float) -> Any:
        """The same operator at another strength."""
        return replace(self, strength=strength)

    def scaled(self, scale: float) -> Any:
        """The operator for images `scale` times as high as those its strength was set on; most do not depend on it."""
        check_range(scale, "scale", low=0, open_low=True)
        return self

    def strongest(self, height: int) -> float:
        """The largest useful strength on images of that height."""
        return self.extreme


def as_pixels(images: Any, argument: str = "images") -> Float[np.ndarray, "n 3 height width"]:
    """Images as float32 in [0, 1].

    Raises:
        DataError: another shape or type, empty, not finite, or outside [0, 1].
    """
    array = to_numpy(images, argument)
    if array.ndim != 4 or array.shape[1] != 3:
        hint = "; repeat a single grey channel three times" if array.ndim == 4 and array.shape[1] == 1 else ""
        raise DataError(f"{argument} must have shape (n, 3, height, width), got {array.shape}{hint}")
    if array.size == 0:
        raise DataError(f"{argument} of shape {array.shape} are empty")
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    if array.dtype.kind != "f":
        raise DataError(f"{argument} must be uint8 in 0..255 or floats in [0, 1], got dtype {array.dtype}")
    check_finite(array, argument)
    low, high = float(array.min()), float(array.max())
    if low < 0 or high > 1:
        raise DataError(
            f"{argument} must lie in [0, 1], found {low:g} to {high:g}; divide by 255, use uint8, or, if they are "
            "normalised already, undo it: the characteristics are changed before normalisation"
        )
    return array.astype(np.float32)


def like(pixels: Float[np.ndarray, "n 3 height width"], images: Any) -> Any:
    """Float pixels in the type (array or tensor, bytes or floats, device) of the images they came from."""
    dtype: Any = images.dtype if hasattr(images, "dtype") else np.dtype(np.float32)
    if isinstance(images, Tensor):
        made = torch.from_numpy(np.ascontiguousarray(pixels))
        made = made.mul(255).round().to(torch.uint8) if dtype == torch.uint8 else made.to(dtype)
        return made.to(images.device)
    return np.rint(pixels * 255).astype(np.uint8) if dtype == np.uint8 else pixels.astype(dtype)


def grey(pixels: Float[np.ndarray, "n 3 height width"]) -> Float[np.ndarray, "n 1 height width"]:
    """How bright each pixel is: .299 red + .587 green + .114 blue."""
    return np.einsum("ncij,c->nij", pixels, LUMA)[:, None]


def are_grey(pixels: Float[np.ndarray, "n 3 height width"], tolerance: float = 0.5 / 255) -> Any:
    """Which images have three equal channels, up to half a level of 256."""
    return np.ptp(pixels, axis=1).reshape(len(pixels), -1).max(axis=1) <= tolerance
