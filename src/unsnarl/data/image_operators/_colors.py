"""Operators on colour and light: contrast, saturation, hue, brightness.

    contrast      s x + (1 - s) (mean grey of the image)
    saturation    s x + (1 - s) (own grey image)
    brightness    s x
    hue           hue of HSV + s turns; saturation and value of HSV are kept

Blends with a constant are exact here; the library functions that the published code calls work on bytes and cut off the
fraction, which differs by up to one level of 256 (hue: a step of one level is 1/256 turn).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from unsnarl.data.image_operators._operator import ImageOperator, grey

Pixels = Float[np.ndarray, "n 3 height width"]


@dataclass(frozen=True)
class Contrast(ImageOperator):
    """Blend with the mean grey of the image: strength 1 keeps it, 0 leaves that grey.

    >>> import numpy as np
    >>> image = np.zeros((1, 3, 1, 2)); image[..., 1] = 1.0
    >>> Contrast(0.5)(image)[0, 0].tolist()
    [[0.25, 0.75]]
    """

    strength: float = 0.45
    name: ClassVar[str] = "contrast"
    neutral: ClassVar[float] = 1.0
    extreme: ClassVar[float] = 0.0

    def change(self, pixels: Pixels) -> Pixels:
        """The blend."""
        mean = grey(pixels).mean(axis=(2, 3), keepdims=True)
        return mean + np.float32(self.strength) * (pixels - mean)


@dataclass(frozen=True)
class Saturation(ImageOperator):
    """Blend with the image's own grey version: strength 1 keeps it, 0 leaves no colour."""

    strength: float = 0.7
    name: ClassVar[str] = "saturation"
    neutral: ClassVar[float] = 1.0
    extreme: ClassVar[float] = 0.0
    colored: ClassVar[bool] = True

    def change(self, pixels: Pixels) -> Pixels:
        """The blend."""
        own = grey(pixels)
        return own + np.float32(self.strength) * (pixels - own)


@dataclass(frozen=True)
class Brightness(ImageOperator):
    """Multiply (blend with black): strength 1 keeps the image, 0 leaves black."""

    strength: float = 0.8
    name: ClassVar[str] = "brightness"
    neutral: ClassVar[float] = 1.0
    extreme: ClassVar[float] = 0.0

    def change(self, pixels: Pixels) -> Pixels:
        """The product."""
        return np.float32(self.strength) * pixels


@dataclass(frozen=True)
class Hue(ImageOperator):
    """Turn the hue of HSV by `strength` of a full turn; half a turn is as far as it goes.

    >>> import numpy as np
    >>> red = np.array([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    >>> Hue(1 / 3)(red).ravel().round(3).tolist()
    [0.0, 1.0, 0.0]
    """

    strength: float = 0.1
    name: ClassVar[str] = "hue"
    extreme: ClassVar[float] = 0.5
    colored: ClassVar[bool] = True

    def change(self, pixels: Pixels) -> Pixels:
        """To HSV, turn, and back."""
        value = pixels.max(axis=1)
        chroma = value - pixels.min(axis=1)
        sextant = self.hue(pixels) + np.float32(6 * self.strength)
        # channel n of HSV -> RGB: V - C max(0, min(k, 4 - k, 1)) with k = (n + hue) mod 6, n = 5, 3, 1
        out = np.empty_like(pixels)
        for channel, offset in enumerate((5, 3, 1)):
            k = (offset + sextant) % 6
            out[:, channel] = value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1)
        return out

    @staticmethod
    def hue(pixels: Pixels) -> Float[np.ndarray, "n height width"]:
        """Hue of HSV in sixths of a turn, 0 for greys."""
        red, green, blue = pixels[:, 0], pixels[:, 1], pixels[:, 2]
        value = pixels.max(axis=1)
        chroma = value - pixels.min(axis=1)
        safe = np.where(chroma > 0, chroma, np.float32(1))
        hue = np.where(
            value == red,
            (green - blue) / safe,
            np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
        )
        return np.where(chroma > 0, hue % 6, np.float32(0)).astype(np.float32)
