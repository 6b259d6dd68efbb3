"""How many directions a matrix really uses: entropies of its singular values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Num

from unsnarl.arrays import as_matrix, check_range
from unsnarl.errors import DataError
from unsnarl.information._units import nats_per_unit


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
    check_range(power, "power", low=0, open_low=True)
    unit = nats_per_unit(base)
    singular = np.linalg.svd(as_matrix(matrix, "matrix", min_rows=1).astype(np.float64), compute_uv=False)
    if singular[0] == 0:
        raise DataError("matrix is zero, so its singular values have no distribution")
    weight = (singular / singular[0]) ** power
    share = weight / weight.sum()
    share = share[share > 0]
    return max(-float(share @ np.log(share)), 0.0) / unit


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
