"""Uncertainty of a classifier that answers several times, taken apart into what is in the data and what is not known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import entr

from unsnarl.arrays import check_finite, to_numpy
from unsnarl.errors import DataError


class PredictiveUncertainty(NamedTuple):
    """Parts of the uncertainty of each prediction, in nats; total = aleatoric + epistemic."""

    total: Float[np.ndarray, " batch"]
    aleatoric: Float[np.ndarray, " batch"]
    epistemic: Float[np.ndarray, " batch"]


def predictive_uncertainty(probabilities: Float[np.ndarray, "batch sample classes"]) -> PredictiveUncertainty:
    """Total, aleatoric and epistemic uncertainty of predictions that were drawn several times (Depeweg et al. 2018).

    With q_s the class probabilities of draw s: total = H(mean_s q_s), aleatoric = mean_s H(q_s), and epistemic is their
    difference, the mutual information of the class and the draw: how much the draws disagree.

    Args:
        probabilities: class probabilities of each observation under each draw of the model (of its weights, its
            prototypes, its members); rows sum to 1.

    Returns:
        Three arrays in nats; 0 <= epistemic <= min(total, log draws), 0 <= total <= log classes.

    Raises:
        DataError: not (batch, draw, class), fewer than two draws (which cannot disagree), values that are negative or
            not finite, or rows that do not sum to 1.

    Cost: O(batch * draws * classes).

    Examples:
        >>> import numpy as np
        >>> sure_but_divided = np.array([[[1.0, 0.0], [0.0, 1.0]]])
        >>> parts = predictive_uncertainty(sure_but_divided)
        >>> [round(float(part[0]), 3) for part in parts]
        [0.693, 0.0, 0.693]
    """
    q = to_numpy(probabilities, "probabilities")
    if q.ndim != 3 or q.dtype.kind not in "iuf" or 0 in q.shape:
        raise DataError(
            f"probabilities must be numbers of shape (batch, draw, class), got {q.dtype} of shape {q.shape}"
        )
    if q.shape[1] < 2:
        raise DataError("one draw cannot disagree with itself: epistemic uncertainty needs at least 2 draws")
    check_finite(q, "probabilities")
    q = q.astype(np.float64)
    sums = q.sum(2)
    if q.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        raise DataError(
            "probabilities must be at least 0 and sum to 1 over classes, "
            f"found a lowest value of {q.min():g} and sums from {sums.min():g} to {sums.max():g}"
        )
    q /= sums[..., None]
    total = entr(q.mean(1)).sum(1)
    aleatoric = entr(q).sum(2).mean(1)
    return PredictiveUncertainty(total, aleatoric, np.maximum(total - aleatoric, 0.0))  # rounding can go below zero
