"""Pairs of prototypes that say the same, and pairs whose looks mislead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from unsnarl.arrays import check_range

SIDE = 16  # patches are compared at this size


def distances_between(vectors: Float[np.ndarray, "prototype dim"]) -> Float[np.ndarray, "prototype prototype"]:
    """Euclidean distances of all pairs; equal vectors are exactly 0 apart."""
    from scipy.spatial.distance import cdist

    return cdist(vectors.astype(np.float64), vectors.astype(np.float64))


def rank_correlations(
    scores: Float[np.ndarray, "prototype characteristic"],
) -> Float[np.ndarray, "prototype prototype"]:
    """Spearman's correlation of the characteristics' scores for all pairs; 1 for equal scores, NaN where one has no order."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        out = centred @ centred.T / (size[:, None] * size[None])
    same = (scores[:, None] == scores[None]).all(axis=2)
    return np.where(same, 1.0, out)


def redundant_pairs(
    vectors: Float[np.ndarray, "prototype dim"],
    scores: Float[np.ndarray, "prototype characteristic"],
    class_of: np.ndarray,
    *,
    percentile: float = 5.0,
    correlation: float = 0.9,
) -> pd.DataFrame:
    """Two prototypes of a class that are near in latent space and rank the characteristics alike.

    Near: at or below a percentile of the distances of all pairs of prototypes, of any classes. Both thresholds are ours.

    Returns:
        Columns class, first, second, distance, correlation; the nearest first.
    """
    check_range(percentile, "percentile", low=0, high=100)
    check_range(correlation, "correlation", low=-1, high=1)
    first, second = np.triu_indices(len(vectors), 1)
    if not len(first):
        return pd.DataFrame(columns=["class", "first", "second", "distance", "correlation"])
    distance = distances_between(vectors)[first, second]
    agreement = rank_correlations(scores)[first, second]
    chosen = (class_of[first] == class_of[second]) & (distance <= np.percentile(distance, percentile))
    chosen &= agreement >= correlation
    frame = pd.DataFrame(
        {"class": class_of[first], "first": first, "second": second, "distance": distance, "correlation": agreement}
    )
    return frame[chosen].sort_values("distance", kind="stable").reset_index(drop=True)


def patch_distances(patches: Sequence[Any]) -> Float[np.ndarray, "prototype prototype"]:
    """Root mean squared difference of the pixels of all pairs of patches, brought to one size; in [0, 1]."""
    import torch

    small = []
    for patch in patches:
        x = torch.as_tensor(np.asarray(patch))
        x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
        small.append(
            torch.nn.functional.interpolate(x[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0].flatten().numpy()
        )
    rows = np.stack(small)
    return distances_between(rows) / np.sqrt(rows.shape[1])


def misleading_pairs(
    vectors: Float[np.ndarray, "prototype dim"],
    scores: Float[np.ndarray, "prototype characteristic"],
    patches: Sequence[Any],
    names: Sequence[str],
    *,
    percentile: float = 5.0,
    correlation: float = 0.9,
) -> pd.DataFrame:
    """Pairs that look alike and are not for the same reason, or that look different and are one to the model.

    "alike, other reason": pixels at or below the percentile of all pairs, but another top characteristic. "different, same
    reason": pixels above the median, latents at or below the percentile, the same top characteristic and ranks that
    correlate. The thresholds are ours.

    Returns:
        Columns kind, first, second, pixel_distance, latent_distance, first_reason, second_reason.
    """
    check_range(percentile, "percentile", low=0, high=100)
    first, second = np.triu_indices(len(vectors), 1)
    columns = ["kind", "first", "second", "pixel_distance", "latent_distance", "first_reason", "second_reason"]
    if not len(first):
        return pd.DataFrame(columns=columns)
    pixel, latent = patch_distances(patches)[first, second], distances_between(vectors)[first, second]
    known = np.isfinite(scores).all(axis=1)
    top = np.array(names)[np.where(np.isfinite(scores), scores, -np.inf).argmax(axis=1)]
    same, agree = top[first] == top[second], rank_correlations(scores)[first, second] >= correlation
    alike = (pixel <= np.percentile(pixel, percentile)) & ~same
    different = (pixel > np.median(pixel)) & (latent <= np.percentile(latent, percentile)) & same & agree
    kind = np.where(alike, "alike, other reason", np.where(different, "different, same reason", ""))
    values = [kind, first, second, pixel, latent, top[first], top[second]]
    frame = pd.DataFrame(dict(zip(columns, values, strict=True)))
    return frame[(alike | different) & known[first] & known[second]].reset_index(drop=True)
