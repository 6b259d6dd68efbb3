"""Differential entropy from nearest neighbours (Kozachenko and Leonenko 1987)."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Num

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError
from unsnarl.information._continuous import as_points, check_neighbors, condition, generator
from unsnarl.information._reliability import warn_if_high_dimensional
from unsnarl.information._units import nats_per_unit


def knn_entropy(
    x: Num[np.ndarray, "n *dimension"] | Any,
    *,
    n_neighbors: int = 3,
    metric: Literal["chebyshev", "euclidean"] | str = "chebyshev",
    jitter: float = 0.0,
    seed: int = 0,
    base: float = math.e,
) -> float:
    """Differential entropy of a continuous variable, h(X) = -E log p(X).

    With r_i the distance to the k-th neighbour and c the volume of the unit ball of the norm (Kraskov et al. 2004,
    equation 20):  h = psi(N) - psi(k) + log c + d <log r>.  It may be negative, and it shifts by log|a| a dimension
    when x is multiplied by a.

    Args:
        x: n observations of one column, or of d columns taken together.
        n_neighbors: k; more neighbours lower the variance and raise the bias.
        metric: "chebyshev" (max-norm) or "euclidean".
        jitter: standard deviation of Gaussian noise added first, in standard deviations of each column.
        seed: of the noise.
        base: unit of the result; e gives nats, 2 gives bits.

    Raises:
        DataError: not finite numbers; a constant column, or points that coincide with their k nearest neighbours
            (the entropy would be minus infinity).
        OptionError: n_neighbors is not in 1..n-1, unknown metric, base not above 1.

    Warns:
        EstimatorWarning: 3 or more dimensions with fewer than 20 * 2^d observations.

    Cost: O(n log n) in few dimensions, O(n^2 d) in many; memory O(n).

    >>> x = np.random.default_rng(0).uniform(0, 4, size=2_000)
    >>> bool(abs(knn_entropy(x, base=2) - 2) < 0.05)
    True
    """
    check_choice(metric, ("chebyshev", "euclidean"), "metric")
    check_range(jitter, "jitter", low=0)
    unit = nats_per_unit(base)
    points = as_points(x, "x")
    n, dimension = points.shape
    check_neighbors(n_neighbors, n)
    moving = condition(points, "x", standardize=False, jitter=jitter, rng=generator(seed))
    if moving.shape[1] < dimension:
        column = int(np.argmin(points.max(axis=0) > points.min(axis=0)))
        raise DataError(f"x column {column} is constant, so its differential entropy is minus infinity; leave it out")
    from scipy.special import digamma, gammaln

    from unsnarl.information._point_neighbors import kth_distances

    warn_if_high_dimensional(n, dimension, "the nearest-neighbour entropy")
    radius = kth_distances(moving, int(n_neighbors), euclidean=metric == "euclidean")
    tied = int((radius == 0).sum())
    if tied:
        raise DataError(
            f"x has {tied:,} of {n:,} rows that coincide with their {n_neighbors} nearest neighbours, so its "
            "differential entropy is minus infinity; remove duplicate rows or pass a small jitter="
        )
    if metric == "euclidean":
        log_ball = 0.5 * dimension * math.log(math.pi) - float(gammaln(0.5 * dimension + 1))
    else:
        log_ball = dimension * math.log(2)
    spread = dimension * float(np.log(radius).mean())
    return (float(digamma(n) - digamma(n_neighbors)) + log_ball + spread) / unit
