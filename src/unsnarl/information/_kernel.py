"""Dependence seen through kernels: the Hilbert-Schmidt independence criterion, and alignment of representations.

All statistics are sums over the Gram matrices K and L, taken a block of rows at a time, so memory stays bounded:
sum_ij K_ij L_ij, the row sums, and the totals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num

from unsnarl.arrays import as_matrix, check_choice, check_range, check_same_length
from unsnarl.errors import DataError
from unsnarl.information._continuous import as_points, varies

Kernel = Literal["gaussian", "linear", "precomputed"]
Variables = Float[np.ndarray, "variables n dimension"]
GramRows = Float[np.ndarray, "variables rows n"]
PairMatrix = Float[np.ndarray, "p q"]

_BLOCK_BYTES = 64 * 2**20  # of Gram matrix rows held at a time
_MEDIAN_ROWS = 1000  # the median heuristic looks at this many rows, evenly spaced


def median_distance(points: Float[np.ndarray, "n dimension"]) -> float:
    """The median of the pairwise Euclidean distances that are not zero (Gretton et al. 2005).

    Up to 1,000 rows all pairs are used, beyond that those of 1,000 evenly spaced rows, so at most half a million distances.
    """
    from scipy.spatial.distance import pdist

    if len(points) > _MEDIAN_ROWS:
        points = points[np.linspace(0, len(points) - 1, _MEDIAN_ROWS).astype(int)]
    distances = pdist(points)
    positive = distances[distances > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def _gram_rows(variables: Variables, kernel: str, bandwidth: float | None) -> Callable[[slice], GramRows]:
    """A function that gives rows of the Gram matrix of each variable, in a new array."""
    if kernel == "precomputed":
        return lambda rows: variables[:, rows].copy()
    centred = variables - variables.mean(axis=1, keepdims=True)
    if kernel == "linear":
        return lambda rows: centred[:, rows] @ centred.transpose(0, 2, 1)
    widths = np.array([bandwidth or median_distance(points) for points in centred])
    centred = centred / widths[:, None, None]
    half = 0.5 * (centred**2).sum(axis=2)

    def rows_of(rows: slice) -> GramRows:
        exponent = centred[:, rows] @ centred.transpose(0, 2, 1)
        exponent -= half[:, rows, None]
        exponent -= half[:, None, :]
        np.minimum(exponent, 0.0, out=exponent)
        return np.exp(exponent, out=exponent)

    return rows_of


def _criterion(
    x_rows: Callable[[slice], GramRows],
    y_rows: Callable[[slice], GramRows] | None,
    n: int,
    variables: int,
    unbiased: bool,
) -> PairMatrix:
    """HSIC of each x variable with each y variable (of x with itself when y is None)."""
    block = max(1, min(n, int(_BLOCK_BYTES / (8 * n * variables))))
    inner: Any = 0.0
    x_sums, y_sums = [], []
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))
        k = x_rows(rows)
        grams = [k] if y_rows is None else [k, y_rows(rows)]
        if unbiased:
            index = np.arange(rows.stop - rows.start)
            for gram in grams:
                gram[:, index, index + start] = 0.0
        k, other = grams[0], grams[-1]
        inner = inner + k.reshape(len(k), -1) @ other.reshape(len(other), -1).T
        x_sums.append(k.sum(axis=2))
        y_sums.append(other.sum(axis=2))
    x_row, y_row = np.concatenate(x_sums, axis=1), np.concatenate(y_sums, axis=1)
    cross = x_row @ y_row.T
    totals = np.outer(x_row.sum(axis=1), y_row.sum(axis=1))
    if unbiased:
        return (inner + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * cross) / (n * (n - 3))
    return (inner - 2 / n * cross + totals / n**2) / (n - 1) ** 2


def _prepare(
    x: Any, y: Any, kernel: str, bandwidth: float | None, unbiased: bool
) -> tuple[Float[np.ndarray, "n *dx"], Float[np.ndarray, "n *dy"]]:
    check_choice(kernel, ("gaussian", "linear", "precomputed"), "kernel")
    if bandwidth is not None:
        check_range(bandwidth, "bandwidth", low=0, open_low=True)
    points = as_points(x, "x"), as_points(y, "y")
    n = check_same_length(x=points[0], y=points[1])
    if unbiased and n < 4:
        raise DataError(f"the unbiased estimate needs at least 4 observations, got {n}")
    if kernel == "precomputed":
        for gram, name in zip(points, ("x", "y"), strict=True):
            if gram.shape != (n, n) or not np.allclose(gram, gram.T):
                raise DataError(
                    f"with kernel='precomputed' {name} must be a symmetric (n, n) Gram matrix, got {gram.shape}"
                )
    return points


def hsic(
    x: Num[np.ndarray, "n *dx"] | Any,
    y: Num[np.ndarray, "n *dy"] | Any,
    *,
    kernel: Kernel | str = "gaussian",
    bandwidth: float | None = None,
    unbiased: bool = True,
) -> float:
    """Hilbert-Schmidt independence criterion: with a Gaussian kernel its expectation is 0 only at independence.

    Biased (Gretton et al. 2005, definition 2): tr(K H L H) / (n - 1)^2. Unbiased (Song et al. 2012, equation 5), with
    the diagonals of K and L set to 0:
    (tr(K L) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1'K L 1) / (n (n - 3)).

    Args:
        x: n observations of one column, or of dx columns taken together.
        y: n observations of one column, or of dy columns taken together.
        kernel: "gaussian" exp(-|a - b|^2 / (2 bandwidth^2)); "linear" a.b (sees linear dependence only);
            "precomputed" when x and y are Gram matrices (n, n).
        bandwidth: of both Gaussian kernels; None takes the median distance of each variable (of 1,000 evenly spaced
            rows when there are more).
        unbiased: the unbiased estimate (may be negative) or the biased one (at least 0).

    Returns:
        A number in the units of the kernels; 0 for a constant. Use `centered_kernel_alignment` to compare variables.

    Raises:
        DataError: different lengths, not finite, fewer than 4 observations when unbiased, or no Gram matrices.
        OptionError: unknown kernel, or bandwidth not above 0.

    Cost: O(n^2 (dx + dy)); memory O(n (dx + dy)) and 64 MB.

    >>> x = np.linspace(-1, 1, 200)
    >>> hsic(x, x**2) > 0.005, abs(hsic(x, x**2, kernel="linear")) < 1e-3
    (True, True)
    """
    one, other = _prepare(x, y, kernel, bandwidth, unbiased)
    k, other_k = (_gram_rows(points[None], kernel, bandwidth) for points in (one, other))
    return float(_criterion(k, other_k, len(one), 2, unbiased)[0, 0])


def centered_kernel_alignment(
    x: Num[np.ndarray, "n *dx"] | Any,
    y: Num[np.ndarray, "n *dy"] | Any,
    *,
    kernel: Kernel | str = "linear",
    bandwidth: float | None = None,
    unbiased: bool = False,
) -> float:
    """How alike the similarities of the same n observations are in two representations (CKA, Kornblith et al. 2019).

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)). It does not change when a representation is rotated or rescaled.
    The biased form is high for wide representations of few observations whatever they hold; `unbiased=True` is near 0
    there (and may be negative).

    Args:
        x: n observations of one column, or of dx columns taken together.
        y: n observations of one column, or of dy columns taken together.
        kernel: as in `hsic`.
        bandwidth: as in `hsic`.
        unbiased: as in `hsic`.

    Returns:
        A number in [0, 1] (biased form); 1 when the similarities agree up to scale.

    Raises:
        DataError: as `hsic`; or a constant representation, whose alignment is undefined.
        OptionError: as `hsic`.

    Cost: O(n^2 (dx + dy)); memory O(n (dx + dy)) and 64 MB.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> rotation = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    >>> round(centered_kernel_alignment(x, 5 * x @ rotation), 6)
    1.0
    """
    points = _prepare(x, y, kernel, bandwidth, unbiased)
    for values, name in zip(points, ("x", "y"), strict=True):
        if not varies(values).any():
            raise DataError(f"{name} is constant, so its kernel alignment is undefined")
    k, other_k = (_gram_rows(values[None], kernel, bandwidth) for values in points)

    def both(rows: slice) -> GramRows:
        return np.concatenate([k(rows), other_k(rows)])

    table = _criterion(both, None, len(points[0]), 2, unbiased)
    own = table[0, 0] * table[1, 1]
    if not own > 0:
        raise DataError("the kernel of x or y shows no variation beyond noise, so the alignment is undefined")
    return float(table[0, 1] / np.sqrt(own))


def pairwise_hsic(
    x: Num[np.ndarray, "n p"] | Any,
    y: Num[np.ndarray, "n q"] | Any | None = None,
    *,
    kernel: Literal["gaussian", "linear"] | str = "gaussian",
    bandwidth: float | None = None,
    unbiased: bool = True,
) -> Float[np.ndarray, "p q"]:
    """HSIC of each column of x with each column of y; entry i, j is `hsic(x[:, i], y[:, j], ...)`.

    Args:
        x: n observations of p variables.
        y: n observations of q variables; None pairs the columns of x with each other (p, p).
        kernel: as in `hsic`, without "precomputed".
        bandwidth: as in `hsic`.
        unbiased: as in `hsic`.

    Raises:
        DataError: different lengths, not finite, or fewer than 4 observations when unbiased.
        OptionError: unknown kernel, or bandwidth not above 0.

    Cost: O(n^2 p q), of which the n^2 (p + q) exponentials take most: about two seconds for 1,000 x 64 x 8, a
    hundred times that for 10,000. Memory O(n (p + q)) and 64 MB.

    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> table = pairwise_hsic(x, x[:, :2] ** 2)
    >>> table.shape, table.argmax(axis=0)
    ((3, 2), array([0, 1]))
    """
    check_choice(kernel, ("gaussian", "linear"), "kernel")
    x = as_matrix(x, "x")
    one, other = _prepare(x, x if y is None else as_matrix(y, "y"), kernel, bandwidth, unbiased)
    k = _gram_rows(one.T[:, :, None], kernel, bandwidth)
    if y is None:
        return _criterion(k, None, len(one), one.shape[1], unbiased)
    other_k = _gram_rows(other.T[:, :, None], kernel, bandwidth)
    return _criterion(k, other_k, len(one), one.shape[1] + other.shape[1], unbiased)
