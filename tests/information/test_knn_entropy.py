"""Differential entropy from nearest neighbours."""

import numpy as np
import pytest
from scipy.special import digamma, gammaln

import unsnarl.information._point_neighbors as point_neighbors
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning, gaussian_entropy, knn_entropy

metrics = pytest.mark.parametrize("metric", ["chebyshev", "euclidean"])


@metrics
@pytest.mark.parametrize("d", [1, 2, 4])
def test_gaussians(metric, d):
    rng = np.random.default_rng(d)
    a = rng.normal(size=(d, d)) + 2 * np.eye(d)
    x = rng.normal(size=(4000, d)) @ a.T
    assert knn_entropy(x, metric=metric) == pytest.approx(gaussian_entropy(a @ a.T), abs=0.08)


@pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")
@pytest.mark.parametrize("d", [1, 3])
def test_equals_the_definition(d):
    x = np.random.default_rng(0).exponential(size=(150, d))
    for metric, log_ball in (
        ("chebyshev", d * np.log(2)),
        ("euclidean", d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)),
    ):
        gaps = x[:, None] - x[None]
        distance = np.abs(gaps).max(axis=2) if metric == "chebyshev" else np.sqrt((gaps**2).sum(axis=2))
        radius = np.sort(distance, axis=1)[:, 5]
        expected = digamma(150) - digamma(5) + log_ball + d * np.log(radius).mean()
        assert knn_entropy(x, n_neighbors=5, metric=metric) == pytest.approx(expected, abs=1e-10)
        assert knn_entropy(x, n_neighbors=5, metric=metric, base=2) == pytest.approx(expected / np.log(2), abs=1e-10)


@metrics
def test_shift_scale_and_order(metric):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    here = knn_entropy(x, metric=metric)
    assert knn_entropy(10 - 4 * x, metric=metric) == pytest.approx(here + 2 * np.log(4), abs=1e-9)
    assert knn_entropy(x[rng.permutation(500)], metric=metric) == pytest.approx(here, abs=1e-9)


@metrics
def test_tree_and_brute_force_agree(monkeypatch, metric):
    x = np.random.default_rng(0).normal(size=(400, 3))
    values = []
    for tree in (True, False):
        monkeypatch.setattr(point_neighbors, "_tree_is_quicker", lambda n, d, tree=tree: tree)
        values.append(knn_entropy(x, metric=metric))
    assert values[0] == pytest.approx(values[1], abs=1e-10)


def test_duplicates_are_refused_and_jitter_answers():
    x = np.repeat(np.random.default_rng(0).normal(size=100), 5)
    with pytest.raises(DataError, match="x has 500 of 500 rows that coincide with their 3 nearest neighbours"):
        knn_entropy(x)
    assert knn_entropy(x, jitter=1e-3) == knn_entropy(x, jitter=1e-3)
    assert knn_entropy(x, jitter=1e-3) != knn_entropy(x, jitter=1e-3, seed=1)
    assert np.isfinite(knn_entropy(x, n_neighbors=5))


def test_many_dimensions_warn():
    with pytest.warns(EstimatorWarning, match="nearest-neighbour entropy in 9 dimensions with 200 observations"):
        knn_entropy(np.random.default_rng(0).normal(size=(200, 9)))


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.column_stack([np.arange(9.0), np.full(9, 0.1)]), {}, DataError, "x column 1 is constant"),
        (np.arange(9.0), {"n_neighbors": 9}, OptionError, "n_neighbors=9 must be below the number of observations"),
        (np.arange(9.0), {"metric": "manhattan"}, OptionError, "metric='manhattan' is not allowed"),
        (np.array([1.0, np.inf, 2.0]), {}, DataError, "x has 1 value that is not finite"),
        (np.zeros((2, 2, 2)), {}, DataError, "x must be 2-D"),
    ],
)
def test_bad_input(x, options, error, message):
    with pytest.raises(error, match=message):
        knn_entropy(x, **options)
