"""The compiled kernels that grow boosted trees: binning, gradients, histograms, the best split of a node, whole trees.

Splits are the exact ones, found by a bound:

1. Each column is sorted once and cut into at most 128 bins; a bin is one distinct value where there are few of them.
2. In a node, one pass over the rows adds the gradients up in each bin, positive and negative ones apart, as 64-bit
   integers (so sums do not depend on order, and the larger child is the parent minus the smaller one without any
   rounding).
3. Between bins the gain of a split is then known. Inside a bin, the gradient sum can rise at most by the positive part
   and fall at most by the negative part, which bounds the gain there. Only bins whose bound exceeds the best gain known
   are walked value by value, so no split is ever missed and few rows are visited twice.

What they read and fill is described in `_boosting_arrays`. They stay in one file, whose changes void all that is cached.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

_CLOSE = np.float32(1e-7)  # neighbours no further apart than this are not separated (scikit-learn's FEATURE_THRESHOLD)
_PURE = float(np.finfo(np.float64).eps)  # a node of smaller variance is a leaf

_jit = njit(cache=True, nogil=True, error_model="numpy")


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
