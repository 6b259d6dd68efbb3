"""Differential entropy by a leave-one-out kernel density estimate.

With a kernel K that integrates to 1 over R^D and bandwidth b, each point's density is estimated from the others,

    p_i = 1 / ((N - 1) b^D) sum_{j != i} K(|x_i - x_j| / b),     h = -(1/N) sum_i log p_i.

The bandwidth maximises the leave-one-out likelihood, sum_i log p_i (Habbema et al. 1974, Duin 1976), or minimises the
least-squares criterion  int p^2 - 2/N sum_i p_i  (Rudemo 1982, Bowman 1984), on a logarithmic grid around Silverman's rule that
shrinks around its best point. As part of the mutual information between compressed variables: Butakov et al. 2024
(arXiv 2305.08013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, no_type_check

import numpy as np
from jaxtyping import Float, Num
from numba import njit

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError
from unsnarl.information._continuous import Points, as_points
from unsnarl.information._reliability import warn_if_high_dimensional
from unsnarl.information._threads import share
from unsnarl.information._units import nats_per_unit
from unsnarl.information._weighted_entropy import MOST_DIMENSIONS, EntropyEstimate, whitened

KERNELS = ("gaussian", "tophat", "epanechnikov")
RULES = ("likelihood", "lsq", "silverman")
QUERIES = 1000  # points the criterion is evaluated at; each is held against all others
GRID, ROUNDS = 7, 4


def log_normalizer(kernel: str, dimension: int) -> float:
    """Log of the integral of the unnormalised kernel: exp(-r^2/2), 1 for r < 1, or (1 - r^2) for r < 1."""
    if kernel == "gaussian":
        return 0.5 * dimension * math.log(2 * math.pi)
    log_ball = 0.5 * dimension * math.log(math.pi) - math.lgamma(0.5 * dimension + 1)
    return log_ball if kernel == "tophat" else log_ball + math.log(2 / (dimension + 2))


@njit(cache=True, nogil=True)
@no_type_check
def _kernel_sums(columns, rows, inverse_square, kernel, overlap, start, stop, sums, overlaps):
    """For each row and bandwidth: the sum of the kernel, and of its convolution with itself, over the other points."""
    dimension, n = columns.shape
    square = np.empty(n)
    last = len(overlap) - 1
    for r in range(start, stop):
        i = rows[r]
        square[:] = 0.0
        for c in range(dimension):
            for j in range(n):
                square[j] += (columns[c, j] - columns[c, i]) ** 2
        square[i] = np.inf
        for b in range(len(inverse_square)):
            total = 0.0
            scale = inverse_square[b]
            if kernel == 0:
                for j in range(n):
                    total += np.exp(-0.5 * scale * square[j])
            elif kernel == 1:
                for j in range(n):
                    total += scale * square[j] < 1.0
            else:
                for j in range(n):
                    u = scale * square[j]
                    if u < 1.0:
                        total += 1.0 - u
            sums[r, b] = total
            if last > 0:
                total = 0.0
                if kernel == 0:
                    for j in range(n):
                        total += np.exp(-0.25 * scale * square[j])
                else:
                    for j in range(n):
                        u = scale * square[j]
                        if u < 4.0:
                            place = 0.5 * np.sqrt(u) * last
                            k = min(int(place), last - 1)
                            total += overlap[k] + (place - k) * (overlap[k + 1] - overlap[k])
                overlaps[r, b] = total


def kernel_overlap(kernel: str, dimension: int, size: int = 2001) -> Float[np.ndarray, "size"]:
    """The convolution of a kernel with itself, int K(u) K(u - s) du, at distances s from 0 to 2 (to infinity: Gaussian).

    For the Gaussian it is exp(-s^2/4) times the one value that is returned. For the others the plane half-way between the two
    centres cuts the region in two equal halves; in one of them the farther kernel is the smaller, and the integral over the
    directions across is a polynomial.
    """
    norm = math.exp(-2 * log_normalizer(kernel, dimension))
    if kernel == "gaussian":
        return np.full(2, math.exp(-0.5 * dimension * math.log(4 * math.pi)))
    gap = np.linspace(0, 2, size)[:, None]
    node, weight = np.polynomial.legendre.leggauss(80)
    across = dimension - 1
    area = 1.0 if across == 0 else 2 * math.pi ** (across / 2) / math.gamma(across / 2)
    angle = np.arcsin(gap / 2) + (node + 1) / 2 * (math.pi / 2 - np.arcsin(gap / 2))  # t = sin(angle), smooth at t = 1
    along, step = np.sin(angle), np.cos(angle) * (math.pi / 2 - np.arcsin(gap / 2)) / 2
    near = np.clip(1 - along**2, 0, None)  # of the centre at 0, seen from t >= gap / 2
    far = 1 - (along - gap) ** 2
    if kernel == "tophat":
        inner = near ** (across / 2) / (across if across else 1)
    elif across == 0:
        inner = near * far
    else:
        power = near ** (across / 2)
        inner = power * (near * far / across - (near + far) * near / (across + 2) + near**2 / (across + 4))
    return norm * 2 * area * (inner * step * weight).sum(axis=1)


def _sums(
    points: Points, rows: np.ndarray, bandwidths: Float[np.ndarray, " b"], kernel: str, overlap: Float[np.ndarray, " s"]
) -> tuple[Float[np.ndarray, "rows b"], Float[np.ndarray, "rows b"]]:
    columns = np.ascontiguousarray(points.T)
    sums, overlaps = np.zeros((len(rows), len(bandwidths))), np.zeros((len(rows), len(bandwidths)))
    inverse = 1 / bandwidths**2

    def fill(start: int, stop: int) -> None:
        _kernel_sums(columns, rows, inverse, KERNELS.index(kernel), overlap, start, stop, sums, overlaps)

    share(fill, len(rows), work=float(len(rows)) * points.size * len(bandwidths))
    return sums, overlaps


def _log_densities(
    points: Points, rows: np.ndarray, bandwidths: np.ndarray, kernel: str
) -> Float[np.ndarray, "rows b"]:
    n, dimension = points.shape
    sums, _ = _sums(points, rows, bandwidths, kernel, np.zeros(1))
    with np.errstate(divide="ignore"):
        return np.log(sums) - log_normalizer(kernel, dimension) - math.log(n - 1) - dimension * np.log(bandwidths)


def _badness(
    points: Points, rows: np.ndarray, bandwidths: np.ndarray, kernel: str, rule: str
) -> Float[np.ndarray, " b"]:
    """What the bandwidth should make small: minus the log-likelihood a point, or the least-squares criterion."""
    n, dimension = points.shape
    if rule == "likelihood":
        return -_log_densities(points, rows, bandwidths, kernel).mean(axis=0)
    overlap = kernel_overlap(kernel, dimension)
    sums, overlaps = _sums(points, rows, bandwidths, kernel, overlap)
    if kernel == "gaussian":
        overlaps *= overlap[0]
    volume = bandwidths**dimension
    square = (overlaps.mean(axis=0) + overlap[0]) / (n * volume)
    density = sums.mean(axis=0) * math.exp(-log_normalizer(kernel, dimension)) / ((n - 1) * volume)
    return square - 2 * density


def kde_bandwidth(
    points: Num[np.ndarray, "n dimension"],
    *,
    kernel: Literal["gaussian", "tophat", "epanechnikov"] | str = "gaussian",
    rule: Literal["likelihood", "lsq", "silverman"] | str = "likelihood",
) -> float:
    """One bandwidth for all columns, by leave-one-out likelihood, least squares or Silverman's rule.

    Silverman's rule is s (4 / (D + 2))^(1/(D+4)) n^(-1/(D+4)), s the geometric mean of the columns' deviations. The other two
    start from it: 7 bandwidths from a quarter to four times it, then ever finer around the best (to about 5%). The
    criterion is averaged over 1,000 evenly spaced points, each against all n.

    Args:
        points: observations; whitened ones where the columns' scales differ.
        kernel: as in `kde_entropy`. With a kernel of bounded support the likelihood is zero unless every point has another
            within the bandwidth, so the most remote point sets a lower limit.
        rule: which.

    Raises:
        OptionError: unknown kernel or rule.
        DataError: the points are constant.
    """
    check_choice(kernel, KERNELS, "kernel")
    check_choice(rule, RULES, "rule")
    points = np.asarray(points, dtype=np.float64)
    n, dimension = points.shape
    deviation = points.std(axis=0)
    if not (deviation > 0).all():
        raise DataError("points have a constant column, which has no density")
    scale = float(np.exp(np.log(deviation).mean()))
    start = scale * (4 / (dimension + 2)) ** (1 / (dimension + 4)) * n ** (-1 / (dimension + 4))
    if rule == "silverman":
        return start
    rows = np.unique(np.linspace(0, n - 1, min(n, QUERIES)).astype(np.int64))
    center, span, rounds = math.log(start), math.log(4.0), 0
    for _ in range(40):  # shifts of a grid whose best point is its end do not count as rounds
        grid = center + np.linspace(-span, span, GRID)
        badness = _badness(points, rows, np.exp(grid), kernel, rule)
        best = int(np.argmin(np.where(np.isnan(badness), np.inf, badness)))
        if not np.isfinite(badness).any():
            best = GRID - 1  # every bandwidth is too small for some point
        center = float(grid[best])
        if 0 < best < GRID - 1:
            span, rounds = 1.5 * span / (GRID // 2) * 0.75, rounds + 1
            if rounds == ROUNDS:
                break
    return math.exp(center)


def check_kde_options(kernel: str, bandwidth: float | str) -> None:
    """Refuse unknown kernels, unknown rules and bandwidths that are not positive.

    Raises:
        OptionError: names the argument, what was found, and what is allowed.
    """
    check_choice(kernel, KERNELS, "kernel")
    if isinstance(bandwidth, str):
        check_choice(bandwidth, RULES, "bandwidth")
    else:
        check_range(bandwidth, "bandwidth", low=0, open_low=True)


def kde_terms(points: Points, bandwidth: float, kernel: str, argument: str) -> Float[np.ndarray, "n"]:
    """What each point adds, -log p_i: their mean is the entropy in nats.

    Raises:
        DataError: more than 10 dimensions; a point without another one within a bandwidth of bounded support.
    """
    n, dimension = points.shape
    if dimension > MOST_DIMENSIONS:
        raise DataError(
            f"{argument} has {dimension} dimensions, and a kernel density is reliable in at most {MOST_DIMENSIONS}; "
            "compress it to fewer"
        )
    warn_if_high_dimensional(n, dimension, "the kernel density entropy")
    terms = -_log_densities(points, np.arange(n), np.array([bandwidth]), kernel)[:, 0]
    alone = int((~np.isfinite(terms)).sum())
    if alone:
        raise DataError(
            f"{argument} has {alone:,} of {n:,} points with no other within the bandwidth ({bandwidth:.3g}), so their density is "
            "zero; take a larger bandwidth= or kernel='gaussian'"
        )
    return terms


def shared_bandwidth(parts: Sequence[Points], kernel: str, bandwidth: float | str) -> float:
    """The bandwidth of all columns together, so that it suits each part as well as the joint density."""
    if not isinstance(bandwidth, str):
        return float(bandwidth)
    joint = np.concatenate(list(parts), axis=1)
    found = kde_bandwidth(joint, kernel=kernel, rule=bandwidth)
    if kernel != "gaussian":  # 1,000 points chose it; the most remote of all must reach another one too
        from unsnarl.information._point_neighbors import kth_distances

        found = max(found, 1.001 * float(kth_distances(joint, 1, euclidean=True).max()))
    return found


def kde_entropy(
    x: Num[np.ndarray, "n *dimension"] | Any,
    *,
    kernel: Literal["gaussian", "tophat", "epanechnikov"] | str = "gaussian",
    bandwidth: float | Literal["likelihood", "lsq", "silverman"] | str = "likelihood",
    whiten: bool = True,
    base: float = math.e,
) -> EntropyEstimate:
    """Differential entropy by a leave-one-out kernel density estimate, with a standard error.

    The formula is at the head of this module. In few dimensions and for smooth densities it varies less than neighbour
    estimates; in many it is biased upwards, because a kernel that holds enough points also smooths.

    Args:
        x: n observations of one column, or of D columns taken together; D at most 10.
        kernel: "gaussian", "tophat" (the unit ball) or "epanechnikov" (1 - r^2 in it). The last two need a bandwidth at which
            every point has a neighbour; where a rule chooses it, it is made that large.
        bandwidth: a number (in units of the whitened points where `whiten`), or the rule that finds it, see `kde_bandwidth`.
        whiten: give the points unit covariance first and add 0.5 log det Sigma back.
        base: unit of the result; e gives nats, 2 gives bits.

    Returns:
        The entropy and its standard error, the deviation of -log p_i over sqrt(n); bias is not in it.

    Raises:
        DataError: not finite numbers, fewer than 50 observations, more than 10 columns, constant or dependent columns, or points
            without any other within a bandwidth given as a number.
        OptionError: unknown kernel or rule, bandwidth not above 0, base not above 1.

    Warns:
        EstimatorWarning: 3 or more dimensions with fewer than 20 * 2^d observations.

    Cost: O(n^2 D), and 28 bandwidths at 1,000 points to choose it (about 2 s for 10,000 points); memory O(n).

    >>> x = np.random.default_rng(0).normal(size=2_000)
    >>> h, error = kde_entropy(x)
    >>> bool(abs(h - 0.5 * np.log(2 * np.pi * np.e)) < 3 * error)
    True
    """
    unit = nats_per_unit(base)
    check_kde_options(kernel, bandwidth)
    points = as_points(x, "x")
    check_kde_size(len(points), "x")
    points, log_scale = whitened(points, "x") if whiten else (points, 0.0)
    width = shared_bandwidth([points], kernel, bandwidth)
    terms = kde_terms(points, width, kernel, "x")
    return EntropyEstimate((float(terms.mean()) + log_scale) / unit, float(terms.std() / math.sqrt(len(terms))) / unit)


def check_kde_size(n: int, argument: str) -> None:
    """Refuse fewer than 50 observations.

    Raises:
        DataError: too few.
    """
    if n < 50:
        raise DataError(f"{argument} has {n} observations; a kernel density needs at least 50")
