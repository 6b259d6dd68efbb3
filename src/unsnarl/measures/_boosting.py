"""Gradient-boosted trees with exact splits, made for many targets over the same columns.

The same model as scikit-learn's `GradientBoostingClassifier` and `GradientBoostingRegressor` with default settings
(Friedman 2001, "Greedy function approximation", Algorithms 2, 5 and 6): depth-3 regression trees on the negative
gradient, leaf values by one Newton step, the log prior or the mean to begin with. Splits are the exact ones, found by
a bound:

1. Each column is sorted once and cut into at most 128 bins; a bin is one distinct value where there are few of them.
2. In a node, one pass over the rows adds the gradients up in each bin, positive and negative ones apart, as 64-bit
integers
   (so sums do not depend on order, and the larger child is the parent minus the smaller one without any rounding).
3. Between bins the gain of a split is then known. Inside a bin, the gradient sum can rise at most by the positive part
and
   fall at most by the negative part, which bounds the gain there. Only bins whose bound exceeds the best gain known are
   walked value by value, so no split is ever missed and few rows are visited twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt16
from numba import njit

from unsnarl.arrays import as_matrix, as_vector, check_choice, check_finite, check_range, check_same_length
from unsnarl.errors import DataError, NotFittedError
from unsnarl.information._threads import thread_count

MOST_BINS = 128
_BLOCK_BINS = 2048  # histogram bins filled in one sweep over the rows; their sums stay in the first-level cache
_CLOSE = np.float32(1e-7)  # neighbours no further apart than this are not separated (scikit-learn's FEATURE_THRESHOLD)
_PURE = float(np.finfo(np.float64).eps)  # a node of smaller variance is a leaf

_jit = njit(cache=True, nogil=True, error_model="numpy")


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


@_jit
@no_type_check
def _bin_edges(ranked, limit, edges):
    """Cut one sorted column into at most `limit` bins, only where neighbours are far enough apart to be separated."""
    n = len(ranked)
    groups = 1
    for i in range(1, n):
        if ranked[i] > ranked[i - 1] + _CLOSE:
            groups += 1
    edges[0] = 0
    used = 0
    goal = 0.0 if groups <= limit else n / limit
    for i in range(1, n):
        if ranked[i] > ranked[i - 1] + _CLOSE and i >= goal and used < limit - 1:
            used += 1
            edges[used] = i
            goal = 0.0 if groups <= limit else i + (n - i) / (limit - used)
    edges[used + 1] = n
    return used + 1


@_jit
@no_type_check
def _fill_entries(columns):
    values, order, edges, offset, block = columns.values, columns.order, columns.edges, columns.offset, columns.block
    n = values.shape[1]
    for b in range(len(block) - 1):
        first, width = block[b], block[b + 1] - block[b]
        for j in range(first, block[b + 1]):
            for k in range(offset[j], offset[j + 1]):
                low, high = edges[k + j], edges[k + j + 1]
                columns.mixed[k] = values[j, order[j, low]] != values[j, order[j, high - 1]]
                columns.counts[k] = high - low
                for i in range(low, high):
                    columns.entry[n * first + order[j, i] * width + j - first] = 2 * (k - offset[first])


@_jit
@no_type_check
def _gradients(raw, targets, first, classifies, begin, end, out):
    """Negative gradients of targets begin..end-1: residuals, or label minus probability."""
    n = raw.shape[1]
    for t in range(begin, end):
        a, b = first[t], first[t + 1]
        if not classifies[t]:
            for i in range(n):
                out[a, i] = targets[t, i] - raw[a, i]
        elif b - a == 1:
            for i in range(n):
                out[a, i] = targets[t, i] - 1.0 / (1.0 + np.exp(-raw[a, i]))
        else:
            for i in range(n):
                top = raw[a, i]
                for k in range(a + 1, b):
                    top = max(top, raw[k, i])
                total = 0.0
                for k in range(a, b):
                    out[k, i] = np.exp(raw[k, i] - top)
                    total += out[k, i]
                for k in range(a, b):
                    out[k, i] = (1.0 if targets[t, i] == k - a else 0.0) - out[k, i] / total


@_jit
@no_type_check
def _fill_root(columns, signed, sums, counts):
    """Histogram of all rows, whose counts are known beforehand."""
    n, offset, block = len(signed), columns.offset, columns.block
    for k in range(len(counts)):
        sums[2 * k], sums[2 * k + 1], counts[k] = 0, 0, columns.counts[k]
    for b in range(len(block) - 1):
        first, width = block[b], block[b + 1] - block[b]
        block_sums, entry = sums[2 * offset[first] :], columns.entry[n * first :]
        for row in range(n):
            value = signed[row]
            side, size, at = np.int64(value < 0), abs(value), row * width
            for j in range(width):
                block_sums[np.int64(entry[at + j]) + side] += size


@_jit
@no_type_check
def _fill_children(columns, signed, rows, start, end, sums, counts, rest_sums, rest_counts):
    """Histogram of rows[start:end], and take it off the parent's, which so becomes the other child's."""
    n, offset, block = len(signed), columns.offset, columns.block
    for k in range(len(counts)):
        sums[2 * k], sums[2 * k + 1], counts[k] = 0, 0, 0
    for b in range(len(block) - 1):
        first, width = block[b], block[b + 1] - block[b]
        block_sums, block_counts, entry = sums[2 * offset[first] :], counts[offset[first] :], columns.entry[n * first :]
        for i in range(start, end):
            row = np.int64(rows[i])
            value = signed[row]
            side, size, at = np.int64(value < 0), abs(value), row * width
            for j in range(width):
                place = np.int64(entry[at + j])
                block_sums[place + side] += size
                block_counts[place >> 1] += 1
    for k in range(len(sums)):
        rest_sums[k] -= sums[k]
    for k in range(len(counts)):
        rest_counts[k] -= counts[k]


@_jit
@no_type_check
def _gain(left, count, total, size, mean, weight):
    """Squares between the children over the node's size; the very same number for a split and its mirror image."""
    if 2 * count > size:
        left, count = total - left, size - count
    elif 2 * count == size:
        left = min(left, total - left)
    centred = left - mean * count
    return centred * centred * weight[count]


@_jit
@no_type_check
def _mix(x):
    """One round of splitmix64: a well mixed 64-bit number."""
    x = np.uint64(x) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@_jit
@no_type_check
def _preferred(key, column, other):
    """Whether `column` is taken when both split equally well: the lower one if key is 0, else in random order."""
    if key == 0:
        return column < other
    return _mix(key ^ np.uint64(column)) < _mix(key ^ np.uint64(other))


@_jit
@no_type_check
def _best_split(columns, work, node, size, slot, key):
    """The exact best split of a node: (column or -1, threshold)."""
    values, order, edges, offset, mixed = columns.values, columns.order, columns.edges, columns.offset, columns.mixed
    signed, member, weight, bound, peak = work.signed, work.member, work.weight, work.bound, work.peak
    sums, counts = work.sums[slot], work.counts[slot]
    total, low, high = work.spans[3, node], work.spans[4, node], work.spans[5, node]
    mean = total / size
    extreme = max(high - mean, mean - low)
    slack = 1e-13 * size * max(abs(float(high)), abs(float(low)))
    # gradients of sum s > 0 take at least s / high rows, so above the mean they add up to s (1 - mean / high) at most
    shrink = 1.0 - mean / high if mean > 0 else 1.0 - mean / low if mean < 0 else 1.0
    best, best_column, best_count, best_bin = -1.0, -1, 0, -1
    threshold = 0.0
    width = len(offset) - 1
    for c in range(1, size):
        weight[c] = 1.0 / (float(c) * float(size - c))
    for j in range(width):
        before, seen, centred = np.int64(0), 0, 0.0
        peak[j] = -1.0
        for b in range(offset[j], offset[j + 1]):
            m = counts[b]
            bound[b] = -1.0
            if m == 0:
                continue
            up, down = sums[2 * b], sums[2 * b + 1]
            after, passed = before + up - down, seen + m
            centred_after = after - mean * passed
            if m > 1 and mixed[b]:
                if mean >= 0:
                    room = up * shrink
                    top, bottom = centred + room, centred_after - room
                else:
                    room = down * shrink
                    top, bottom = centred_after + room, centred - room
                reach = max(top, -bottom) + slack
                limit = reach * reach * max(weight[seen + 1], weight[passed - 1])
                if seen == 0:  # here |sum| <= count * extreme is the better bound
                    limit = min(limit, reach * extreme / (size - passed + 1))
                elif passed == size:
                    limit = min(limit, reach * extreme / (seen + 1))
                bound[b] = limit * (1.0 + 1e-9)
                peak[j] = max(peak[j], bound[b])
            if passed < size:
                gain = _gain(after, passed, total, size, mean, weight)
                if gain > best or (gain == best and j != best_column and _preferred(key, j, best_column)):
                    best, best_column, best_count, best_bin = gain, j, passed, b
            before, seen, centred = after, passed, centred_after
    highest = 0
    for j in range(width):
        if peak[j] > peak[highest]:
            highest = j
    for turn in range(width + 1):  # the most promising column first: it raises the bar for the others
        j = highest if turn == 0 else turn - 1
        if peak[j] < best or peak[j] < 0 or (turn > 0 and j == highest):
            continue
        before, seen = np.int64(0), 0
        for b in range(offset[j], offset[j + 1]):
            if bound[b] >= best and bound[b] >= 0:
                left, count = before, seen
                previous = np.float32(0)
                for i in range(edges[b + j], edges[b + j + 1]):
                    row = order[j, i]
                    if member[row] != node:
                        continue
                    value = values[j, row]
                    if count > seen and value > previous + _CLOSE:
                        gain = _gain(left, count, total, size, mean, weight)
                        tied = gain == best
                        if gain > best or (
                            tied and (count < best_count if j == best_column else _preferred(key, j, best_column))
                        ):
                            best, best_column, best_count, best_bin = gain, j, count, -1
                            threshold = previous / 2.0 + value / 2.0
                    left += signed[row]
                    count += 1
                    previous = value
            before += sums[2 * b] - sums[2 * b + 1]
            seen += counts[b]
    if best_column >= 0 and best_bin >= 0:
        j = best_column
        after_at = edges[best_bin + j + 1]
        before_at = after_at - 1
        while member[order[j, before_at]] != node:
            before_at -= 1
        while member[order[j, after_at]] != node:
            after_at += 1
        threshold = values[j, order[j, before_at]] / 2.0 + values[j, order[j, after_at]] / 2.0
    return best_column, threshold


@_jit
@no_type_check
def _enter(work, node, row, g):
    """Count one row to a node."""
    spans, moments, signed = work.spans, work.moments, work.signed[row]
    work.member[row] = node
    moments[0, node] += g
    moments[1, node] += g * g
    spans[3, node] += signed
    spans[4, node] = min(spans[4, node], signed)
    spans[5, node] = max(spans[5, node], signed)


@_jit
@no_type_check
def _open(work, node, start, end):
    spans, moments = work.spans, work.moments
    spans[0, node], spans[1, node], spans[2, node], spans[3, node] = start, end, -1, 0
    spans[4, node], spans[5, node] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    moments[0, node], moments[1, node] = 0.0, 0.0


@_jit
@no_type_check
def _close(work, node):
    size, moments = work.spans[1, node] - work.spans[0, node], work.moments
    moments[2, node] = moments[1, node] / size - (moments[0, node] / size) ** 2


@_jit
@no_type_check
def _as_integers(gradient, signed):
    """The gradient scaled by a power of two and rounded, as finely as sums over all rows fit into 63 bits."""
    largest = 0.0
    for g in gradient:
        largest = max(largest, abs(g))
    bits, room = 62, len(gradient) - 1
    while room > 0:
        room >>= 1
        bits -= 1
    scale = 2.0 ** (bits - 1 - np.floor(np.log2(largest))) if largest > 1e-200 else 0.0
    for i in range(len(gradient)):
        signed[i] = np.int64(np.rint(gradient[i] * scale))


@_jit
@no_type_check
def _grow(begin, end, gradients, raws, newton, keys, rate, depth, columns, trees, work):
    """Trees begin..end-1 of a stage, each on its gradient; adds the shrunken leaf values to `raws`.

    newton: for each tree (classes - 1) / classes, the factor of the Newton step; 1 for two classes; 0 for the mean
    residual.
    keys: for each tree, what chooses among equally good splits, see `_preferred`.
    """
    values = columns.values
    rows, spare, spans, moments, free, stack = work.rows, work.spare, work.spans, work.moments, work.free, work.stack
    n = values.shape[1]
    inner = (1 << depth) - 1
    for tree in range(begin, end):
        gradient, raw = gradients[tree], raws[tree]
        feature, cut = trees.feature[tree], trees.cut[tree]
        _as_integers(gradient, work.signed)
        for k in range(depth + 1):
            free[k] = k
        unused = depth + 1
        for k in range(inner):
            feature[k] = -1
        _open(work, 0, 0, n)
        for i in range(n):
            rows[i] = i
            _enter(work, 0, i, gradient[i])
        _close(work, 0)
        stack[0], waiting = 0, 1
        while waiting > 0:
            waiting -= 1
            node = stack[waiting]
            a, b = spans[0, node], spans[1, node]
            size = b - a
            column, threshold = -1, 0.0
            if node < inner and size > 1 and moments[2, node] > _PURE and spans[4, node] < spans[5, node]:
                if node == 0:
                    unused -= 1
                    spans[2, 0] = free[unused]
                    _fill_root(columns, work.signed, work.sums[spans[2, 0]], work.counts[spans[2, 0]])
                key = np.uint64(0) if keys[tree] == 0 else _mix(keys[tree] + np.uint64(node))
                column, threshold = _best_split(columns, work, node, size, spans[2, node], key)
            if column < 0:
                if spans[2, node] >= 0:
                    free[unused] = spans[2, node]
                    unused += 1
                mean, curve = 0.0, 0.0
                for i in range(a, b):
                    g = gradient[rows[i]]
                    mean += g / size
                    curve += abs(g) * (1.0 - abs(g)) / size
                step = mean
                if newton[tree] > 0.0:
                    step = newton[tree] * mean / curve if curve >= 1e-150 else 0.0
                for i in range(a, b):
                    raw[rows[i]] += rate * step
                while node < inner:
                    node = 2 * node + 1
                trees.leaf[tree, node - inner] = step
                continue
            feature[node], cut[node] = column, threshold
            left, right = 2 * node + 1, 2 * node + 2
            _open(work, left, a, b)
            _open(work, right, a, b)
            at, behind = a, 0
            for i in range(a, b):
                row = rows[i]
                if values[column, row] <= threshold:
                    rows[at] = row
                    at += 1
                    _enter(work, left, row, gradient[row])
                else:
                    spare[behind] = row
                    behind += 1
                    _enter(work, right, row, gradient[row])
            for i in range(behind):
                rows[at + i] = spare[i]
            spans[1, left], spans[0, right] = at, at
            _close(work, left)
            _close(work, right)
            trees.importance[tree, column] += (
                size * moments[2, node] - (at - a) * moments[2, left] - (b - at) * moments[2, right]
            ) / n
            if left < inner:
                small, large = (left, right) if at - a <= b - at else (right, left)
                unused -= 1
                s, p = free[unused], spans[2, node]
                spans[2, small], spans[2, large] = s, p
                start, stop = spans[0, small], spans[1, small]
                _fill_children(
                    columns, work.signed, rows, start, stop, work.sums[s], work.counts[s], work.sums[p], work.counts[p]
                )
            else:
                free[unused] = spans[2, node]
                unused += 1
            stack[waiting], stack[waiting + 1] = right, left
            waiting += 2


@_jit
@no_type_check
def _add_trees(values, feature, cut, leaf, rate, raw):
    """Add the trees of all stages, shape (stages, trees, nodes), to `raw` of shape (trees, n)."""
    stages, trees, inner = feature.shape
    for k in range(trees):
        for s in range(stages):
            for i in range(values.shape[1]):
                node = 0
                while node < inner:
                    column = feature[s, k, node]
                    goes_right = column >= 0 and values[column, i] > cut[s, k, node]
                    node = 2 * node + (2 if goes_right else 1)
                raw[k, i] += rate * leaf[s, k, node - inner]


@dataclass(frozen=True)
class Ensemble:
    """The trees of one target: what `boost` returns for each.

    Attributes:
        start: raw prediction before the first tree, one number a tree of a stage.
        feature: column that splits each inner node, -1 where there is none; shape (stages, trees, 2**depth - 1).
        cut: threshold of each inner node; values above it go right.
        leaf: value of each leaf, shape (stages, trees, 2**depth).
        importances: share of each column in the decrease of the trees' squared error, shape (columns,); sums to 1.
        raw: raw predictions of the rows fitted on, shape (trees, n).
        learning_rate: factor on each leaf.
    """

    start: Float[np.ndarray, " tree"]
    feature: Int[np.ndarray, "stage tree inner"]
    cut: Float[np.ndarray, "stage tree inner"]
    leaf: Float[np.ndarray, "stage tree leaf"]
    importances: Float[np.ndarray, " column"]
    raw: Float[np.ndarray, "tree n"]
    learning_rate: float

    def raw_predictions(self, values: Float32[np.ndarray, "column n"]) -> Float[np.ndarray, "tree n"]:
        """Sum of the start and all trees, for columns in single precision."""
        raw = np.repeat(self.start[:, None], values.shape[1], axis=1)
        _add_trees(values, self.feature, self.cut, self.leaf, self.learning_rate, raw)
        return raw


def labels_of(raw: Float[np.ndarray, "tree n"]) -> Int[np.ndarray, " n"]:
    """Predicted class indices from raw predictions."""
    return (raw[0] >= 0).astype(np.int64) if len(raw) == 1 else raw.argmax(axis=0)


def boost(
    columns: Columns,
    targets: Sequence[np.ndarray],
    classes: Sequence[int],
    *,
    stages: int = 100,
    depth: int = 3,
    learning_rate: float = 0.1,
    seed: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Ensemble]:
    """Fit one ensemble a target, all targets on the same columns.

    Args:
        columns: the sorted columns.
        targets: for each target, class indices 0..classes-1 (each present), or numbers to regress; shape (n,).
        classes: number of classes of each target, 0 for a regression.
        stages: boosting stages; each grows one tree, or one a class where there are more than two.
        depth: depth of each tree, 1 to 10.
        learning_rate: factor on each tree.
        seed: orders the columns anew in each node, which decides between splits that are equally good; lowest column
            when None.
        threads: threads that grow trees; numba's setting (NUMBA_NUM_THREADS) when None.
        progress: called as progress(stages done, stages) after each stage.

    Cost: at most O(stages * trees * n * columns * depth / 2) additions; about 1 ms for a tree on 10,000 x 64 values.
    Memory: 10 bytes a value of the columns and 16 bytes an observation and tree of a stage.
    """
    width, n = columns.values.shape
    trees = [k if k > 2 else 1 for k in classes]
    first = np.concatenate([[0], np.cumsum(trees)]).astype(np.int64)
    count = int(first[-1])
    wanted = np.stack([np.asarray(t, np.float64) for t in targets])
    classifies = np.array([k > 0 for k in classes])
    newton = np.repeat([0.0 if k == 0 else 1.0 if k == 2 else (k - 1) / k for k in classes], trees)
    start = np.concatenate([_start(t, k) for t, k in zip(wanted, classes, strict=True)])
    raw = np.repeat(start[:, None], n, axis=1)
    gradient = np.empty((count, n))
    inner = 2**depth - 1
    keys = _tie_keys(seed, stages, trees)
    feature, cut = np.empty((stages, count, inner), np.int32), np.zeros((stages, count, inner))
    leaf, importance = np.zeros((stages, count, inner + 1)), np.zeros((count, width))
    idle: list[_Work] = []

    def find_gradients(span: tuple[int, int]) -> None:
        _gradients(raw, wanted, first, classifies, *span, gradient)

    def grow(stage: int, span: tuple[int, int]) -> None:
        grown = _Trees(feature[stage], cut[stage], leaf[stage], importance)
        work = idle.pop() if idle else _Work.of(columns, depth)
        _grow(*span, gradient, raw, newton, keys[stage], learning_rate, depth, columns, grown, work)
        idle.append(work)

    workers = max(1, min(threads or thread_count(), count))
    target_spans, tree_spans = _spans(len(targets), workers), _spans(count, 4 * workers if workers > 1 else 1)
    with ThreadPoolExecutor(workers) as pool:
        # the kernels release the interpreter lock; a pool of ours needs no particular numba threading layer
        run = pool.map if workers > 1 else map
        for stage in range(stages):
            list(run(find_gradients, target_spans))
            list(run(partial(grow, stage), tree_spans))
            if progress is not None:
                progress(stage + 1, stages)
    fitted = []
    for t in range(len(targets)):
        own = slice(first[t], first[t + 1])
        share = importance[own].sum(axis=0)
        whole = share.sum()
        fitted.append(
            Ensemble(
                start[own],
                np.ascontiguousarray(feature[:, own]),
                np.ascontiguousarray(cut[:, own]),
                np.ascontiguousarray(leaf[:, own]),
                share / whole if whole > 0 else np.zeros(width),
                raw[own],
                learning_rate,
            )
        )
    return fitted


def _start(target: np.ndarray, classes: int) -> Float[np.ndarray, " tree"]:
    if classes == 0:
        return np.array([target.mean()])
    eps = np.finfo(np.float64).eps
    prior = np.clip(np.bincount(target.astype(np.int64), minlength=classes) / len(target), eps, 1 - eps)
    if classes == 2:
        return np.array([np.log(prior[1] / (1 - prior[1]))])
    return np.log(prior) - np.log(prior).mean()


def _tie_keys(seed: int | None, stages: int, trees: Sequence[int]) -> np.ndarray:
    """One key a tree, the same for a target alone and among others; zeros (lowest column first) without a seed."""
    if seed is None:
        return np.zeros((stages, sum(trees)), np.uint64)
    bits = np.random.default_rng(seed).integers(1, 2**63, size=(max(trees), stages), dtype=np.uint64)
    return np.ascontiguousarray(np.concatenate([bits[:k] for k in trees]).T)


def _spans(count: int, parts: int) -> list[tuple[int, int]]:
    cuts = np.unique(np.linspace(0, count, min(parts, count) + 1).round().astype(int))
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


class BoostedTrees:
    """Gradient boosting with exact splits, equal to scikit-learn's default ensembles.

    On continuous columns `feature_importances_`, `predict` and `predict_proba` agree with
    `GradientBoostingClassifier()` and `GradientBoostingRegressor()` to rounding, for any `random_state` of theirs, as
    long as the best split of every node is unique. Where several columns split a node equally well (copies of a
    column, integer codes, nodes of a few rows, which any hundred trees of depth 3 have), scikit-learn takes one at
    random; here it is the lowest column, or one at random when `seed` is given, and always the lowest threshold. Row
    order does not matter.

    Args:
        kind: "classifier" (log loss) or "regressor" (squared error).
        stages: boosting stages; a stage grows one tree, or one a class where there are more than two.
        depth: depth of the trees, 1 to 10.
        learning_rate: factor on each tree.
        seed: decides between equally good splits; the lowest column wins when None. Lowest-first favours early columns
            in `feature_importances_` by up to 0.01 or so, a seed favours none.
        threads: threads that grow the trees of a stage; numba's setting when None.
        progress: called as progress(stages done, stages) after each stage.

    Attributes:
        feature_importances_: share of each column in the decrease of squared error over all splits, shape (columns,);
            sums to 1, or is 0 everywhere when no tree has a split.
        classes_: sorted class labels (classifier).
        ensemble_: the trees.

    Cost: see `boost`. Columns are rounded to single precision, and values no more than 1e-7 apart are not separated,
    both as in scikit-learn: rescale columns whose whole range is that small.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> model = BoostedTrees(stages=20).fit(x, x[:, 1] > 0)
        >>> model.feature_importances_.argmax(), (model.predict(x) == (x[:, 1] > 0)).all()
        (np.int64(1), np.True_)
    """

    def __init__(
        self,
        kind: str = "classifier",
        stages: int = 100,
        depth: int = 3,
        learning_rate: float = 0.1,
        *,
        seed: int | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ):
        self.kind = kind
        self.stages = stages
        self.depth = depth
        self.learning_rate = learning_rate
        self.seed = seed
        self.threads = threads
        self.progress = progress

    def fit(self, X: Any, y: Any) -> BoostedTrees:
        """Grow the trees on columns X of shape (n, columns) and labels or numbers y of shape (n,).

        Raises:
            DataError: lengths differ, a value is not finite, or a classifier is given a single class.
            OptionError: an option is out of range.
        """
        check_choice(self.kind, ("classifier", "regressor"), "kind")
        check_range(self.stages, "stages", low=1, integer=True)
        check_range(self.depth, "depth", low=1, high=10, integer=True)
        check_range(self.learning_rate, "learning_rate", low=0, open_low=True)
        if self.seed is not None:
            check_range(self.seed, "seed", low=0, integer=True)
        if self.threads is not None:
            check_range(self.threads, "threads", low=1, integer=True)
        columns = Columns.of(single_precision(as_matrix(X, "X"), "X"))
        target, classes = as_vector(y, "y"), 0
        check_same_length(X=columns.values[0], y=target)
        if self.kind == "classifier":
            self.classes_, target = np.unique(target, return_inverse=True)
            classes = len(self.classes_)
            if classes < 2:
                raise DataError(f"y holds the single class {self.classes_[0]!r}; a classifier needs two or more")
        elif target.dtype.kind not in "biuf":
            raise DataError(f"y must hold numbers for a regressor, got dtype {target.dtype}")
        (self.ensemble_,) = boost(
            columns,
            [target],
            [classes],
            stages=int(self.stages),
            depth=int(self.depth),
            learning_rate=float(self.learning_rate),
            seed=self.seed,
            threads=self.threads,
            progress=self.progress,
        )
        self.feature_importances_ = self.ensemble_.importances
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels (classifier) or numbers (regressor) for rows X, shape (n,)."""
        raw = self._raw(X)
        return raw[0] if self.kind == "regressor" else self.classes_[labels_of(raw)]

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n class"]:
        """Class probabilities, columns in the order of `classes_` (classifier only)."""
        if self.kind != "classifier":
            raise AttributeError("predict_proba needs kind='classifier'")
        raw = self._raw(X)
        if len(raw) == 1:
            positive = 1 / (1 + np.exp(-raw[0]))
            return np.stack([1 - positive, positive], axis=1)
        odds = np.exp(raw - raw.max(axis=0))
        return (odds / odds.sum(axis=0)).T

    def _raw(self, X: Any) -> Float[np.ndarray, "tree n"]:
        if not hasattr(self, "ensemble_"):
            raise NotFittedError("these trees have not been grown yet; call fit first")
        rows = single_precision(as_matrix(X, "X", min_rows=1), "X")
        if rows.shape[1] != len(self.feature_importances_):
            raise DataError(f"X has {rows.shape[1]} columns, but fit saw {len(self.feature_importances_)}")
        return self.ensemble_.raw_predictions(np.ascontiguousarray(rows.T))


def single_precision(values: np.ndarray, argument: str = "codes") -> Float32[np.ndarray, "n column"]:
    """The values rounded to single precision.

    Raises:
        DataError: a value is too large for it.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    check_finite(rounded, f"{argument} in single precision")
    return rounded
