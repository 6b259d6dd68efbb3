"""Mutual information of continuous variables from nearest neighbours (Kraskov, Stoegbauer and Grassberger 2004).

Both estimators look, at every point z_i = (x_i, y_i), at the distance e_i to its k-th neighbour in the max-norm over
all coordinates, and count the other points that near in each variable alone.

KSG-1 (equation 8): with n_x the number of points with |x_j - x_i| *strictly* below e_i, and n_y likewise,
    I = psi(k) - <psi(n_x + 1) + psi(n_y + 1)> + psi(N).
KSG-2 (equation 9): with e_x the largest |x_j - x_i| among the k neighbours and n_x the number of points with
|x_j - x_i| *at most* e_x, and n_y likewise,
    I = psi(k) - 1/k - <psi(n_x) + psi(n_y)> + psi(N).
For m variables (equations 22 and 23) the last psi(N) is taken m - 1 times and 1/k becomes (m - 1)/k.

Ties. Where the k-th neighbour is at distance zero, the points at distance zero are counted (the definition would count
none); neighbours of KSG-2 that are as far as the k-th are all taken. Neither depends on the order of the samples.
"""

from __future__ import annotations

import numpy as np

from unsnarl.information._continuous import Points
from unsnarl.information._digamma import digamma_table
from unsnarl.information._point_neighbors import count_in_blocks
from unsnarl.information._reliability import warn_if_high_dimensional, warn_if_near_ceiling, warn_if_tied
from unsnarl.information._sorted_neighbors import SortedColumns, ksg_pairs


def ksg_information(variables: list[Points], n_neighbors: int, *, second: bool) -> float:
    """KSG-1 (or, with `second`, KSG-2) estimate in nats of what two or more variables share.

    A variable without columns is a constant: it shares nothing.
    """
    variables = [points for points in variables if points.shape[1]]
    if len(variables) < 2:
        return 0.0
    n, name = len(variables[0]), "KSG-2" if second else "KSG-1"
    psi = digamma_table(n)
    dimension = sum(points.shape[1] for points in variables)
    warn_if_high_dimensional(n, dimension, name)
    if dimension == 2:
        first = np.zeros(1, dtype=np.int64)
        columns = [SortedColumns.of(points) for points in variables]
        estimates, ties = ksg_pairs(columns[0], columns[1], first, first, n_neighbors, second, psi)
        estimate, tied = float(estimates[0]), int(ties[0])
    else:
        block_of = np.repeat(np.arange(len(variables)), [points.shape[1] for points in variables])
        points = np.concatenate(variables, axis=1)
        count, tied = count_in_blocks(points, block_of, n_neighbors, rectangle=second)
        others = len(variables) - 1
        estimate = float(psi[n_neighbors] + others * psi[n] - psi[count - second].mean(axis=1).sum())
        estimate -= others / n_neighbors if second else 0.0
    warn_if_tied(tied, n, name)
    warn_if_near_ceiling(estimate, n, (len(variables) - 1) * float(psi[n] - psi[n_neighbors]), name)
    return estimate
