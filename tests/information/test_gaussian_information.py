"""Gaussian closed forms and spectra."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.errors import DataError, OptionError
from unsnarl.information import (
    EstimatorWarning,
    effective_rank,
    gaussian_entropy,
    gaussian_mutual_information,
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    mutual_information,
    spectral_entropy,
    total_correlation,
)


def random_covariance(seed, d):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(d, d + 2)) * np.exp(rng.normal(size=(d, 1)))
    return a @ a.T


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_closed_forms(seed, d):
    cov = random_covariance(seed, d)
    assert gaussian_entropy(cov) == pytest.approx(scipy.stats.multivariate_normal(cov=cov).entropy(), abs=1e-8)
    direct = 0.5 * (np.log(np.diag(cov)).sum() - np.linalg.slogdet(cov)[1])
    assert gaussian_total_correlation(cov) == pytest.approx(direct, abs=1e-8)
    root = np.trace(scipy.linalg.sqrtm(np.diag(np.diag(cov)) @ cov)).real
    published = 2 * np.trace(cov) - 2 * root
    assert gaussian_wasserstein_correlation(cov) == pytest.approx(published, abs=1e-8 * np.trace(cov))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_total_correlation_does_not_see_scale_or_order_but_wasserstein_sees_scale(seed):
    cov = random_covariance(seed, 4)
    scale = np.exp(np.random.default_rng(seed).normal(size=4))
    order = np.random.default_rng(seed).permutation(4)
    here = gaussian_total_correlation(cov)
    assert gaussian_total_correlation(cov * np.outer(scale, scale)) == pytest.approx(here, abs=1e-8)
    assert gaussian_total_correlation(cov[np.ix_(order, order)]) == pytest.approx(here, abs=1e-8)
    assert gaussian_wasserstein_correlation(9 * cov) == pytest.approx(9 * gaussian_wasserstein_correlation(cov))


def test_units_and_independence():
    assert gaussian_total_correlation([[1, 0.6], [0.6, 1]], base=2) == pytest.approx(-0.5 * np.log2(0.64))
    assert gaussian_total_correlation(np.diag([1.0, 2.0, 3.0])) == pytest.approx(0, abs=1e-12)
    assert gaussian_wasserstein_correlation(np.diag([1.0, 2.0, 3.0])) == pytest.approx(0, abs=1e-12)


def test_singular_covariances():
    echo = np.array([[1, 2, 0], [2, 4, 0], [0, 0, 1.0]])
    assert gaussian_total_correlation(echo) == np.inf
    assert gaussian_entropy(echo) == -np.inf
    assert gaussian_entropy(np.diag([1.0, 0.0])) == -np.inf
    assert gaussian_wasserstein_correlation(np.ones((2, 2))) == pytest.approx(4 - 2 * np.sqrt(2))
    x = np.random.default_rng(0).normal(size=(200, 2))
    assert total_correlation(np.column_stack([x, x.sum(axis=1)]), estimator="gaussian") == np.inf


def test_mutual_information_equals_the_determinant_formula():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 3))
    y = x @ rng.normal(size=(3, 5)) + rng.normal(size=(600, 5))
    c = np.cov(np.column_stack([x, y]), rowvar=False)

    def logdet(m):
        return np.linalg.slogdet(m)[1]

    expected = 0.5 * (logdet(c[:3, :3]) + logdet(c[3:, 3:]) - logdet(c))
    assert gaussian_mutual_information(x, y) == pytest.approx(expected, abs=1e-10)
    assert gaussian_mutual_information(y, x, base=2) == pytest.approx(expected / np.log(2), abs=1e-10)
    assert mutual_information(x, y, estimator="gaussian") == gaussian_mutual_information(x, y)
    mixed = 1e3 * x @ rng.normal(size=(3, 3)) - 7  # any invertible affine map
    assert gaussian_mutual_information(mixed, y) == pytest.approx(expected, abs=1e-8)
    spare = np.column_stack([x, x[:, 0] - x[:, 1], np.full(600, 0.1)])  # collinear and constant columns
    assert gaussian_mutual_information(spare, y) == pytest.approx(expected, abs=1e-8)


def test_mutual_information_of_gaussians_and_its_extremes():
    rng = np.random.default_rng(2)
    x = rng.normal(size=5000)
    for noise in (1e-4, 1.0, 1e3):
        y = x + noise * rng.normal(size=5000)
        truth = 0.5 * np.log(1 + 1 / noise**2)
        assert gaussian_mutual_information(x, y) == pytest.approx(truth, abs=0.03)
    assert gaussian_mutual_information(x, 3 - 2 * x) == np.inf
    assert gaussian_mutual_information(x, np.ones(5000)) == 0


def test_effective_rank():
    assert effective_rank(np.eye(5)) == pytest.approx(5)
    assert effective_rank(np.diag([2.0, 2.0, 0.0, 0.0])) == pytest.approx(2)
    p = np.array([3, 1]) / 4
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert effective_rank(1e200 * np.ones((3, 4))) == pytest.approx(1)
    p = np.array([9, 1]) / 10
    assert spectral_entropy(np.diag([3.0, 1.0]), power=2, base=2) == pytest.approx(-(p * np.log2(p)).sum())


def test_few_observations_warn():
    x = np.random.default_rng(0).normal(size=(60, 4))
    with pytest.warns(EstimatorWarning, match="60 observations are few for the covariance of 4 columns"):
        total_correlation(x, estimator="gaussian")
    with pytest.warns(EstimatorWarning, match="few for the covariance of 4 columns"):
        gaussian_mutual_information(x[:, :2], x[:, 2:])


constant_column = np.column_stack([np.arange(50.0), np.full(50, 0.1)])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gaussian_total_correlation(np.diag([1.0, 0.0])), DataError, "cov column 1 has zero variance"),
        (lambda: total_correlation(constant_column, estimator="gaussian"), DataError, "x column 1 has zero variance"),
        (
            lambda: gaussian_total_correlation(np.ones((2, 3))),
            DataError,
            r"square covariance matrix, got shape \(2, 3\)",
        ),
        (lambda: gaussian_total_correlation([[1, 0.5], [0.4, 1]]), DataError, "cov is not symmetric"),
        (lambda: gaussian_total_correlation([[1, 2], [2, 1]]), DataError, "cov is no covariance"),
        (lambda: gaussian_entropy([[-1.0]]), DataError, "negative variance in column 0"),
        (
            lambda: gaussian_entropy([[1, 0.9, 0.9], [0.9, 1, -0.9], [0.9, -0.9, 1]]),
            DataError,
            "cov is not positive semidefinite",
        ),
        (lambda: gaussian_wasserstein_correlation([[np.nan]]), DataError, "cov has 1 value that is not finite"),
        (lambda: gaussian_entropy([[1.0]], base=0), OptionError, "base=0 must be a number above 1"),
        (
            lambda: gaussian_mutual_information(np.eye(4), np.eye(4)),
            DataError,
            "4 observations cannot determine .* 8 columns",
        ),
        (lambda: gaussian_mutual_information(np.eye(4), np.eye(5)), DataError, "x has 4, y has 5"),
        (lambda: effective_rank(np.zeros((2, 2))), DataError, "matrix is zero"),
        (lambda: spectral_entropy(np.eye(2), power=0), OptionError, "power=0 must be a number above 0"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
