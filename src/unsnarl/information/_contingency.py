"""Compiled counting: the joint table of every pair of columns, reduced to the two numbers an estimate needs.

`@no_type_check` keeps run-time type checkers from wrapping a function before numba compiles it.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from unsnarl.information._threads import share

Columns = Int[np.ndarray, "_ n"]
Levels = Int[np.ndarray, "_"]
PairIndex = Int[np.ndarray, "pairs"]
PerPair = Float[np.ndarray, "pairs"]


@njit(cache=True, nogil=True)
@no_type_check
def _tabulate(x, x_levels, y, y_levels, left, right, n_log_n, start, stop, weight, cells):
    """For each pair: the sum of c log c over the cells of its table, and how many cells are occupied."""
    n = x.shape[1]
    largest = 4 * n + 1024  # beyond this size sorting the joint codes is cheaper than a table of zeros
    table = np.zeros(largest, dtype=np.int64)
    joint = np.empty(n, dtype=np.int64)
    for pair in range(start, stop):
        one = x[left[pair]]
        other = y[right[pair]]
        width = y_levels[right[pair]]
        size = x_levels[left[pair]] * width
        total = 0.0
        occupied = 0
        if size <= largest:
            for i in range(n):
                table[one[i] * width + other[i]] += 1
            for cell in range(size):
                if table[cell] > 0:
                    total += n_log_n[table[cell]]
                    occupied += 1
                    table[cell] = 0
        else:
            for i in range(n):
                joint[i] = one[i] * width + other[i]
            joint.sort()
            begin = 0
            for i in range(1, n + 1):
                if i == n or joint[i] != joint[begin]:
                    total += n_log_n[i - begin]
                    occupied += 1
                    begin = i
        weight[pair] = total
        cells[pair] = occupied


def tabulate_pairs(
    x: Columns, x_levels: Levels, y: Columns, y_levels: Levels, left: PairIndex, right: PairIndex
) -> tuple[PerPair, PerPair]:
    """The sum of c log c over the joint counts c of columns x[left] and y[right], and the number of occupied cells.

    Cost: O(pairs * n); a table of at most 4 n cells a thread.
    """
    n = x.shape[1]
    counts = np.arange(n + 1, dtype=np.float64)
    n_log_n = counts * np.log(np.maximum(counts, 1.0))
    weight, cells = np.empty(len(left)), np.empty(len(left))

    def fill(start: int, stop: int) -> None:
        _tabulate(x, x_levels, y, y_levels, left, right, n_log_n, start, stop, weight, cells)

    share(fill, len(left), work=float(len(left)) * n)
    return weight, cells
