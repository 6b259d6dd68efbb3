"""Cutting continuous columns into bins."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int, Num

from unsnarl.arrays import as_matrix, check_range
from unsnarl.errors import DataError


def equal_width_bins(x: Num[np.ndarray, "n p"] | Any, bins: int = 20) -> Int[np.ndarray, "n p"]:
    """Number each value by the equal-width bin of its own column it falls in, from 1 to `bins`.

    The discretiser of the published disentanglement metrics (Locatello et al. 2019, `disentanglement_lib`), value for
    value: `np.digitize(column, np.histogram(column, bins)[1][:-1])`. A bin holds its left edge; the largest value of
    a column is in the last bin; a constant column falls whole into the bin in the middle.

    Args:
        x: n observations of p columns.
        bins: number of bins a column.

    Returns:
        Bin numbers, starting at 1 as published.

    Raises:
        DataError: x is not a finite numeric matrix, or the range of a column overflows.
        OptionError: bins is not a positive integer.

    Cost: O(n * p * bins) comparisons.

    >>> equal_width_bins(np.array([[0.0], [0.24], [0.25], [0.99], [1.0]]), bins=4)[:, 0]
    array([1, 1, 2, 4, 4])
    """
    check_range(bins, "bins", low=1, integer=True)
    x = as_matrix(x, "x")
    number = np.zeros(x.shape, dtype=np.int64)
    for edge in _left_edges(x, int(bins)):
        number += x >= edge
    return number


def _left_edges(x: Num[np.ndarray, "n p"], bins: int) -> Num[np.ndarray, "bins p"]:
    """The left edges of the bins as np.histogram computes them (in float32 for float32 columns)."""
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    low, high = x.min(axis=0), x.max(axis=0)
    constant = low == high
    low, high = low.astype(dtype), high.astype(dtype)
    half = dtype.type(0.5)
    low, high = np.where(constant, low - half, low), np.where(constant, high + half, high)
    with np.errstate(over="ignore"):
        width = high - low
    if not np.isfinite(width).all():
        raise DataError(f"x column {int(np.argmin(np.isfinite(width)))} spans a range that overflows {dtype}")
    step = width / dtype.type(bins)
    index = np.arange(bins, dtype=dtype)[:, None]
    return np.where(step > 0, index * step, index / dtype.type(bins) * width) + low
