"""How much two samples overlap: the area under both of their kernel density estimates.

`@no_type_check` keeps run-time type checkers from wrapping a function before numba compiles it.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from unsnarl.arrays import as_vector, check_choice, check_finite, check_range, to_numpy
from unsnarl.errors import DataError

LIMITS = ("support", "published")
MARGIN = 10.0  # beyond the data, as published
REACH = 8.0  # bandwidths beyond which a Gaussian kernel, 1e-14 of its peak, is left out


def overlap_index(
    one: Float[np.ndarray, " n"], other: Float[np.ndarray, " m"], *, points: int = 512, limits: str = "support"
) -> float:
    """Area under the lower one of two densities: 0 for samples far apart, 1 for samples of one distribution.

    Both densities are Gaussian kernel estimates with Scott's bandwidth, n^(-1/5) times the standard deviation; the area
    is a Riemann sum at the middles of `points` intervals (Pastore and Calcagni 2019; Vadillo et al. 2024 for distances
    to prototypes).

    Args:
        one: a sample.
        other: another sample.
        points: intervals of the sum.
        limits: "support" sums where both densities are above zero; "published" from -10 to the maximum of `other` + 10,
            which is the same for distances of the size of 1 to 100, too coarse for much smaller or larger ones.

    Returns:
        A number in [0, 1].

    Raises:
        DataError: fewer than two values, a constant sample (it has no kernel estimate), or values that are not finite.

    Cost: O((n + m) points).

    Examples:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=500)
        >>> round(overlap_index(x, x), 3), overlap_index(x, x + 50)
        (1.0, 0.0)
    """
    check_range(points, "points", low=2, integer=True)
    check_choice(limits, LIMITS, "limits")
    a, b = (as_vector(x, name).astype(np.float64) for x, name in ((one, "one"), (other, "other")))
    widths = np.array([_bandwidth(a, "one"), _bandwidth(b, "other")])
    bounds = _bounds(np.array([a.min(), b.min()]), np.array([a.max(), b.max()]), widths, limits)
    if bounds[0] >= bounds[1]:
        return 0.0
    return float(min(1.0, _shared_area(a, widths[0], b, widths[1], bounds[0], bounds[1], points)))


def largest_overlap(
    samples: Float[np.ndarray, "batch classes sample"],
    reference: Int[np.ndarray, " batch"],
    *,
    points: int = 512,
    limits: str = "support",
) -> Float[np.ndarray, " batch"]:
    """For each row the largest `overlap_index` of its reference class with any other class.

    Of distances to draws of each class's prototype it says whether another class explains an input as well as the
    predicted one does (Vadillo et al. 2024, the aleatoric part of explanatory uncertainty).

    Args:
        samples: for each row and class a sample, such as the distances to draws of a prototype.
        reference: the class held against all others, such as the predicted one.
        points: intervals of each Riemann sum.
        limits: see `overlap_index`.

    Raises:
        DataError: fewer than two classes or draws, a constant sample, or values that are not finite.

    Cost: O(batch * classes * draws * points) where all overlap; pairs that lie apart cost nothing.
    """
    check_range(points, "points", low=2, integer=True)
    check_choice(limits, LIMITS, "limits")
    x, chosen = to_numpy(samples, "samples"), to_numpy(reference, "reference")
    if x.ndim != 3 or x.shape[1] < 2 or x.shape[2] < 2 or len(x) != len(chosen):
        raise DataError(
            f"samples must have shape (batch, 2 or more classes, 2 or more draws) and reference (batch,), got {x.shape} "
            f"and {chosen.shape}"
        )
    check_finite(x, "samples")
    x = x.astype(np.float64)
    spread = x.std(2, ddof=1)
    constant = spread <= 1e-12 * np.abs(x).max(2)
    if constant.any():
        row, group = (int(i) for i in np.argwhere(constant)[0])
        raise DataError(
            f"all draws of row {row}, class {group} are {x[row, group, 0]:g}: a constant sample has no density, and so no overlap"
        )
    width = spread * x.shape[2] ** -0.2
    low, high = x.min(2), x.max(2)
    rows = np.arange(len(x))
    both = [np.stack([v[rows, chosen][:, None].repeat(x.shape[1], 1), v], -1) for v in (low, high, width)]
    bounds = _bounds(both[0], both[1], both[2], limits)
    meets = bounds[..., 0] < bounds[..., 1]
    meets[rows, chosen] = False
    pairs = np.argwhere(meets).astype(np.int64)
    areas = np.zeros(x.shape[:2])
    _shared_areas(np.ascontiguousarray(x), chosen.astype(np.int64), width, pairs, bounds, int(points), areas)
    return np.minimum(areas.max(1), 1.0)


def _bandwidth(sample: np.ndarray, argument: str) -> float:
    spread = float(sample.std(ddof=1))
    if spread <= 1e-12 * float(np.abs(sample).max()):
        raise DataError(f"{argument} is constant ({sample[0]:g}): it has no density, and so no overlap")
    return spread * len(sample) ** -0.2


def _bounds(low: np.ndarray, high: np.ndarray, width: np.ndarray, limits: str) -> np.ndarray:
    """Ends of the sums for pairs (..., 2), the reference first."""
    if limits == "published":
        return np.stack([np.full(low.shape[:-1], -MARGIN), high[..., 1] + MARGIN], -1)
    return np.stack([(low - REACH * width).max(-1), (high + REACH * width).min(-1)], -1)


@no_type_check
@njit(nogil=True, cache=True)
def _shared_areas(samples, reference, width, pairs, bounds, points, areas):
    for p in range(len(pairs)):
        i, j = pairs[p]
        k = reference[i]
        low, high = bounds[i, j]
        areas[i, j] = _shared_area(samples[i, k], width[i, k], samples[i, j], width[i, j], low, high, points)


@no_type_check
@njit(nogil=True, cache=True)
def _shared_area(one, one_width, other, other_width, low, high, points):
    """Riemann sum of the lower one of two kernel estimates at the middles of equal intervals."""
    step = (high - low) / points
    first, second = np.zeros(points), np.zeros(points)
    _add_kernels(one, one_width, low + 0.5 * step, step, first)
    _add_kernels(other, other_width, low + 0.5 * step, step, second)
    total = 0.0
    for t in range(points):
        total += min(first[t], second[t])
    return total * step


@no_type_check
@njit(nogil=True, cache=True)
def _add_kernels(sample, width, start, step, density):
    """Add Gaussian kernels at equally spaced points, within reach of each value of the sample.

    With a = (x - value) / width and da = step / width, exp(-a^2 / 2) at the next point is its value times
    exp(-a da - da^2 / 2), and that ratio in turn shrinks by exp(-da^2): three exponentials a value, not one a point.
    """
    da = step / width
    shrink = np.exp(-da * da)
    height = 1.0 / (len(sample) * width * np.sqrt(2 * np.pi))
    for value in sample:
        at = int(max(0.0, np.ceil((value - REACH * width - start) / step)))
        end = int(min(float(len(density)), np.floor((value + REACH * width - start) / step) + 1))
        if at >= end:
            continue
        a = (start + at * step - value) / width
        kernel = height * np.exp(-0.5 * a * a)
        ratio = np.exp(-a * da - 0.5 * da * da)
        for t in range(at, end):
            density[t] += kernel
            kernel *= ratio
            ratio *= shrink
