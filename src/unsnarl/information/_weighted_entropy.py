"""Differential entropy from several nearest neighbours at once, weighted so that their biases cancel.

Berrett, Samworth and Yuan 2019, "Efficient multivariate entropy estimation via k-nearest neighbour distances"; as used for
mutual information between compressed variables by Butakov et al. 2024 (arXiv 2305.08013).

With rho_ij the Euclidean distance from point i to its j-th neighbour (itself excluded), V_D the volume of the unit ball
and N points in D dimensions,

    h = -(1/N) sum_i sum_j w_j log[ exp(psi(j)) / ((N - 1) V_D rho_ij^D) ],    sum_j w_j = 1.

A single neighbour has a bias of order N^(-2/D), which in five dimensions and more is larger than the statistical error.
The weights remove its leading terms: sum_j w_j Gamma(j + 2l/D) / Gamma(j) = 0 for l = 1..floor(D/4).

How many neighbours. With k = 5 (published) the error of a mutual information of two 4-dimensional variables is 0.1 to 0.15 nat
at N = 10,000, because the weights of 8 dimensions (up to 10) multiply the chance in the distances to the very nearest
neighbours. Spread over 48, whose distances vary less, the error is 0.03. So 48 is the default here (fewer where N is small);
`n_neighbors=5, weights="nearest"` is the published setting.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Num

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.information._continuous import Points, as_points
from unsnarl.information._reliability import warn_if_high_dimensional
from unsnarl.information._units import nats_per_unit

MOST_DIMENSIONS = 10
"""Beyond, the weights amplify noise instead of cancelling bias: from 12 dimensions on they pass 70 whatever k."""


class EntropyEstimate(NamedTuple):
    """An entropy and its standard error."""

    entropy: float
    standard_error: float


def neighbors_for(n: int) -> int:
    """The default number of neighbours: 48, a twentieth of small samples, at least 5."""
    return max(5, min(48, n // 20))


def entropy_weights(
    dimension: int, n_neighbors: int = 48, *, weights: Literal["spread", "nearest"] | str = "spread"
) -> Float[np.ndarray, "k"]:
    """The weights w_1..w_k of the neighbours (Berrett et al. 2019, equation 2), of smallest Euclidean norm.

    w_j = 0 unless j is one of floor(i k / D), i = 1..D; the sum is 1; and the conditions at the head of this module hold.

    Args:
        dimension: D, from 1 to 10.
        n_neighbors: k.
        weights: "spread" as above. "nearest", as published by Butakov et al., gives all weight to one neighbour, the nearest,
            in up to four dimensions whatever k, and is the same above: less bias, more chance.

    Raises:
        OptionError: more than 10 dimensions, or too few neighbours for the floor(D/4) + 1 conditions.

    >>> entropy_weights(3, 6)
    array([0.        , 0.33333333, 0.        , 0.33333333, 0.        ,
           0.33333333])
    >>> entropy_weights(8, 5).round(2), round(float(entropy_weights(8, 5).sum()), 9)
    (array([ 9.85, -7.67, -7.23, -1.21,  7.25]), 1.0)
    """
    check_range(dimension, "dimension", low=1, high=MOST_DIMENSIONS, integer=True)
    check_range(n_neighbors, "n_neighbors", low=1, integer=True)
    check_choice(weights, ("spread", "nearest"), "weights")
    dimension, k = int(dimension), int(n_neighbors)
    chosen = np.zeros(k)
    if weights == "nearest" and dimension <= 4:
        chosen[0] = 1.0
        return chosen
    from scipy.special import gammaln

    order = np.array(sorted({i * k // dimension for i in range(1, dimension + 1)} - {0}), dtype=float)
    rows = [np.ones(len(order))]
    for power in range(1, dimension // 4 + 1):
        ratio = np.exp(gammaln(order + 2 * power / dimension) - gammaln(order))
        rows.append(ratio / np.linalg.norm(ratio))
    conditions, target = np.stack(rows), np.eye(len(rows))[0]
    found = np.linalg.lstsq(conditions, target, rcond=1e-6)[0]
    if not np.allclose(conditions @ found, target, atol=1e-6):
        raise OptionError(
            f"n_neighbors={k} is too few in {dimension} dimensions, where the weights have {len(rows)} conditions to meet; "
            f"take at least {len(rows)}"
        )
    chosen[order.astype(int) - 1] = found
    return chosen


def weighted_entropy(
    x: Num[np.ndarray, "n *dimension"] | Any,
    *,
    n_neighbors: int | None = None,
    weights: Literal["spread", "nearest"] | str = "spread",
    whiten: bool = True,
    base: float = math.e,
) -> EntropyEstimate:
    """Differential entropy by the weighted Kozachenko-Leonenko estimator, with a standard error (Berrett et al. 2019).

    The formula and the weights are at the head of this module. The points are whitened first, x' = x Sigma^(-1/2), and
    0.5 log det Sigma is added back, so that one distance suits all directions.

    Args:
        x: n observations of one column, or of D columns taken together; D at most 10.
        n_neighbors: k, the neighbours that the weights are spread over; None takes 48, or n / 20 (at least 5) if that is less.
        weights: "spread" or "nearest", as in `entropy_weights`.
        whiten: give the points unit covariance first.
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        The entropy and its standard error, the deviation of the summands over sqrt(n). The error is that of chance alone;
        the bias that is left in many dimensions is not in it.

    Raises:
        DataError: not finite numbers, fewer than 10 k observations, more than 10 columns, rows that coincide, or columns that
            are constant or linear combinations of each other.
        OptionError: too few neighbours for the dimension, unknown weights, base not above 1.

    Warns:
        EstimatorWarning: 3 or more dimensions with fewer than 20 * 2^d observations.

    Cost: O(n log n) in few dimensions, O(n^2 D) in many (0.5 s for 10,000 points in 8 dimensions); memory O(n k).

    >>> x = np.random.default_rng(0).uniform(0, 4, size=2_000)
    >>> h, error = weighted_entropy(x, base=2)
    >>> bool(abs(h - 2) < 3 * error), bool(error < 0.05)
    (True, True)
    """
    unit = nats_per_unit(base)
    points = as_points(x, "x")
    terms = entropy_terms(points, n_neighbors, weights=weights, whiten=whiten, argument="x")
    return EntropyEstimate(float(terms.mean()) / unit, float(terms.std() / math.sqrt(len(terms))) / unit)


def check_enough(n: int, n_neighbors: int | None, argument: str) -> int:
    """The number of neighbours to use, after refusing fewer than ten observations a neighbour.

    Raises:
        DataError: too few observations.
        OptionError: k is not an integer of at least 1.
    """
    k = neighbors_for(n) if n_neighbors is None else n_neighbors
    check_range(k, "n_neighbors", low=1, integer=True)
    if n < 10 * k:
        raise DataError(
            f"{argument} has {n:,} observations, but {k} neighbours need at least {10 * k:,}; take more observations or "
            "fewer neighbours"
        )
    return int(k)


def entropy_terms(
    points: Points, n_neighbors: int | None, *, weights: str, whiten: bool, argument: str
) -> Float[np.ndarray, "n"]:
    """What each point adds: their mean is the entropy in nats.

    Raises:
        DataError, OptionError: as `weighted_entropy`; `argument` names the points.
    """
    n, dimension = points.shape
    if dimension > MOST_DIMENSIONS:
        raise DataError(
            f"{argument} has {dimension} dimensions, and nearest-neighbour entropy is reliable in at most "
            f"{MOST_DIMENSIONS}; compress it to fewer"
        )
    k = check_enough(n, n_neighbors, argument)
    from scipy.special import digamma, gammaln

    from unsnarl.information._point_neighbors import nearest_distances

    shares = entropy_weights(dimension, k, weights=weights)
    warn_if_high_dimensional(n, dimension, "the nearest-neighbour entropy")
    points, log_scale = whitened(points, argument) if whiten else (points, 0.0)
    used = np.flatnonzero(shares)
    radius = nearest_distances(points, int(used[-1]) + 1, euclidean=True)
    tied = int((radius[:, 0] == 0).sum())
    if tied:
        raise DataError(
            f"{argument} has {tied:,} of {n:,} rows that coincide with another row, so its differential entropy is minus "
            "infinity; remove duplicate rows, or add a little noise"
        )
    log_ball = 0.5 * dimension * math.log(math.pi) - float(gammaln(0.5 * dimension + 1))
    terms = dimension * np.log(radius[:, used]) - digamma(used + 1) + math.log(n - 1) + log_ball
    return terms @ shares[used] + log_scale


def whitened(points: Points, argument: str) -> tuple[Points, float]:
    """Points with mean zero and unit covariance, x Sigma^(-1/2), and the 0.5 log det Sigma that this took off the entropy.

    Raises:
        DataError: columns that are constant or linear combinations of each other; which ones is said where it is known.
    """
    n, dimension = points.shape
    constant = np.flatnonzero(points.max(axis=0) == points.min(axis=0))
    if len(constant):
        raise DataError(
            f"{argument} column {constant[0]} is constant, so its differential entropy is minus infinity; leave it out"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        centered = points - points.mean(axis=0)
        scale = np.sqrt(np.square(centered).mean(axis=0))
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise DataError(f"{argument} has values whose spread float64 cannot hold; rescale its columns first")
    centered = centered / scale  # the eigenvalues of correlations say which directions are lost, whatever the units
    values, vectors = np.linalg.eigh(centered.T @ centered / n)
    if n <= dimension or values[0] < 1e-12 * dimension:
        raise DataError(
            f"{argument} has {dimension} columns that lie in fewer dimensions ({int((values >= 1e-12 * dimension).sum())}), so "
            "its differential entropy is minus infinity; leave out columns that depend on others linearly"
        )
    return (centered @ vectors) / np.sqrt(values) @ vectors.T, float(np.log(scale).sum() + 0.5 * np.log(values).sum())
