"""Operators on surface and outline: texture by denoising, shape by a sine warp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import check_range
from unsnarl.data.image_operators._operator import ImageOperator
from unsnarl.errors import DataError, MissingExtraError, OptionError

Pixels = Float[np.ndarray, "n 3 height width"]


def _opencv() -> Any:
    try:
        import cv2
    except ImportError:
        raise MissingExtraError("opencv-python-headless", "images") from None
    return cv2


@dataclass(frozen=True)
class Texture(ImageOperator):
    """Smooth fine texture away by OpenCV's non-local means for colour images; edges stay.

    It works on bytes. What it takes away from the rounded image is taken away from the image itself, so that rounding
    floats to bytes is no part of the change. Textures that repeat exactly (stripes, checks) stay too: their patches find
    equals; grain goes.

    Attributes:
        strength: h and hColor, in levels of 256.
        template: side of the patches that are compared, odd.
        search: side of the window searched for them, odd; images must be at least as large.

    Raises:
        MissingExtraError: OpenCV is not installed.
        DataError: an image smaller than the search window.

    Cost: about 1.5 ms for an image of 64 x 64 pixels on one thread.
    """

    strength: float = 4.0
    template: int = 7
    search: int = 21
    name: ClassVar[str] = "texture"
    extreme: ClassVar[float] = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for argument, side in (("template", self.template), ("search", self.search)):
            check_range(side, argument, low=1, integer=True)
            if side % 2 == 0:
                raise OptionError(f"{argument}={side} must be odd")

    def change(self, pixels: Pixels) -> Pixels:
        """Image + (denoised - rounded image)."""
        if min(pixels.shape[2:]) < self.search:
            raise DataError(
                f"images of {pixels.shape[2]} x {pixels.shape[3]} pixels are smaller than the search window of the texture "
                f"operator, {self.search} pixels; enlarge them or give Texture(search=...) a smaller odd window"
            )
        if self.strength == 0:
            return pixels
        cv2 = _opencv()
        out = np.empty_like(pixels)
        for i, image in enumerate(pixels):
            levels = np.ascontiguousarray(np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0)[..., ::-1])
            smooth = cv2.fastNlMeansDenoisingColored(
                levels, None, h=self.strength, hColor=self.strength,
                templateWindowSize=self.template, searchWindowSize=self.search,
            )  # fmt: skip
            change = smooth.astype(np.float32) - levels
            out[i] = image + change[..., ::-1].transpose(2, 0, 1) / np.float32(255)
        return out


@dataclass(frozen=True)
class Shape(ImageOperator):
    """Bend outlines: roll row r to the right by int(A sin(pi r w)) pixels, then every column c downwards likewise.

    What leaves on one side enters on the other. `int` cuts towards zero, so the shift is 0 over a stretch around every
    crossing, and everywhere when A is below 1.

    Attributes:
        strength: A in pixels, for images 300 pixels high, as published; `scaled(height / 300)` for others.
        frequency: w; a wave is 2 / w pixels long.
    """

    strength: float = 4.0
    frequency: float = 0.05
    name: ClassVar[str] = "shape"
    extreme: ClassVar[float] = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self.frequency, "frequency", low=0, open_low=True)

    def shifts(self, count: int) -> Int[np.ndarray, " line"]:
        """By how many pixels the first `count` rows (or columns) are rolled."""
        return np.trunc(self.strength * np.sin(np.pi * np.arange(count) * self.frequency)).astype(np.int64)

    def change(self, pixels: Pixels) -> Pixels:
        """Rows first, then columns of the result."""
        height, width = pixels.shape[2:]
        columns = (np.arange(width)[None, :] - self.shifts(height)[:, None]) % width
        pixels = np.take_along_axis(pixels, columns[None, None], axis=3)
        rows = (np.arange(height)[:, None] - self.shifts(width)[None, :]) % height
        return np.take_along_axis(pixels, rows[None, None], axis=2)

    def scaled(self, scale: float) -> Any:
        """A times `scale`; the wave keeps its length in pixels."""
        check_range(scale, "scale", low=0, open_low=True)
        return replace(self, strength=self.strength * scale)

    def strongest(self, height: int) -> float:
        """A quarter of the height."""
        return height / 4
