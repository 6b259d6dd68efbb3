"""From observations to pixels: channels-first tensors in, height x width x 3 bytes out."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unsnarl.arrays import to_numpy
from unsnarl.errors import DataError

LARGEST_SIDE = 128  # pixels; larger images are scaled down, a page is not an archive
CHANNELS = (1, 3)


def are_images(observations: Any) -> bool:
    """Whether the observations are a batch of channels-first images, grey or RGB."""
    shape = tuple(getattr(observations, "shape", ()))
    return len(shape) == 4 and shape[1] in CHANNELS and min(shape[2:]) >= 2


def to_pixels(images: Any, argument: str = "images") -> UInt8[np.ndarray, "n height width 3"]:
    """RGB bytes of a batch of images; values outside the range are clipped, NaN becomes black.

    Args:
        images: array or tensor of shape (n, 1 or 3, height, width), uint8 in 0..255 or float in [0, 1].
        argument: the name used in error messages.

    Raises:
        DataError: another shape, or neither uint8 nor float.
    """
    array = to_numpy(images, argument)
    if not are_images(array):
        raise DataError(
            f"{argument} must be images of shape (n, channels, height, width) with 1 or 3 channels, got shape {array.shape}"
        )
    if array.dtype.kind == "f":
        array = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise DataError(f"{argument} must be uint8 in 0..255 or float in [0, 1], got dtype {array.dtype}")
    pixels = array.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))


def reduced(pixels: UInt8[np.ndarray, "n h w 3"], side: int = LARGEST_SIDE) -> UInt8[np.ndarray, "n h2 w2 3"]:
    """The images, no side longer than `side` pixels."""
    longest = max(pixels.shape[1:3])
    if longest <= side:
        return pixels
    height, width = (max(1, round(s * side / longest)) for s in pixels.shape[1:3])
    small = [np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BOX)) for p in pixels]
    return np.stack(small)


def tile(
    pixels: UInt8[np.ndarray, "n h w 3"], columns: int, gap: int = 2, *, fill: bool = False
) -> UInt8[np.ndarray, "height width 4"]:
    """One RGBA picture with the images in rows of `columns`, transparent between them.

    With `fill`, fewer images than columns leave empty places, so that sheets of one width stay of one scale.
    """
    n, height, width, _ = pixels.shape
    columns = columns if fill else min(columns, n)
    rows = -(-n // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for i in range(n):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width, :3] = pixels[i]
        sheet[top : top + height, left : left + width, 3] = 255
    return sheet


def png_bytes(sheet: UInt8[np.ndarray, "height width channel"]) -> bytes:
    """A picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def differences(
    inputs: UInt8[np.ndarray, "n h w 3"], outputs: UInt8[np.ndarray, "n h w 3"]
) -> tuple[UInt8[np.ndarray, "n h w 3"], float, float]:
    """|input - output| in grey (mean of the channels) brightened until the largest is white, by how much, and the mean.

    Returns:
        The differences as images, the factor they were brightened by (at most 10, so that noise does not look like an
        error), and their mean in [0, 1].
    """
    gap = np.abs(inputs.astype(np.int16) - outputs.astype(np.int16)).mean(axis=3, keepdims=True)
    largest = float(gap.max()) if gap.size else 0.0
    gain = min(255 / largest, 10.0) if largest else 1.0
    grey = np.rint(gap * gain).clip(0, 255).astype(np.uint8)
    return np.repeat(grey, 3, axis=3), gain, float(gap.mean()) / 255
