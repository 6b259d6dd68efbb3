"""Times cut into bins with about as many events in each, for discrete-time hazards."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import as_vector, check_range
from unsnarl.data.survival._outcome import check_outcome
from unsnarl.errors import DataError, OptionError

MARGIN = 1e-6  # how far the outer edges lie beyond the smallest and the largest time


class TimeBins(NamedTuple):
    """Bins of time.

    Attributes:
        bins: the bin of each patient, 0 to n_bins - 1.
        edges: the n_bins + 1 edges, ascending; bin k is [edges[k], edges[k + 1]).
    """

    bins: Int[np.ndarray, " n"]
    edges: Float[np.ndarray, " edge"]


def time_bins(time: Any, event: Any, n_bins: int = 4) -> TimeBins:
    """Cut times at the quantiles of the *uncensored* ones, the outer edges widened to hold all (Chen et al. 2021, MCAT).

    Learn the edges from the training patients alone and place others by `bin_times(time, edges)`.

    Args:
        time: times, at least 0.
        event: True where the event was seen.
        n_bins: number of bins, at least 2.

    Raises:
        DataError: a bin without an event, as ties or too few events make them.
        OptionError: n_bins out of range.

    Cost: O(n log n).

    Examples:
        >>> bins, edges = time_bins([1, 2, 3, 4, 9], [True, True, True, True, False], 2)
        >>> bins, edges.round(2)
        (array([0, 0, 1, 1, 1]), array([1. , 2.5, 9. ]))
    """
    check_range(n_bins, "n_bins", low=2, integer=True)
    times, events = check_outcome(time, event)
    edges = np.quantile(times[events], np.linspace(0, 1, n_bins + 1))
    edges[0], edges[-1] = times.min() - MARGIN, times.max() + MARGIN
    index = bin_times(times, edges) if (np.diff(edges) > 0).all() else np.zeros(len(times), dtype=np.int64)
    counts = np.bincount(index[events], minlength=n_bins)
    if (counts == 0).any():
        raise DataError(
            f"{int((counts == 0).sum())} of {n_bins} time bins hold no event ({int(events.sum())} events at "
            f"{len(np.unique(times[events]))} distinct times); choose fewer bins"
        )
    return TimeBins(index, edges)


def bin_times(time: Any, edges: Float[np.ndarray, " edge"]) -> Int[np.ndarray, " n"]:
    """The bin of each time; what lies before the first or beyond the last edge falls into the outer bins.

    Raises:
        DataError: a time is not finite.
        OptionError: the edges do not ascend.
    """
    times = as_vector(time, "time", min_rows=0)
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise OptionError(f"edges must ascend and be at least 2, got {np.round(edges, 6).tolist()}")
    return np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(edges) - 2).astype(np.int64)
