"""The arrays that growing boosted trees reads and fills: the sorted and binned columns, the trees, the work space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped, UInt16

from unsnarl.measures._boosting_kernels import _bin_edges, _fill_entries

MOST_BINS = 128
_BLOCK_BINS = 2048  # histogram bins filled in one sweep over the rows; their sums stay in the first-level cache


class Columns(NamedTuple):
    """The columns every tree of every target looks at, sorted and binned once.

    Attributes:
        values: the columns in single precision, shape (columns, n).
        order: row indices that sort each column, shape (columns, n).
        edges: for each bin of each column, the first position in `order`; one closing entry a column.
        offset: first bin of each column in the concatenation of all bins, shape (columns + 1,).
        mixed: whether a bin holds more than one distinct value.
        counts: rows in each bin.
        block: first column of each block of columns whose histograms are filled together, shape (blocks + 1,).
        entry: for each block, row and column of the block: twice the bin's place in the block's histogram.
    """

    values: Float32[np.ndarray, "column n"]
    order: Int[np.ndarray, "column n"]
    edges: Int[np.ndarray, " bin+column"]
    offset: Int[np.ndarray, " column+1"]
    mixed: Bool[np.ndarray, " bin"]
    counts: Int[np.ndarray, " bin"]
    block: Int[np.ndarray, " block+1"]
    entry: UInt16[np.ndarray, " n*column"]

    @classmethod
    def of(cls, X: Shaped[np.ndarray, "n column"]) -> Columns:
        """Sort and bin the columns: O(columns n log n) time, 10 bytes a value."""
        n, width = X.shape
        values = np.ascontiguousarray(X.T, dtype=np.float32)
        order = np.empty((width, n), np.int32)
        limit = int(np.clip(n // 16, 32, MOST_BINS))
        edges = np.empty(width * (limit + 1), np.int32)
        offset = np.zeros(width + 1, np.int64)
        for j in range(width):
            order[j] = np.argsort(values[j], kind="stable")
            used = _bin_edges(values[j][order[j]], limit, edges[offset[j] + j :])
            offset[j + 1] = offset[j] + used
        total = int(offset[-1])
        cuts = [0]
        for j in range(1, width):
            if offset[j + 1] - offset[cuts[-1]] > _BLOCK_BINS:
                cuts.append(j)
        block = np.array([*cuts, width])
        mixed, counts = np.zeros(total, np.bool_), np.zeros(total, np.int32)
        columns = cls(
            values, order, edges[: total + width].copy(), offset, mixed, counts, block, np.empty(n * width, np.uint16)
        )
        _fill_entries(columns)
        return columns


class _Trees(NamedTuple):
    """What growing fills in, for each tree of a stage; the children of node i are 2 i + 1 and 2 i + 2."""

    feature: np.ndarray  # column that splits each inner node or -1, shape (trees, 2**depth - 1)
    cut: np.ndarray  # its threshold
    leaf: np.ndarray  # value of each leaf, shape (trees, 2**depth)
    importance: np.ndarray  # decrease of squared error by each column, added up, shape (trees, columns)


class _Work(NamedTuple):
    """Work space of one thread."""

    signed: np.ndarray  # the gradient as integers, shape (n,)
    rows: np.ndarray  # rows grouped by node
    spare: np.ndarray
    member: np.ndarray  # node of each row
    weight: np.ndarray  # 1 / (c (size - c)) for c rows on one side of a split
    bound: np.ndarray  # upper bound of the gain inside each bin
    peak: np.ndarray  # the highest of them in each column
    sums: (
        np.ndarray
    )  # histograms of depth + 1 nodes: positive gradients at 2 * bin, the size of negative ones at 2 * bin + 1
    counts: np.ndarray  # rows in each bin of those nodes
    free: np.ndarray  # histograms not in use
    stack: np.ndarray  # nodes still to be split
    spans: np.ndarray  # for each node: first row, end, histogram, sum, lowest, highest gradient (integers)
    moments: np.ndarray  # for each node: sum and sum of squares of the gradient, variance

    @classmethod
    def of(cls, columns: Columns, depth: int) -> _Work:
        width, n = columns.values.shape
        bins, nodes = int(columns.offset[-1]), 2 ** (depth + 1) - 1
        return cls(
            signed=np.empty(n, np.int64),
            rows=np.empty(n, np.int32),
            spare=np.empty(n, np.int32),
            member=np.empty(n, np.int16),
            weight=np.empty(n + 1),
            bound=np.empty(bins),
            peak=np.empty(width),
            sums=np.empty((depth + 1, 2 * bins), np.int64),
            counts=np.empty((depth + 1, bins), np.int32),
            free=np.empty(depth + 1, np.int64),
            stack=np.empty(2 * depth + 4, np.int64),
            spans=np.empty((6, nodes), np.int64),
            moments=np.empty((3, nodes)),
        )
