"""From arrays of measurements to points that neighbour estimators can use."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

from unsnarl.arrays import as_matrix, check_range, to_numpy
from unsnarl.errors import DataError, OptionError

Points = Float[np.ndarray, "n _"]


def as_points(values: Any, argument: str) -> Points:
    """Observations of a continuous variable as float64 points; one column may come as a 1-D array.

    Raises:
        DataError: not 1-D or 2-D, not numeric, not finite, or too few rows.
    """
    array = to_numpy(values, argument)
    if array.ndim == 1:
        array = array[:, None]
    return as_matrix(array, argument).astype(np.float64)


def generator(seed: int) -> np.random.Generator:
    """Random numbers of a stream of its own.

    Data simulated with `default_rng(seed)` would otherwise meet its own draws again: jitter from the same stream gives
    rounded values back the digits they lost, and with them information that is not in the data.

    Raises:
        OptionError: the seed is not a non-negative integer.
    """
    check_range(seed, "seed", low=0, integer=True)
    return np.random.default_rng([int(seed), 0x756E736E61726C])  # "unsnarl"


def varies(points: Num[np.ndarray, "n dimension"]) -> Bool[np.ndarray, "dimension"]:
    """Which columns take more than one value (exactly; the rounded variance of a constant need not be zero)."""
    return points.max(axis=0) > points.min(axis=0)


def condition(
    points: Points,
    argument: str,
    *,
    standardize: bool,
    jitter: float,
    rng: np.random.Generator,
) -> Points:
    """Drop constant columns (they carry no information and move no neighbour), add noise, scale to unit deviation.

    Args:
        points: observations.
        argument: the name used in error messages.
        standardize: divide each column by its standard deviation.
        jitter: standard deviation of the noise, in standard deviations of the column; 0 adds none.
        rng: source of the noise.

    Raises:
        DataError: the spread of a column overflows float64.
        OptionError: a negative jitter.
    """
    check_range(jitter, "jitter", low=0)
    points = points[:, varies(points)]
    if not points.shape[1] or not (standardize or jitter):
        return points
    scale = column_scales(points, argument)
    if jitter:
        points = points + jitter * scale * rng.standard_normal(points.shape)
    return points / scale if standardize else points


def column_scales(points: Num[np.ndarray, "n dimension"], argument: str) -> Float[np.ndarray, "dimension"]:
    """The standard deviation of each varying column.

    Raises:
        DataError: it is not a positive finite number because the values are too large or too small for float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scale = points.std(axis=0)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise DataError(f"{argument} has values whose spread float64 cannot hold; rescale its columns first")
    return scale


def check_neighbors(n_neighbors: int, n: int) -> None:
    """Refuse a number of neighbours that is not an integer in 1..n-1.

    Raises:
        OptionError: names the value and the number of observations.
    """
    check_range(n_neighbors, "n_neighbors", low=1, integer=True)
    if n_neighbors >= n:
        raise OptionError(f"n_neighbors={n_neighbors} must be below the number of observations ({n:,})")
