"""Information quantities of Gaussian variables in closed form: exact from a covariance, estimates from samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from unsnarl.arrays import as_matrix, check_same_length
from unsnarl.errors import DataError
from unsnarl.information._continuous import Points, as_points, column_scales, varies
from unsnarl.information._reliability import warn_if_few_for_covariance
from unsnarl.information._units import nats_per_unit

Covariance = Float[np.ndarray, "d d"]

# Below this 1 - correlation^2 is rounding: the variables determine each other and share infinitely many nats.
_PERFECT = 1e-14


def as_covariance(values: Any, argument: str = "cov") -> Covariance:
    """A checked covariance matrix.

    Raises:
        DataError: not square, not finite, not symmetric, a negative variance, or not positive semidefinite.
    """
    cov = as_matrix(values, argument, min_rows=1).astype(np.float64)
    if cov.shape[0] != cov.shape[1]:
        raise DataError(f"{argument} must be a square covariance matrix, got shape {cov.shape}")
    if (np.diag(cov) < 0).any():
        raise DataError(f"{argument} has a negative variance in column {int(np.argmin(np.diag(cov)))}")
    scale = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    if (np.abs(cov - cov.T) > 1e-8 * scale + 1e-300).any():
        raise DataError(f"{argument} is not symmetric")
    if (np.abs(cov) > (1 + 1e-8) * scale + 1e-300).any():
        raise DataError(f"{argument} is no covariance: a covariance exceeds the product of its standard deviations")
    return (cov + cov.T) / 2


def _log_determinant_of_correlation(cov: Covariance, argument: str) -> float:
    """Logarithm of the determinant of the correlation matrix; -inf when it is singular to rounding.

    Raises:
        DataError: a negative eigenvalue.
    """
    deviation = np.sqrt(np.diag(cov))
    eigenvalues = np.linalg.eigvalsh(cov / np.outer(deviation, deviation))
    smallest = len(cov) * np.finfo(float).eps * eigenvalues[-1]
    if eigenvalues[0] < -1e-8 * eigenvalues[-1]:
        raise DataError(f"{argument} is not positive semidefinite (a scaled eigenvalue is {eigenvalues[0]:.3g})")
    if eigenvalues[0] <= smallest:
        return -math.inf
    return float(np.log(eigenvalues).sum())


def require_observations(n: int, columns: int) -> None:
    """Refuse a sample whose covariance would be singular whatever the data; warn when it is a small one.

    Raises:
        DataError: no more observations than columns.
    """
    if n <= columns:
        raise DataError(
            f"{n} observations cannot determine the covariance of {columns} columns; "
            "reduce the dimension or use more observations"
        )
    warn_if_few_for_covariance(n, columns)


def gaussian_entropy(cov: Num[np.ndarray, "d d"] | Any, *, base: float = math.e) -> float:
    """Differential entropy of a Gaussian, h = 0.5 log det(2 pi e C).

    Args:
        cov: covariance matrix.
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        A number; minus infinity when the covariance is singular.

    Raises:
        DataError: cov is no covariance matrix.
        OptionError: base not above 1.

    Cost: O(d^3).

    >>> round(gaussian_entropy([[1.0]]), 4)
    1.4189
    """
    unit = nats_per_unit(base)
    cov = as_covariance(cov)
    variances = np.diag(cov)
    if (variances == 0).any():
        return -math.inf
    log_determinant = float(np.log(variances).sum()) + _log_determinant_of_correlation(cov, "cov")
    return 0.5 * (len(cov) * math.log(2 * math.pi * math.e) + log_determinant) / unit


def gaussian_total_correlation(cov: Num[np.ndarray, "d d"] | Any, *, base: float = math.e) -> float:
    """What the coordinates of a Gaussian share, TC = 0.5 (sum_j log C_jj - log det C).

    It does not change when coordinates are rescaled, so the correlation matrix gives the same number.

    Args:
        cov: covariance matrix.
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        A number of at least 0; infinite when the covariance is singular (a coordinate is a linear echo of others).

    Raises:
        DataError: cov is no covariance matrix, or a column has zero variance (it is named).
        OptionError: base not above 1.

    Cost: O(d^3).

    >>> round(gaussian_total_correlation([[1.0, 0.6], [0.6, 1.0]]), 4)
    0.2231
    """
    unit = nats_per_unit(base)
    cov = as_covariance(cov)
    refuse_constant(np.diag(cov) == 0, "cov")
    return max(-0.5 * _log_determinant_of_correlation(cov, "cov"), 0.0) / unit


def refuse_constant(constant: np.ndarray, argument: str) -> None:
    if constant.any():
        raise DataError(
            f"{argument} column {int(np.argmax(constant))} has zero variance, so its total correlation is undefined; "
            "leave it out"
        )


def gaussian_wasserstein_correlation(cov: Num[np.ndarray, "d d"] | Any) -> float:
    """Squared 2-Wasserstein distance of a centred Gaussian to the one with independent coordinates.

    W = 2 tr C - 2 tr sqrtm(diag(C) C)  (Xiao and Wang 2019). Unlike the total correlation it is finite for singular
    covariances and grows with the scale of the coordinates; divide by tr C to compare representations.

    Args:
        cov: covariance matrix.

    Returns:
        A number of at least 0, in the squared unit of the coordinates.

    Raises:
        DataError: cov is no covariance matrix.

    Cost: O(d^3).

    >>> round(gaussian_wasserstein_correlation([[1.0, 0.6], [0.6, 1.0]]), 4)
    0.2053
    """
    cov = as_covariance(cov)
    deviation = np.sqrt(np.diag(cov))
    # diag(C) C is similar to D^(1/2) C D^(1/2), which is symmetric: the trace of the root is the sum of root eigenvalues
    eigenvalues = np.linalg.eigvalsh(cov * np.outer(deviation, deviation))
    return max(2 * float(np.trace(cov)) - 2 * float(np.sqrt(np.maximum(eigenvalues, 0)).sum()), 0.0)


def gaussian_mutual_information(
    x: Num[np.ndarray, "n *dx"] | Any, y: Num[np.ndarray, "n *dy"] | Any, *, base: float = math.e
) -> float:
    """Mutual information of two variables if they are jointly Gaussian, from their sample covariance.

    I = 0.5 log(det C_x det C_y / det C) = -0.5 sum_i log(1 - rho_i^2), rho_i the canonical correlations. For other
    distributions it measures linear dependence only. Constant and collinear columns add nothing.

    Args:
        x: n observations of one column, or of dx columns taken together.
        y: n observations of one column, or of dy columns taken together.
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        A number of at least 0; infinite when a combination of x columns equals one of y columns to rounding.

    Raises:
        DataError: different lengths, not finite numbers, or no more observations than columns (the covariance would
            be singular whatever the data).
        OptionError: base not above 1.

    Warns:
        EstimatorWarning: fewer than 20 observations a column; the bias is about dx dy / 2n nats.

    Cost: O(n (dx + dy)^2).

    >>> x = np.array([1.0, 2.0, 3.0, 4.0] * 20)
    >>> y = np.array([1.0, -1.0, 1.0, -1.0] * 20)
    >>> round(gaussian_mutual_information(x, y), 4)  # correlation -1 / sqrt(5)
    0.1116
    """
    unit = nats_per_unit(base)
    points = [as_points(x, "x"), as_points(y, "y")]
    check_same_length(x=points[0], y=points[1])
    return gaussian_information(*points) / unit


def gaussian_information(x: Points, y: Points) -> float:
    """The same in nats, of checked points."""
    x, y = x[:, varies(x)], y[:, varies(y)]
    columns = x.shape[1] + y.shape[1]
    if not x.shape[1] or not y.shape[1]:
        return 0.0
    require_observations(len(x), columns)
    if x.shape[1] < y.shape[1]:
        x, y = y, x
    basis, other = _orthonormal(x, "x"), _orthonormal(y, "y")
    # the sines of the angles between the two column spaces: 1 - rho^2 without cancellation
    sines = np.linalg.svd(other - basis @ (basis.T @ other), compute_uv=False)
    if sines[-1] ** 2 < _PERFECT:
        return math.inf
    return max(-float(np.log(sines).sum()), 0.0)


def _orthonormal(points: Points, argument: str) -> Float[np.ndarray, "n rank"]:
    """An orthonormal basis of the centred columns, collinear ones dropped."""
    scaled = (points - points.mean(axis=0)) / column_scales(points, argument)
    basis, values, _ = np.linalg.svd(scaled, full_matrices=False)
    return basis[:, values > values[0] * max(scaled.shape) * np.finfo(float).eps]


def gaussian_pairs(x: Points, y: Points) -> Float[np.ndarray, "p q"]:
    """I in nats of each x column with each y column if the pair is Gaussian, -0.5 log(1 - r^2); 0 for constants."""
    require_observations(len(x), 2)
    r = np.clip(_unit_columns(x, "x").T @ _unit_columns(y, "y"), -1, 1)
    unexplained = (1 - r) * (1 + r)
    with np.errstate(divide="ignore"):
        return np.where(unexplained < _PERFECT, np.inf, -0.5 * np.log(unexplained)) + 0.0


def _unit_columns(points: Points, argument: str) -> Points:
    """Centred columns of length 1; constant columns become zero."""
    moving = varies(points)
    unit = np.zeros_like(points)
    scale = column_scales(points[:, moving], argument) * math.sqrt(len(points))
    unit[:, moving] = (points[:, moving] - points[:, moving].mean(axis=0)) / scale
    return unit
