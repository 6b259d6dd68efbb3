"""Bins of time with events in each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unsnarl.errors import DataError, OptionError
from unsnarl.measures.survival import bin_times, time_bins


def test_bins_are_those_of_quantiles_of_events():
    rng = np.random.default_rng(0)
    time, event = rng.exponential(30, 200), rng.random(200) < 0.5
    bins, edges = time_bins(time, event)
    # the recipe of the field, in pandas: qcut the uncensored times, widen the ends by 1e-6, cut all
    _, want = pd.qcut(time[event], 4, retbins=True, labels=False)
    want[0], want[-1] = time.min() - 1e-6, time.max() + 1e-6
    np.testing.assert_allclose(edges, want, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(bins, pd.cut(time, want, labels=False, right=False))
    assert np.bincount(bins[event]).tolist() == pytest.approx([event.sum() / 4] * 4, abs=1)
    assert edges[0] == time.min() - 1e-6
    assert edges[-1] == time.max() + 1e-6


def test_censored_times_do_not_move_the_edges():
    time = np.arange(1.0, 41)
    event = np.arange(40) < 20
    inner = time_bins(time, event)[1][1:-1]
    moved = time_bins(np.where(event, time, 1000 * time), event)[1][1:-1]
    np.testing.assert_array_equal(inner, moved)


def test_new_times_fall_into_the_outer_bins():
    edges = np.array([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(bin_times([0, 1, 1.99, 2, 3.9, 4, 50], edges), [0, 0, 0, 1, 1, 1, 1])
    with pytest.raises(OptionError, match="ascend"):
        bin_times([1], np.array([1.0, 1.0]))
    with pytest.raises(DataError, match="not finite"):
        bin_times([np.nan], edges)


def test_an_empty_bin():
    with pytest.raises(DataError, match="hold no event"):
        time_bins([1, 2, 3, 4, 5, 6], [1, 0, 0, 0, 0, 1], 4)
    with pytest.raises(DataError, match=r"hold no event \(6 events at 2 distinct times\)"):
        time_bins([1, 1, 1, 1, 1, 6, 3], [1, 1, 1, 1, 1, 1, 0], 4)
    with pytest.raises(DataError, match="hold no event"):
        time_bins([1, 2, 9], [1, 0, 0], 2)
    with pytest.raises(OptionError, match="n_bins"):
        time_bins([1, 2, 3], [1, 0, 1], 1)
