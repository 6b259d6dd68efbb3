"""Local and global importance of visual characteristics: how much less alike patch and prototype are once one is changed.

l_j(x)         = place of x most similar to prototype j
phi(i, j, x)   = g_j(x)[l_j] - g_j(M_i x)[l_j]                        local: at the same place
Phi(i, j)      = sum_x phi(i, j, x) g_j(x) / sum_x g_j(x)             global: over the data, weighted by similarity
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.data import FactorDataset
from unsnarl.data.image_operators._operator import as_pixels
from unsnarl.errors import DataError

Normalise = Callable[[Tensor], Tensor]


class SimilarityModel(Protocol):
    """Anything that says how similar every place of an image is to every prototype."""

    def similarity_map(self, x: Any) -> Any:
        """Similarities (batch, prototype, rows, columns) of images."""


def similarity_maps(
    model: Any, images: Any, normalise: Normalise | None
) -> Float[np.ndarray, "n prototype rows columns"]:
    """What the model says of images in [0, 1], after `normalise`.

    Raises:
        DataError: something else than finite maps (n, prototype, rows, columns).
    """
    x: Any = torch.as_tensor(np.asarray(images))
    if normalise is not None:
        x = normalise(x)
    with torch.no_grad():
        maps = model.similarity_map(x)
    maps = maps.detach().cpu().numpy() if isinstance(maps, Tensor) else np.asarray(maps)
    if maps.ndim != 4 or len(maps) != len(images):
        raise DataError(
            f"similarity_map must give (batch, prototype, rows, columns), got shape {maps.shape} for {len(images)} images"
        )
    if not np.isfinite(maps).all():
        raise DataError("similarity_map gave values that are not finite")
    return maps


@dataclass(frozen=True)
class Changed:
    """Similarities of images before and after each change.

    Attributes:
        similarity: g_j(x), at the most similar place of the original (image, prototype).
        there: g_j(M_i x) at that same place (image, prototype, characteristic).
        anywhere: g_j(M_i x) at the most similar place of the changed image; only a baseline, since a change that moves the
            match elsewhere goes unnoticed.
    """

    similarity: Float[np.ndarray, "n prototype"]
    there: Float[np.ndarray, "n prototype characteristic"]
    anywhere: Float[np.ndarray, "n prototype characteristic"]


def changed_similarities(
    model: Any, images: Any, operators: Sequence[Any], *, normalise: Normalise | None = None
) -> Changed:
    """What a model says of a batch before and after each operator.

    Args:
        model: has `similarity_map`.
        images: (n, 3, height, width), uint8 or floats in [0, 1], in the size they come in.
        operators: what is changed.
        normalise: applied to images (tensor, float32 in [0, 1]) before the model sees them; resizing belongs here.

    Cost: 1 + characteristics passes of the model.
    """
    pixels = as_pixels(images)
    maps = similarity_maps(model, pixels, normalise)
    before = maps.reshape(*maps.shape[:2], -1)
    place = before.argmax(axis=2)[:, :, None]
    similarity = np.take_along_axis(before, place, axis=2)[:, :, 0].astype(np.float64)
    there = np.empty((*similarity.shape, len(operators)))
    anywhere = np.empty_like(there)
    for i, operator in enumerate(operators):
        after = similarity_maps(model, operator(pixels), normalise)
        if after.shape != maps.shape:
            raise DataError(
                f"similarity_map gave shape {after.shape} for changed images, {maps.shape} for the originals"
            )
        after = after.reshape(before.shape)
        there[:, :, i] = np.take_along_axis(after, place, axis=2)[:, :, 0]
        anywhere[:, :, i] = after.max(axis=2)
    return Changed(similarity, there, anywhere)


def local_scores(
    model: Any, images: Any, operators: Sequence[Any], *, normalise: Normalise | None = None
) -> tuple[Float[np.ndarray, "n prototype characteristic"], Float[np.ndarray, "n prototype"]]:
    """phi(i, j, x) of a batch, and the similarities g_j(x); arguments as `changed_similarities`."""
    changed = changed_similarities(model, images, operators, normalise=normalise)
    return changed.similarity[:, :, None] - changed.there, changed.similarity


class WeightedSums:
    """The sums behind global scores, gathered batch by batch: memory does not grow with the data."""

    def __init__(self) -> None:
        self.weighted: Any = 0.0
        self.weights: Any = 0.0
        self.n = 0

    def add(
        self, scores: Float[np.ndarray, "n prototype characteristic"], similarity: Float[np.ndarray, "n prototype"]
    ) -> None:
        """One batch.

        Raises:
            DataError: a negative similarity, which cannot be a weight.
        """
        if similarity.min() < 0:
            raise DataError(
                f"similarities weight the images and must not be negative, found {similarity.min():.3g}; shift or clip them "
                "in similarity_map"
            )
        self.weighted = self.weighted + np.einsum("npi,np->pi", scores, similarity)
        self.weights = self.weights + similarity.sum(axis=0)
        self.n += len(scores)

    def scores(self) -> Float[np.ndarray, "prototype characteristic"]:
        """Phi; NaN for a prototype that is similar to no image at all."""
        weights = np.asarray(self.weights)[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weights > 0, np.asarray(self.weighted) / weights, np.nan)


def image_batches(data: Any, rows: int) -> Iterator[Any]:
    """Parts of a set of images: an array, tensor or `FactorDataset`, or an iterable of batches (a DataLoader).

    Raises:
        DataError: ragged images, or batches that hold none.
    """
    if isinstance(data, FactorDataset):
        data = data.observations
        if not isinstance(data, Tensor):
            raise DataError("images must have one shape; ragged data cannot be used")
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        for start in range(0, len(data), rows):
            yield data[start : start + rows]
        return
    if not isinstance(data, Iterable):
        raise DataError(f"data must be images or an iterable of batches, got {type(data).__name__}")
    for batch in data:
        images = batch[0] if isinstance(batch, list | tuple) else batch
        yield from image_batches(images, rows) if hasattr(images, "shape") else iter([np.asarray(images)])
