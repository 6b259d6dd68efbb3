"""How alike contexts are by what they predict: kernels between next-token distributions.

Zhang 2025 (arXiv 2507.19247), definition 7.3 and theorem 7.6. The Hellinger distance here is d_H^2 = 2 (1 - BC).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import as_matrix, check_choice, check_range, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.information._divergences import as_probabilities

KINDS = ("bc", "hellinger", "linear", "js")
_BLOCK_BYTES = 64 * 2**20


def predictive_kernel(
    probs: Any, kind: str = "bc", *, beta: float = 1.0, outputs: Any = None
) -> Float[np.ndarray, "n n"]:
    """The similarity of every two contexts by their next-token distributions p_x.

    - "bc": the Bhattacharyya coefficient, sum_w sqrt(p_x p_x');
    - "hellinger": exp(-beta d_H^2), d_H^2 = 2 (1 - BC);
    - "linear": <p_x, p_x'>; with `outputs` the kernel <gbar_x, gbar_x'> of theorem 7.6, gbar_x = sum_w p_x(w) g(w);
    - "js": exp(-beta JS), JS in nats.

    All are positive semi-definite. Take p_x from the true kernel where it is known or from another model: a kernel of the
    very model that made the hidden states agrees with them by construction.

    Args:
        probs: (n, V) one distribution a context.
        kind: one of the four.
        beta: sharpness of "hellinger" and "js", above 0.
        outputs: (V, k) a vector for each token, for "linear" only; they are scaled to unit length, as the theorem assumes.

    Returns:
        (n, n) float64, symmetric; 1 on the diagonal except for "linear".

    Raises:
        DataError: not probabilities (a row that does not sum to 1, or logits), fewer than 2 contexts, or outputs that do
            not fit.
        OptionError: unknown kind, beta not above 0, or outputs for another kind.

    Cost: O(n^2 V) multiplications; for "js" as many logarithms, which is twenty times slower. Memory O(n^2 + n V).

    >>> predictive_kernel([[0.5, 0.5], [1.0, 0.0]]).round(4)
    array([[1. , 0.7071], [0.7071, 1. ]])
    """
    check_choice(kind, KINDS, "kind")
    check_range(beta, "beta", low=0, open_low=True)
    if outputs is not None and kind != "linear":
        raise OptionError(f"outputs belong to kind='linear', not to {kind!r}")
    p = np.asarray(as_probabilities(to_numpy(probs, "probs"), "probs"))
    if p.ndim != 2 or len(p) < 2:
        raise DataError(f"probs must be (n, V) with at least 2 contexts, got shape {p.shape}")
    if kind == "linear":
        if outputs is not None:
            p = p @ _unit_rows(outputs, p.shape[1])
        return _symmetric(p @ p.T)
    if kind == "js":
        return np.exp(-beta * _jensen_shannon(p))
    root = np.sqrt(p)
    bc = _symmetric(root @ root.T)
    np.clip(bc, 0.0, 1.0, out=bc)
    np.fill_diagonal(bc, 1.0)
    return bc if kind == "bc" else np.exp(-2 * beta * (1 - bc))


def _symmetric(kernel: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    return (kernel + kernel.T) / 2


def _unit_rows(outputs: Any, vocabulary: int) -> Float[np.ndarray, "V k"]:
    vectors = as_matrix(outputs, "outputs", min_rows=1).astype(np.float64)
    if len(vectors) != vocabulary:
        raise DataError(f"outputs has {len(vectors)} rows, probs have {vocabulary} tokens")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def _jensen_shannon(p: Float[np.ndarray, "n V"]) -> Float[np.ndarray, "n n"]:
    """JS = H((p + q) / 2) - (H(p) + H(q)) / 2 for every pair, a block of rows and of tokens at a time."""
    from scipy.special import xlogy

    n, vocabulary = p.shape
    own = xlogy(p, p).sum(axis=1)
    middle = np.zeros((n, n))
    width = min(vocabulary, 4096)
    rows = max(1, _BLOCK_BYTES // (8 * n * width))
    for start in range(0, vocabulary, width):
        part = p[:, start : start + width]
        for first in range(0, n, rows):
            here = slice(first, min(first + rows, n))
            half = (part[here, None] + part[None, first:]) / 2  # the upper triangle is enough
            middle[here, first:] += xlogy(half, half).sum(axis=2)
    upper = np.triu(middle)
    middle = upper + np.triu(upper, 1).T
    js = (own[:, None] + own[None]) / 2 - middle
    js = np.clip(js, 0.0, math.log(2))
    np.fill_diagonal(js, 0.0)
    return js
