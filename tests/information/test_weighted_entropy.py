"""Differential entropy from weighted nearest neighbours."""

import numpy as np
import pytest
from scipy.special import digamma, gamma, gammaln

import unsnarl.information._point_neighbors as point_neighbors
from unsnarl.errors import DataError, OptionError
from unsnarl.information._kd_tree import tree_count, tree_nearest
from unsnarl.information._point_neighbors import kth_distances, nearest_distances
from unsnarl.information._weighted_entropy import entropy_weights, neighbors_for, weighted_entropy

quiet = pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")


@pytest.mark.parametrize("dimension", range(1, 11))
@pytest.mark.parametrize("k", [5, 12, 48])
def test_weights_meet_their_conditions(dimension, k):
    w, j = entropy_weights(dimension, k), np.arange(1, k + 1)
    assert w.sum() == pytest.approx(1, abs=1e-9)
    for power in range(1, dimension // 4 + 1):
        ratio = np.exp(gammaln(j + 2 * power / dimension) - gammaln(j))
        assert abs(w @ ratio) < 1e-6 * np.linalg.norm(ratio) * np.abs(w).max()
    allowed = {i * k // dimension for i in range(1, dimension + 1)}
    assert {int(place) for place in j[w != 0]} <= allowed


def test_weights_by_hand():
    # in five dimensions with two neighbours: w1 + w2 = 1 and w1 G(1.4)/G(1) + w2 G(2.4)/G(2) = 0; G(2.4) = 1.4 G(1.4)
    assert entropy_weights(5, 2) == pytest.approx([1.4 / 0.4, -1 / 0.4])
    assert gamma(2.4) / gamma(1.4) == pytest.approx(1.4)
    assert entropy_weights(2, 6) == pytest.approx([0, 0, 0.5, 0, 0, 0.5])
    for dimension in (1, 2, 3, 4):
        assert entropy_weights(dimension, 5, weights="nearest") == pytest.approx([1, 0, 0, 0, 0])
    assert entropy_weights(6, 5, weights="nearest") == pytest.approx(entropy_weights(6, 5))


@quiet
def test_many_neighbours_vary_less_in_many_dimensions():
    samples = [np.random.default_rng(seed).normal(size=(1000, 8)) for seed in range(12)]
    few, many = ([weighted_entropy(x, n_neighbors=k).entropy for x in samples] for k in (5, 48))
    assert np.std(many) < 0.5 * np.std(few)


@quiet
@pytest.mark.parametrize("options", [{"weights": "nearest"}, {}])
@pytest.mark.parametrize("d", [2, 6])
def test_equals_the_definition(d, options):
    n, k = 120, 5
    x = np.random.default_rng(0).exponential(size=(n, d))
    distance = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 1 : k + 1]
    ball = np.pi ** (d / 2) / gamma(d / 2 + 1)
    logs = np.log(np.exp(digamma(np.arange(1, k + 1))) / ((n - 1) * ball * distance**d))
    terms = -logs @ entropy_weights(d, k, **options)
    h, error = weighted_entropy(x, n_neighbors=k, whiten=False, **options)
    assert (h, error) == pytest.approx((terms.mean(), terms.std() / np.sqrt(n)), abs=1e-9)
    bits = weighted_entropy(x, n_neighbors=k, whiten=False, base=2, **options)
    assert bits == pytest.approx((h / np.log(2), error / np.log(2)), abs=1e-9)


@quiet
def test_whitening_makes_it_follow_linear_maps_exactly():
    rng = np.random.default_rng(1)
    x = rng.standard_t(5, size=(1500, 3))
    a = rng.normal(size=(3, 3)) @ np.diag([1e-4, 1, 1e5])
    moved = weighted_entropy(x @ a + 7)
    assert moved.entropy - weighted_entropy(x).entropy == pytest.approx(np.linalg.slogdet(a)[1], abs=1e-6)
    assert weighted_entropy(x[::-1].copy()).entropy == pytest.approx(weighted_entropy(x).entropy, abs=1e-9)


@quiet
@pytest.mark.parametrize("d", [1, 2, 4, 6, 8])
def test_gaussians(d):
    x = np.random.default_rng(d).normal(size=(4000, d))
    h, error = weighted_entropy(x)
    assert abs(h - d / 2 * np.log(2 * np.pi * np.e)) < 4 * error
    assert error < 0.06


@quiet
def test_the_standard_error_is_that_of_repeated_samples():
    runs = [weighted_entropy(np.random.default_rng(s).normal(size=(600, 2)), weights="nearest") for s in range(60)]
    spread, stated = np.std([h for h, _ in runs]), np.mean([e for _, e in runs])
    assert spread == pytest.approx(stated, rel=0.3)


@pytest.mark.parametrize("euclidean", [True, False])
def test_all_k_distances(monkeypatch, euclidean):
    x = np.random.default_rng(0).normal(size=(300, 3))
    gaps = np.abs(x[:, None] - x[None])
    expected = np.sort(np.sqrt((gaps**2).sum(2)) if euclidean else gaps.max(2), axis=1)[:, 1:8]
    for tree in (True, False):
        monkeypatch.setattr(point_neighbors, "_tree_is_quicker", lambda n, d, tree=tree: tree)
        assert nearest_distances(x, 7, euclidean=euclidean) == pytest.approx(expected, abs=1e-12)
        assert kth_distances(x, 7, euclidean=euclidean) == pytest.approx(expected[:, 6], abs=1e-12)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("n", [7, 64, 500])
def test_the_tree_against_all_pairs(d, n):
    """Neighbours, their distances and counts, with ties: half of the values are rounded."""
    x = np.random.default_rng(n).normal(size=(n, d))
    x[::2] = x[::2].round(1)
    gaps = np.abs(x[:, None] - x[None])
    for euclidean, distance in ((True, np.sqrt((gaps**2).sum(2))), (False, gaps.max(2))):
        apart = distance + np.diag(np.full(n, np.inf))
        radius, near = tree_nearest(x, 5, euclidean=euclidean)
        assert radius == pytest.approx(np.sort(apart, axis=1)[:, :5], abs=1e-12)
        assert np.take_along_axis(apart, near, axis=1) == pytest.approx(radius, abs=1e-12)
        assert all(len(set(row)) == 5 for row in near.tolist())
    limit = np.r_[0.0, np.linspace(0, 2, n - 1)]
    assert np.array_equal(tree_count(x, limit), (gaps.max(2) <= limit[:, None]).sum(axis=1))


def test_the_tree_survives_overflow():
    x = np.random.default_rng(0).normal(size=(200, 2)) * 1e200
    with np.errstate(over="ignore"):
        assert np.isinf(tree_nearest(x, 3, euclidean=True)[0]).all()
    assert np.isfinite(tree_nearest(x, 3, euclidean=False)[0]).all()


def test_default_neighbours():
    assert [neighbors_for(n) for n in (50, 200, 600, 5000)] == [5, 10, 30, 48]


@quiet
def test_bad_input():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    with pytest.raises(DataError, match="x has 3 of 203 rows that coincide with another row"):
        weighted_entropy(np.r_[x, x[:1], x[:1], x[5:6] + 1])
    with pytest.raises(DataError, match="x has 49 observations, but 5 neighbours need at least 50"):
        weighted_entropy(x[:49], n_neighbors=5)
    with pytest.raises(DataError, match="x has 11 dimensions"):
        weighted_entropy(rng.normal(size=(500, 11)))
    with pytest.raises(DataError, match="x column 1 is constant"):
        weighted_entropy(np.c_[x[:, 0], np.ones(200)])
    with pytest.raises(DataError, match="3 columns that lie in fewer dimensions \\(2\\)"):
        weighted_entropy(np.c_[x, x.sum(axis=1)])
    with pytest.raises(DataError, match="not finite"):
        weighted_entropy(np.r_[x, [[np.nan, 0]]])
    with pytest.raises(OptionError, match="n_neighbors=2 is too few in 8 dimensions"):
        weighted_entropy(rng.normal(size=(500, 8)), n_neighbors=2)
    with pytest.raises(OptionError, match="weights='even' is not allowed"):
        weighted_entropy(x, weights="even")
    with pytest.raises(OptionError, match="n_neighbors=0"):
        weighted_entropy(x, n_neighbors=0)
