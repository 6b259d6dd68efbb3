"""Compiled neighbour search in one dimension, and in the plane of two columns: sorting replaces the tree.

In a sorted column the k nearest neighbours are a window, and the number of points within a distance is found by
stepping outwards with doubling strides. In the plane of two columns a grid of quantiles finds the neighbours of a point
in the few cells around it, whatever the two distributions; only strong dependence fills cells, up to about sqrt(n) points.

`@no_type_check` keeps run-time type checkers from wrapping a function before numba compiles it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from unsnarl.information._threads import share

PairIndex = Int[np.ndarray, "pairs"]
PerPair = Float[np.ndarray, "pairs"]


@dataclass(frozen=True)
class SortedColumns:
    """Columns laid out one after the other, each with its sorted values and the order that sorts it."""

    values: Float[np.ndarray, "columns n"]

    @classmethod
    def of(cls, matrix: Float[np.ndarray, "n columns"]) -> SortedColumns:
        return cls(np.ascontiguousarray(matrix.T))

    @cached_property
    def order(self) -> Int[np.ndarray, "columns n"]:
        return np.argsort(self.values, axis=1, kind="stable")

    @cached_property
    def ordered(self) -> Float[np.ndarray, "columns n"]:
        return np.take_along_axis(self.values, self.order, axis=1)

    @cached_property
    def rank(self) -> Int[np.ndarray, "columns n"]:
        rank = np.empty_like(self.order)
        np.put_along_axis(rank, self.order, np.arange(self.order.shape[1])[None, :], axis=1)
        return rank


@njit(cache=True, nogil=True)
@no_type_check
def _within(ordered, at, limit):
    """How many sorted values lie at most `limit` from the value at position `at`, itself included."""
    center = ordered[at]
    low = at
    step = 1
    while low - step >= 0 and center - ordered[low - step] <= limit:
        low -= step
        step *= 2
    outside = max(low - step, -1)
    while low - outside > 1:
        middle = (low + outside) // 2
        if center - ordered[middle] <= limit:
            low = middle
        else:
            outside = middle
    high = at
    step = 1
    while high + step < len(ordered) and ordered[high + step] - center <= limit:
        high += step
        step *= 2
    outside = min(high + step, len(ordered))
    while outside - high > 1:
        middle = (high + outside) // 2
        if ordered[middle] - center <= limit:
            high = middle
        else:
            outside = middle
    return high - low + 1


@njit(cache=True, nogil=True)
@no_type_check
def _ross(ordered, order, labels, levels, left, right, k, psi, start, stop, estimate, tied):
    """Equation 2 of Ross (2014) for each pair of a sorted continuous column and a column of labels."""
    n = ordered.shape[1]
    kept = np.empty(n)
    label_of = np.empty(n, dtype=np.int64)
    place = np.empty(n, dtype=np.int64)
    for pair in range(start, stop):
        column = ordered[left[pair]]
        permutation = order[left[pair]]
        label = labels[right[pair]]
        sizes = np.zeros(levels[right[pair]], dtype=np.int64)
        for i in range(n):
            sizes[label[i]] += 1
        m = 0  # observations whose label occurs more than once
        for i in range(n):
            mine = label[permutation[i]]
            if sizes[mine] > 1:
                kept[m] = column[i]
                label_of[m] = mine
                m += 1
        begin = np.zeros(len(sizes) + 1, dtype=np.int64)
        for c in range(len(sizes)):
            begin[c + 1] = begin[c] + (sizes[c] if sizes[c] > 1 else 0)
        following = begin[:-1].copy()
        for i in range(m):
            place[following[label_of[i]]] = i
            following[label_of[i]] += 1
        total = 0.0
        at_zero = 0
        for c in range(len(sizes)):
            size = sizes[c]
            if size < 2:
                continue
            same = place[begin[c] : begin[c + 1]]
            near = min(k, size - 1)
            a = 0  # the window same[a : a + near + 1] holds the point and its nearest neighbours of the same label
            for t in range(size):
                v = kept[same[t]]
                while a + near + 1 < size and kept[same[a + near + 1]] - v < v - kept[same[a]]:
                    a += 1
                radius = max(v - kept[same[a]], kept[same[a + near]] - v)
                if radius == 0.0:
                    at_zero += 1
                count = _within(kept[:m], same[t], np.nextafter(radius, 0.0))
                total += psi[near] - psi[size] - psi[count]
        estimate[pair] = psi[m] + total / m
        tied[pair] = at_zero


def ross_pairs(
    x: SortedColumns,
    labels: Int[np.ndarray, "columns n"],
    levels: Int[np.ndarray, "columns"],
    left: PairIndex,
    right: PairIndex,
    n_neighbors: int,
    psi: Float[np.ndarray, "counts"],
) -> tuple[PerPair, PerPair]:
    """Ross's estimate in nats for columns x[left] and labels[right], and how many points are tied in each.

    Every column of labels must have a label that occurs twice. Cost: O(pairs * n log n); memory O(n) a thread.
    """
    n = x.values.shape[1]
    estimate, tied = np.empty(len(left)), np.empty(len(left))
    ordered, order = x.ordered, x.order

    def fill(start: int, stop: int) -> None:
        _ross(ordered, order, labels, levels, left, right, n_neighbors, psi, start, stop, estimate, tied)

    share(fill, len(left), work=30.0 * len(left) * n)
    return estimate, tied


@njit(cache=True, nogil=True)
@no_type_check
def _lay_out(column, y, permutation, rank, bins, start, xs, ys, x_rank, y_rank):
    """Points of the plane, sorted into the cells of a grid whose lines are quantiles of either column.

    Cell (a, b) holds the points start[a * bins + b] up to the next start, so the cells of one a follow each other.
    """
    n = len(column)
    start[:] = 0
    for i in range(n):
        start[(i * bins // n) * bins + rank[permutation[i]] * bins // n + 1] += 1
    for cell in range(bins * bins):
        start[cell + 1] += start[cell]
    for i in range(n - 1, -1, -1):  # the starts serve as places, and are moved back below
        row = permutation[i]
        cell = (i * bins // n) * bins + rank[row] * bins // n
        start[cell + 1] -= 1
        at = start[cell + 1]
        xs[at], ys[at], x_rank[at], y_rank[at] = column[i], y[row], i, rank[row]
    for cell in range(bins * bins):
        start[cell] = start[cell + 1]
    start[bins * bins] = n


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _nearest_of(xs, ys, first, last, itself, here, level, best, k):
    """Take the points first:last into the ascending list of the k smallest max-norm distances."""
    for j in range(first, last):
        gap_x = abs(xs[j] - here)
        gap_y = abs(ys[j] - level)
        distance = gap_x if gap_x > gap_y else gap_y
        if distance < best[k - 1] and j != itself:
            t = k - 1
            while t > 0 and best[t - 1] > distance:
                best[t] = best[t - 1]
                t -= 1
            best[t] = distance


@njit(cache=True, nogil=True)
@no_type_check
def _ksg(x_ordered, x_order, y_values, y_ordered, y_ranks, left, right, k, rectangle, psi, start, stop, estimate, tied):
    """Equation 8 (or, with `rectangle`, equation 9) of Kraskov et al. (2004) for pairs of single columns.

    The window of cells around a point grows, on the side where the points outside are nearest, until all of them are
    farther than the k-th neighbour.
    """
    n = x_ordered.shape[1]
    bins = max(1, int(np.sqrt(n / 1.5)))
    cell_start = np.empty(bins * bins + 1, dtype=np.int64)
    edge = np.empty(bins + 1, dtype=np.int64)  # the first rank of each bin
    for a in range(bins + 1):
        edge[a] = (a * n + bins - 1) // bins
    xs, ys = np.empty(n), np.empty(n)
    x_rank, y_rank = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    best = np.empty(k)
    for pair in range(start, stop):
        column = x_ordered[left[pair]]
        y_sorted = y_ordered[right[pair]]
        _lay_out(
            column, y_values[right[pair]], x_order[left[pair]], y_ranks[right[pair]], bins, cell_start, xs, ys,
            x_rank, y_rank,
        )  # fmt: skip
        total = 0.0
        at_zero = 0
        for p in range(n):
            here, level = xs[p], ys[p]
            for t in range(k):
                best[t] = np.inf
            a0 = x_rank[p] * bins // n
            b0 = y_rank[p] * bins // n
            a1, b1 = a0 + 1, b0 + 1
            _nearest_of(xs, ys, cell_start[a0 * bins + b0], cell_start[a0 * bins + b0 + 1], p, here, level, best, k)
            while True:
                west = here - column[edge[a0] - 1] if a0 > 0 else np.inf
                east = column[edge[a1]] - here if a1 < bins else np.inf
                south = level - y_sorted[edge[b0] - 1] if b0 > 0 else np.inf
                north = y_sorted[edge[b1]] - level if b1 < bins else np.inf
                gap = min(min(west, east), min(south, north))
                # equal distances matter to the rectangle, which takes all neighbours as far as the k-th
                if gap == np.inf or gap > best[k - 1] or (gap == best[k - 1] and not rectangle):
                    break
                if gap in (west, east):
                    a = a0 - 1 if gap == west else a1
                    _nearest_of(
                        xs, ys, cell_start[a * bins + b0], cell_start[a * bins + b1], p, here, level, best, k
                    )  # fmt: skip
                    if gap == west:
                        a0 -= 1
                    else:
                        a1 += 1
                else:
                    b = b0 - 1 if gap == south else b1
                    for a in range(a0, a1):
                        _nearest_of(
                            xs, ys, cell_start[a * bins + b], cell_start[a * bins + b + 1], p, here, level, best, k
                        )  # fmt: skip
                    if gap == south:
                        b0 -= 1
                    else:
                        b1 += 1
            radius = best[k - 1]
            if radius == 0.0:
                at_zero += 1
            if rectangle:
                reach_x = 0.0
                reach_y = 0.0
                for a in range(a0, a1):
                    for j in range(cell_start[a * bins + b0], cell_start[a * bins + b1]):
                        gap_x = abs(xs[j] - here)
                        gap_y = abs(ys[j] - level)
                        if gap_x <= radius and gap_y <= radius:
                            reach_x = max(reach_x, gap_x)
                            reach_y = max(reach_y, gap_y)
                total += psi[_within(column, x_rank[p], reach_x) - 1]
                total += psi[_within(y_sorted, y_rank[p], reach_y) - 1]
            else:
                inside = np.nextafter(radius, 0.0)
                total += psi[_within(column, x_rank[p], inside)]
                total += psi[_within(y_sorted, y_rank[p], inside)]
        estimate[pair] = psi[k] + psi[n] - total / n - (1.0 / k if rectangle else 0.0)
        tied[pair] = at_zero


def ksg_pairs(
    x: SortedColumns,
    y: SortedColumns,
    left: PairIndex,
    right: PairIndex,
    n_neighbors: int,
    rectangle: bool,
    psi: Float[np.ndarray, "counts"],
) -> tuple[PerPair, PerPair]:
    """Kraskov's first (or, with `rectangle`, second) estimate in nats for columns x[left] and y[right], and the ties.

    Cost: about O(pairs * n (k + log n)), up to O(pairs * n * sqrt(n)) where one column determines the other; memory O(n)
    a thread.
    """
    n = x.values.shape[1]
    estimate, tied = np.empty(len(left)), np.empty(len(left))
    ordered, order, y_ordered, y_rank = x.ordered, x.order, y.ordered, y.rank

    def fill(start: int, stop: int) -> None:
        _ksg(
            ordered, order, y.values, y_ordered, y_rank, left, right, n_neighbors, rectangle, psi,
            start, stop, estimate, tied,
        )  # fmt: skip

    share(fill, len(left), work=100.0 * len(left) * n)
    return estimate, tied


@njit(cache=True, nogil=True)
@no_type_check
def _count_each(ordered, rank, limit, count):
    for i in range(len(rank)):
        count[i] = _within(ordered, rank[i], limit[i])


def count_within(values: Float[np.ndarray, "n"], limit: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """How many values lie at most limit[i] from values[i], itself included. Cost: O(n log n)."""
    column = SortedColumns(values[None, :])
    count = np.empty(len(values), dtype=np.int64)
    _count_each(column.ordered[0], column.rank[0], limit, count)
    return count
