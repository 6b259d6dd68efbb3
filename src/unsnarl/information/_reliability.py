"""When an estimate should not be taken at its face value, and the sentence that says so.

Every estimator returns a number whatever the sample. These checks name the known ways in which that number misleads:
too few observations for the dimension, more cells than observations, tied values, and the ceiling of a neighbour
estimate. They warn and change nothing.
"""

from __future__ import annotations

import math
import sys
import warnings


class EstimatorWarning(UserWarning):
    """The estimate is known to be unreliable for this sample; the message says why and what to do."""


def _warn(message: str) -> None:
    """Warn at the line outside this room that asked for the estimate."""
    room, level, frame = __name__.rpartition(".")[0], 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(room):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, EstimatorWarning, stacklevel=level)


def warn_if_high_dimensional(n: int, dimension: int, estimator: str) -> None:
    """Neighbour estimates err by O(n^(-1/dimension)); say so in 3 dimensions or more when n < 20 * 2^dimension.

    At that border KSG-1 falls 10 to 20% short for two Gaussian variables that share 2 nats.
    """
    if dimension > 2 and math.log2(n / 20) < dimension:
        _warn(
            f"{estimator} in {dimension} dimensions with {n:,} observations is strongly biased "
            f"(its error falls only like n^(-1/{dimension}), towards zero for mutual information); reduce the "
            "dimension first, or compare with shuffled_baseline"
        )


def warn_if_tied(tied: int, n: int, estimator: str, where: str = "the sample") -> None:
    """More than 1% of the points have their k-th neighbour at distance zero: the sample is not continuous."""
    if tied > 0.01 * n:
        _warn(
            f"{estimator} expects continuous values, but in {where} {tied:,} of {n:,} points coincide with their "
            "n_neighbors nearest neighbours; use the 'plugin' estimator for categories, or a small jitter="
        )


def warn_if_near_ceiling(estimate: float, n: int, ceiling: float, estimator: str) -> None:
    """An estimate within half a nat of the largest one the estimator can return for this n is a lower bound."""
    if ceiling > 2.0 and math.isfinite(estimate) and estimate > ceiling - 0.5:
        _warn(
            f"{estimator} returned {estimate:.2f} nats, near the most it can return for {n:,} observations "
            f"({ceiling:.2f} nats); the true value may be far larger"
        )


def warn_if_sparse_table(n: int, excess_cells: float, where: str = "x and y") -> None:
    """More free cells than observations: the plug-in estimate may then be half a nat too high, or more."""
    if excess_cells > n:
        _warn(
            f"the contingency table of {where} has more cells than there are observations ({n:,}), so an estimate "
            "from counts is biased, by half a nat or more; use fewer bins or more observations"
        )


def warn_if_few_for_covariance(n: int, columns: int) -> None:
    """A covariance matrix of d columns from fewer than 20 d observations is too uncertain for its determinant."""
    if n < 20 * columns:
        _warn(
            f"{n:,} observations are few for the covariance of {columns} columns (20 a column is a rule of thumb); "
            "the Gaussian estimate is biased upwards"
        )
