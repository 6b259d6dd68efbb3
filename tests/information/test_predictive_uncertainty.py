"""The decomposition of predictive uncertainty and the overlap of samples, against hand-computed and scipy's values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unsnarl.errors import DataError, OptionError
from unsnarl.information._overlap import largest_overlap, overlap_index
from unsnarl.information._predictive_uncertainty import predictive_uncertainty


def test_parts_by_hand():
    q = np.array([[[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.2], [0.4, 0.6]]])
    found = predictive_uncertainty(q)
    h = lambda p: -sum(v * math.log(v) for v in p if v)  # noqa: E731
    expected = [h((0.5, 0.5)), h((0.5, 0.5)), h((0.6, 0.4))]
    aleatoric = [h((0.5, 0.5)), 0.0, (h((0.8, 0.2)) + h((0.4, 0.6))) / 2]
    np.testing.assert_allclose(found.total, expected, atol=1e-12)
    np.testing.assert_allclose(found.aleatoric, aleatoric, atol=1e-12)
    np.testing.assert_allclose(found.epistemic, np.subtract(expected, aleatoric), atol=1e-12)


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 5))
def test_bounds_and_orders(seed, draws, classes):
    q = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), size=(4, draws))
    found = predictive_uncertainty(q)
    assert (found.total <= math.log(classes) + 1e-12).all()
    assert (found.epistemic >= 0).all()
    assert (found.epistemic <= math.log(draws) + 1e-12).all()
    np.testing.assert_allclose(found.aleatoric + found.epistemic, found.total, atol=1e-12)
    shuffled = predictive_uncertainty(q[:, ::-1, ::-1])
    np.testing.assert_allclose(shuffled.epistemic, found.epistemic, atol=1e-12)


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (np.zeros((0, 2, 3)), "shape"),
        (np.full((2, 1, 2), 0.5), "at least 2 draws"),
        (np.full((2, 2, 2), 0.4), "sum to 1"),
        (np.array([[[1.5, -0.5], [0.5, 0.5]]]), "at least 0"),
        (np.array([[[np.nan, 1.0], [0.5, 0.5]]]), "finite"),
    ],
)
def test_probabilities_that_are_none_are_refused(q, message):
    with pytest.raises(DataError, match=message):
        predictive_uncertainty(q)


def published(a: np.ndarray, b: np.ndarray, points: int) -> float:
    """The Riemann sum from -10 to max + 10 of scipy's kernel estimates."""
    low, high = -10.0, b.max() + 10
    edges = np.linspace(low, high, points + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    return float(np.minimum(stats.gaussian_kde(a)(middle), stats.gaussian_kde(b)(middle)).sum() * (high - low) / points)


def test_overlap_is_that_of_scipys_kernel_estimates():
    rng = np.random.default_rng(0)
    a, b = rng.gamma(4, 2, size=200), rng.gamma(6, 2.5, size=150)
    assert overlap_index(a, b, points=2000, limits="published") == pytest.approx(published(a, b, 2000), abs=1e-9)
    assert overlap_index(a, b) == pytest.approx(published(a, b, 20_000), abs=1e-4)


def test_overlap_does_not_depend_on_the_unit():
    rng = np.random.default_rng(1)
    a, b = rng.normal(5, 1, 200), rng.normal(6, 1, 200)
    assert overlap_index(a / 1000, b / 1000) == pytest.approx(overlap_index(a, b), abs=1e-9)
    assert (
        abs(overlap_index(a / 1000, b / 1000, limits="published") - overlap_index(a, b)) > 0.1
    )  # the grid is too coarse
    assert overlap_index(a, b) == pytest.approx(overlap_index(b, a), abs=1e-9)


def test_overlap_of_known_distributions():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, 20_000), rng.normal(2, 1, 20_000)
    assert overlap_index(a, b) == pytest.approx(2 * stats.norm.cdf(-1), abs=0.03)  # kernels widen both a little
    assert overlap_index(a, a) == pytest.approx(1.0, abs=1e-6)
    assert overlap_index(a, a + 100) == 0.0


def test_the_largest_overlap_is_the_largest_of_all_pairs():
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(5, 4, 60)) + rng.normal(scale=1.5, size=(5, 4, 1))
    reference = np.array([0, 1, 2, 3, 0])
    for limits in ("support", "published"):
        expected = [
            max(overlap_index(x[k], x[j], points=64, limits=limits) for j in range(4) if j != k)
            for x, k in zip(samples, reference, strict=True)
        ]
        np.testing.assert_allclose(largest_overlap(samples, reference, points=64, limits=limits), expected, atol=1e-12)


def test_constant_samples_have_no_overlap():
    with pytest.raises(DataError, match="constant"):
        overlap_index(np.ones(5), np.arange(5.0))
    samples = np.random.default_rng(0).normal(size=(3, 2, 9))
    samples[1, 1] = 4.0
    with pytest.raises(DataError, match="row 1, class 1 are 4"):
        largest_overlap(samples, np.zeros(3, int))


@pytest.mark.parametrize(
    ("samples", "reference", "message"),
    [
        (np.zeros((2, 1, 3)), np.zeros(2, int), "2 or more classes"),
        (np.zeros((2, 2, 1)), np.zeros(2, int), "2 or more draws"),
        (np.full((2, 2, 3), np.inf), np.zeros(2, int), "finite"),
    ],
)
def test_samples_of_another_shape_are_refused(samples, reference, message):
    with pytest.raises(DataError, match=message):
        largest_overlap(samples, reference)


def test_options_of_the_overlap():
    with pytest.raises(OptionError, match="limits="):
        overlap_index(np.arange(3.0), np.arange(3.0), limits="all")
    with pytest.raises(OptionError, match="points="):
        overlap_index(np.arange(3.0), np.arange(3.0), points=1)
