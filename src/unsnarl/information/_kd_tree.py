"""A compiled k-d tree for all points against themselves: k nearest neighbours, and how many lie within a distance of each.

The points are laid out in the order of the leaves, coordinate by coordinate, so that the distances to a whole leaf are a few passes
over contiguous memory; every node has the tight box of its points; and the queries go through the leaves in order, so that what
one query has read is still near when the next one wants it. The tree is balanced, its node i has children 2i + 1 and 2i + 2.

`@no_type_check` keeps run-time type checkers from wrapping a function before numba compiles it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from unsnarl.information._threads import share

Points = Float[np.ndarray, "n dimension"]
LEAF_NEAREST, LEAF_COUNT = 32, 64  # points a leaf, from timings in 2 to 8 dimensions


@njit(cache=True, nogil=True)
@no_type_check
def _select(rows, index, start, stop, middle, axis):
    """Reorder rows start:stop so that those before `middle` are no larger, along an axis, than those behind (Hoare 1961)."""
    low, high = start, stop - 1
    while low < high:
        a, b, c = rows[low, axis], rows[(low + high) // 2, axis], rows[high, axis]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while rows[i, axis] < pivot:
                i += 1
            while pivot < rows[j, axis]:
                j -= 1
            if i <= j:
                for c2 in range(rows.shape[1]):
                    rows[i, c2], rows[j, c2] = rows[j, c2], rows[i, c2]
                index[i], index[j] = index[j], index[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@njit(cache=True, nogil=True)
@no_type_check
def _build(rows, index, depth, bounds, low, high):
    """Cut each node in two halves of points along the longest side of its cell; then fit boxes, leaves first."""
    inner = 2**depth - 1
    dimension = rows.shape[1]
    bounds[0, 0], bounds[0, 1] = 0, len(rows)
    for c in range(dimension):
        low[0, c], high[0, c] = rows[:, c].min(), rows[:, c].max()
    for node in range(inner):
        start, stop = bounds[node, 0], bounds[node, 1]
        middle = (start + stop) // 2
        axis = np.argmax(high[node] - low[node])
        _select(rows, index, start, stop, middle, axis)
        left, right = 2 * node + 1, 2 * node + 2
        bounds[left, 0], bounds[left, 1] = start, middle
        bounds[right, 0], bounds[right, 1] = middle, stop
        low[left], high[left], low[right], high[right] = low[node], high[node], low[node], high[node]
        high[left, axis] = low[right, axis] = rows[middle, axis]
    for node in range(len(bounds) - 1, -1, -1):
        if node < inner:
            left, right = 2 * node + 1, 2 * node + 2
            low[node], high[node] = np.minimum(low[left], low[right]), np.maximum(high[left], high[right])
            continue
        for c in range(dimension):
            least = most = rows[bounds[node, 0], c]
            for i in range(bounds[node, 0] + 1, bounds[node, 1]):
                least, most = min(least, rows[i, c]), max(most, rows[i, c])
            low[node, c], high[node, c] = least, most


@dataclass(frozen=True)
class Tree:
    """Points in the order of the leaves, the boxes of the nodes, and where each point came from."""

    columns: Float[np.ndarray, "dimension n"]
    index: Int[np.ndarray, "n"]
    depth: int
    bounds: Int[np.ndarray, "nodes 2"]
    low: Float[np.ndarray, "nodes dimension"]
    high: Float[np.ndarray, "nodes dimension"]


def build_tree(points: Points, leaf: int) -> Tree:
    """A tree whose leaves hold at most `leaf` points. Cost: O(n dimension log n)."""
    n, dimension = points.shape
    depth = 0
    while n > leaf * 2**depth:
        depth += 1
    nodes = 2 ** (depth + 1) - 1
    rows, index = points.astype(np.float64, order="C", copy=True), np.arange(n)
    bounds, low, high = np.zeros((nodes, 2), dtype=np.int64), np.empty((nodes, dimension)), np.empty((nodes, dimension))
    _build(rows, index, depth, bounds, low, high)
    return Tree(np.ascontiguousarray(rows.T), index, depth, bounds, low, high)


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _to_box(query, low, high, euclidean):
    """The (squared) distance from a point to a box."""
    total = 0.0
    for c in range(len(query)):
        below, above = low[c] - query[c], query[c] - high[c]
        gap = below if below > above else above
        if gap > 0.0:
            if euclidean:
                total += gap * gap
            elif gap > total:
                total = gap
    return total


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _to_leaf(columns, query, start, stop, euclidean, distance):
    """The (squared) distances from a point to those of a leaf."""
    # slices, because indices that could be negative keep the loops from being vectorised
    out = distance[: stop - start]
    for c in range(len(query)):
        q, column = query[c], columns[c, start:stop]
        if c == 0:
            if euclidean:
                for j in range(len(out)):
                    out[j] = (column[j] - q) * (column[j] - q)
            else:
                for j in range(len(out)):
                    out[j] = abs(column[j] - q)
        elif euclidean:
            for j in range(len(out)):
                out[j] += (column[j] - q) * (column[j] - q)
        else:
            for j in range(len(out)):
                gap = abs(column[j] - q)
                out[j] = gap if gap > out[j] else out[j]


@njit(cache=True, nogil=True)
@no_type_check
def _nearest(columns, index, depth, bounds, low, high, k, euclidean, first, last, radius, near):
    """For the points of the leaves first:last: the k nearest others, their distances ascending.

    Each search begins in the point's own leaf and climbs: at every ancestor the other child is searched where its box is near enough.
    """
    dimension, n = columns.shape
    inner = 2**depth - 1
    stack, gaps = np.empty(depth + 2, dtype=np.int64), np.empty(depth + 2)
    query, best, who = np.empty(dimension), np.empty(k), np.empty(k, dtype=np.int64)
    distance = np.empty(n // 2**depth + 1)
    for leaf in range(inner + first, inner + last):
        for i in range(bounds[leaf, 0], bounds[leaf, 1]):
            for c in range(dimension):
                query[c] = columns[c, i]
            best[:], who[:] = np.inf, i  # a neighbour whose distance overflows is never taken
            worst = np.inf
            climbed = leaf
            stack[0], gaps[0] = leaf, 0.0
            top = 1
            while True:
                while top:
                    top -= 1
                    node = stack[top]
                    if gaps[top] >= worst:
                        continue
                    while node < inner:
                        left, right = 2 * node + 1, 2 * node + 2
                        to_left = _to_box(query, low[left], high[left], euclidean)
                        to_right = _to_box(query, low[right], high[right], euclidean)
                        if to_left < to_right:
                            node, other, gap, this = left, right, to_right, to_left
                        else:
                            node, other, gap, this = right, left, to_left, to_right
                        if gap < worst:
                            stack[top], gaps[top] = other, gap
                            top += 1
                        if this >= worst:
                            node = -1
                            break
                    if node < 0:
                        continue
                    start, stop = bounds[node, 0], bounds[node, 1]
                    _to_leaf(columns, query, start, stop, euclidean, distance)
                    if node == leaf:
                        distance[i - start] = np.inf
                    for j in range(stop - start):
                        d = distance[j]
                        if d < worst:
                            t = k - 1
                            while t > 0 and best[t - 1] > d:
                                best[t], who[t] = best[t - 1], who[t - 1]
                                t -= 1
                            best[t], who[t] = d, start + j
                            worst = best[k - 1]
                if climbed == 0:
                    break
                sibling = climbed + 1 if climbed % 2 else climbed - 1
                climbed = (climbed - 1) // 2
                gap = _to_box(query, low[sibling], high[sibling], euclidean)
                if gap < worst:
                    stack[0], gaps[0] = sibling, gap
                    top = 1
            row = index[i]
            for t in range(k):
                radius[row, t] = np.sqrt(best[t]) if euclidean else best[t]
                near[row, t] = index[who[t]]


@njit(cache=True, nogil=True)
@no_type_check
def _count(columns, index, depth, bounds, low, high, limit, first, last, count):
    """For the points first:last in the order of the leaves: how many lie at most limit away in the max-norm."""
    dimension, n = columns.shape
    inner = 2**depth - 1
    stack = np.empty(2 * depth + 4, dtype=np.int64)
    query, distance = np.empty(dimension), np.empty(1 + n // 2**depth)
    for i in range(first, last):
        for c in range(dimension):
            query[c] = columns[c, i]
        reach = limit[index[i]]
        stack[0] = 0
        top, inside = 1, 0
        while top:
            top -= 1
            node = stack[top]
            if _to_box(query, low[node], high[node], False) > reach:
                continue
            farthest = 0.0
            for c in range(dimension):
                below, above = query[c] - low[node, c], high[node, c] - query[c]
                gap = below if below > above else above
                farthest = gap if gap > farthest else farthest
            start, stop = bounds[node, 0], bounds[node, 1]
            if farthest <= reach:
                inside += stop - start
            elif node < inner:
                stack[top], stack[top + 1] = 2 * node + 1, 2 * node + 2
                top += 2
            else:
                _to_leaf(columns, query, start, stop, False, distance)
                for j in range(stop - start):
                    inside += distance[j] <= reach
        count[index[i]] = inside


@njit(cache=True, nogil=True)
@no_type_check
def _nearest_in_line(ordered, order, k, first, last, radius, near):
    """The same for one coordinate: the neighbours of a sorted value are met by walking outwards."""
    n = len(ordered)
    for i in range(first, last):
        center, row = ordered[i], order[i]
        left, right = i - 1, i + 1
        to_left = center - ordered[left] if left >= 0 else np.inf
        to_right = ordered[right] - center if right < n else np.inf
        for t in range(k):
            if to_left <= to_right:
                radius[row, t], near[row, t] = to_left, order[left]
                left -= 1
                to_left = center - ordered[left] if left >= 0 else np.inf
            else:
                radius[row, t], near[row, t] = to_right, order[right]
                right += 1
                to_right = ordered[right] - center if right < n else np.inf


def tree_nearest(
    points: Points, n_neighbors: int, *, euclidean: bool
) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, "n k"]]:
    """The distances from each point to its k nearest other points, ascending, and which they are."""
    n, dimension = points.shape
    if dimension == 1:
        return _in_line(points[:, 0], n_neighbors)
    tree = build_tree(points, LEAF_NEAREST if dimension < 6 else 2 * LEAF_NEAREST)
    radius, near = np.empty((n, n_neighbors)), np.empty((n, n_neighbors), dtype=np.int64)

    def fill(first: int, last: int) -> None:
        _nearest(
            tree.columns,
            tree.index,
            tree.depth,
            tree.bounds,
            tree.low,
            tree.high,
            n_neighbors,
            euclidean,
            first,
            last,
            radius,
            near,
        )

    share(fill, 2**tree.depth, work=200.0 * n * dimension)
    return radius, near


def _in_line(values: Float[np.ndarray, "n"], k: int) -> tuple[Float[np.ndarray, "n k"], Int[np.ndarray, "n k"]]:
    n = len(values)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    radius, near = np.empty((n, k)), np.empty((n, k), dtype=np.int64)

    def fill(first: int, last: int) -> None:
        _nearest_in_line(ordered, order, k, first, last, radius, near)

    share(fill, n, work=10.0 * n * k)
    return radius, near


def tree_count(points: Points, limit: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """How many points lie within limit[i] of point i in the max-norm, itself included."""
    tree = build_tree(points, LEAF_COUNT)
    count = np.empty(len(points), dtype=np.int64)

    def fill(first: int, last: int) -> None:
        _count(tree.columns, tree.index, tree.depth, tree.bounds, tree.low, tree.high, limit, first, last, count)

    share(fill, len(points), work=200.0 * points.size)
    return count
