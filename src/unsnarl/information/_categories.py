"""From labels of any kind to category codes 0, 1, 2, ... a column."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int, Num

from unsnarl.arrays import as_matrix, as_vector, to_numpy
from unsnarl.errors import DataError

Codes = Int[np.ndarray, "n _"]
Levels = Int[np.ndarray, "_"]


def dense_codes(matrix: Num[np.ndarray, "n columns"]) -> tuple[Codes, Levels]:
    """Number the distinct values of each column in ascending order, from 0; and how many there are a column.

    Cost: O(n log n) a column, O(n) when the integers of a column span little more than n values.
    """
    n = len(matrix)
    if matrix.dtype.kind in "iu":
        low, high = matrix.min(axis=0), matrix.max(axis=0)
        if max(int(top) - int(bottom) for top, bottom in zip(high, low, strict=True)) <= max(n, 256):
            return _dense_small_range(matrix.astype(np.int64) - low.astype(np.int64))
    order = np.argsort(matrix, axis=0, kind="stable")
    ordered = np.take_along_axis(matrix, order, axis=0)
    rank = np.zeros(matrix.shape, dtype=np.int64)
    np.cumsum(ordered[1:] != ordered[:-1], axis=0, out=rank[1:])
    codes = np.empty_like(rank)
    np.put_along_axis(codes, order, rank, axis=0)
    return codes, rank[-1] + 1


def _dense_small_range(offsets: Codes) -> tuple[Codes, Levels]:
    """The same for non-negative integers in a small range, by marking which values occur."""
    columns = np.arange(offsets.shape[1])
    occurs = np.zeros((int(offsets.max()) + 1, offsets.shape[1]), dtype=bool)
    occurs[offsets, columns] = True
    number = np.cumsum(occurs, axis=0) - 1
    return number[offsets, columns], number[-1] + 1


def category_columns(values: Any, argument: str) -> tuple[Codes, Levels]:
    """Category codes of one column of labels (numbers, booleans or text) or of a matrix of numbers.

    Raises:
        DataError: not 1-D or 2-D, not finite, too few rows, or a column of non-integer numbers with so many different
            values (more than 20 and more than n/10) that it measures a quantity rather than naming categories.
    """
    array = to_numpy(values, argument) if not hasattr(values, "to_numpy") else values
    if np.ndim(array) != 2 or np.shape(array)[1] == 1:
        vector = as_vector(array, argument)
        if vector.dtype.kind not in "iufb":
            _, codes = np.unique(vector, return_inverse=True)
            return codes.reshape(-1, 1).astype(np.int64), np.array([codes.max() + 1], dtype=np.int64)
        array = vector[:, None]
    matrix = as_matrix(array, argument)
    codes, levels = dense_codes(matrix)
    if matrix.dtype.kind == "f":
        _refuse_quantities(matrix, levels, argument)
    return codes, levels


def _refuse_quantities(matrix: Num[np.ndarray, "n columns"], levels: Levels, argument: str) -> None:
    n = len(matrix)
    suspects = np.flatnonzero(levels > max(20, n // 10))
    measured = suspects[(matrix[:, suspects] != np.round(matrix[:, suspects])).any(axis=0)]
    if len(measured):
        column = int(measured[0])
        raise DataError(
            f"{argument} column {column} holds {int(levels[column]):,} different non-integer values in {n:,} rows, so "
            "it is no category; cut it with equal_width_bins, or choose an estimator for continuous values"
        )


def row_codes(codes: Codes) -> tuple[Int[np.ndarray, "n"], int]:
    """One code a row, equal for equal rows; and the number of different rows."""
    if codes.shape[1] == 1:
        joint, levels = dense_codes(codes)
        return joint[:, 0], int(levels[0])
    order = np.lexsort(codes.T[::-1])
    ordered = codes[order]
    rank = np.zeros(len(codes), dtype=np.int64)
    np.cumsum((ordered[1:] != ordered[:-1]).any(axis=1), out=rank[1:])
    joint = np.empty_like(rank)
    joint[order] = rank
    return joint, int(rank[-1]) + 1
