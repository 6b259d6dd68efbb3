"""What several variables share in all."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Num

from unsnarl.arrays import as_matrix, check_choice, check_range
from unsnarl.information._categories import category_columns
from unsnarl.information._continuous import as_points, check_neighbors, condition, generator, varies
from unsnarl.information._discrete import entropies_of_codes, entropy_of_rows
from unsnarl.information._reliability import warn_if_sparse_table
from unsnarl.information._units import nats_per_unit

TotalCorrelationEstimator = Literal["plugin", "miller-madow", "gaussian", "ksg1", "ksg2"]


def total_correlation(
    x: Num[np.ndarray, "n p"] | Any,
    *,
    estimator: TotalCorrelationEstimator | str = "plugin",
    n_neighbors: int = 3,
    standardize: bool = True,
    jitter: float = 0.0,
    seed: int = 0,
    base: float = math.e,
) -> float:
    """What the columns of a sample share, TC = sum_j H(X_j) - H(X_1, ..., X_p).

    Args:
        x: n observations of p variables, one a column.
        estimator: for category codes "plugin" or "miller-madow" (see `entropy`); for measurements "gaussian" (of the
            sample covariance), "ksg1" or "ksg2" (Kraskov et al. 2004, equations 22 and 23).
        n_neighbors: k of the KSG estimators.
        standardize: give each column unit deviation before neighbours are sought (KSG).
        jitter: standard deviation of Gaussian noise added first, in standard deviations of each column (KSG).
        seed: of the noise.
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        A number; at least 0 for "plugin" and "gaussian" (infinite when the covariance is singular), perhaps slightly
        below 0 for the others when the columns share nothing.

    Raises:
        DataError: x is not a matrix the estimator can use; a constant column with "gaussian".
        OptionError: unknown estimator, n_neighbors not in 1..n-1, base not above 1.

    Warns:
        EstimatorWarning: too few observations for the table, the covariance or the dimension; tied values.

    Cost: "plugin" O(p n log n); "gaussian" O(n p^2 + p^3); KSG O(n log n) in few columns, O(n^2 p) in many.

    >>> x = np.array([0, 0, 1, 1])
    >>> y = np.array([0, 1, 0, 1])
    >>> round(total_correlation(np.stack([x, y, x ^ y], axis=1), base=2), 6)
    1.0
    """
    allowed = ("plugin", "miller-madow", "gaussian", "ksg1", "ksg2")
    check_choice(estimator, allowed, "estimator")
    check_range(jitter, "jitter", low=0)
    unit = nats_per_unit(base)
    x = as_matrix(x, "x")
    if estimator in ("plugin", "miller-madow"):
        return _of_categories(x, estimator) / unit
    points = as_points(x, "x")
    if estimator == "gaussian":
        return _of_gaussian(points) / unit
    check_neighbors(n_neighbors, len(points))
    from unsnarl.information._ksg import ksg_information

    rng = generator(seed)
    points = condition(points, "x", standardize=standardize, jitter=jitter, rng=rng)
    columns = np.split(points, points.shape[1], axis=1) if points.shape[1] else []
    return ksg_information(columns, int(n_neighbors), second=estimator == "ksg2") / unit


def _of_categories(x: Num[np.ndarray, "n p"], estimator: str) -> float:
    codes, levels = category_columns(x, "x")
    free = float(np.prod(levels, dtype=np.float64)) - 1.0 - float((levels - 1.0).sum())
    warn_if_sparse_table(len(x), free, "the columns of x")
    apart = float(entropies_of_codes(codes, levels, estimator).sum())
    shared = apart - entropy_of_rows(codes, estimator)
    return max(shared, 0.0) if estimator == "plugin" else shared


def _of_gaussian(points: Num[np.ndarray, "n p"]) -> float:
    from unsnarl.information._gaussian import (
        gaussian_total_correlation,
        refuse_constant,
        require_observations,
    )

    refuse_constant(~varies(points), "x")
    require_observations(*points.shape)
    return gaussian_total_correlation(np.atleast_2d(np.cov(points, rowvar=False)))
