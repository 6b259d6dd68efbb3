"""The frontier of cost against compute: the points that no mixture of others beats."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int, Num

from unsnarl.arrays import as_vector, check_range, check_same_length
from unsnarl.errors import DataError


def lower_hull(
    x: Num[np.ndarray, " n"] | Any, y: Num[np.ndarray, " n"] | Any, *, tolerance: float = 0.0
) -> Int[np.ndarray, " kept"]:
    """The points on the lower convex hull, from the cheapest up to the lowest, both coordinates being costs.

    Beyond the lowest point the hull is flat, so a dearer point that is no lower is never on it. With a tolerance those
    points are kept too that lie within this share above the hull and are lower than everything cheaper: measured
    curves are jagged, and a strict hull keeps hardly any of their points.

    >>> lower_hull([1, 2, 3, 4, 5], [10, 7.2, 5, 1, 2])
    array([0, 3])
    >>> lower_hull([1, 2, 3, 4, 5], [10, 7.2, 5, 1, 2], tolerance=0.05)
    array([0, 1, 3])

    Args:
        x: compute.
        y: cost at that compute; positive where a tolerance is given.
        tolerance: share of the hull's height.

    Returns:
        Indices of the kept points in the order of x; y falls from each to the next.

    Raises:
        DataError: no points, lengths differ, values not finite, or a tolerance with costs that are not positive.

    Cost: O(n log n).
    """
    check_range(tolerance, "tolerance", low=0, high=1)
    xs, ys = (as_vector(v, name, min_rows=1).astype(np.float64) for v, name in ((x, "x"), (y, "y")))
    check_same_length(x=xs, y=ys)
    if tolerance and ys.min() <= 0:
        raise DataError(f"y has the value {ys.min():g}; a tolerance is a share of the cost, which must be positive")
    order = np.lexsort((ys, xs))
    before = np.concatenate([[np.inf], np.minimum.accumulate(ys[order])[:-1]])
    falling = order[ys[order] < before]  # lower than everything cheaper
    hull: list[int] = []
    for point in falling.tolist():
        while len(hull) > 1 and _turns_up(xs, ys, hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    if not tolerance:
        return np.asarray(hull)
    height = np.interp(xs[falling], xs[hull], ys[hull])
    on = np.isin(falling, hull)  # whatever rounding does to their height
    return falling[on | (ys[falling] <= (1 + tolerance) * height)]


def _turns_up(xs: np.ndarray, ys: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether b lies on or above the line from a to c."""
    return bool((ys[b] - ys[a]) * (xs[c] - xs[a]) >= (ys[c] - ys[a]) * (xs[b] - xs[a]))
