"""The digamma function at whole numbers, where neighbour estimators need it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def digamma_table(n: int) -> Float[np.ndarray, "counts"]:
    """psi(0), psi(1), ..., psi(n), with -inf at 0."""
    from scipy.special import digamma

    table = np.full(n + 1, -np.inf)
    table[1:] = digamma(np.arange(1, n + 1))
    return table
