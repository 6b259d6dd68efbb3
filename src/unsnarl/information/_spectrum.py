"""How many directions a matrix really uses: entropies of its singular values, and of shares of any kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from unsnarl.arrays import as_matrix, check_finite, check_range, to_numpy
from unsnarl.errors import DataError
from unsnarl.information._units import nats_per_unit


def entropy_of_shares(shares: Num[np.ndarray, "*shape"] | Any, *, base: float = math.e) -> float:
    """Entropy of numbers that are made to sum to 1, -sum_i p_i log p_i with p_i = s_i / sum_j s_j and 0 log 0 = 0.

    Args:
        shares: numbers that are not negative, in an array of any shape: eigenvalues, masses, counts.
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        A number in [0, log(how many)].

    Raises:
        DataError: no numbers, a negative or not finite one, or all zero.
        OptionError: base not above 1.

    Cost: O(numbers).

    >>> entropy_of_shares([3, 3, 0, 6], base=2)
    1.5
    """
    unit = nats_per_unit(base)
    values = to_numpy(shares, "shares").astype(np.float64).ravel()
    check_finite(values, "shares")
    if not len(values) or values.min() < 0:
        raise DataError(f"shares must be numbers of at least 0, got {values.min() if len(values) else 'none'}")
    if values.max() == 0:
        raise DataError("shares are all zero, so they have no distribution")
    share = values / values.max()  # first, so that neither tiny nor huge numbers leave the range
    share /= share.sum()
    share = share[share > 0]
    return max(-float(share @ np.log(share)), 0.0) / unit


def _singular_values(matrix: Any, power: float) -> Float[np.ndarray, "rank"]:
    """The singular values to a power, the largest scaled to 1."""
    check_range(power, "power", low=0, open_low=True)
    singular = np.linalg.svd(as_matrix(matrix, "matrix", min_rows=1).astype(np.float64), compute_uv=False)
    if singular[0] == 0:
        raise DataError("matrix is zero, so its singular values have no distribution")
    return (singular / singular[0]) ** power


def spectral_entropy(
    matrix: Num[np.ndarray, "rows columns"] | Any, *, power: float = 1.0, base: float = math.e
) -> float:
    """Entropy of the normalised singular values, -sum_i p_i log p_i with p_i = s_i^power / sum_j s_j^power.

    Power 1 is that of the effective rank; power 2 that of a quantum state's amplitudes (entanglement entropy).

    Args:
        matrix: any real matrix, a covariance for instance.
        power: exponent of the singular values.
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        A number in [0, log min(rows, columns)]. Singular values that are zero are dropped.

    Raises:
        DataError: not a finite numeric matrix, or all zero.
        OptionError: power not above 0, or base not above 1.

    Cost: O(rows * columns * min(rows, columns)).

    >>> spectral_entropy(np.eye(4), base=2)
    2.0
    """
    return entropy_of_shares(_singular_values(matrix, power), base=base)


def effective_rank(matrix: Num[np.ndarray, "rows columns"] | Any) -> float:
    """The exponential of the entropy of the normalised singular values (Roy and Vetterli 2007).

    Args:
        matrix: any real matrix, a covariance for instance.

    Returns:
        A number in [1, min(rows, columns)]; r when r singular values are equal and the others zero.

    Raises:
        DataError: not a finite numeric matrix, or all zero.

    Cost: O(rows * columns * min(rows, columns)).

    >>> round(effective_rank(np.diag([3.0, 3.0, 0.0])), 6)
    2.0
    """
    return math.exp(spectral_entropy(matrix))


def participation_ratio(matrix: Num[np.ndarray, "rows columns"] | Any, *, power: float = 1.0) -> float:
    """How many singular values share the sum evenly, (sum_i s_i^power)^2 / sum_i s_i^(2 power).

    Of a covariance matrix this is its dimension in the sense of Gao et al. 2017; of centred data (one row an
    observation) use power=2, which gives the same number. It is the exponential of the Renyi entropy of order 2, so
    never above `effective_rank`, which is that of order 1.

    Args:
        matrix: any real matrix.
        power: exponent of the singular values.

    Returns:
        A number in [1, min(rows, columns)]; r when r singular values are equal and the others zero.

    Raises:
        DataError: not a finite numeric matrix, or all zero.
        OptionError: power not above 0.

    Cost: O(rows * columns * min(rows, columns)).

    >>> participation_ratio(np.diag([3.0, 3.0, 0.0]))
    2.0
    """
    weight = _singular_values(matrix, power)
    return float(weight.sum() ** 2 / (weight @ weight))
