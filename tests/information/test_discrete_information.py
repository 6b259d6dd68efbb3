"""Entropies and informations of categories: hand-computed values, laws that hold for every sample, bad input."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from unsnarl.errors import DataError, OptionError
from unsnarl.information import (
    EstimatorWarning,
    column_entropies,
    conditional_entropy,
    conditional_mutual_information,
    entropy,
    joint_entropy,
    mutual_information,
    total_correlation,
)

quiet = pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")


@st.composite
def label_tables(draw, columns=3):
    n = draw(st.integers(4, 60))
    levels = draw(st.lists(st.integers(1, 6), min_size=columns, max_size=columns))
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).integers(0, levels, size=(n, columns))


def test_entropy_by_hand():
    x = ["a"] * 4 + ["b"] * 2 + ["c"] * 2
    assert entropy(x, base=2) == pytest.approx(1.5, abs=1e-12)
    assert entropy(x) == pytest.approx(1.5 * np.log(2), abs=1e-12)
    assert entropy(x, estimator="miller-madow") == pytest.approx(1.5 * np.log(2) + 2 / 16, abs=1e-12)
    assert entropy([True, False, True, True], base=2) == pytest.approx(0.8112781244591328, abs=1e-12)
    assert entropy(np.zeros(5)) == 0.0


def test_mutual_information_by_hand():
    # joint counts [[3, 1], [1, 3]] of 8: I = 1 - H(1/4) bits
    x = np.repeat([0, 0, 1, 1], [3, 1, 1, 3])
    y = np.repeat([0, 1, 0, 1], [3, 1, 1, 3])
    expected = 1 + (0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert mutual_information(x, y, base=2) == pytest.approx(expected, abs=1e-12)
    corrected = expected * np.log(2) + (1 + 1 - 3) / 16
    assert mutual_information(x, y, estimator="miller-madow") == pytest.approx(corrected, abs=1e-12)


def test_miller_madow_removes_the_bias_at_independence():
    rng = np.random.default_rng(3)
    plugin, corrected = [], []
    for _ in range(40):
        x, y = rng.integers(10, size=(2, 1000))
        plugin.append(mutual_information(x, y))
        corrected.append(mutual_information(x, y, estimator="miller-madow"))
    assert np.mean(plugin) == pytest.approx(81 / 2000, abs=0.004)
    assert abs(np.mean(corrected)) < 0.004


@quiet
@settings(max_examples=60, deadline=None)
@given(label_tables())
def test_laws_of_information(table):
    x, y, z = table.T
    information = mutual_information(x, y)
    assert -1e-12 <= information <= min(entropy(x), entropy(y)) + 1e-12
    assert information == pytest.approx(mutual_information(y, x), abs=1e-12)
    assert information == pytest.approx(mutual_info_score(x, y), abs=1e-12)
    assert joint_entropy(x, y) == pytest.approx(entropy(x) + conditional_entropy(y, given=x), abs=1e-12)
    assert joint_entropy(x, y, z) == pytest.approx(joint_entropy(table), abs=1e-12)
    chain = mutual_information(x, z) + conditional_mutual_information(x, y, given=z)
    assert mutual_information(x, table[:, 1:]) == pytest.approx(chain, abs=1e-12)
    assert total_correlation(table) == pytest.approx(
        entropy(x) + entropy(y) + entropy(z) - joint_entropy(table), abs=1e-12
    )
    assert column_entropies(table) == pytest.approx([entropy(x), entropy(y), entropy(z)], abs=1e-12)


@quiet
@settings(max_examples=40, deadline=None)
@given(label_tables(columns=2), st.integers(0, 2**32 - 1), st.sampled_from(["plugin", "miller-madow"]))
def test_relabelling_and_reordering_change_nothing(table, seed, estimator):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table))
    names = np.array(["f", "a", "e", "b", "d", "c"])
    relabelled = rng.permutation(names)[table[:, 0]][order]
    stretched = (rng.permutation(6) * 1e9)[table[:, 1]][order]
    here = mutual_information(table[:, 0], table[:, 1], estimator=estimator)
    there = mutual_information(relabelled, stretched, estimator=estimator)
    assert there == pytest.approx(here, abs=1e-12)
    assert entropy(relabelled, estimator=estimator) == pytest.approx(
        entropy(table[:, 0], estimator=estimator), abs=1e-12
    )


def test_exclusive_or_is_synergy():
    x, y = np.array([[0, 0, 1, 1] * 25, [0, 1, 0, 1] * 25])
    z = x ^ y
    assert mutual_information(x, z, base=2) == pytest.approx(0, abs=1e-12)
    assert conditional_mutual_information(x, z, given=y, base=2) == pytest.approx(1, abs=1e-12)
    assert total_correlation(np.stack([x, y, z], axis=1), base=2) == pytest.approx(1, abs=1e-12)


def test_widely_spread_integers_count_like_small_ones():
    x = np.array([0, 1, 2, 3] * 10)
    y = np.array([0, 0, 1, 1] * 10)
    wide = np.array([-(2**62), 5, 2**62, 7])[x]
    assert mutual_information(wide, y, base=2) == pytest.approx(1, abs=1e-12)
    assert column_entropies(np.stack([wide, y], axis=1), base=2) == pytest.approx([2, 1], abs=1e-12)
    for dtype, ends in (
        (np.int8, [-128, 127, 0, 1]),
        (np.uint8, [255, 0, 1, 2]),
        (np.uint64, [2**64 - 1, 2**64 - 2, 0, 1]),
    ):
        assert column_entropies(np.array(ends, dtype=dtype)[x][:, None], base=2) == pytest.approx([2], abs=1e-12)
        assert mutual_information(np.array(ends, dtype=dtype)[x], y, base=2) == pytest.approx(1, abs=1e-12)


def test_a_table_larger_than_the_sample_warns():
    x = np.arange(50)
    with pytest.warns(EstimatorWarning, match=r"more cells than there are observations \(50\)"):
        mutual_information(x, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mutual_information(x % 5, x // 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mutual_information([0, 1, 1], [0, 1]), DataError, "x has 3, y has 2"),
        (lambda: mutual_information([0, 1, np.nan], [0, 1, 1]), DataError, "x has 1 value that is not finite"),
        (lambda: mutual_information([0, 1, np.inf], [0, 1, 1]), DataError, "infinite at row 2"),
        (
            lambda: mutual_information(np.zeros((3, 2, 2)), [0, 1, 1]),
            DataError,
            r"x must be 1-D, got shape \(3, 2, 2\)",
        ),
        (lambda: mutual_information([0, 1, None], [0, 1, 1]), DataError, "x is an object array"),
        (lambda: mutual_information([[0], [1, 2]], [0, 1]), DataError, "x cannot be made into an array"),
        (lambda: mutual_information([0, 1], [0, 1], estimator="knn"), OptionError, "estimator='knn' is not allowed"),
        (lambda: entropy([0, 1], estimator="ksg1"), OptionError, "choose one of 'plugin', 'miller-madow'"),
        (lambda: entropy([0, 1], base=1), OptionError, "base=1 must be a number above 1"),
        (lambda: entropy([0]), DataError, "x needs at least 2 values, got 1"),
        (lambda: entropy(np.zeros((3, 2), int)), DataError, "joint_entropy takes the columns as one variable"),
        (lambda: joint_entropy(), DataError, "at least one variable"),
        (lambda: joint_entropy([0, 1], [0, 1, 2]), DataError, "variable 0 has 2, variable 1 has 3"),
        (lambda: conditional_entropy([0, 1], given=[1, 2, 3]), DataError, "x has 2, given has 3"),
        (lambda: column_entropies([0, 1]), DataError, "x must be 2-D"),
        (
            lambda: mutual_information(np.random.default_rng(0).normal(size=300), np.arange(300) % 3),
            DataError,
            "x column 0 holds 300 different non-integer values in 300 rows, so it is no category; cut it with equal_width_bins",
        ),
    ],
)
def test_bad_input_gets_one_clear_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()
