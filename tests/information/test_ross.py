"""Ross's estimator for a continuous and a discrete variable, against truth, definition and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import norm
from sklearn.feature_selection import mutual_info_classif
from sklearn.feature_selection._mutual_info import _compute_mi_cd

import unsnarl.information._point_neighbors as point_neighbors
from unsnarl.errors import DataError, OptionError
from unsnarl.information import (
    EstimatorWarning,
    mutual_information,
    pairwise_mutual_information,
)

quiet = pytest.mark.filterwarnings("ignore::unsnarl.information.EstimatorWarning")


def by_definition(x, y, k):
    """Equation 2 of Ross (2014) with n x n max-norm distances; singletons left out, smaller k in small categories."""
    keep = np.bincount(y)[y] > 1
    x, y = x[keep], y[keep]
    distance = np.abs(x[:, None, :] - x[None, :, :]).max(axis=2)
    total = digamma(len(x))
    for i in range(len(x)):
        same = np.flatnonzero(y == y[i])
        near = min(k, len(same) - 1)
        radius = np.sort(distance[i, same[same != i]])[near - 1]
        m = (distance[i] < radius).sum()  # the point itself stands for the k-th neighbour
        total += (digamma(near) - digamma(len(same)) - digamma(m)) / len(x)
    return total


@pytest.mark.parametrize("means", [[0, 0, 0], [0, 1, 3], [0, 6, 12]])
def test_mixture_of_gaussians_against_the_integral(means):
    weights = np.array([0.5, 0.3, 0.2])

    def integrand(t):
        densities = norm.pdf(t, means)
        mixture = weights @ densities
        return float(np.sum(weights * densities * np.log(np.maximum(densities, 1e-300) / mixture))) if mixture else 0.0

    truth = quad(integrand, -8, max(means) + 8, limit=200)[0]
    rng = np.random.default_rng(4)
    y = rng.choice(3, size=5000, p=weights)
    x = rng.normal(size=5000) + np.array(means)[y]
    assert mutual_information(x, y, estimator="ross") == pytest.approx(truth, abs=0.03)
    plane = np.column_stack([x, rng.normal(size=5000)])  # a second coordinate of noise changes nothing
    assert mutual_information(plane, y, estimator="ross") == pytest.approx(truth, abs=0.04)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_all_pairs_agree_with_scikit_learn(k):
    rng = np.random.default_rng(k)
    y = rng.integers(0, [2, 5, 12], size=(800, 3))
    x = rng.normal(size=(800, 4))
    x[:, 0] += y[:, 0]
    x[:, 1] *= 1 + y[:, 1]
    x[:, 2] = np.exp(3 * x[:, 2])
    ours = pairwise_mutual_information(x, y, estimator="ross", n_neighbors=k, clip=True)
    theirs = [[_compute_mi_cd(x[:, i], y[:, j], k) for j in range(3)] for i in range(4)]
    assert ours == pytest.approx(np.array(theirs), abs=1e-9)
    noisy = np.stack([mutual_info_classif(x, y[:, j], n_neighbors=k, random_state=0) for j in range(3)], axis=1)
    assert ours == pytest.approx(noisy, abs=1e-6)


@quiet
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 6))
def test_ties_small_and_single_categories_agree_with_scikit_learn(seed, k, spread):
    rng = np.random.default_rng(seed)
    x = rng.integers(-spread, spread + 1, size=40).astype(float)  # whole numbers: distances are exact everywhere
    y = np.concatenate([rng.integers(0, 6, size=38), [97, 98]])
    ours = mutual_information(x, y, estimator="ross", n_neighbors=k, clip=True)
    assert ours == pytest.approx(_compute_mi_cd(x, y, k), abs=1e-9)


@quiet
@pytest.mark.parametrize("dimension", [1, 2, 6])
def test_equals_the_definition(dimension):
    rng = np.random.default_rng(dimension)
    y = np.concatenate([rng.integers(0, 4, size=118), [7, 8]])
    x = rng.normal(size=(120, dimension)) + y[:, None] / 2
    found = mutual_information(x, y, estimator="ross", standardize=False)
    assert found == pytest.approx(by_definition(x, y, 3), abs=1e-10)


def test_tree_and_brute_force_count_alike(monkeypatch):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, size=500)
    points = np.round(rng.normal(size=(500, 3)) + labels[:, None], 1)
    near = np.full(500, 3)
    found = []
    for tree in (True, False):
        monkeypatch.setattr(point_neighbors, "_tree_is_quicker", lambda n, d, tree=tree: tree)
        found.append(point_neighbors.count_around_same_label(points, labels, near))
    assert np.array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@quiet
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2))
def test_invariances(seed, dimension):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, size=50)
    x = np.round(rng.normal(size=(50, dimension)) + y[:, None], 1)
    here = mutual_information(x, y, estimator="ross", standardize=False)
    order = rng.permutation(50)
    renamed = np.array(["d", "a", "c", "b"])[y]
    assert mutual_information(renamed[order], x[order], estimator="ross", standardize=False) == pytest.approx(
        here, abs=1e-10
    )
    assert mutual_information(-4 * x, y, estimator="ross", standardize=False) == pytest.approx(here, abs=1e-10)


def test_which_input_is_discrete():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, size=300)
    x = rng.normal(size=300) + y
    value = mutual_information(x, y, estimator="ross")
    assert mutual_information(y, x, estimator="ross") == value
    assert mutual_information(x, y.astype(float), estimator="ross", discrete="y") == value
    whole = np.round(1e6 * x).astype(int)
    by_name = mutual_information(whole, y, estimator="ross", discrete="y")
    assert by_name == mutual_information(whole.astype(float), y, estimator="ross")
    table = pairwise_mutual_information(y[:, None], x[:, None], estimator="ross")
    assert table.shape == (1, 1)
    assert table[0, 0] == value


def test_constants_share_nothing():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, size=60)
    assert mutual_information(np.full(60, 0.1), y, estimator="ross") == 0.0
    assert mutual_information(rng.normal(size=60), np.zeros(60, int), estimator="ross") == 0.0


def test_tied_codes_warn_and_jitter_helps():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, size=2000)
    x = y.astype(float)
    with pytest.warns(EstimatorWarning, match=r"2,000 of 2,000 points coincide .* use the 'plugin' estimator"):
        wrong = mutual_information(x, y, estimator="ross")
    assert wrong < -3  # a mutual information of log 4, read from ties
    assert mutual_information(x, y, estimator="ross", jitter=1e-6) == pytest.approx(np.log(4), abs=0.02)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (np.arange(9.0), np.arange(8) % 2, {}, DataError, "x has 9, y has 8"),
        (np.arange(4.0), np.array([0, 1, 2, 3]), {}, DataError, "every value of y occurs only once"),
        (
            np.arange(4),
            np.array([0, 1, 1, 0]),
            {},
            DataError,
            "x and y both hold categories; .* discrete='x' or discrete='y'",
        ),
        (np.arange(4.0), np.arange(4.0), {}, DataError, "x and y both hold floats; .* choose estimator 'ksg1'"),
        (np.arange(4.0), np.array([0, 1, 1, 0]), {"discrete": "z"}, OptionError, "discrete='z' is not allowed"),
        (np.arange(4.0), np.array([0, 1, 1, 0]), {"n_neighbors": 4}, OptionError, "n_neighbors=4 must be below"),
        (np.array([0, np.nan, 1.0, 2]), np.array([0, 1, 1, 0]), {}, DataError, "x has 1 value that is not finite"),
        (np.array(["a", "b", "a"]), np.array(["a", "b", "a"]), {"discrete": "y"}, DataError, "x must hold numbers"),
    ],
)
def test_bad_input(x, y, options, error, message):
    with pytest.raises(error, match=message):
        mutual_information(x, y, estimator="ross", **options)
