"""From codes to a number: how many features would carry the activity if all carried the same share."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from unsnarl.arrays import as_matrix
from unsnarl.errors import DataError
from unsnarl.information import EstimatorWarning
from unsnarl.information._spectrum import entropy_of_shares

FLOOR = 1e-10
"""Added to every share before they are made to sum to one again (one of three conventions in the published code; the
others, 1e-10 inside the logarithm and 1e-12 added without a new sum, differ from it by less than 1e-5 of F)."""


def effective_features(codes: Num[np.ndarray, "n feature"] | Any) -> float:
    """The number of effective features F of a sparse code, the exponential of its entropy (Bereska et al. 2025).

    m_j = mean_i |a_ij| is the activity of feature j and p = m / sum(m) its share; each share is raised by 1e-10 and all
    are divided by their new sum; F = exp(-sum_j p_j ln p_j).

    Args:
        codes: activations a of D features on n inputs; an array, a tensor or nested lists. For a convolutional layer sum
            the code over the positions of an image first.

    Returns:
        A number in [1, D]: D where all features are as active, 1 where one is alone. 0 where every code is zero.

    Raises:
        DataError: not a finite numeric matrix.

    Warns:
        EstimatorWarning: every code is zero, so the layer is dead.

    Cost: O(n * features).

    >>> round(effective_features(np.eye(7)), 6)
    7.0
    """
    return features_of_shares(feature_shares(np.abs(as_matrix(codes, "codes", min_rows=1)).mean(axis=0)))


def feature_shares(activity: Num[np.ndarray, " feature"]) -> Float[np.ndarray, " feature"]:
    """p: the share of each feature in the total activity, floored; all zero, with a warning, where nothing is active.

    Raises:
        DataError: an activity that is negative or not finite.
    """
    activity = np.asarray(activity, dtype=np.float64)
    total = activity.sum()
    if not np.isfinite(total) or (activity < 0).any():
        raise DataError("the activity of features must be finite and not negative")
    if total == 0:
        warnings.warn(
            "every code is zero: the layer is dead or the sparsity penalty has switched all features off, so F = 0",
            EstimatorWarning,
            stacklevel=3,
        )
        return np.zeros_like(activity)
    raised = activity / total + FLOOR
    return raised / raised.sum()


def features_of_shares(p: Float[np.ndarray, " feature"]) -> float:
    """F = exp of the entropy of the shares; 0 where they are all zero."""
    return math.exp(entropy_of_shares(p)) if p.any() else 0.0
