"""Differential entropy from a leave-one-out kernel density."""

import math

import numpy as np
import pytest
from scipy import integrate

from unsnarl.errors import DataError, OptionError
from unsnarl.information import _kde_entropy
from unsnarl.information._kde_entropy import KERNELS, kde_bandwidth, kde_entropy, kernel_overlap, shared_bandwidth

quiet = pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")
kernels = pytest.mark.parametrize("kernel", KERNELS)


def shape(kernel, r):
    """The kernel before normalisation, at distances r."""
    if kernel == "gaussian":
        return np.exp(-(r**2) / 2)
    return (r < 1) * (1.0 if kernel == "tophat" else 1 - r**2)


def integral(kernel, d):
    area = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
    return integrate.quad(lambda r: area * r ** (d - 1) * shape(kernel, r), 0, 1 if kernel != "gaussian" else 40)[0]


@kernels
@pytest.mark.parametrize("d", [1, 3])
def test_equals_the_definition(kernel, d):
    n, b = 80, 2.5
    x = np.random.default_rng(0).normal(size=(n, d))
    values = shape(kernel, np.linalg.norm(x[:, None] - x[None], axis=2) / b)
    np.fill_diagonal(values, 0)
    terms = -np.log(values.sum(axis=1) / ((n - 1) * b**d * integral(kernel, d)))
    with np.errstate(all="ignore"):
        found = kde_entropy(x, kernel=kernel, bandwidth=b, whiten=False)
    assert found == pytest.approx((terms.mean(), terms.std() / math.sqrt(n)), abs=1e-9)


@kernels
def test_the_least_squares_criterion(kernel):
    """In one dimension, the integral of the squared density done by quadrature."""
    x = np.random.default_rng(0).normal(size=(60, 1))
    for b in (0.4, 0.9):
        norm = integral(kernel, 1) * b
        grid = np.linspace(-9, 9, 60_001)
        density = shape(kernel, np.abs(grid[:, None] - x[:, 0]) / b).mean(axis=1) / norm
        left_out = (shape(kernel, np.abs(x - x.T) / b).sum(axis=1) - shape(kernel, np.zeros(1))) / (59 * norm)
        expected = np.trapezoid(density**2, grid) - 2 * left_out.mean()
        rows = np.arange(60)
        found = _kde_entropy._badness(x, rows, np.array([b]), kernel, "lsq")[0]
        assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("kernel", ["tophat", "epanechnikov"])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_overlaps_are_densities(kernel, d):
    """The convolution of two densities integrates to 1 and begins with the integral of the squared kernel."""
    overlap = kernel_overlap(kernel, d)
    r = np.linspace(0, 2, len(overlap))
    area = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
    assert np.trapezoid(overlap * area * r ** (d - 1), r) == pytest.approx(1, abs=1e-5)
    square = integrate.quad(lambda s: area * s ** (d - 1) * shape(kernel, s) ** 2, 0, 1)[0]
    assert overlap[0] == pytest.approx(square / integral(kernel, d) ** 2, rel=1e-8)
    assert abs(overlap[-1]) < 1e-9


@kernels
@pytest.mark.parametrize("rule", ["likelihood", "lsq"])
def test_the_bandwidth_is_the_best_of_a_fine_grid(kernel, rule):
    x = np.random.default_rng(3).normal(size=(300, 2))
    chosen = kde_bandwidth(x, kernel=kernel, rule=rule)
    grid = np.exp(np.linspace(math.log(0.05), math.log(5), 200))
    badness = _kde_entropy._badness(x, np.arange(300), grid, kernel, rule)
    at_chosen = _kde_entropy._badness(x, np.arange(300), np.array([chosen]), kernel, rule)[0]
    best = badness[np.isfinite(badness)].min()
    assert at_chosen <= best + 0.02 * abs(best)


def test_silverman_in_one_dimension():
    x = np.random.default_rng(0).normal(size=(500, 1))
    assert kde_bandwidth(x, rule="silverman") == pytest.approx(x.std() * (4 / 3 / 500) ** 0.2)


@kernels
@pytest.mark.parametrize("rule", ["likelihood", "lsq"])
def test_gaussians(kernel, rule):
    x = np.random.default_rng(1).normal(size=(1500, 2)) @ [[2, 1], [0, 0.5]]
    h, error = kde_entropy(x, kernel=kernel, bandwidth=rule)
    assert h == pytest.approx(math.log(2 * math.pi * math.e), abs=0.08)
    assert 0.01 < error < 0.04
    assert kde_entropy(x, kernel=kernel, bandwidth=rule, base=2).entropy == pytest.approx(h / math.log(2))


@quiet
def test_whitening_makes_it_follow_linear_maps():
    rng = np.random.default_rng(2)
    x, a = rng.normal(size=(400, 3)), rng.normal(size=(3, 3))
    gained = kde_entropy(x @ a).entropy - kde_entropy(x).entropy
    assert gained == pytest.approx(np.linalg.slogdet(a)[1], abs=1e-6)


def test_the_bandwidth_of_several_parts_is_that_of_all_together():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 1)), rng.normal(size=(200, 1))
    assert shared_bandwidth([x, y], "gaussian", "likelihood") == kde_bandwidth(np.c_[x, y])
    assert shared_bandwidth([x, y], "gaussian", 0.3) == 0.3


def test_bad_input():
    x = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.raises(DataError, match="x has 1 of 101 points with no other within the bandwidth"):
        kde_entropy(np.r_[x, [[30, 30]]], kernel="tophat", bandwidth=1.5)
    assert math.isfinite(kde_entropy(np.r_[x, [[30, 30]]], kernel="tophat").entropy)
    with pytest.raises(DataError, match="x has 49 observations; a kernel density needs at least 50"):
        kde_entropy(x[:49])
    with pytest.raises(DataError, match="x column 0 is constant"):
        kde_entropy(np.c_[np.ones(100), x])
    with pytest.raises(DataError, match="x has 11 dimensions"):
        kde_entropy(np.random.default_rng(0).normal(size=(100, 11)))
    with pytest.raises(OptionError, match="kernel='cosine'"):
        kde_entropy(x, kernel="cosine")
    with pytest.raises(OptionError, match="bandwidth='scott'"):
        kde_entropy(x, bandwidth="scott")
    with pytest.raises(OptionError, match="bandwidth=0 must be a number above 0"):
        kde_entropy(x, bandwidth=0)
    with pytest.raises(DataError, match="constant column"):
        kde_bandwidth(np.ones((60, 1)))
