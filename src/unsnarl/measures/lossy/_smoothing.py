"""Smoothing of the curves of an information plane, as Butakov et al. 2024 (arXiv 2305.08013) draw them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Num

from unsnarl.arrays import check_range, to_numpy
from unsnarl.errors import DataError, OptionError


def smooth_curve(
    values: Num[np.ndarray, "n"] | Any,
    *,
    window: int = 31,
    order: int = 4,
    filter_order: int = 8,
    cutoff: float = 0.125,
) -> Float[np.ndarray, "n"]:
    """A Savitzky-Golay filter, then a Butterworth low-pass filter forwards and backwards (so that nothing is delayed).

    Gaps (nan) are bridged by straight lines and are gaps again in the result. A curve shorter than the window takes the longest odd
    window that fits; one of fewer than order + 2 points is returned as it is.

    Args:
        values: a curve, evenly spaced.
        window: points a polynomial is fitted to. The paper has 30; an even window would shift the curve by half a step.
        order: of the polynomial.
        filter_order: of the Butterworth filter.
        cutoff: as a share of half the sampling rate.

    Raises:
        DataError: not one row of numbers.
        OptionError: an even or too short window, a cutoff outside (0, 1).

    >>> line = np.arange(60.0)
    >>> bool(np.allclose(smooth_curve(line)[20:40], line[20:40], atol=0.1))
    True
    """
    from scipy.signal import butter, savgol_filter, sosfiltfilt

    check_range(order, "order", low=0, integer=True)
    check_range(window, "window", low=order + 1, integer=True)
    check_range(filter_order, "filter_order", low=1, integer=True)
    check_range(cutoff, "cutoff", low=0, high=0.999, open_low=True)
    if window % 2 == 0:
        raise OptionError(f"window={window} must be odd, or the curve would be shifted by half a step")
    curve = to_numpy(values, "values").astype(np.float64)
    if curve.ndim != 1:
        raise DataError(f"values must be one curve, got shape {curve.shape}")
    n, known = len(curve), np.isfinite(curve)
    if known.sum() < order + 2:
        return curve.copy()
    smooth = np.interp(np.arange(n), np.flatnonzero(known), curve[known])
    fitting = min(int(window), n if n % 2 else n - 1)
    if fitting > order:
        smooth = savgol_filter(smooth, fitting, int(order))
    sections = butter(int(filter_order), cutoff, output="sos")
    padding = min(n - 1, 3 * (2 * len(sections) + 1))
    smooth = sosfiltfilt(sections, smooth, padlen=padding)
    smooth[~known] = np.nan
    return smooth
