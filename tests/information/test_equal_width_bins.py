"""The published discretiser, value for value."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unsnarl.errors import DataError, OptionError
from unsnarl.information import equal_width_bins


def published(x, bins):
    return np.stack([np.digitize(c, np.histogram(c, bins)[1][:-1]) for c in x.T], axis=1)


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=12),
        elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 0.1, 0.5, 1.0, 1 / 1024]),
    ),
    st.sampled_from([1, 2, 3, 7, 20, 50]),
)
def test_equals_digitize_of_histogram(x, bins):
    try:
        expected = published(x, bins)
    except ValueError:  # newer NumPy refuses bins narrower than rounding
        assume(False)
    assert np.array_equal(equal_width_bins(x, bins), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_digitize_on_random_and_special_columns(dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.normal(size=(2000, 6)),
            np.linspace(0, 1, 2000)[:, None],  # every edge is hit
            np.full((2000, 1), 0.1),  # constant
            rng.integers(0, 20, size=(2000, 1)),
            np.exp(8 * rng.normal(size=(2000, 1))),
        ],
        axis=1,
    ).astype(dtype)
    for bins in (1, 10, 20, 33):
        assert np.array_equal(equal_width_bins(x, bins), published(x, bins))


def test_integers_and_booleans():
    x = np.array([[0, 5], [7, 5], [19, 5], [20, 6]])
    assert np.array_equal(equal_width_bins(x, 4), published(x, 4))
    assert equal_width_bins(np.array([[True], [False]]), 2)[:, 0].tolist() == [2, 1]


def test_numbers_run_from_one_to_the_number_of_bins():
    x = np.random.default_rng(1).uniform(size=(5000, 3))
    binned = equal_width_bins(x)
    assert binned.dtype == np.int64
    assert (binned.min(axis=0) == 1).all()
    assert (binned.max(axis=0) == 20).all()


@pytest.mark.parametrize(
    ("x", "bins", "error", "message"),
    [
        (np.zeros(3), 20, DataError, r"x must be 2-D .* use x.reshape\(-1, 1\)"),
        (np.array([[np.nan], [1.0]]), 20, DataError, "x has 1 value that is not finite"),
        (np.array([[-1.7e308], [1.7e308]]), 20, DataError, "x column 0 spans a range that overflows float64"),
        (np.zeros((3, 1)), 0, OptionError, "bins=0 must be an integer at least 1"),
    ],
)
def test_bad_input(x, bins, error, message):
    with pytest.raises(error, match=message):
        equal_width_bins(x, bins)
