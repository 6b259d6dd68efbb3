"""Mutual information of a continuous and a discrete variable from nearest neighbours (Ross 2014).

At every point i, d_i is the distance to its k-th neighbour among the points of the same category, and m_i the number
of points of any category that near, itself left out and the k-th neighbour included. Equation 2:
    I = psi(N) - <psi(N_y)> + psi(k) - <psi(m)>,
N_y the number of points of the category. A category of fewer than k + 1 points uses k = N_y - 1; one of a single point
has no neighbour and is left out of all averages and counts, as in scikit-learn's `mutual_info_classif`.

Ties. Where d_i is zero, m_i is the number of points at distance zero, as in scikit-learn.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from unsnarl.errors import DataError
from unsnarl.information._digamma import digamma_table
from unsnarl.information._point_neighbors import count_around_same_label
from unsnarl.information._reliability import warn_if_high_dimensional, warn_if_tied
from unsnarl.information._sorted_neighbors import SortedColumns, ross_pairs


def require_repeats(labels: Int[np.ndarray, "n"], argument: str) -> Int[np.ndarray, "n"]:
    """The number of observations of each point's category.

    Raises:
        DataError: every category occurs once, so that no point has a neighbour in its own.
    """
    sizes = np.bincount(labels)[labels]
    if sizes.max() < 2:
        raise DataError(
            f"every value of {argument} occurs only once; estimator 'ross' needs categories with at least 2 observations"
        )
    return sizes


def ross_information(
    points: Float[np.ndarray, "n dimension"], labels: Int[np.ndarray, "n"], n_neighbors: int, argument: str
) -> float:
    """Ross's estimate in nats of what points of any dimension (max-norm) say about their labels."""
    sizes = require_repeats(labels, argument)
    n, dimension = points.shape
    if dimension == 0 or sizes[0] == n:
        return 0.0
    psi = digamma_table(n)
    warn_if_high_dimensional(n, dimension, "Ross's estimator")
    if dimension == 1:
        first = np.zeros(1, dtype=np.int64)
        levels = np.array([labels.max() + 1])
        column = SortedColumns.of(points)
        estimates, ties = ross_pairs(column, labels[None, :], levels, first, first, n_neighbors, psi)
        estimate, tied = float(estimates[0]), int(ties[0])
    else:
        kept = sizes > 1
        _, remaining = np.unique(labels[kept], return_inverse=True)
        near = np.minimum(n_neighbors, sizes[kept] - 1)
        count, tied = count_around_same_label(points[kept], remaining, near)
        estimate = float(psi[kept.sum()] + (psi[near] - psi[sizes[kept]] - psi[count]).mean())
    warn_if_tied(tied, n, "Ross's estimator")
    return estimate
