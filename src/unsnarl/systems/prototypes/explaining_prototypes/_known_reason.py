"""A model whose reasons are known: its similarity is written down by hand and depends on one characteristic alone.

Scores of characteristics can only be graded where the true reason is known. Each of the five models below compares one
number or direction, taken from the image by a formula, with that of its prototypes:

    hue          direction of the mean color without its grey, in a cell of 8 x 8 pixels
    saturation   largest - smallest channel of the mean color of a cell
    texture      median of |lightness - blurred lightness| over the image: fine grain, not edges
    contrast     from the 5% to the 95% quantile of the blurred lightness of the image
    shape        which pixels around a cell lie in a figure: the blurred lightness cut in the middle of those quantiles

    d = sum of squares of (feature - prototype) / scale,   g = log((d + 1) / (d + 1e-4)) as in ProtoPNet
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from unsnarl.arrays import check_choice, check_range, to_numpy
from unsnarl.data.image_operators._operator import as_pixels, grey

CELL = 8
SCALES = {"hue": 0.5, "saturation": 0.1, "texture": 0.01, "contrast": 0.1, "shape": 1.0}


class KnownReason:
    """Prototypes that are compared by one characteristic only.

    Args:
        characteristic: one of hue, saturation, texture, contrast, shape.
        images: training images of one class, (n, 3, height, width).
        prototypes: how many; each is the feature of one image at one place, as after a push.
        seed: which images and places.

    Attributes:
        source: number of the image of each prototype.
        push_state_: "pushed".
    """

    push_state_ = "pushed"

    def __init__(self, characteristic: str, images: Any, *, prototypes: int = 4, seed: int = 0):
        check_choice(characteristic, tuple(SCALES), "characteristic")
        check_range(prototypes, "prototypes", low=1, high=len(images), integer=True)
        self.characteristic = characteristic
        rng = np.random.default_rng(seed)
        self.source = rng.choice(len(images), size=prototypes, replace=False)
        maps = self.features(to_numpy(images)[self.source])
        flat = maps.reshape(*maps.shape[:2], -1)
        places = flat.var(axis=1).argmax(
            axis=1
        )  # for shape where most outline is; the others have one feature or a flat map
        self.prototype_vectors_ = flat[np.arange(prototypes), :, places]

    def features(self, images: Any) -> Float[np.ndarray, "n feature rows columns"]:
        """What is compared, at every place."""
        pixels = as_pixels(images)
        lightness = grey(pixels)[:, 0].astype(np.float64)
        if self.characteristic == "hue":
            mean = _cells(pixels.astype(np.float64))
            color = mean - mean.mean(axis=1, keepdims=True)
            return color / np.maximum(np.linalg.norm(color, axis=1, keepdims=True), 1e-9)
        if self.characteristic == "saturation":
            return np.ptp(_cells(pixels.astype(np.float64)), axis=1)[:, None]
        rows, columns = pixels.shape[2] // CELL, pixels.shape[3] // CELL
        if self.characteristic == "texture":
            fine = np.abs(lightness - gaussian_filter(lightness, (0, 1, 1)))
            return _everywhere(np.median(fine, axis=(1, 2)), rows, columns)
        blurred = gaussian_filter(lightness, (0, 1.5, 1.5))
        low, high = np.percentile(blurred, (5, 95), axis=(1, 2))
        if self.characteristic == "contrast":
            return _everywhere(high - low, rows, columns)
        return _masks_around(blurred, low, high)

    def similarity_map(self, x: Any) -> Float[torch.Tensor, "n prototype rows columns"]:
        """Similarity of every place to every prototype."""
        scaled = (self.features(x)[:, None] - self.prototype_vectors_[None, :, :, None, None]) / SCALES[
            self.characteristic
        ]
        distance = (scaled**2).sum(axis=2)
        return torch.from_numpy(np.log((distance + 1) / (distance + 1e-4)))


def _cells(values: Float[np.ndarray, "n channel height width"]) -> Float[np.ndarray, "n channel rows columns"]:
    n, channels, height, width = values.shape
    cells = values[:, :, : height // CELL * CELL, : width // CELL * CELL]
    return cells.reshape(n, channels, height // CELL, CELL, width // CELL, CELL).mean(axis=(3, 5))


def _everywhere(values: Float[np.ndarray, " n"], rows: int, columns: int) -> Float[np.ndarray, "n 1 rows columns"]:
    return np.broadcast_to(values[:, None, None, None], (len(values), 1, rows, columns)).copy()


def _masks_around(
    blurred: Float[np.ndarray, "n height width"], low: Float[np.ndarray, " n"], high: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n pixel rows columns"]:
    """Which pixels of the 3 x 3 cells around each are inside a figure (the smaller part of the image); 0 beyond the border."""
    inside = (blurred > ((low + high) / 2)[:, None, None]).astype(np.float64)
    inside = np.where(inside.mean(axis=(1, 2), keepdims=True) > 0.5, 1 - inside, inside)
    padded = np.pad(inside, ((0, 0), (CELL, CELL), (CELL, CELL)))
    view: Any = np.lib.stride_tricks.sliding_window_view
    windows = view(padded, (3 * CELL, 3 * CELL), axis=(1, 2))[:, ::CELL, ::CELL]
    n, rows, columns = windows.shape[:3]
    return windows.reshape(n, rows, columns, -1).transpose(0, 3, 1, 2) / (3 * CELL)
