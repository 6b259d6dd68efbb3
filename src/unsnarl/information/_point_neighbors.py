"""Nearest neighbours among points of any dimension: a k-d tree where it is quick, compiled brute force elsewhere.

Both give the same numbers. The brute force passes over the coordinates column by column, so the inner loop runs over
contiguous memory; it needs O(n) memory a thread, never n x n.

`@no_type_check` keeps run-time type checkers from wrapping a function before numba compiles it.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from unsnarl.information._kd_tree import tree_count, tree_nearest
from unsnarl.information._sorted_neighbors import count_within
from unsnarl.information._threads import share

Points = Float[np.ndarray, "n dimension"]
Labels = Int[np.ndarray, "n"]
Counts = Int[np.ndarray, "blocks n"]


def _tree_is_quicker(n: int, dimension: int) -> bool:
    """Where a k-d tree beats brute force, from timings of both: 300 points in 3 dimensions, 2,000 in 8, 9,000 in 12."""
    return n > 100 * 1.45 ** min(dimension, 100)


@njit(cache=True, nogil=True)
@no_type_check
def _insert(best, distance):
    """Put a distance that is below the last into an ascending list, dropping the last."""
    t = len(best) - 1
    while t > 0 and best[t - 1] > distance:
        best[t] = best[t - 1]
        t -= 1
    best[t] = distance


@njit(cache=True, nogil=True)
@no_type_check
def _spread(column, center, distance):
    """Raise each distance to the gap along one more coordinate (max-norm)."""
    for j in range(len(distance)):
        gap = abs(column[j] - center)
        distance[j] = gap if gap > distance[j] else distance[j]


@njit(cache=True, nogil=True)
@no_type_check
def _count_blocks(columns, block_of, blocks, rows, k, rectangle, start, stop, count, radius):
    """For each row: the max-norm distance to the k-th neighbour, and the points near it in each block of columns."""
    n = columns.shape[1]
    distance = np.empty((blocks, n))
    joint = np.empty(n)
    best = np.empty(k)
    for r in range(start, stop):
        i = rows[r]
        distance[:] = 0.0
        for c in range(len(block_of)):
            _spread(columns[c], columns[c, i], distance[block_of[c]])
        joint[:] = distance[0]
        for b in range(1, blocks):
            _spread(distance[b], 0.0, joint)
        joint[i] = np.inf
        best[:] = np.inf
        for j in range(n):
            if joint[j] < best[k - 1]:
                _insert(best, joint[j])
        radius[r] = best[k - 1]
        for b in range(blocks):
            limit = np.nextafter(radius[r], 0.0)
            if rectangle:
                limit = 0.0
                for j in range(n):
                    if joint[j] <= radius[r] and distance[b, j] > limit:
                        limit = distance[b, j]
            inside = 0
            for j in range(n):
                inside += distance[b, j] <= limit
            count[b, r] = inside


def _blocks_by_brute_force(
    points: Points,
    block_of: Int[np.ndarray, "dimension"],
    rows: Int[np.ndarray, "rows"],
    n_neighbors: int,
    rectangle: bool,
) -> tuple[Int[np.ndarray, "blocks rows"], Float[np.ndarray, "rows"]]:
    columns = np.ascontiguousarray(points.T)
    blocks = int(block_of.max()) + 1
    count, radius = np.empty((blocks, len(rows)), dtype=np.int64), np.empty(len(rows))

    def fill(start: int, stop: int) -> None:
        _count_blocks(columns, block_of, blocks, rows, n_neighbors, rectangle, start, stop, count, radius)

    share(fill, len(rows), work=float(len(rows)) * points.size)
    return count, radius


def _blocks_by_tree(
    points: Points, block_of: Int[np.ndarray, "dimension"], n_neighbors: int, rectangle: bool
) -> tuple[Counts, Float[np.ndarray, "n"]]:
    n = len(points)
    extra = 1 if rectangle and n_neighbors + 1 < n else 0  # to see whether the k-th neighbour is tied
    distance, near = tree_nearest(points, n_neighbors + extra, euclidean=False)
    radius = np.ascontiguousarray(distance[:, n_neighbors - 1])
    count = np.empty((int(block_of.max()) + 1, n), dtype=np.int64)
    for block in range(len(count)):
        part = np.ascontiguousarray(points[:, block_of == block])
        limit = np.nextafter(radius, 0.0)
        if rectangle:
            limit = np.abs(part[near[:, :n_neighbors]] - part[:, None, :]).max(axis=(1, 2))
        count[block] = count_within(part[:, 0], limit) if part.shape[1] == 1 else tree_count(part, limit)
    if extra:
        tied = np.flatnonzero(distance[:, -1] == radius)
        if len(tied):
            count[:, tied], _ = _blocks_by_brute_force(points, block_of, tied, n_neighbors, rectangle)
    return count, radius


def count_in_blocks(
    points: Points, block_of: Int[np.ndarray, "dimension"], n_neighbors: int, *, rectangle: bool
) -> tuple[Counts, int]:
    """Points near each point in each block of coordinates, at the scale of its k-th neighbour in all of them.

    Args:
        points: observations of all coordinates.
        block_of: the block each coordinate belongs to, 0, 1, ....
        n_neighbors: k.
        rectangle: False counts the points of a block strictly nearer than the k-th neighbour (max-norm over all
            coordinates); True counts those no farther, in this block, than the farthest of the k neighbours.

    Returns:
        The counts, each with the point itself, and the number of points whose k-th neighbour is at distance zero;
        for these the points at distance zero are counted.

    Cost: brute force O(n^2 * dimension), O(n * blocks) memory; tree about O(n log n) in few dimensions.
    """
    n, dimension = points.shape
    if _tree_is_quicker(n, dimension):
        count, radius = _blocks_by_tree(points, block_of, n_neighbors, rectangle)
    else:
        count, radius = _blocks_by_brute_force(points, block_of, np.arange(n), n_neighbors, rectangle)
    return count, int((radius == 0).sum())


@njit(cache=True, nogil=True)
@no_type_check
def _count_same(columns, labels, near, most, start, stop, count, radius):
    """For each row: the distance to the k-th neighbour with its label, and the points of any label nearer than it."""
    n = columns.shape[1]
    distance = np.empty(n)
    best = np.empty(most)
    for i in range(start, stop):
        distance[:] = 0.0
        for c in range(columns.shape[0]):
            _spread(columns[c], columns[c, i], distance)
        k = near[i]
        best[:] = np.inf
        for j in range(n):
            if labels[j] == labels[i] and distance[j] < best[k - 1] and j != i:
                _insert(best[:k], distance[j])
        radius[i] = best[k - 1]
        limit = np.nextafter(radius[i], 0.0)
        inside = 0
        for j in range(n):
            inside += distance[j] <= limit
        count[i] = inside


def count_around_same_label(
    points: Points, labels: Labels, near: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "n"], int]:
    """Points strictly nearer (max-norm) than the near[i]-th neighbour with the same label, itself included; the ties.

    Cost: as `count_in_blocks`.
    """
    n, dimension = points.shape
    count, radius = np.empty(n, dtype=np.int64), np.empty(n)
    if _tree_is_quicker(n, dimension):
        for label in range(int(labels.max()) + 1):
            same = np.flatnonzero(labels == label)
            k = int(near[same[0]])
            radius[same] = tree_nearest(points[same], k, euclidean=False)[0][:, k - 1]
        count[:] = tree_count(points, np.nextafter(radius, 0.0))
    else:
        columns = np.ascontiguousarray(points.T)
        most = int(near.max())

        def fill(start: int, stop: int) -> None:
            _count_same(columns, labels, near, most, start, stop, count, radius)

        share(fill, n, work=float(n) * points.size)
    return count, int((radius == 0).sum())


@njit(cache=True, nogil=True)
@no_type_check
def _nearest(columns, k, euclidean, start, stop, radius):
    """For each row: the distances to its k nearest other points, ascending."""
    n = columns.shape[1]
    distance = np.empty(n)
    for i in range(start, stop):
        distance[:] = 0.0
        for c in range(columns.shape[0]):
            if euclidean:
                for j in range(n):
                    distance[j] += (columns[c, j] - columns[c, i]) ** 2
            else:
                _spread(columns[c], columns[c, i], distance)
        distance[i] = np.inf
        best = radius[i]
        best[:] = np.inf
        for j in range(n):
            if distance[j] < best[k - 1]:
                _insert(best, distance[j])
        if euclidean:
            best[:] = np.sqrt(best)


def nearest_distances(points: Points, n_neighbors: int, *, euclidean: bool) -> Float[np.ndarray, "n k"]:
    """The distances from each point to its k nearest other points, ascending, in the Euclidean or the max-norm.

    Cost: as `count_in_blocks`; memory O(n k).
    """
    n, dimension = points.shape
    if _tree_is_quicker(n, dimension):
        return tree_nearest(points, n_neighbors, euclidean=euclidean)[0]
    columns = np.ascontiguousarray(points.T)
    radius = np.empty((n, n_neighbors))

    def fill(start: int, stop: int) -> None:
        _nearest(columns, n_neighbors, euclidean, start, stop, radius)

    share(fill, n, work=float(n) * points.size)
    return radius


def kth_distances(points: Points, n_neighbors: int, *, euclidean: bool) -> Float[np.ndarray, "n"]:
    """The distance from each point to its k-th nearest other point, in the Euclidean or the max-norm.

    Cost: as `count_in_blocks`.
    """
    return nearest_distances(points, n_neighbors, euclidean=euclidean)[:, n_neighbors - 1].copy()
